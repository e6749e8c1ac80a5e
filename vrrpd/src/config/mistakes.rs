//! Mistakes of a configuration file and their output: one line each for programs and logs, and with the marked line of
//! the file for people. Secrets in the file are never shown.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::Key;
use crate::nearest::nearest;
use crate::printable::printable;

/// Maximum number of mistakes shown; for the others only their number.
const MAX_TOLD: usize = 50;

/// A mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// Position in the file, in octets.
    pub(super) span: Range<usize>,
    /// What is wrong and what is expected.
    pub(super) message: String,
    /// What was probably meant.
    meant: Option<String>,
}

impl Complaint {
    pub(super) const fn new(span: Range<usize>, message: String) -> Self {
        Self { span, message, meant: None }
    }

    /// Adds a suggestion.
    pub(super) fn meant(mut self, word: Option<&str>) -> Self {
        self.meant = word.map(str::to_owned);
        self
    }

    /// What is told of it behind its place.
    pub(super) fn text(&self) -> String {
        let hint = self.meant.as_ref().map_or_else(String::new, |word| format!("; did you mean {word}?"));
        format!("{}{hint}", self.message)
    }
}

/// All mistakes of a file, at least one.
#[derive(Debug)]
pub struct Mistakes {
    path: PathBuf,
    /// The text of the file, with secrets overwritten.
    text: String,
    complaints: Vec<Complaint>,
}

impl Mistakes {
    pub(super) fn new(path: &Path, text: &str, mut complaints: Vec<Complaint>) -> Self {
        // A mistake in the defaults appears once for each router that uses them.
        let mut seen = std::collections::BTreeSet::new();
        complaints.retain(|complaint| seen.insert((complaint.span.start, complaint.message.clone())));
        Self { path: path.to_owned(), text: without_secrets(text), complaints }
    }

    /// One line per mistake: `FILE:LINE:COLUMN: MESSAGE`.
    pub fn lines(&self) -> Vec<String> {
        let told = self.complaints.iter().take(MAX_TOLD).map(|complaint| self.line(complaint));
        told.chain(self.rest()).collect()
    }

    /// Each mistake for people, with the line of the file.
    pub fn shown(&self, colour: bool) -> Vec<String> {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let told = self.complaints.iter().take(MAX_TOLD).map(|complaint| {
            let shown = self.snippet(complaint, &renderer);
            format!("{}\n{shown}", self.line(complaint))
        });
        told.chain(self.rest()).collect()
    }

    fn rest(&self) -> Option<String> {
        let more = self.complaints.len().checked_sub(MAX_TOLD).filter(|more| *more > 0)?;
        Some(format!("{}: {more} more mistakes", printable(&self.path.to_string_lossy())))
    }

    fn line(&self, complaint: &Complaint) -> String {
        let (line, column) = place(&self.text, complaint.span.start);
        let line = format!("{}:{line}:{column}: {}", self.path.display(), complaint.text());
        printable(&line).into_owned()
    }

    /// The line of a mistake, with the position marked.
    fn snippet(&self, complaint: &Complaint, renderer: &Renderer) -> String {
        let start = self.text.floor_char_boundary(complaint.span.start);
        let from = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let to = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let end = self.text.floor_char_boundary(complaint.span.end).clamp(start, to);
        // Without control characters, and as wide as in the file, so that the mark is in the right place.
        let plain = |character: char| {
            if printable(character.encode_utf8(&mut [0; 4])) == character.to_string() {
                character
            } else {
                '?'
            }
        };
        let [before, marked, after] = [from..start, start..end, end..to]
            .map(|range| self.text[range].chars().map(plain).collect::<String>());
        let span = before.len()..before.len() + marked.len();
        let mark = AnnotationKind::Primary.span(span);
        let mark = match &complaint.meant {
            Some(word) => mark.label(format!("did you mean {word}?")),
            None => mark,
        };
        let (line, _) = place(&self.text, start);
        let source = Snippet::source(format!("{before}{marked}{after}")).line_start(line).annotation(mark);
        renderer.render(&[Group::with_level(Level::ERROR).element(source)])
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

/// Line and column of an octet, from 1.
pub(super) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rfind('\n').map_or(before, |newline| &before[newline + 1..]);
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// The text with asterisks for each octet that may be a password or key: the rest of a line after a key that resembles
/// the one for authentication, and after `pw/` or `ah/` anywhere. The text need not be valid TOML.
fn without_secrets(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut in_long_text = false;
    for line in text.split_inclusive('\n') {
        let longs = line.matches("\"\"\"").count() + line.matches("'''").count();
        let secret = if in_long_text { Some(0) } else { secret_in(line) };
        // Of a multi-line string, only the first line is shown.
        if longs % 2 == 1 {
            in_long_text = !in_long_text;
        }
        let (open, hidden) = line.split_at(secret.unwrap_or(line.len()));
        plain.push_str(open);
        for character in hidden.chars() {
            if character == '\n' {
                plain.push(character);
            } else {
                plain.extend(std::iter::repeat_n('*', character.len_utf8()));
            }
        }
    }
    plain
}

/// Where a secret may begin in a line.
fn secret_in(line: &str) -> Option<usize> {
    // A comment may contain an old password.
    let by_value = ["pw/", "ah/"].iter().filter_map(|word| Some(line.find(word)? + word.len())).min();
    let mut by_name = None;
    let mut from = 0;
    for (at, _) in line.match_indices(['=', ':']) {
        let before = line[from..at].trim_end_matches(['"', '\'', ' ', '\t']);
        let word =
            before.rsplit(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').next().unwrap_or_default();
        if sounds_secret(word) {
            by_name = Some(at + 1);
            break;
        }
        from = at + 1;
    }
    [by_value, by_name].into_iter().flatten().min()
}

fn sounds_secret(word: &str) -> bool {
    let word = word.to_lowercase();
    ["auth", "pass", "secret", "key", "pw"].iter().any(|part| word.contains(part))
        || nearest(&word, Key::names()) == Some(Key::Auth.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, span: Range<usize>, meant: Option<&str>) -> String {
        let complaint = Complaint::new(span, "is wrong".to_owned()).meant(meant);
        Mistakes::new(Path::new("/etc/x.toml"), text, vec![complaint]).shown(false).join("\n")
    }

    #[test]
    fn mistake_is_shown_with_its_line_and_a_mark_below_it() {
        let text = "[[router]]\nintervall = 1\n";
        assert_eq!(
            shown(text, 11..20, Some("interval")),
            "/etc/x.toml:2:1: is wrong; did you mean interval?\n  |\n2 | intervall = 1\n  | ^^^^^^^^^ did you mean interval?"
        );
    }

    #[test]
    fn mistake_can_be_at_the_end_of_a_file_and_over_several_lines() {
        assert!(shown("a", 1..1, None).starts_with("/etc/x.toml:1:2: "));
        assert!(shown("", 0..0, None).starts_with("/etc/x.toml:1:1: "));
        let several = shown("x = [\n1,\n2]\n", 4..12, None);
        assert!(several.contains("1 | x = [\n") && !several.contains("2]"), "{several}");
    }

    #[test]
    fn line_that_is_shown_commands_no_terminal() {
        let text = "x = '\u{1b}[2J\u{202e}'\n";
        let shown = shown(text, 0..1, None);
        assert!(shown.contains("1 | x = '?[2J?'"), "{shown}");
    }

    #[test]
    fn password_or_key_is_never_shown() {
        for line in [
            "auth = \"pw/sesame\"",
            "auth=\"sesame",
            "'auth' = 'ah/0xsesame'",
            "auht = \"sesame\"",
            "auth_pass = sesame",
            "password: sesame",
            "router = [{ vrid = 5, auth = \"pw/sesame\", priority = 5 }]",
            "# was pw/sesame",
            "x = \"\"\"\nsesame\n\"\"\"",
            "defaults.auth = \"sesame\"",
        ] {
            let text = format!("{line}\nvrid = 0\n");
            for at in 0..line.len() {
                let shown = shown(&text, at..at + 1, None);
                assert!(!shown.contains("sesame"), "{shown}");
            }
            assert_eq!(without_secrets(&text).len(), text.len());
            assert!(without_secrets(&text).ends_with("\nvrid = 0\n"), "{line}");
        }
        let open = "[[router]]\ninterface = \"eth0\" # or eth1\npriority = 150\n";
        assert_eq!(without_secrets(open), open);
    }

    #[test]
    fn equal_mistakes_are_reported_once_and_many_are_only_counted() {
        let one = |at: usize| Complaint::new(at..at, format!("{}", at / 2));
        let many = Mistakes::new(Path::new("x"), "", (0..80).chain(0..80).map(one).collect());
        assert_eq!(many.lines().len(), MAX_TOLD + 1);
        assert_eq!(many.lines().last().map(String::as_str), Some("x: 30 more mistakes"));
    }
}
