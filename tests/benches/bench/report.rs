//! Rounds become rows; rows become a table and `target/bench.json`.

use std::path::PathBuf;

use serde::Serialize;

/// One turn of both sides.
pub(crate) struct Round {
    /// With Holdfast.
    pub(crate) ours: f64,
    /// Without.
    pub(crate) other: f64,
    /// Where the time went.
    pub(crate) cost: Option<Cost>,
}

/// CPU time of one call, in microseconds, system time included.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// In the daemon, the token's command included.
    pub(crate) daemon: f64,
    /// In the process that makes the calls.
    pub(crate) callers: f64,
    /// In the bare loop.
    pub(crate) bare: f64,
}

/// All rows of a run.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

struct Row {
    line: Line,
    ratio: Spread,
    ours: Spread,
    cost: Option<Cost>,
}

/// An element of `target/bench.json`: medians of all rounds.
#[derive(Serialize)]
struct Line {
    name: String,
    ours: f64,
    other: f64,
    unit: &'static str,
    /// The median of each round's `ours / other`, not the quotient of the medians.
    ratio: f64,
}

struct Spread {
    least: f64,
    median: f64,
    greatest: f64,
}

impl Report {
    /// A row from its rounds; at least one.
    pub(crate) fn add(&mut self, name: String, unit: &'static str, rounds: &[Round]) {
        let of = |value: fn(&Round) -> f64| Spread::of(rounds.iter().map(value));
        let (ours, other, ratio) =
            (of(|round| round.ours), of(|round| round.other), of(|round| round.ours / round.other));
        let part = |value: fn(&Cost) -> f64| {
            Spread::of(rounds.iter().filter_map(|r| r.cost.as_ref()).map(value)).median
        };
        let cost = rounds[0].cost.map(|_| Cost {
            daemon: part(|cost| cost.daemon),
            callers: part(|cost| cost.callers),
            bare: part(|cost| cost.bare),
        });
        let line = Line { name, ours: ours.median, other: other.median, unit, ratio: ratio.median };
        self.rows.push(Row { line, ratio, ours, cost });
    }

    /// Whether nothing was run.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For a terminal.
    pub(crate) fn print(&self) {
        let width = self.rows.iter().map(|row| row.line.name.len()).max().unwrap_or(0);
        println!();
        println!(
            "{:width$}  {:>9}  {:>9}  {:9}  {:>6}  {:>13}  {:>17}",
            "", "ours", "other", "unit", "ratio", "ratio min-max", "ours min-max"
        );
        for Row { line, ratio, ours, .. } in &self.rows {
            println!(
                "{:width$}  {:>9}  {:>9}  {:9}  {:>6.2}  {:>13}  {:>17}",
                line.name,
                number(line.ours),
                number(line.other),
                line.unit,
                line.ratio,
                format!("{:.2}-{:.2}", ratio.least, ratio.greatest),
                format!("{}-{}", number(ours.least), number(ours.greatest)),
            );
        }
        println!();
        println!(
            "{:width$}  {:>9}  {:>9}  {:>9}",
            "CPU µs for one call, on all cores", "daemon", "callers", "bare loop"
        );
        for (line, cost) in self.rows.iter().filter_map(|row| Some((&row.line, row.cost.as_ref()?))) {
            let ratio = cost.bare / cost.daemon;
            println!(
                "{:width$}  {:>9.0}  {:>9.0}  {:>9.0}  {ratio:>13.2}",
                line.name, cost.daemon, cost.callers, cost.bare
            );
        }
        println!();
        println!("ours, other: medians of the rounds; ratio: median of each round's ours / other");
    }

    /// Writes `bench.json` into the target directory and gives its path.
    pub(crate) fn write(&self) -> PathBuf {
        let bench = std::env::current_exe().expect("the benchmark's own path");
        let path = bench.ancestors().nth(3).expect("target/PROFILE/deps/BENCH").join("bench.json");
        let lines: Vec<&Line> = self.rows.iter().map(|row| &row.line).collect();
        let mut json = serde_json::to_vec_pretty(&lines).expect("JSON");
        json.push(b'\n');
        std::fs::write(&path, json).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Spread { least: at(0), median: at(values.len() / 2), greatest: at(values.len().saturating_sub(1)) }
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
