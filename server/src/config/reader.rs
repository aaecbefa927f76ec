//! Reads TOML tables key by key, collecting every fault with its line instead of stopping at the first.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// All that is wrong with a file, in the order found.
pub(super) struct Faults<'a> {
    text: &'a str,
    found: RefCell<Vec<Fault>>,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub what: String,
}

impl<'a> Faults<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Faults { text, found: RefCell::default() }
    }

    pub(super) fn add(&self, at: Range<usize>, what: impl Into<String>) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        self.found.borrow_mut().push(Fault { line, what: what.into() });
    }

    pub(super) fn into_sorted(self) -> Vec<Fault> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|fault| fault.line);
        found
    }
}

/// A table whose keys are taken one by one; what is left when it is dropped is unknown.
pub(super) struct Section<'f, 'i> {
    name: &'static str,
    table: DeTable<'i>,
    span: Range<usize>,
    known: Vec<&'static str>,
    faults: &'f Faults<'f>,
}

/// A value and where it stands.
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<'f, 'i> Section<'f, 'i> {
    pub(super) fn new(
        name: &'static str,
        table: DeTable<'i>,
        span: Range<usize>,
        faults: &'f Faults<'f>,
    ) -> Self {
        Section { name, table, span, known: Vec::new(), faults }
    }

    /// Where the table begins, for what is missing in it.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub(super) fn fault(&self, at: Range<usize>, what: impl Into<String>) {
        self.faults.add(at, what);
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'i>>> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn take_as<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&DeValue<'i>) -> Option<T>,
    ) -> Option<At<T>> {
        let spanned = self.take(key)?;
        let span = spanned.span();
        match read(spanned.get_ref()) {
            Some(value) => Some(At { value, span }),
            None => {
                self.fault(span, format!("{key} in {} must be {wanted}", self.name));
                None
            }
        }
    }

    /// Whether a key stands there, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<At<String>> {
        self.take_as(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        self.take_as(key, "true or false", DeValue::as_bool).map_or(default, |at| at.value)
    }

    pub(super) fn strings(&mut self, key: &'static str) -> Option<At<Vec<At<String>>>> {
        self.take_as(key, "a list of strings", |value| {
            value
                .as_array()?
                .iter()
                .map(|item| Some(At { value: item.get_ref().as_str()?.to_owned(), span: item.span() }))
                .collect()
        })
    }

    /// A whole number between the bounds.
    pub(super) fn number(&mut self, key: &'static str, within: Range<u32>, default: u32) -> u32 {
        let wanted = format!("a whole number, {} to {}", within.start, within.end);
        self.take_as(key, &wanted, |value| {
            let number: u32 = value.as_integer()?.as_str().parse().ok()?;
            (within.start..=within.end).contains(&number).then_some(number)
        })
        .map_or(default, |at| at.value)
    }

    /// Either a string or a number, as text.
    pub(super) fn string_or_number(&mut self, key: &'static str) -> Option<At<String>> {
        self.take_as(key, "a name or a number", |value| match value {
            DeValue::Integer(number) => Some(number.as_str().to_owned()),
            value => value.as_str().map(str::to_owned),
        })
    }

    /// A table; `wanted` says what it must be.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        name: &'static str,
        wanted: &str,
    ) -> Option<Section<'f, 'i>> {
        let spanned = self.take(key)?;
        let span = spanned.span();
        match spanned.into_inner() {
            DeValue::Table(table) => Some(Section::new(name, table, span, self.faults)),
            _ => {
                self.fault(span, format!("{key} in {} must be {wanted}", self.name));
                None
            }
        }
    }

    /// `[[key]]`, each as a section.
    pub(super) fn tables(&mut self, key: &'static str, name: &'static str) -> Vec<Section<'f, 'i>> {
        let Some(spanned) = self.take(key) else {
            return Vec::new();
        };
        let span = spanned.span();
        let DeValue::Array(items) = spanned.into_inner() else {
            self.fault(span, format!("{key} must be written as [[{key}]]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(table) => sections.push(Section::new(name, table, span, self.faults)),
                _ => self.fault(span, format!("{key} must be written as [[{key}]]")),
            }
        }
        sections
    }

    /// All pairs of a table of strings.
    pub(super) fn pairs(&mut self, key: &'static str) -> Vec<(At<String>, String)> {
        let read = self.take_as(key, "a table of strings", |value| {
            value
                .as_table()?
                .iter()
                .map(|(name, value)| {
                    let name = At { value: name.get_ref().to_string(), span: name.span() };
                    Some((name, value.get_ref().as_str()?.to_owned()))
                })
                .collect()
        });
        read.map_or_else(Vec::new, |at| at.value)
    }

    /// Reports the keys that nobody took.
    pub(super) fn finish(self) {
        for (key, _) in &self.table {
            let known = self.known.join(", ");
            self.faults.add(
                key.span(),
                format!("unknown key {:?} in {}; it has: {known}", key.get_ref(), self.name),
            );
        }
    }
}
