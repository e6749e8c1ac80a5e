//! The command line of `vrrpd`: the options of Advanced Vrrpd, in any order, and newer ones.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Parser, ValueEnum};
use zeroize::Zeroizing;

use crate::config::value::{self, ValueError};
use crate::config::{Argument, Declaration, Key, NO_VMAC, OptionError, RouterOptions};
use crate::import::Format;
use crate::nearest::nearest;

/// VRRP daemon: gives routers and servers a shared virtual IP address.
#[derive(Debug, Parser)]
#[command(
    name = "vrrpd",
    version,
    disable_version_flag = true,
    args_override_self = true,
    allow_negative_numbers = true,
    override_usage = "vrrpd -i IF -v VRID [OPTIONS] ADDR[/LEN]...\n       vrrpd --config FILE [--check] [OPTIONS]\n       vrrpd --import FILE\n       vrrpd --replay FILE"
)]
pub struct Cli {
    #[command(flatten)]
    router: RouterArgs,

    /// Read the routers from FILE instead of the command line
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Check the configuration, print every mistake, and exit
    #[arg(long)]
    pub check: bool,

    /// Translate a keepalived.conf, or a script with command lines of Vrrpd, to a configuration file on stdout, report on
    /// stderr what is left out, and exit. Exit status: 0 everything translated, 1 something left out, 2 not readable
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "check"])]
    pub import: Option<PathBuf>,

    /// Format of FILE [default: detected]
    #[arg(long, value_name = "FORMAT", requires = "import")]
    pub import_as: Option<Format>,

    /// Identity for keepalived's @ conditions, like keepalived's -i [default: the first label of the host name]
    #[arg(long, value_name = "ID", requires = "import")]
    pub import_id: Option<String>,

    /// Run `atropos --replay FILE`: print what a recording holds and what the daemon decided, and exit. Exit status: 0, or 2 if
    /// FILE cannot be read, is damaged or has another format, or atropos is not installed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "check", "import"])]
    pub replay: Option<PathBuf>,

    /// Group of N processes, 1 to 9: all vrrpd processes of this machine with -M are master together or not at all
    #[arg(short = 'M', value_name = "N")]
    monitor: Option<String>,

    /// Directory of pid files, state files and control sockets
    #[arg(
        short = 'f',
        value_name = "DIR",
        help = "Directory of pid files, state files and control sockets [default: /run/vrrpd]"
    )]
    pub directory: Option<PathBuf>,

    /// Stay in the foreground and log to stderr
    #[arg(long)]
    pub foreground: bool,

    /// Log level (error, warn, info, debug, trace), or a filter such as info,vrrpd::datapath=debug
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log_level: String,

    /// Log format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object a line.
    Json,
}

/// The options of a router as text; `config` parses them, as it does for a file.
#[derive(Debug, Default)]
struct RouterArgs {
    given: Vec<Given>,
}

/// A given option and its text.
#[derive(Debug)]
struct Given {
    key: Key,
    /// The option or shorthand as written.
    flag: &'static str,
    text: String,
}

impl Args for RouterArgs {
    fn augment_args(command: Command) -> Command {
        let mut command = command;
        for key in Key::ALL {
            let Declaration { name, flag, argument, help, .. } = key.declaration();
            let arg = written(Arg::new(name), flag).help(help);
            let arg = match argument {
                Argument::Switch(_) => arg.action(ArgAction::SetTrue),
                Argument::Value(what) => arg.value_name(what),
                Argument::Repeated(what) => arg.value_name(what).action(ArgAction::Append),
                Argument::Optional(what, default) => {
                    arg.value_name(what).num_args(0..=1).require_equals(true).default_missing_value(default)
                }
                Argument::Positional(what) => arg.value_name(what).num_args(1..).action(ArgAction::Append),
            };
            if NO_VMAC.key == *key {
                let shorthand = Arg::new(NO_VMAC.flag).help(NO_VMAC.help).action(ArgAction::SetTrue);
                command = command.arg(written(shorthand, NO_VMAC.flag).overrides_with(name));
                command = command.arg(arg.overrides_with(NO_VMAC.flag));
            } else {
                command = command.arg(arg);
            }
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// An argument with its letter or long name; a positional argument has neither.
fn written(arg: Arg, flag: &'static str) -> Arg {
    match (flag.strip_prefix("--"), flag.strip_prefix('-').and_then(|letter| letter.chars().next())) {
        (Some(long), _) => arg.long(long),
        (None, Some(letter)) => arg.short(letter),
        (None, None) => arg,
    }
}

impl FromArgMatches for RouterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for key in Key::ALL {
            let Declaration { name, flag, argument, .. } = key.declaration();
            let given = |flag, text: &str| Given { key: *key, flag, text: text.to_owned() };
            if NO_VMAC.key == *key && matches.get_flag(NO_VMAC.flag) {
                self.given.push(given(NO_VMAC.flag, NO_VMAC.value));
            }
            if let Argument::Switch(text) = argument {
                self.given.extend(matches.get_flag(name).then(|| given(flag, text)));
            } else {
                let texts = matches.get_many::<String>(name).into_iter().flatten();
                self.given.extend(texts.map(|text| given(flag, text)));
            }
        }
        Ok(())
    }
}

/// Positions of passwords and keys in the arguments, joined and NUL-terminated: the part after `pw/` or `ah/` in the
/// value of `-a`, and the whole value if it has another form.
pub fn secrets_in<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    let mut start = 0;
    let mut is_value = false;
    for argument in arguments {
        let octets = argument.as_bytes();
        let value = if is_value { Some(0) } else { value_of_auth(octets) };
        // If the argument ends here, the value is the next one.
        is_value = !is_value && value == Some(octets.len());
        if let Some(value) = value {
            let open =
                octets.iter().skip(value).position(|octet| *octet == b'/').map_or(0, |slash| slash + 1);
            let secret = start + value + open..start + octets.len();
            if !secret.is_empty() && octets.get(value..) != Some(b"none") {
                secrets.push(secret);
            }
        }
        start += octets.len() + 1;
    }
    secrets
}

/// Where the value of `-a` begins in an argument that contains it, alone or after flags.
fn value_of_auth(argument: &[u8]) -> Option<usize> {
    let letters = argument.strip_prefix(b"-")?;
    let flags = letters.iter().take_while(|letter| has_no_value(char::from(**letter))).count();
    if letters.get(flags).map(|letter| char::from(*letter)) != Key::Auth.declaration().letter() {
        return None;
    }
    let value = 1 + flags + 1;
    Some(if argument.get(value) == Some(&b'=') { value + 1 } else { value })
}

/// Whether the option with this letter has no value, so that others may follow in the same argument.
fn has_no_value(letter: char) -> bool {
    let is_switch = |key: Key| matches!(key.declaration().argument, Argument::Switch(_));
    matches!(letter, 'h' | 'V')
        || NO_VMAC.flag.ends_with(letter)
        || Key::with_letter(letter).is_some_and(is_switch)
}

impl Cli {
    /// The command line of this process. If clap refuses it, the process ends with the reason.
    pub fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| with_option(error).exit())
    }

    /// Takes the value of `-a` out.
    pub fn take_auth(&mut self) -> Option<Zeroizing<String>> {
        let auth = self.router.given.extract_if(.., |given| given.key == Key::Auth).last();
        auth.map(|given| Zeroizing::new(given.text))
    }

    /// Sets the value of `-a`, for a command line in which it was overwritten.
    pub fn set_auth(&mut self, auth: String) {
        drop(self.take_auth());
        self.router.given.push(Given { key: Key::Auth, flag: Key::Auth.flag(), text: auth });
    }

    /// Whether it has `-a`.
    pub fn has_auth(&self) -> bool {
        self.router.given.iter().any(|given| given.key == Key::Auth)
    }

    /// The options of a router on the command line; an error names the option.
    pub fn router(&self) -> Result<RouterOptions, OptionError> {
        let mut options = RouterOptions::default();
        for Given { key, text, .. } in &self.router.given {
            options.set(*key, text).map_err(|error| {
                let has_xdp = self.router.given.iter().any(|given| given.key == Key::Xdp);
                let is_mode = *key == Key::Addresses && has_xdp && value::xdp(text).is_ok();
                let hint = if is_mode { format!("; did you mean --xdp={text}?") } else { String::new() };
                key.error(format!("{error}{hint}"))
            })?;
        }
        Ok(options)
    }

    /// `-M`
    pub fn group_size(&self) -> Result<Option<u8>, ValueError> {
        self.monitor.as_deref().map(value::group_size).transpose()
    }

    /// The first router option on the command line; none is allowed with `--config`.
    pub fn router_option(&self) -> Option<&'static str> {
        self.router.given.first().map(|given| given.flag)
    }
}

/// Suggests the option that an unknown argument resembles by its key in the configuration file: `-p` for `--priority`.
fn with_option(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else { return error };
    let name = unknown.strip_prefix("--").and_then(|name| nearest(name, Key::names()));
    let flag = name.and_then(Key::named).map(Key::flag);
    if let Some(flag) = flag.filter(|flag| !flag.starts_with("--")) {
        error.remove(ContextKind::Suggested);
        error.insert(ContextKind::SuggestedArg, ContextValue::String(flag.to_owned()));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn router(line: &str) -> Result<RouterOptions, OptionError> {
        Cli::try_parse_from(line.split_whitespace()).expect("clap accepts it").router()
    }

    #[test]
    fn the_declaration_is_consistent() {
        Cli::command().debug_assert();
    }

    /// A command line with its secrets overwritten.
    fn hidden(line: &str) -> String {
        let mut octets = line.as_bytes().to_vec();
        for secret in secrets_in(line.split(' ').map(OsStr::new)) {
            octets[secret].fill(b'*');
        }
        String::from_utf8(octets).expect("is text")
    }

    #[test]
    fn passwords_and_keys_are_found_however_they_are_written() {
        for (line, left) in [
            ("vrrpd -a pw/secret -v 51", "vrrpd -a pw/****** -v 51"),
            ("vrrpd -apw/secret", "vrrpd -apw/******"),
            ("vrrpd -a=pw/a/b -sna ah/0x12", "vrrpd -a=pw/*** -sna ah/****"),
            ("vrrpd -nsapw/x -a none -a secret", "vrrpd -nsapw/* -a none -a ******"),
            ("vrrpd -i a pw/secret -U -a", "vrrpd -i a pw/secret -U -a"),
            ("vrrpd -ia --auth pw/x -v 5 10.0.0.1/24", "vrrpd -ia --auth pw/x -v 5 10.0.0.1/24"),
            ("vrrpd", "vrrpd"),
        ] {
            assert_eq!(hidden(line), left);
        }
    }

    #[test]
    fn letters_without_a_value_are_known_as_such() {
        let mut command = Cli::command();
        command.build();
        for argument in command.get_arguments() {
            let Some(letter) = argument.get_short() else { continue };
            assert_eq!(has_no_value(letter), !argument.get_action().takes_values(), "-{letter}");
        }
    }

    #[test]
    fn long_name_of_an_option_with_a_letter_is_answered_with_the_letter() {
        for (argument, suggested) in [
            ("--priority", "'-p'"),
            ("--prio", "'-p'"),
            ("--interface", "'-i'"),
            ("--auth", "'-a'"),
            ("--vmac-nam", "'--vmac-name'"),
            ("--confi", "'--config'"),
        ] {
            let error = Cli::try_parse_from(["vrrpd", argument, "5"]).expect_err("is unknown");
            let text = with_option(error).to_string();
            assert!(text.contains(suggested), "{argument}: {text}");
            assert!(!text.contains("as a value"), "{text}");
        }
    }

    #[test]
    fn options_and_addresses_come_in_any_order() {
        // Command lines of Vrrpd users.
        let first = router("vrrpd -i eth0 10.16.1.200 -v 51 -n -U /etc/scripts/MASTER.sh 10.16.1.201/24")
            .expect("legal");
        assert_eq!(first.addresses.len(), 2);
        assert_eq!(first.interface.as_deref(), Some("eth0"));
        let second = router("vrrpd 10.16.1.200 -sn -v51 -ieth0").expect("legal");
        assert_eq!(second.preempt, Some(false));
        assert_eq!(second.vrid.map(vrrpd_common::Vrid::get), Some(51));
    }

    #[test]
    fn the_option_that_cannot_be_read_is_named() {
        for (line, flag) in [
            ("vrrpd -v 0", "-v"),
            ("vrrpd -v 256", "-v"),
            ("vrrpd -p 0", "-p"),
            ("vrrpd -d x", "-d"),
            ("vrrpd -a pw/123456789", "-a"),
            ("vrrpd 10.0.0", "ADDR"),
            ("vrrpd --protocol v4", "--protocol"),
        ] {
            let error = router(line).expect_err("is wrong").to_string();
            assert!(error.starts_with(flag), "{line}: {error}");
        }
    }
}
