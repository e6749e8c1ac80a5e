//! The command line of `vrrpd`: the options of Advanced Vrrpd, in any order, and those that came after it.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use zeroize::Zeroizing;

use crate::config::{Key, OptionError, RouterOptions, value};
use crate::import::Format;

/// VRRP daemon: gives routers and servers a shared virtual IP address.
#[derive(Debug, Parser)]
#[command(
    name = "vrrpd",
    version,
    disable_version_flag = true,
    args_override_self = true,
    allow_negative_numbers = true,
    override_usage = "vrrpd -i IF -v VRID [OPTIONS] ADDR[/LEN]...\n       vrrpd --config FILE [--check] [OPTIONS]\n       vrrpd --import FILE"
)]
pub struct Cli {
    #[command(flatten)]
    router: RouterArgs,

    /// Read any number of routers from FILE instead of the command line
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Say whether the configuration is right, and do nothing else
    #[arg(long)]
    pub check: bool,

    /// Read a keepalived.conf, or a script with command lines of Vrrpd, print it as a configuration file on stdout, and
    /// report on stderr what is left out. Exit status: 0 all carried over, 1 something left out, 2 not readable
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "check"])]
    pub import: Option<PathBuf>,

    /// What FILE is; without it, its text decides
    #[arg(long, value_name = "FORMAT", requires = "import")]
    pub import_as: Option<Format>,

    /// What keepalived's @ conditions are compared with, like keepalived's -i [default: the host's name]
    #[arg(long, value_name = "ID", requires = "import")]
    pub import_id: Option<String>,

    /// All vrrpd processes of this machine that have -M are one group of N, 1 to 9: they are master together or not
    /// at all
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

    /// What to log: a level (error, warn, info, debug, trace), or filters like info,vrrpd::datapath=debug
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log_level: String,

    /// How the log looks
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Display the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Texts as the user wrote them; `config` reads them, from here as from a file.
#[derive(Debug, Args)]
struct RouterArgs {
    /// Interface to run on
    #[arg(short = 'i', value_name = "IF")]
    interface: Option<String>,

    /// Virtual router, 1 to 255
    #[arg(short = 'v', value_name = "VRID")]
    vrid: Option<String>,

    /// Virtual addresses, IPv4 or IPv6, with the length of their subnet mask [default length: 32 or 128]
    #[arg(value_name = "ADDR[/LEN]")]
    addresses: Vec<String>,

    /// Do not handle the virtual MAC address; the same as --vmac none
    #[arg(short = 'n', overrides_with = "vmac")]
    no_vmac: bool,

    /// How the virtual MAC address is put on the wire: the interface takes it while Master, or a macvlan link above it
    /// has it, which allows several virtual routers, or not at all, as with -n [interface, macvlan, none; default:
    /// interface]
    #[arg(long, value_name = "MODE", overrides_with = "no_vmac")]
    vmac: Option<String>,

    /// When the driver does not take the virtual MAC address: go on without it, or do not become Master [none, refuse;
    /// default: none]
    #[arg(long, value_name = "WHAT")]
    vmac_fallback: Option<String>,

    /// Switch preemption, which is on by default
    #[arg(short = 's')]
    no_preempt: bool,

    /// Authentication (version 2): none, pw/TEXT with up to 8 octets, or ah/0xHEX, an IP Authentication Header with
    /// HMAC-MD5 and a key of up to 64 octets (8 with keepalived: the characters of its auth_pass in hexadecimal)
    #[arg(short = 'a', value_name = "AUTH")]
    auth: Option<String>,

    /// Priority, 1 to 255; 255 is the owner of the addresses [default: 100]
    #[arg(short = 'p', value_name = "PRIO")]
    priority: Option<String>,

    /// Advertisement interval: seconds, in version 3 also 0.25, 250ms, 10ms [default: 1]
    #[arg(short = 'd', value_name = "DELAY")]
    interval: Option<String>,

    /// In version 3, reckon with no longer interval of a master than SPAN, whatever it advertises: a slower master is
    /// followed while it is heard within the Master_Down_Interval of SPAN [default: 5s, or 10 DELAY if that is longer]
    #[arg(long, value_name = "SPAN")]
    max_learned_interval: Option<String>,

    /// Priority to take on SIGTTIN, instead of 10 less
    #[arg(short = 'z', value_name = "PRIO")]
    lower_priority: Option<String>,

    /// Priority to take on SIGTTOU, instead of 10 more
    #[arg(short = 'x', value_name = "PRIO")]
    raise_priority: Option<String>,

    /// Send a magic packet from this virtual address on becoming master: a TCP SYN to port 1100 of the gateway named
    /// with -O, which learns from it where the address is
    #[arg(short = 'I', value_name = "VIP")]
    magic_source: Option<String>,

    /// Gateway that magic packets go to
    #[arg(short = 'O', value_name = "DST")]
    magic_destination: Option<String>,

    /// Run FILE on becoming master
    #[arg(short = 'U', value_name = "FILE")]
    up: Option<String>,

    /// Run FILE on becoming backup, also at start
    #[arg(short = 'D', value_name = "FILE")]
    down: Option<String>,

    /// End a script that runs longer [default: 60s]
    #[arg(long, value_name = "SPAN")]
    script_timeout: Option<String>,

    /// v2 or v3 [default: v2 for IPv4, v3 for IPv6]
    #[arg(long, value_name = "VERSION")]
    protocol: Option<String>,

    /// Gratuitous ARP or neighbour advertisements per address each time [default: 1]
    #[arg(long, value_name = "COUNT")]
    garp_count: Option<String>,

    /// Announce the addresses again after SPAN; 0: not again [default: 5s]
    #[arg(long, value_name = "SPAN")]
    garp_delay: Option<String>,

    /// Then announce them every SPAN; 0: never [default: 0]
    #[arg(long, value_name = "SPAN")]
    garp_interval: Option<String>,

    /// Checksum sent in version 3 over IPv4: with its pseudo-header as installed routers do, or over the message alone
    /// as RFC 9568 says; either is accepted [pseudo-header, message; default: pseudo-header]
    #[arg(long, value_name = "STYLE")]
    v3_checksum: Option<String>,

    /// Handle adverts in the kernel: auto tries the driver, then generic XDP, then falls back to raw sockets; with
    /// native or generic it is an error where that is not possible [auto, native, generic, off]
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "auto")]
    xdp: Option<String>,

    /// Let adverts that the kernel handled go on, for tcpdump and others to see
    #[arg(long)]
    xdp_pass: bool,

    /// Accept version 2 adverts with another interval than ours
    #[arg(long)]
    accept_interval_mismatch: bool,

    /// Discard adverts with other addresses than ours, unless the owner sent them
    #[arg(long)]
    require_equal_addresses: bool,
}

/// Letters of options without a value, which others may follow at once.
const FLAGS: &[u8] = b"nshV";

/// The octets of the arguments, one behind the other with a 0 behind each, that are passwords or keys: what is behind `pw/` or
/// `ah/` in the value of `-a`, and all of a value of another form.
pub fn secrets_in<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    let mut start = 0;
    let mut is_value = false;
    for argument in arguments {
        let octets = argument.as_bytes();
        let value = if is_value { Some(0) } else { value_of_auth(octets) };
        // The value is the next argument where none is left in this one.
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

/// Where the value of `-a` begins in an argument that has this option, alone or behind flags.
fn value_of_auth(argument: &[u8]) -> Option<usize> {
    let letters = argument.strip_prefix(b"-")?;
    let flags = letters.iter().take_while(|letter| FLAGS.contains(letter)).count();
    if letters.get(flags) != Some(&b'a') {
        return None;
    }
    let value = 1 + flags + 1;
    Some(if argument.get(value) == Some(&b'=') { value + 1 } else { value })
}

impl Cli {
    /// What `-a` says, taken out.
    pub fn take_auth(&mut self) -> Option<Zeroizing<String>> {
        self.router.auth.take().map(Zeroizing::new)
    }

    /// What `-a` says, for a command line in which it was overwritten.
    pub fn set_auth(&mut self, auth: String) {
        self.router.auth = Some(auth);
    }

    /// Whether it has `-a`.
    pub const fn has_auth(&self) -> bool {
        self.router.auth.is_some()
    }

    /// What the command line says of a router; an option that cannot be read is named.
    pub fn router(&self) -> Result<RouterOptions, OptionError> {
        let mut options = RouterOptions::default();
        for (key, text) in self.router.given() {
            options.set(key, text).map_err(|message| {
                let is_mode = key == Key::Addresses && self.router.xdp.is_some() && value::xdp(text).is_ok();
                let hint = if is_mode { format!("; did you mean --xdp={text}?") } else { String::new() };
                key.error(message + &hint)
            })?;
        }
        Ok(options)
    }

    /// `-M`
    pub fn group_size(&self) -> Result<Option<u8>, String> {
        self.monitor.as_deref().map(value::group_size).transpose().map_err(|message| format!("-M: {message}"))
    }

    /// The first option of a router on the command line, which has no place beside `--config`.
    pub fn router_option(&self) -> Option<&'static str> {
        let (key, _) = self.router.given().next()?;
        Some(if key == Key::Vmac && self.router.no_vmac { "-n" } else { key.flag() })
    }
}

impl RouterArgs {
    /// The options that were given, with their texts.
    fn given(&self) -> impl Iterator<Item = (Key, &str)> {
        let flag = |set: bool, text: &'static str| set.then_some(text);
        let texts = [
            (Key::Interface, self.interface.as_deref()),
            (Key::Vrid, self.vrid.as_deref()),
            (Key::Vmac, self.vmac.as_deref().or(self.no_vmac.then_some("none"))),
            (Key::VmacFallback, self.vmac_fallback.as_deref()),
            (Key::Preempt, flag(self.no_preempt, "false")),
            (Key::Auth, self.auth.as_deref()),
            (Key::Priority, self.priority.as_deref()),
            (Key::Interval, self.interval.as_deref()),
            (Key::MaxLearnedInterval, self.max_learned_interval.as_deref()),
            (Key::LowerPriority, self.lower_priority.as_deref()),
            (Key::RaisePriority, self.raise_priority.as_deref()),
            (Key::Up, self.up.as_deref()),
            (Key::Down, self.down.as_deref()),
            (Key::ScriptTimeout, self.script_timeout.as_deref()),
            (Key::Protocol, self.protocol.as_deref()),
            (Key::GarpCount, self.garp_count.as_deref()),
            (Key::GarpDelay, self.garp_delay.as_deref()),
            (Key::GarpInterval, self.garp_interval.as_deref()),
            (Key::V3Checksum, self.v3_checksum.as_deref()),
            (Key::AcceptIntervalMismatch, flag(self.accept_interval_mismatch, "true")),
            (Key::RequireEqualAddresses, flag(self.require_equal_addresses, "true")),
            (Key::MagicSource, self.magic_source.as_deref()),
            (Key::MagicDestination, self.magic_destination.as_deref()),
            (Key::Xdp, self.xdp.as_deref()),
            (Key::XdpPass, flag(self.xdp_pass, "true")),
        ];
        let addresses = self.addresses.iter().map(|address| (Key::Addresses, Some(address.as_str())));
        texts.into_iter().chain(addresses).filter_map(|(key, text)| text.map(|text| (key, text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn router(line: &str) -> Result<RouterOptions, OptionError> {
        Cli::try_parse_from(line.split_whitespace()).expect("clap accepts it").router()
    }

    #[test]
    fn the_declaration_is_consistent() {
        Cli::command().debug_assert();
    }

    /// What is left of a command line when its secrets are overwritten.
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
    fn flags_are_those_options_with_a_letter_that_have_no_value() {
        let mut command = Cli::command();
        command.build();
        let flags = command.get_arguments().filter(|argument| !argument.get_action().takes_values());
        let mut flags: Vec<_> = flags.filter_map(|flag| u8::try_from(flag.get_short()?).ok()).collect();
        let mut known = FLAGS.to_vec();
        flags.sort_unstable();
        known.sort_unstable();
        assert_eq!(flags, known);
    }

    #[test]
    fn options_and_addresses_come_in_any_order() {
        // The lines of the users of Vrrpd.
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
