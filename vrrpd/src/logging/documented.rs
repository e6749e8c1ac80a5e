//! docs/events.md lists every log event of the code with its level and fields, and every reason, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::str::Chars;

use vrrpd_common::Reject;
use vrrpd_common::router::Reason;

/// The logging macros.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Names of an event's fields, by its text and level.
type Events = BTreeMap<(String, String), BTreeSet<String>>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A name, keyword or number.
    Word(String),
    /// The value of a string literal.
    Text(String),
    Sign(char),
}

/// The tokens of a source, without comments and character literals.
fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            '/' if rest.peek() == Some(&'/') => for _ in rest.by_ref().take_while(|next| *next != '\n') {},
            '"' => tokens.push(Token::Text(text(&mut rest))),
            '\'' => skip_character(&mut rest),
            _ if is_of_word(first) => {
                let mut word = String::from(first);
                while let Some(next) = rest.next_if(|next| is_of_word(*next)) {
                    word.push(next);
                }
                tokens.push(raw_text(&word, &mut rest).map_or(Token::Word(word), Token::Text));
            }
            _ if first.is_whitespace() => {}
            _ => tokens.push(Token::Sign(first)),
        }
    }
    tokens
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The value of a string literal after its opening quotation mark. A backslash at the end of a line joins lines.
fn text(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(next) = rest.next() {
        match next {
            '"' => break,
            '\\' => match rest.next() {
                Some('\n') => while rest.next_if(|next| next.is_whitespace()).is_some() {},
                escaped => text.extend(escaped),
            },
            _ => text.push(next),
        }
    }
    text
}

/// The value of a raw string literal after its prefix; `None` if the word is something else.
fn raw_text(prefix: &str, rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut ahead = rest.clone();
    let mut end = String::from('"');
    while ahead.next_if_eq(&'#').is_some() {
        end.push('#');
    }
    if !["r", "br"].contains(&prefix) || ahead.next() != Some('"') {
        return None;
    }
    let mut text = String::new();
    while !text.ends_with(&end) {
        text.push(ahead.next()?);
    }
    *rest = ahead;
    text.strip_suffix(&end).map(str::to_owned)
}

/// Skips a character literal after its opening quotation mark; a lifetime has no closing one.
fn skip_character(rest: &mut Peekable<Chars<'_>>) {
    let mut ahead = rest.clone();
    match (ahead.next(), ahead.next()) {
        // An escape may be a quotation mark.
        (Some('\\'), Some(_)) => {
            for _ in ahead.by_ref().take_while(|next| *next != '\'') {}
            *rest = ahead;
        }
        (Some(_), Some('\'')) => *rest = ahead,
        _ => {}
    }
}

/// The arguments of a macro, from its first tokens.
fn arguments(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        let ends = match token {
            Token::Sign('(' | '[' | '{') => {
                depth += 1;
                false
            }
            Token::Sign(')' | ']' | '}') => {
                depth -= 1;
                depth < 0
            }
            Token::Sign(',') => depth == 0,
            Token::Sign(_) | Token::Word(_) | Token::Text(_) => false,
        };
        if ends {
            found.extend(tokens.get(start..at));
            start = at + 1;
        }
        if depth < 0 {
            break;
        }
    }
    found
}

/// Adds the events of a source.
fn add_logged(source: &str, events: &mut Events) {
    let tokens = tokens(source);
    let mut rest = tokens.as_slice();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let (Token::Word(level), [Token::Sign('!'), Token::Sign('('), inner @ ..]) = (first, behind) else {
            continue;
        };
        if !LEVELS.contains(&level.as_str()) {
            continue;
        }
        let mut fields = BTreeSet::new();
        let mut words = None;
        for argument in arguments(inner) {
            match argument {
                [Token::Text(event), ..] => {
                    words = Some(event.clone());
                    break;
                }
                [Token::Word(_), Token::Sign(':'), ..] => {}
                _ => fields.extend(argument.iter().find_map(|token| match token {
                    Token::Word(name) => Some(name.clone()),
                    Token::Sign(_) | Token::Text(_) => None,
                })),
            }
        }
        let words = words.expect("an event has words");
        events.entry((words, level.clone())).or_default().extend(fields);
    }
}

/// Adds the Rust files in a directory, recursively.
fn add_sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("it is a directory") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            add_sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the tables in a chapter of the document: their cells, without backquotes.
fn rows(chapter: &str) -> Vec<Vec<String>> {
    let document = fs::read_to_string(root().join("../docs/events.md")).expect("there is a document");
    let mut chapters = document.split("\n## ");
    let text = chapters.find_map(|text| text.strip_prefix(chapter)).expect("there is this chapter");
    let lines = text.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    lines.map(|line| line.split('|').map(|cell| cell.trim().replace('`', "")).collect()).collect()
}

/// The first cells of the rows.
fn names(chapter: &str) -> BTreeSet<String> {
    rows(chapter).into_iter().filter_map(|row| row.into_iter().next()).collect()
}

#[test]
fn document_has_every_event_of_the_code_with_its_level_and_fields_and_no_other() {
    let mut documented = Events::new();
    for row in rows("Log events") {
        let [words, level, fields, _] = row.as_slice() else { unreachable!("{row:?} has four cells") };
        let fields = fields.split_whitespace().map(str::to_owned).collect();
        let twice = documented.insert((words.clone(), level.clone()), fields);
        assert_eq!(twice, None, "{words} is there once for each level");
    }
    let (mut sources, mut logged) = (Vec::new(), Events::new());
    add_sources(&root().join("src"), &mut sources);
    for source in sources {
        add_logged(&fs::read_to_string(source).expect("it can be read"), &mut logged);
    }
    assert!(logged.len() > 100, "{} events were found", logged.len());
    let undocumented: Vec<_> = logged.iter().filter(|(event, _)| !documented.contains_key(*event)).collect();
    let outdated: Vec<_> = documented.keys().filter(|event| !logged.contains_key(*event)).collect();
    assert!(
        undocumented.is_empty() && outdated.is_empty(),
        "not in docs/events.md: {undocumented:#?}; not in the code: {outdated:#?}"
    );
    for (event, fields) in &logged {
        assert_eq!(documented.get(event), Some(fields), "docs/events.md and code: fields of {event:?}");
    }
}

#[test]
fn document_has_every_reason_and_no_other() {
    let transitions: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name().to_owned()).collect();
    assert_eq!(names("Transition reasons"), transitions);
    let rejects: BTreeSet<_> = Reject::ALL.iter().map(|reject| reject.name().to_owned()).collect();
    assert_eq!(names("Reject reasons"), rejects);
}

#[test]
fn events_are_found_however_they_are_written() {
    let mut found = Events::new();
    add_logged(
        r##"
        // warn!("a comment");
        fn quoted<'a>(quote: char) -> &'a str { if quote == '"' || quote == '\'' { "info!(x)" } else { r#"warn!("raw")"# } }
        error!(router = %name(a, [b, "c"]), ?limit, "event \
               on two lines {} and {x}", other, y = 1);
        tracing::debug!(
            target: "vrrpd::kernel", line = %record.args(), reason = "text",
            "text \"quoted\""
        );
        Err(_) => info!("without fields"),
        info!(more, "without fields"),
        "##,
        &mut found,
    );
    let expected = [
        ("event on two lines {} and {x}", "error", &["router", "limit"][..]),
        ("text \"quoted\"", "debug", &["line", "reason"]),
        ("without fields", "info", &["more"]),
    ];
    let expected: Events = expected
        .into_iter()
        .map(|(words, level, fields)| {
            let fields = fields.iter().map(|field| (*field).to_owned()).collect();
            ((words.to_owned(), level.to_owned()), fields)
        })
        .collect();
    assert_eq!(found, expected);
}
