//! The storage keys that keys are sealed to: a text file, one Name a line, behind it a label for people. What is
//! behind a # is a comment.

use std::path::Path;

use holdfast_custody::RegularFile;
use holdfast_tpm::Name;

/// Bytes. Ten thousand Names have as many.
const MAX_LEN: usize = 1024 * 1024;

/// The list.
pub(super) struct Pinned(Vec<(Name, String)>);

impl Pinned {
    /// The error names the file, and the line if it is one line's.
    pub(super) fn read(path: &Path) -> Result<Pinned, String> {
        let file =
            RegularFile::read(path, MAX_LEN).map_err(|error| format!("{}: {error}", path.display()))?;
        Pinned::parse(file.bytes.expose()).map_err(|why| format!("{}: {why}", path.display()))
    }

    fn parse(text: &[u8]) -> Result<Pinned, String> {
        let text = std::str::from_utf8(text)
            .map_err(|_| "not a text; it has one Name a line, as holdfastd key storage-key prints it")?;
        let mut names = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let (name, label) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            if !name.is_empty() {
                let name = name.parse().map_err(|why| format!("line {}: {why}", index + 1))?;
                names.push((name, label.trim().to_owned()));
            }
        }
        if names.is_empty() {
            return Err(
                "pins no storage key; it has one Name a line, as holdfastd key storage-key prints it".into(),
            );
        }
        Ok(Pinned(names))
    }

    /// The label of a storage key that is pinned.
    pub(super) fn label(&self, name: Name) -> Option<&str> {
        self.0.iter().find(|(pinned, _)| *pinned == name).map(|(_, label)| label.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(digit: char) -> String {
        format!("000b{}", String::from(digit).repeat(64))
    }

    #[test]
    fn labels_comments_and_empty_lines_are_what_they_look_like() {
        let text = format!(
            "# the fleet\n\n  {}  node-a, rack 7 \t# since May\r\n{}\n\t{}#none\n",
            name('a'),
            name('B'),
            name('c')
        );
        let pinned = Pinned::parse(text.as_bytes()).unwrap();
        let label = |digit: char| pinned.label(name(digit).parse().unwrap());
        assert_eq!(label('a'), Some("node-a, rack 7"));
        assert_eq!((label('b'), label('c'), label('d')), (Some(""), Some(""), None));
    }

    #[test]
    fn a_line_that_is_no_name_is_told_by_its_number() {
        let good = name('a');
        for (text, says) in [
            (format!("{good}\nnode-a {good}\n"), "line 2: a Name is 000b and 64"),
            (format!("{}\n", &good[..67]), "line 1: a Name is"),
            (format!("000c{}\n", &good[4..]), "line 1: a Name is"),
            (String::new(), "pins no storage key"),
            (format!("#{good}"), "pins no storage key"),
        ] {
            let why = Pinned::parse(text.as_bytes()).err().unwrap();
            assert!(why.contains(says), "{says}: {why}");
        }
        assert!(Pinned::parse(&[0xff; 8]).err().unwrap().contains("not a text"));
    }
}
