//! The client `atropos`: shows and changes the state of the virtual routers of this machine.

mod hangup;
mod record;
mod survey;
mod watch;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use clap::{ArgGroup, Parser};
use survey::{may_serve, no_answer, sockets_for};
use vrrpd::config::value;
use vrrpd::control::{Change, Reply, Request, Selector, client};
use vrrpd::printable::printable;
use vrrpd::render;
use vrrpd::report::{RouterReport, SilentReport};
use vrrpd::router_name::{NameError, RouterName, UnknownRouter};
use vrrpd::rundir;

/// Shows and changes the state of the virtual routers of this machine. Needs root, except for --replay.
#[derive(Debug, Parser)]
#[command(
    name = "atropos",
    version,
    arg_required_else_help = true,
    override_usage = "atropos --state [--json | --watch] [ROUTER... | -i IF -v VRID] [-f DIR]\n       \
        atropos --backup | --master | --reduce | --increase [ROUTER... | -i IF -v VRID] [-f DIR]\n       \
        atropos --stats | --events | --watch [ROUTER... | -i IF -v VRID] [-f DIR]\n       \
        atropos --record FILE [ROUTER... | -i IF -v VRID] [-f DIR]\n       \
        atropos --replay FILE",
    group = ArgGroup::new("what").required(true).multiple(true)
        .args(["state", "backup", "master", "reduce", "increase", "stats", "events", "record", "replay", "watch"]),
    after_help = "Exit status: 0 every selected router answered, 1 at least one did not, 2 an option is wrong, \
        3 no such router. A closed output or terminal ends atropos with 0."
)]
struct Cli {
    #[command(flatten)]
    action: Action,

    /// Show a live view; also with --state
    #[arg(long, conflicts_with_all = ["backup", "master", "reduce", "increase", "stats", "events", "record", "replay"])]
    watch: bool,

    /// Only these routers, named as --state shows them: eth0/51, or eth0/51-ipv6
    #[arg(value_name = "ROUTER", value_parser = router_name, conflicts_with_all = ["interface", "vrid"])]
    routers: Vec<String>,

    /// Only the routers on this interface
    #[arg(short = 'i', value_name = "IF")]
    interface: Option<String>,

    /// Only the routers with this VRID
    #[arg(short = 'v', value_name = "VRID", value_parser = clap::value_parser!(u8).range(1..))]
    vrid: Option<u8>,

    /// With --state: print a JSON array
    #[arg(long, requires = "state", conflicts_with_all = ["backup", "master", "reduce", "increase", "stats", "events", "record"])]
    json: bool,

    /// Directory of the control sockets
    #[arg(short = 'f', value_name = "DIR", help = "Directory of the control sockets [default: /run/vrrpd]")]
    directory: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Action {
    /// Show the state of each router
    #[arg(long)]
    state: bool,

    /// Go to backup and stay there while another master is heard, also one of lower priority
    #[arg(long)]
    backup: bool,

    /// End --backup, and take over if the priority allows it
    #[arg(long)]
    master: bool,

    /// Reduce the priority by 10, or to the value of vrrpd -z
    #[arg(long)]
    reduce: bool,

    /// Increase the priority by 10, or to the value of vrrpd -x
    #[arg(long)]
    increase: bool,

    /// Show all counters
    #[arg(long)]
    stats: bool,

    /// Print each transition as it happens, one JSON object a line
    #[arg(long)]
    events: bool,

    /// Write to FILE what happened to each router around its last 16 transitions, for --replay
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// Print what a FILE of --record holds and what the daemon decided; on any machine, by any user. Exit status: 0, or 2 if
    /// FILE cannot be read or is damaged
    #[arg(long, value_name = "FILE", conflicts_with_all = ["routers", "interface", "vrid", "directory"])]
    replay: Option<PathBuf>,
}

const NOT_EVERY_ONE: u8 = 1;
const USAGE: u8 = 2;
const NONE: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(file) = &cli.action.replay {
        return ExitCode::from(record::replay(file));
    }
    let dir = cli.directory.clone().unwrap_or_else(default_directory);
    let selector = cli.selector();
    if cli.watch && cli.json {
        eprintln!("atropos: --json: cannot be combined with --watch; --events prints JSON as it happens");
        return ExitCode::from(USAGE);
    }
    if cli.watch {
        return watch::run(&dir, &selector);
    }
    // Changes are made despite a silent daemon.
    let only_reads = cli.action.state || cli.action.stats || cli.action.events;
    if only_reads && let Err(error) = hangup::end_with_reader() {
        eprintln!("atropos: cannot watch standard output: {error}");
        return ExitCode::from(NOT_EVERY_ONE);
    }
    let sockets = match sockets_for(&dir, &selector) {
        Ok(sockets) => sockets,
        Err(error) => {
            complain(&dir, &no_answer(&error));
            return ExitCode::from(NOT_EVERY_ONE);
        }
    };
    let code = match &cli.action.record {
        Some(file) => record::write(&cli, &sockets, file),
        None if cli.action.events => follow(&cli, &sockets),
        None => ask(&cli, &sockets),
    };
    if code == NONE && cli.routers.is_empty() {
        let is_any_there = client::sockets(&dir).is_ok_and(|all| !all.is_empty());
        // Nothing was found in the default directory either.
        let usual = cli.directory.as_deref().unwrap_or(Path::new(rundir::DEFAULT));
        let dir = if is_any_there { &dir } else { usual };
        eprintln!(
            "atropos: no virtual router {}in {}",
            if is_any_there { "chosen " } else { "" },
            dir.display()
        );
    }
    ExitCode::from(code)
}

/// The canonical name of a router, or its configured name.
fn router_name(text: &str) -> Result<String, NameError> {
    match RouterName::parse(text) {
        Ok(name) => Ok(name.to_string()),
        Err(_) if value::title(text).is_ok() => Ok(text.to_owned()),
        Err(error) => Err(error),
    }
}

/// All names of a router.
fn names(router: &RouterReport) -> [String; 2] {
    [router.name().to_string(), router.name.clone()]
}

impl Cli {
    /// The selected routers.
    fn selector(&self) -> Selector {
        Selector { interface: self.interface.clone(), vrid: self.vrid, routers: self.routers.clone() }
    }

    fn directory(&self) -> PathBuf {
        self.directory.clone().unwrap_or_else(default_directory)
    }

    /// Prints an error for each named router that was not found, unless a silent daemon may have it. Returns whether
    /// there is such a router.
    fn complain_of_unknown(&self, found: &[String], silent: &[&Path]) -> bool {
        let is_unknown = |name: &&String| {
            let this = Selector { routers: vec![(*name).clone()], ..Selector::default() };
            !found.contains(*name) && !silent.iter().any(|socket| may_serve(socket, &this))
        };
        let unknown: Vec<_> = self.routers.iter().filter(is_unknown).collect();
        if unknown.is_empty() {
            return false;
        }
        // A silent daemon was reported already.
        let sockets = client::sockets(&self.directory()).unwrap_or_default();
        let others = sockets.iter().filter(|socket| !silent.contains(&socket.as_path()));
        let mut known: Vec<_> =
            others.filter_map(|socket| names_at(socket, Selector::default())).flatten().collect();
        known.retain(|name| !name.is_empty());
        known.dedup();
        for name in unknown {
            eprintln!("atropos: {}", UnknownRouter::new(name, &known));
        }
        true
    }
}

/// The names of the routers of a daemon that match; `None` if it does not answer.
fn names_at(socket: &Path, selector: Selector) -> Option<Vec<String>> {
    match client::ask(socket, &Request::State(selector)) {
        Ok(Reply::State { routers }) => Some(routers.iter().flat_map(names).collect()),
        Ok(Reply::Error { .. } | Reply::Event(_) | Reply::Recorded { .. }) | Err(_) => None,
    }
}

/// The directory of daemons without `-f`. It must not be a symbolic link, so `/run` instead of `/var/run`.
fn default_directory() -> PathBuf {
    let [default, fallback] = [rundir::DEFAULT, rundir::FALLBACK].map(PathBuf::from);
    let is_used = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    if !default.is_dir() && is_used(&fallback) { fallback } else { default }
}

/// Asks every daemon, prints the answers, and returns the exit status.
fn ask(cli: &Cli, sockets: &[PathBuf]) -> u8 {
    let (action, selector) = (&cli.action, cli.selector());
    let changes = [
        (action.backup, Change::Backup),
        (action.master, Change::Master),
        (action.reduce, Change::Reduce),
        (action.increase, Change::Increase),
    ];
    let change = changes.into_iter().find_map(|(wanted, change)| wanted.then_some(change));
    let request = match change {
        Some(change) => Request::Change { selector, change },
        None => Request::State(selector),
    };
    let mut routers: Vec<RouterReport> = Vec::new();
    let mut silent = Vec::new();
    for socket in sockets {
        let complaint = match client::ask(socket, &request) {
            Ok(Reply::State { routers: answer }) => {
                routers.extend(answer);
                continue;
            }
            Ok(Reply::Error { message }) => message,
            Ok(Reply::Event(_) | Reply::Recorded { .. }) => "answered something else".to_owned(),
            Err(error) => no_answer(&error),
        };
        complain(socket, &complaint);
        silent.push(socket.as_path());
    }
    let unanswered = if action.state { ask_kernel(&mut routers, &silent, cli) } else { Vec::new() };
    let text = if cli.json {
        json(&routers, &unanswered)
    } else if action.stats {
        render::stats(&routers)
    } else if action.state {
        let blocks = [render::states(&routers), render::silent(&unanswered)];
        blocks.into_iter().filter(|block| !block.is_empty()).collect::<Vec<_>>().join("\n")
    } else {
        render::changed(&routers)
    };
    // A closed pipe is not an error: its reader has read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    let of_silent = unanswered.iter().map(|router| router.name().to_string());
    let found: Vec<_> = routers.iter().flat_map(names).chain(of_silent).collect();
    let has_unknown = cli.complain_of_unknown(&found, &silent);
    match (!silent.is_empty() || has_unknown && !routers.is_empty(), routers.is_empty()) {
        (true, _) => NOT_EVERY_ONE,
        (false, true) => NONE,
        (false, false) => 0,
    }
}

/// Adds the kernel's records to the routers, and returns those of silent daemons.
fn ask_kernel(routers: &mut [RouterReport], silent: &[&Path], cli: &Cli) -> Vec<SilentReport> {
    let chosen = cli.selector();
    let complain = |reason: &str| eprintln!("atropos: {}", printable(reason));
    let unknown = survey::join_kernel(routers.iter_mut(), &chosen, complain);
    let of_the_silent = |router: &SilentReport| {
        let this = Selector::one(&router.name());
        silent.iter().any(|socket| may_serve(socket, &this))
    };
    unknown.into_iter().filter(of_the_silent).collect()
}

fn json(routers: &[RouterReport], silent: &[SilentReport]) -> String {
    // Serializing text and numbers cannot fail.
    let values =
        routers.iter().map(serde_json::to_value).chain(silent.iter().map(|router| Ok(router.to_json())));
    let values: Vec<_> = values.filter_map(Result::ok).collect();
    serde_json::to_string_pretty(&values).unwrap_or_default() + "\n"
}

/// Prints the transitions of every daemon until all have ended.
fn follow(cli: &Cli, sockets: &[PathBuf]) -> u8 {
    let selector = &cli.selector();
    let has_unknown = !cli.routers.is_empty() && {
        let asked = || sockets.iter().map(|socket| (socket.as_path(), names_at(socket, selector.clone())));
        let (answered, silent): (Vec<_>, Vec<_>) = asked().partition(|(_, names)| names.is_some());
        let found: Vec<_> = answered.into_iter().filter_map(|(_, names)| names).flatten().collect();
        let silent: Vec<_> = silent.into_iter().map(|(socket, _)| socket).collect();
        cli.complain_of_unknown(&found, &silent)
    };
    let codes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            sockets.iter().map(|socket| scope.spawn(|| follow_one(socket, selector))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(NOT_EVERY_ONE)).collect()
    });
    let is_one_missing = codes.contains(&NOT_EVERY_ONE) || has_unknown && codes.contains(&0);
    match (is_one_missing, codes.contains(&0)) {
        (true, _) => NOT_EVERY_ONE,
        (false, true) => 0,
        (false, false) => NONE,
    }
}

/// Follows one daemon; returns its exit status.
fn follow_one(socket: &Path, selector: &Selector) -> u8 {
    let missed = |message: &str| {
        complain(socket, message);
        NOT_EVERY_ONE
    };
    // Waiting for events of a missing router or of a daemon that hangs would never end.
    match client::ask(socket, &Request::State(selector.clone())) {
        Ok(Reply::State { routers }) if routers.is_empty() => return NONE,
        Ok(_) => {}
        Err(error) => return missed(&no_answer(&error)),
    }
    let replies = match client::follow(socket, &Request::Events(selector.clone())) {
        Ok(replies) => replies,
        Err(error) => return missed(&no_answer(&error)),
    };
    for reply in replies {
        match reply {
            Ok(Reply::Event(event)) => {
                let line = serde_json::to_string(&event).unwrap_or_default();
                if writeln!(io::stdout(), "{line}").is_err() {
                    return 0;
                }
            }
            Ok(Reply::Error { message }) => return missed(&message),
            Ok(Reply::State { .. } | Reply::Recorded { .. }) => return missed("answered something else"),
            Err(error) => return missed(&no_answer(&error)),
        }
    }
    0
}

fn complain(socket: &Path, message: &str) {
    eprintln!("atropos: {}: {}", printable(&socket.to_string_lossy()), printable(message));
}
