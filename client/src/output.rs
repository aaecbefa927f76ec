//! What goes to stdout: aligned tables and sizes for people, one JSON document for machines.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use holdfast_image::printable;
use serde_json::Value;

/// Rows under a heading, columns aligned. Cells are made fit for a terminal here.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Table {
        Table { rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    /// Rows without a heading: names and values.
    pub(crate) fn of_pairs() -> Table {
        Table { rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: &[&str]) {
        let cell = |cell: &&str| if cell.is_empty() { "-".to_owned() } else { printable(cell) };
        self.rows.push(cells.iter().map(cell).collect());
    }

    /// With a last newline.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a string cannot fail.
                let _ = write!(line, "{cell:<width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `1.1 MiB`; below 1 KiB the bytes themselves.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = None;
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = Some(next);
    }
    match unit {
        Some(unit) => format!("{value:.1} {unit}"),
        None => format!("{bytes} B"),
    }
}

pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a document, two spaces deep. Control characters that JSON itself lets stand are escaped.
pub(crate) fn print_json(document: &Value) -> io::Result<()> {
    let mut text = String::new();
    for c in format!("{document:#}").chars() {
        if c.is_control() && !c.is_ascii_whitespace() {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text.push('\n');
    print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_escapes_are_not_printed() {
        let mut table = Table::new(&["ALIAS", "TYPE"]);
        table.row(&["images-of-2026", "RSA-3072"]);
        table.row(&["a\u{1b}[31m", ""]);
        assert_eq!(table.text(), "ALIAS           TYPE\nimages-of-2026  RSA-3072\na\\u{1b}[31m     -\n");
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
