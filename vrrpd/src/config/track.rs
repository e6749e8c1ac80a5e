//! Checks: the `track` option of a router, which names a `[[track]]` table or gives a check inline.

mod table;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use vrrpd_common::Duration;
use vrrpd_engine::priority::Weight;
use vrrpd_engine::track::{
    CheckConfig, CheckKind, Command, HttpRequest, Polling, ProcessName, RoutePrefix, Rules, Tracked,
};

use super::document::{Placed, Setting, Table};
use super::mistakes::Complaint;
use super::value::{self, Parsed, ValueError};
use crate::nearest::{list, nearest};
use crate::script;

/// Default interval of polling.
const INTERVAL: Duration = Duration::from_secs(1);
/// The keys for the kinds of checks.
const KINDS: [&str; 8] = ["process", "command", "interface", "file", "route", "tcp", "http", "ping"];
/// A value of `track`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// The check.
    pub of: TrackOf,
    /// Overrides the weight of the check.
    pub weight: Option<Weight>,
}

/// The check of a `track` value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackOf {
    /// The `[[track]]` with this name.
    Name(String),
    /// A check given inline.
    Check(Box<CheckConfig>),
}

impl Track {
    /// The program of an inline command, if it is a path.
    pub fn program_mut(&mut self) -> Option<&mut PathBuf> {
        match &mut self.of {
            TrackOf::Check(check) => match &mut check.kind {
                CheckKind::Command(command) if !script::is_bare(&command.program) => {
                    Some(&mut command.program)
                }
                _ => None,
            },
            TrackOf::Name(_) => None,
        }
    }

    /// The name of the check, with its weight if given here. The weight in `[[track]]` is applied by
    /// [`Declarations::resolve`].
    pub(super) fn into_tracked(self) -> Tracked {
        let name = match self.of {
            TrackOf::Name(name) => name,
            TrackOf::Check(check) => check.name,
        };
        Tracked { name, weight: self.weight.unwrap_or(Weight::NONE), is_ignored: false }
    }
}

/// A check of the file, with its default weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) check: CheckConfig,
    weight: Weight,
}

/// The checks of a configuration by name; `None` for one with a mistake.
#[derive(Debug, Default)]
pub(super) struct Declarations(BTreeMap<String, Option<Declared>>);

/// Parses `NAME` or `KIND=VALUE`, optionally with `,weight=N`.
pub fn word(text: &str) -> Parsed<Track> {
    let (what, weight) = match text.rsplit_once(",weight=") {
        Some((what, number)) => (what, Some(weight(number)?)),
        None => (text, None),
    };
    let of = match what.split_once('=') {
        None => TrackOf::Name(name(what)?),
        Some((kind, value)) => {
            let kind = kind_of(kind, value)?;
            TrackOf::Check(Box::new(CheckConfig { name: what.to_owned(), kind, rules: Rules::default() }))
        }
    };
    Ok(Track { of, weight })
}

/// −254 to 254.
pub fn weight(text: &str) -> Parsed<Weight> {
    text.parse().ok().and_then(Weight::new).ok_or_else(|| ValueError::Weight(text.to_owned()))
}

fn name(text: &str) -> Parsed<String> {
    let is_legal = !text.is_empty() && !text.contains(|c: char| c == '=' || c == ',' || c.is_control());
    if is_legal { Ok(text.to_owned()) } else { Err(ValueError::TrackName(text.to_owned())) }
}

/// Parses the value of a check of this kind.
fn kind_of(kind: &str, text: &str) -> Parsed<CheckKind> {
    let polling = Polling { interval: INTERVAL, timeout: INTERVAL };
    let wrong = |expected| ValueError::Track { text: text.to_owned(), expected };
    match kind {
        "process" => ProcessName::new(text)
            .map(CheckKind::Process)
            .ok_or_else(|| wrong("the name of a process, such as haproxy")),
        "command" => {
            let words = shlex::split(text).ok_or_else(|| wrong("a program and its arguments"))?;
            command(words, polling).ok_or_else(|| wrong("a program and its arguments"))
        }
        "interface" => value::interface(text).map(CheckKind::Interface),
        "file" => {
            if text.is_empty() {
                return Err(wrong("the path of a file"));
            }
            Ok(CheckKind::File(PathBuf::from(text)))
        }
        "route" => route(text).map(CheckKind::Route).ok_or_else(|| wrong("a prefix, such as 0.0.0.0/0")),
        "tcp" => text
            .parse()
            .map(|server| CheckKind::Tcp(server, polling))
            .map_err(|_| wrong("an address and a port, such as 127.0.0.1:443 or [::1]:443")),
        "http" => http(text)
            .map(|request| CheckKind::Http(request, polling))
            .ok_or_else(|| wrong("http:// with an address, such as http://127.0.0.1:8080/health")),
        "ping" => text
            .parse()
            .map(|host| CheckKind::Ping(host, polling))
            .map_err(|_| wrong("an address, such as 10.0.0.254")),
        other => Err(ValueError::TrackKind { text: other.to_owned(), kinds: &KINDS }),
    }
}

fn command(words: Vec<String>, polling: Polling) -> Option<CheckKind> {
    let mut words = words.into_iter();
    let program = words.next().filter(|program| !program.is_empty())?;
    let arguments = words.collect();
    let program = PathBuf::from(program);
    Some(CheckKind::Command(Command { program, arguments, user: None, group: None, polling }))
}

/// A prefix; host bits are cleared.
fn route(text: &str) -> Option<RoutePrefix> {
    let (address, len) = text.split_once('/')?;
    let (address, len): (IpAddr, u8) = (address.parse().ok()?, len.parse().ok()?);
    let (bits, width) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let host_bits = u32::checked_sub(width, len.into())?;
    let is_network = host_bits >= 128 && bits == 0 || host_bits < 128 && bits & ((1 << host_bits) - 1) == 0;
    is_network.then_some(RoutePrefix { address, len })
}

/// `http://ADDRESS[:PORT][/PATH]`.
fn http(text: &str) -> Option<HttpRequest> {
    let rest = text.strip_prefix("http://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let server = host.parse::<SocketAddr>().ok().or_else(|| {
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(SocketAddr::new(address.parse().ok()?, 80))
    })?;
    if path.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return None;
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some(HttpRequest { server, host: host.to_owned(), path, status: None, text: None })
}

/// Resolves the program of a command, starting from `directory`, and checks whether it may be run.
fn check_program(check: &mut CheckConfig, directory: &Path) -> Result<(), String> {
    if let CheckKind::Command(command) = &mut check.kind {
        command.program = script::place(&command.program, directory);
        let program = script::find(&command.program).map_err(|error| error.to_string())?;
        script::check(&program).map_err(|error| error.to_string())?;
        if let Some(user) = script::user_of(command) {
            script::identify(&user).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

impl Declarations {
    /// Reads the tables of a file.
    pub(super) fn read(tables: &[Table], directory: &Path, complaints: &mut Vec<Complaint>) -> Self {
        let mut declarations = Self::default();
        for table in tables {
            let before = complaints.len();
            let mut reader = table::Reader { table, directory, complaints, has_unknown: false };
            let (said, declared) = reader.read();
            let declared = declared.filter(|_| complaints.len() == before);
            let Some((name, span)) = said else { continue };
            if declarations.0.contains_key(&name) {
                complaints.push(Complaint::new(span, format!("duplicate name of a [[track]]: {name:?}")));
            }
            declarations.0.insert(name, declared);
        }
        declarations
    }

    /// All valid checks.
    pub(super) fn checks(&self) -> Vec<CheckConfig> {
        self.0.values().flatten().map(|declared| declared.check.clone()).collect()
    }

    /// The checks of a router, and those among them that are given inline. `span` is the position of each.
    pub(super) fn resolve(
        &self,
        words: &[Track],
        directory: &Path,
        span: impl Fn(usize) -> Range<usize>,
        complaints: &mut Vec<Complaint>,
    ) -> (Vec<Tracked>, Vec<CheckConfig>) {
        let (mut tracked, mut checks) = (Vec::<Tracked>::new(), Vec::new());
        for (index, Track { of, weight }) in words.iter().enumerate() {
            let mut complain = |message: String| {
                complaints.push(Complaint::new(span(index), format!("track: {message}")));
            };
            let (name, weight_of_check) = match of {
                TrackOf::Name(name) => match self.0.get(name) {
                    Some(Some(declared)) => (name.clone(), declared.weight),
                    Some(None) => continue,
                    None => {
                        let names = self.0.keys().map(String::as_str);
                        let near = nearest(name, names.clone());
                        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                        let right = "; add one, or give the check inline, such as process=haproxy";
                        let hint = if hint.is_empty() { right } else { &hint };
                        complain(format!("no [[track]] named {name:?} ({}){hint}", list("there are", names)));
                        continue;
                    }
                },
                TrackOf::Check(check) => {
                    let mut check = CheckConfig::clone(check);
                    if let Err(error) = check_program(&mut check, directory) {
                        complain(error);
                    }
                    let of_kind = default_weight(&check.kind);
                    let name = check.name.clone();
                    checks.push(check);
                    (name, of_kind)
                }
            };
            if tracked.iter().any(|other| other.name == name) {
                complain(format!("{name:?} twice"));
                continue;
            }
            tracked.push(Tracked { name, weight: weight.unwrap_or(weight_of_check), is_ignored: false });
        }
        (tracked, checks)
    }
}

/// The checks of a router on the command line, with absolute paths of commands. The error names the wrong one.
pub fn on_command_line(words: &[Track]) -> Result<(Vec<Tracked>, Vec<CheckConfig>), String> {
    if let Some(name) = words.iter().find_map(|track| match &track.of {
        TrackOf::Name(name) => Some(name),
        TrackOf::Check(_) => None,
    }) {
        return Err(ValueError::TrackKind { text: name.clone(), kinds: &KINDS }.to_string());
    }
    let mut complaints = Vec::new();
    let resolved = Declarations::default().resolve(words, Path::new("/"), |_| 0..0, &mut complaints);
    match complaints.into_iter().next() {
        None => Ok(resolved),
        Some(complaint) => {
            let message = complaint.message;
            Err(message.strip_prefix("track: ").map(str::to_owned).unwrap_or(message))
        }
    }
}

/// Adds checks that are not in the list yet.
pub(super) fn add(checks: &mut Vec<CheckConfig>, more: Vec<CheckConfig>) {
    for check in more {
        if checks.iter().all(|known| known.name != check.name) {
            checks.push(check);
        }
    }
}

/// Reads the value of `track`: a list of strings, or of tables with a name and weight, with positions.
pub(super) fn read_list(
    setting: &Placed<Setting>,
    complaints: &mut Vec<Complaint>,
) -> Vec<(Track, Range<usize>)> {
    let mut complain = |span: &Range<usize>, message: String| {
        complaints.push(Complaint::new(span.clone(), format!("track: {message}")));
    };
    let items = match &setting.value {
        Setting::Many(items) => &items[..],
        Setting::One(_) | Setting::Table(_) => std::slice::from_ref(setting),
        Setting::Other(kind) => {
            complain(&setting.span, format!("expected a list, not {kind}"));
            &[]
        }
    };
    let mut tracks = Vec::with_capacity(items.len());
    for item in items {
        let track = match &item.value {
            Setting::One(text) => word(text).map_err(|error| complain(&item.span, error.to_string())).ok(),
            Setting::Table(table) => in_table(table, &mut complain),
            Setting::Many(_) | Setting::Other(_) => {
                complain(&item.span, "expected a name, or a table with name and weight".to_owned());
                None
            }
        };
        tracks.extend(track.map(|track| (track, item.span.clone())));
    }
    tracks
}

/// `{ name = "uplink", weight = -30 }`
fn in_table(table: &Table, complain: &mut impl FnMut(&Range<usize>, String)) -> Option<Track> {
    const KEYS: [&str; 2] = ["name", "weight"];
    let (mut track, mut weight_said, mut is_right) = (None, None, true);
    for (key, setting) in &table.entries {
        let result = match (key.value.as_str(), &setting.value) {
            ("name", Setting::One(text)) => word(text).map(|word| track = Some(word)),
            ("weight", Setting::One(text)) => weight(text).map(|weight| weight_said = Some(weight)),
            ("name" | "weight", _) => Err(ValueError::Empty),
            (other, _) => {
                let hint =
                    nearest(other, KEYS).map_or_else(String::new, |near| format!("; did you mean {near}?"));
                complain(&key.span, format!("unknown key {other:?}; expected name and weight{hint}"));
                is_right = false;
                continue;
            }
        };
        if let Err(error) = result {
            complain(&setting.span, format!("{}: {error}", key.value));
            is_right = false;
        }
    }
    if track.is_none() && is_right {
        complain(&table.span, "name: missing".to_owned());
    }
    track.map(|track| Track { weight: weight_said.or(track.weight), ..track })
}

/// The default weight of a check; the number in a file is multiplied by 1.
fn default_weight(kind: &CheckKind) -> Weight {
    let of_file = Weight::new(1).unwrap_or(Weight::NONE);
    if matches!(kind, CheckKind::File(_)) { of_file } else { Weight::NONE }
}
