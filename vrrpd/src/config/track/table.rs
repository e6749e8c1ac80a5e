//! `[[track]]`

use std::ops::Range;
use std::path::Path;

use vrrpd_common::Duration;
use vrrpd_engine::priority::Weight;
use vrrpd_engine::track::{CheckConfig, CheckKind, Polling, Rules};

use super::word::{INTERVAL, KINDS, check_program, command, default_weight, kind_of, name, weight};
use crate::config::document::{Placed, Setting, Table};
use crate::config::foreign;
use crate::config::mistakes::Complaint;
use crate::config::value::{self, Parsed, ValueError};
use crate::nearest::nearest;

/// The shortest interval allowed.
const SHORTEST: Duration = Duration::from_millis(10);
/// Maximum of `rise` and `fall`.
const MAX_RESULTS: u32 = 1000;

/// The other keys of a `[[track]]` table.
const OTHERS: [&str; 16] = [
    "name",
    "weight",
    "interval",
    "timeout",
    "rise",
    "fall",
    "initially",
    "inverted",
    "down-delay",
    "up-delay",
    "quorum",
    "quorum-max",
    "user",
    "group",
    "status",
    "text",
];

/// A check of the file, with its default weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) check: CheckConfig,
    pub(super) weight: Weight,
}

/// Reads one `[[track]]` table.
pub(super) struct Reader<'a> {
    pub(super) table: &'a Table,
    pub(super) directory: &'a Path,
    pub(super) complaints: &'a mut Vec<Complaint>,
    /// Whether it has a key that is none.
    pub(super) has_unknown: bool,
}

impl<'a> Reader<'a> {
    /// The name, if given, and the check.
    pub(super) fn read(&mut self) -> (Option<(String, Range<usize>)>, Option<Declared>) {
        for (key, _) in &self.table.entries {
            let mut known = KINDS.iter().chain(&OTHERS).copied();
            if known.clone().any(|known| is_key(&key.value, known)) {
                continue;
            }
            self.has_unknown = true;
            let near = foreign::of_track(&key.value).or_else(|| nearest(&key.value, &mut known));
            let known = if near.is_some() {
                String::new()
            } else {
                format!("; a [[track]] has one of {} and {}", KINDS.join(", "), OTHERS.join(", "))
            };
            let message = format!("unknown key {:?}{known}", key.value);
            self.complaints.push(Complaint::new(key.span.clone(), message).meant(near));
        }
        let has_name = self.find("name").is_some();
        let said = self.value("name", name);
        let name = said.zip(self.find("name").map(|setting| setting.span.clone()));
        if !has_name {
            self.complain(self.table.span.clone(), "name: missing".to_owned());
        }
        let check = self.check(name.as_ref().map_or("", |(name, _)| name));
        (name, check)
    }

    fn check(&mut self, name: &str) -> Option<Declared> {
        let kinds: Vec<_> = KINDS.into_iter().filter(|kind| self.find(kind).is_some()).collect();
        let kind = match kinds[..] {
            [kind] => kind,
            // The key that seems to be missing may be the unknown one.
            [] if self.has_unknown => return None,
            [] => {
                let message = format!("nothing to check: one of {} is missing", KINDS.join(", "));
                self.complain(self.table.span.clone(), message);
                return None;
            }
            [first, second, ..] => {
                let span = self.key_span(second);
                self.complain(
                    span,
                    format!("{second}: cannot be combined with {first}: a [[track]] has one check"),
                );
                return None;
            }
        };
        let mut what = self.kind(kind)?;
        let rules = self.rules(kind);
        self.details(&mut what);
        let weight = self.value("weight", weight).unwrap_or_else(|| default_weight(&what));
        self.misplaced(kind);
        let mut check = CheckConfig { name: name.to_owned(), kind: what, rules };
        if let Err(error) = check_program(&mut check, self.directory) {
            let span = self.find(kind).map_or(self.table.span.clone(), |setting| setting.span.clone());
            self.complain(span, format!("{kind}: {error}"));
        }
        Some(Declared { check, weight })
    }

    fn kind(&mut self, kind: &'static str) -> Option<CheckKind> {
        let setting = self.find(kind)?;
        if let ("command", Setting::Many(words)) = (kind, &setting.value) {
            let texts: Option<Vec<_>> = words
                .iter()
                .map(|word| match &word.value {
                    Setting::One(text) => Some(text.clone()),
                    Setting::Many(_) | Setting::Table(_) | Setting::Other(_) => None,
                })
                .collect();
            let polling = Polling { interval: INTERVAL, timeout: INTERVAL };
            let command = texts.and_then(|words| command(words, polling));
            if command.is_none() {
                let message = "command: expected a list of strings, the program first".to_owned();
                self.complain(setting.span.clone(), message);
            }
            return command;
        }
        if kind == "command" {
            let message = "command: expected a list of strings: the program and each argument";
            self.complain(setting.span.clone(), message.to_owned());
            return None;
        }
        let directory = self.directory;
        self.value(kind, |text| match kind_of(kind, text)? {
            CheckKind::File(path) => Ok(CheckKind::File(directory.join(path))),
            other => Ok(other),
        })
    }

    fn rules(&mut self, kind: &str) -> Rules {
        let count = |text: &str| match text.parse() {
            Ok(count @ 1..=MAX_RESULTS) => Ok(count),
            Ok(_) | Err(_) => Err(ValueError::Results { text: text.to_owned(), most: MAX_RESULTS }),
        };
        let mut rules = Rules::default();
        rules.rise = self.value("rise", count).unwrap_or(rules.rise);
        rules.fall = self.value("fall", count).unwrap_or(rules.fall);
        rules.initially = self.value("initially", |text| {
            value::choice(text, "initial state", &[("failing", false), ("holding", true)])
        });
        rules.is_inverted = self.value("inverted", value::boolean).unwrap_or(false);
        rules.down_delay = self.value("down-delay", value::duration).unwrap_or(rules.down_delay);
        rules.up_delay = self.value("up-delay", value::duration).unwrap_or(rules.up_delay);
        if kind == "process" {
            let processes = |text: &str| text.parse().map_err(|_| ValueError::Processes(text.to_owned()));
            let least = self.value("quorum", processes);
            let most = self.value("quorum-max", processes).unwrap_or(u32::MAX);
            rules.quorum = (least.unwrap_or(most.min(1)), most);
            if rules.quorum.0 > rules.quorum.1 {
                let span = self.key_span("quorum-max");
                self.complain(span, "quorum-max: less than quorum".to_owned());
            }
        }
        rules
    }

    /// Reads the keys that this kind has in addition to its value.
    fn details(&mut self, kind: &mut CheckKind) {
        match kind {
            CheckKind::Command(command) => {
                command.polling = self.polling();
                command.user = self.value("user", text);
                command.group = self.value("group", text);
            }
            CheckKind::Http(request, polling) => {
                *polling = self.polling();
                request.status = self
                    .value("status", |text| match text.parse() {
                        Ok(status @ 100..=599) => Ok(Some(status)),
                        Ok(_) | Err(_) => Err(ValueError::Status(text.to_owned())),
                    })
                    .flatten();
                request.text = self.value("text", text);
            }
            CheckKind::Tcp(_, polling) | CheckKind::Ping(_, polling) => *polling = self.polling(),
            CheckKind::Process(_) | CheckKind::Interface(_) | CheckKind::File(_) | CheckKind::Route(_) => {}
        }
    }

    /// The timeout defaults to the interval.
    fn polling(&mut self) -> Polling {
        let span = |text: &str| {
            let span = value::duration(text)?;
            if span < SHORTEST { Err(ValueError::TooShort(text.to_owned())) } else { Ok(span) }
        };
        let interval = self.value("interval", span).unwrap_or(INTERVAL);
        Polling { interval, timeout: self.value("timeout", span).unwrap_or(interval) }
    }

    /// Reports keys that do not apply to this kind.
    fn misplaced(&mut self, kind: &str) {
        let is_polled = matches!(kind, "command" | "tcp" | "http" | "ping");
        for key in OTHERS {
            let (fits, kinds) = match key {
                "interval" | "timeout" | "rise" | "fall" => (is_polled, "command, tcp, http and ping"),
                "user" | "group" => (kind == "command", "command"),
                "quorum" | "quorum-max" => (kind == "process", "process"),
                "status" | "text" => (kind == "http", "http"),
                "initially" | "inverted" | "down-delay" | "up-delay" => {
                    (kind != "file", "all kinds but file")
                }
                _ => (true, ""),
            };
            if !fits && self.find(key).is_some() {
                let hint = if matches!(key, "rise" | "fall") { "; use down-delay and up-delay" } else { "" };
                self.complain(self.key_span(key), format!("{key}: not for {kind}, only for {kinds}{hint}"));
            }
        }
    }

    /// The value of a key, if valid.
    fn value<T>(&mut self, key: &str, read: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        let setting = self.find(key)?;
        let Setting::One(text) = &setting.value else {
            self.complain(setting.span.clone(), format!("{key}: expected one value"));
            return None;
        };
        match read(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.complain(setting.span.clone(), format!("{key}: {error}"));
                None
            }
        }
    }

    fn find(&self, key: &str) -> Option<&'a Placed<Setting>> {
        self.table.entries.iter().find(|(name, _)| is_key(&name.value, key)).map(|(_, setting)| setting)
    }

    fn key_span(&self, key: &str) -> Range<usize> {
        let entry = self.table.entries.iter().find(|(name, _)| is_key(&name.value, key));
        entry.map_or_else(|| self.table.span.clone(), |(name, _)| name.span.clone())
    }

    fn complain(&mut self, span: Range<usize>, message: String) {
        self.complaints.push(Complaint::new(span, message));
    }
}

/// Whether this is the key; an underscore may replace a hyphen.
fn is_key(written: &str, key: &str) -> bool {
    written.replace('_', "-") == key
}

fn text(text: &str) -> Parsed<String> {
    if text.is_empty() { Err(ValueError::Empty) } else { Ok(text.to_owned()) }
}
