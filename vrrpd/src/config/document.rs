//! The TOML of a configuration file, with the position of each key and value. Invalid parts are reported, and the rest
//! is still read.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::foreign;
use super::mistakes::Complaint;
use crate::nearest::nearest;

/// A value with its position in the file, in octets.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// The value of a key. Scalars have the text that the command line would have.
#[derive(Clone, Debug)]
pub(super) enum Setting {
    One(String),
    Many(Vec<Placed<Self>>),
    /// An inline table.
    Table(Table),
    /// A TOML type that no key accepts, by name.
    Other(&'static str),
}

/// A table with its keys in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) entries: Vec<(Placed<String>, Placed<Setting>)>,
    pub(super) span: Range<usize>,
}

/// The tables of a file.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) defaults: Option<Table>,
    pub(super) routers: Vec<Table>,
    pub(super) groups: Vec<Table>,
    pub(super) tracks: Vec<Table>,
    /// Whether the whole file was valid TOML. Otherwise something that seems to be missing may be in an invalid part.
    pub(super) is_whole: bool,
}

/// Maximum number of invalid places that are reported.
const MAX_ERRORS: usize = 50;

/// Known table headers.
const TABLES: [&str; 4] = ["defaults", "router", "group", "track"];

/// Parses a text, and reports what has no place in it.
pub(super) fn read(text: &str, complaints: &mut Vec<Complaint>) -> Document {
    if let Some(span) = foreign::keepalived_conf(text) {
        let message = "this is a configuration of keepalived: vrrpd --import FILE translates it".to_owned();
        complaints.push(Complaint::new(span, message));
        return Document::default();
    }
    let before = complaints.len();
    let Some(toml) = only_toml(text, complaints) else { return Document::default() };
    let (tree, _) = DeTable::parse_recoverable(&toml);
    let mut document = Document { is_whole: complaints.len() == before, ..Document::default() };
    let mut entries: Vec<_> = tree.get_ref().iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in entries {
        let (span, header) = (name.span(), &**name.get_ref());
        match (header, value.get_ref()) {
            ("defaults", DeValue::Table(table)) => document.defaults = Some(read_table(table, value.span())),
            ("router", DeValue::Array(tables)) => document.routers = read_tables(tables, complaints),
            ("group", DeValue::Array(tables)) => document.groups = read_tables(tables, complaints),
            ("track", DeValue::Array(tables)) => document.tracks = read_tables(tables, complaints),
            ("defaults", _) => {
                let message = "write [defaults] with single brackets: the table exists once";
                complaints.push(Complaint::new(header_span(text, span), message.to_owned()));
            }
            ("router" | "group" | "track", _) => {
                let message = format!("write [[{header}]] with double brackets: there can be several");
                complaints.push(Complaint::new(header_span(text, span), message));
            }
            _ => {
                let message = format!("unknown table or key {header:?}; a file has {}", TABLES.join(", "));
                complaints.push(Complaint::new(span, message).meant(nearest(header, TABLES)));
            }
        }
    }
    document
}

/// The text with invalid TOML replaced by blanks and reported, so that the rest can be parsed at its positions: a line,
/// a value with its key, or a header with its whole table. `None` if the rest is still invalid.
fn only_toml<'a>(text: &'a str, complaints: &mut Vec<Complaint>) -> Option<Cow<'a, str>> {
    let mut toml = Cow::Borrowed(text);
    // The end of the last error. An error right after it belongs to the same mistake.
    let mut last = None;
    for _ in 0..MAX_ERRORS {
        let (_, errors) = DeTable::parse_recoverable(&toml);
        let Some(error) = errors.into_iter().min_by_key(|error| error.span().map_or(0, |span| span.start))
        else {
            return Some(toml);
        };
        let span = error.span().unwrap_or_default();
        let wrong = wrong_lines(&toml, span.start, error.message());
        let is_rest = last == Some(wrong.start) && !toml[wrong.clone()].contains('=');
        if !is_rest {
            complaints.push(Complaint::new(span.clone(), explained(&toml, span, error.message())));
        }
        let blank: String =
            toml[wrong.clone()].bytes().map(|octet| if octet == b'\n' { '\n' } else { ' ' }).collect();
        if blank == toml[wrong.clone()] {
            return None;
        }
        last = Some(wrong.end + 1);
        toml.to_mut().replace_range(wrong, &blank);
    }
    None
}

/// An error of TOML, with the key that it is about and what would be right. The value may be a secret.
fn explained(text: &str, span: Range<usize>, message: &str) -> String {
    let at = text.floor_char_boundary(span.start);
    let begin = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    let line = text[begin..end].trim();
    let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
        let is_header = line.starts_with('[');
        return if is_header || line.is_empty() {
            message.to_owned()
        } else {
            format!("{message}; a line is KEY = VALUE")
        };
    };
    let is_bare = value.starts_with(|first: char| first.is_alphanumeric() || "/-_.".contains(first));
    if message.contains("duplicate") {
        format!("duplicate key {key}")
    } else if is_bare && at >= begin + key.len() && !key.starts_with('#') {
        format!("{key}: expected a number, true, false, or a string in quotes")
    } else {
        format!("{key}: {message}")
    }
}

/// The lines to blank out for an error at an octet.
fn wrong_lines(text: &str, at: usize, message: &str) -> Range<usize> {
    let begin = |at: usize| text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = |from: usize| text[from..].find('\n').map_or(text.len(), |newline| from + newline);
    let mut from = begin(text.floor_char_boundary(at));
    let mut to = end(from);
    let line = &text[from..to];
    let has_key = line.contains('=');
    if line.trim_start().starts_with('[') && !has_key {
        while to < text.len() && !text[to + 1..].trim_start_matches([' ', '\t']).starts_with('[') {
            to = end(to + 1);
        }
    } else if (!has_key || message.contains("array"))
        && let Some(above) = text[..from].rfind('=')
    {
        // The error is in an array that began above and may lack its end.
        if has_key {
            to = from.saturating_sub(1);
        }
        from = begin(above);
    }
    from..to
}

/// Extends the span of a name to the brackets of its header, if any.
fn header_span(text: &str, name: Range<usize>) -> Range<usize> {
    let before = text.get(..name.start).unwrap_or_default();
    before.trim_end_matches(['[', ' ', '\t']).len()..name.end
}

fn read_tables(tables: &[Spanned<DeValue<'_>>], complaints: &mut Vec<Complaint>) -> Vec<Table> {
    let mut read = Vec::with_capacity(tables.len());
    for table in tables {
        match table.get_ref() {
            DeValue::Table(entries) => read.push(read_table(entries, table.span())),
            other => {
                let message = format!("expected a table, got {}", kind(other));
                complaints.push(Complaint::new(table.span(), message));
            }
        }
    }
    read
}

fn read_table(table: &DeTable<'_>, span: Range<usize>) -> Table {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(name, value)| {
            let name = Placed { value: name.get_ref().to_string(), span: name.span() };
            (name, setting(value))
        })
        .collect();
    entries.sort_by_key(|(name, _)| name.span.start);
    Table { entries, span }
}

fn setting(value: &Spanned<DeValue<'_>>) -> Placed<Setting> {
    let setting = match value.get_ref() {
        DeValue::String(text) => Setting::One(text.to_string()),
        DeValue::Boolean(value) => Setting::One(value.to_string()),
        DeValue::Integer(number) => {
            let value = i64::from_str_radix(number.as_str(), number.radix());
            Setting::One(value.map_or_else(|_| number.to_string(), |value| value.to_string()))
        }
        DeValue::Float(number) => {
            let value = number.as_str().parse::<f64>();
            Setting::One(value.map_or_else(|_| number.as_str().to_owned(), |value| value.to_string()))
        }
        DeValue::Array(settings) => Setting::Many(settings.iter().map(setting).collect()),
        DeValue::Table(table) => Setting::Table(read_table(table, value.span())),
        other @ DeValue::Datetime(_) => Setting::Other(kind(other)),
    };
    Placed { value: setting, span: value.span() }
}

/// The TOML type of a value, with its article.
const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
