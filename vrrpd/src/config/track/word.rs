//! A check in words: `KIND=VALUE`, with a weight.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use vrrpd_common::Duration;
use vrrpd_engine::priority::Weight;
use vrrpd_engine::track::{
    CheckConfig, CheckKind, Command, HttpRequest, Polling, ProcessName, RoutePrefix, Rules, Tracked,
};

use crate::config::value::{self, Parsed, ValueError};
use crate::script;

/// Default interval of polling.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// The keys for the kinds of checks.
pub(super) const KINDS: [&str; 8] =
    ["process", "command", "interface", "file", "route", "tcp", "http", "ping"];

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
    pub(in crate::config) fn into_tracked(self) -> Tracked {
        let name = match self.of {
            TrackOf::Name(name) => name,
            TrackOf::Check(check) => check.name,
        };
        Tracked { name, weight: self.weight.unwrap_or(Weight::NONE), is_ignored: false }
    }
}

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

pub(super) fn name(text: &str) -> Parsed<String> {
    let is_legal = !text.is_empty() && !text.contains(|c: char| c == '=' || c == ',' || c.is_control());
    if is_legal { Ok(text.to_owned()) } else { Err(ValueError::TrackName(text.to_owned())) }
}

/// Parses the value of a check of this kind.
pub(super) fn kind_of(kind: &str, text: &str) -> Parsed<CheckKind> {
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

pub(super) fn command(words: Vec<String>, polling: Polling) -> Option<CheckKind> {
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
pub(super) fn check_program(check: &mut CheckConfig, directory: &Path) -> Result<(), String> {
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

/// The default weight of a check; the number in a file is multiplied by 1.
pub(super) fn default_weight(kind: &CheckKind) -> Weight {
    let of_file = Weight::new(1).unwrap_or(Weight::NONE);
    if matches!(kind, CheckKind::File(_)) { of_file } else { Weight::NONE }
}
