//! Marked lines of ours at the head of a file of others', and the one line they stand in for.
//!
//! ```text
//! # begin holdfast
//! #was imports = []
//! imports = ["/etc/containerd/conf.d/holdfast*.toml"]
//! # end holdfast
//! ```

const BEGIN: &str = "# begin holdfast\n";
const END: &str = "# end holdfast\n";
/// Before a line of theirs that ours stand in for.
const WAS: &str = "#was ";

/// The file without our section, what that stood in for back in its place.
pub(crate) fn without(text: &str) -> Result<String, String> {
    let Some((head, rest)) = text.split_once(BEGIN) else { return Ok(text.to_owned()) };
    let Some((ours, tail)) = rest.split_once(END) else {
        return Err("it has `# begin holdfast` and no `# end holdfast`; mend it".to_owned());
    };
    let theirs: String = ours.split_inclusive('\n').filter_map(|line| line.strip_prefix(WAS)).collect();
    Ok(format!("{head}{theirs}{tail}"))
}

/// `lines` before all of a file's own, which has no section of ours.
pub(crate) fn at_top(text: &str, lines: &str) -> String {
    format!("{BEGIN}{lines}{END}{text}")
}

/// `lines` in the stead of line number `at`, counted from 0.
pub(crate) fn instead_of(text: &str, at: usize, lines: &str) -> String {
    let mut new = String::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if number != at {
            new.push_str(line);
            continue;
        }
        let end = if line.ends_with('\n') { "" } else { "\n" };
        new.push_str(&format!("{BEGIN}{WAS}{line}{end}{lines}{END}"));
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_comes_out_again() {
        let text = "a = 1\nimports = []\n[b]\nc = 2\n";
        assert_eq!(without(&at_top(text, "x = 1\n")).unwrap(), text);
        let changed = instead_of(text, 1, "imports = [\"x\"]\n");
        assert_eq!(
            changed,
            "a = 1\n# begin holdfast\n#was imports = []\nimports = [\"x\"]\n# end holdfast\n[b]\nc = 2\n"
        );
        assert_eq!(without(&changed).unwrap(), text);
        assert_eq!(without(text).unwrap(), text);
    }

    #[test]
    fn half_a_section_is_told() {
        assert!(without("# begin holdfast\nx\n").unwrap_err().contains("mend it"));
    }
}
