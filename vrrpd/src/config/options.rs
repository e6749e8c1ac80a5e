//! The options of a virtual router: one table for the command line and its help, the configuration file, imports and
//! docs/options.md.
//!
//! A new option needs an entry in `options!` and a field of [`super::RouterConfig`], set in [`RouterOptions::resolve`],
//! which also checks options that depend on each other. Tests require its entry in the manual page.

mod declaration;
#[macro_use]
mod table;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use thiserror::Error;
use vrrpd_common::timers::DOWN_MULTIPLIER;
use vrrpd_common::wire::vrrp::ChecksumStyle;
use vrrpd_common::{Duration, Family, Priority, Version, Vrid};
use vrrpd_engine::routing::{Route, Rule};
use vrrpd_engine::script::PREPARE_TIMEOUT;

use super::track::{self, Track};
use super::value::PeerOption;
use super::{
    Authentication, Datapath, HeldAddress, Script, ScriptStyle, ScriptUser, VmacFallback, VmacMode, value,
};
use crate::router_name::RouterName;
use table::Slot;

pub use declaration::{Argument, Declaration, Toml};

// For each option: its help; its configuration key, flag, argument, TOML type and parser; its field in `RouterOptions`,
// with the default. Tests check defaults in the help against these.
options! {
    /// Name of the router in scripts, logs and state [default: IF/VRID, followed by -ipv6 for IPv6]
    Name = "name", "--name", Value("NAME"), Text, value::title;
    title: Option<String>;

    /// Interface; it needs an address of its own to send from
    Interface = "interface", "-i", Value("IF"), Text, value::interface;
    interface: Option<String>;

    /// Virtual router ID, 1 to 255, the same on all machines that share the addresses
    Vrid = "vrid", "-v", Value("VRID"), Number, value::vrid;
    vrid: Option<Vrid>;

    /// Virtual addresses with their prefix length, all IPv4 or all IPv6 [default length: 32 or 128]
    Addresses = "addresses", "ADDR", Positional("ADDR[/LEN]"), Addresses, value::held_address;
    addresses: Vec<HeldAddress>;

    /// Address of either family that a master holds and announces like the others, but does not advertise; can be
    /// repeated
    ExtraAddresses = "extra-addresses", "--extra-address", Repeated("ADDR[/LEN]"), Addresses, value::held_address;
    extra_addresses: Vec<HeldAddress>;

    /// Route that a master holds, in the words of ip route add; can be repeated
    Routes = "routes", "--route", Repeated("ROUTE"), List, value::route;
    routes: Vec<Route>;

    /// Policy rule that a master holds, in the words of ip rule add; can be repeated
    Rules = "rules", "--rule", Repeated("RULE"), List, value::rule;
    rules: Vec<Rule>;

    /// Address family; required for a router without addresses, which only takes part in the election [ipv4, ipv6;
    /// default: that of the addresses]
    Family = "family", "--family", Value("FAMILY"), Text, value::family;
    family: Option<Family>;

    /// Source address of advertisements [default: the first address of the interface; over IPv6 its link-local one, or with
    /// peers beyond the link the first other one]
    Source = "source", "--source", Value("ADDRESS"), Text, value::host;
    source: Option<IpAddr>;

    /// Unicast: send advertisements to this router instead of the multicast group, and accept them from peers only; once
    /// for each of the other routers. min-ttl=N replaces --min-ttl for this one
    Peers = "peers", "--peer", Repeated("ADDRESS[,min-ttl=N]"), List, value::peer;
    peers: Vec<PeerOption>;

    /// TTL or hop limit of advertisements to peers [default: 255]
    Ttl = "ttl", "--ttl", Value("TTL"), Number, value::ttl;
    ttl: Option<u8>;

    /// Accept advertisements of peers with this TTL or more: 255 minus the routers on the way; 0 accepts any [default: 255]
    MinTtl = "min-ttl", "--min-ttl", Value("TTL"), Number, value::min_ttl;
    min_ttl: Option<u8>;

    /// Multicast group, on all routers of a virtual router the same [default: 224.0.0.18 or ff02::12]
    MulticastGroup = "multicast-group", "--multicast-group", Value("GROUP"), Text, value::multicast_group;
    multicast_group: Option<IpAddr>;

    /// Virtual MAC address: on the interface while master, on a macvlan link (several routers on an interface), or none
    /// [interface, macvlan, none; default: interface]
    Vmac = "vmac", "--vmac", Value("MODE"), Text, value::vmac;
    vmac: Option<VmacMode> = VmacMode::Interface;

    /// Name of the macvlan link, for firewall rules and the like; with .1, .2… behind it if it is in use [default:
    /// vrrp4.VRID, over IPv6 vrrp6.VRID]
    VmacName = "vmac-name", "--vmac-name", Value("NAME"), Text, value::interface;
    vmac_name: Option<String>;

    /// If the interface cannot have the virtual MAC address: continue without one, or do not become master [none,
    /// refuse; default: none]
    VmacFallback = "vmac-fallback", "--vmac-fallback", Value("WHAT"), Text, value::vmac_fallback;
    vmac_fallback: Option<VmacFallback> = VmacFallback::None;

    /// Do not preempt a master of lower priority
    Preempt = "preempt", "-s", Switch("false"), Boolean, value::boolean;
    preempt: Option<bool> = true;

    /// With -s: still preempt a master with a priority below PRIO
    PreemptBelow = "preempt-below", "--preempt-below", Value("PRIO"), Number, value::priority;
    preempt_below: Option<Priority>;

    /// Follow a master of lower priority for SPAN, up to 1000s, before preempting it [default: 0]
    PreemptDelay = "preempt-delay", "--preempt-delay", Value("SPAN"), Text, value::duration;
    preempt_delay: Option<Duration> = Duration::ZERO;

    /// After the daemon's start, listen for SPAN, up to 3600s, before becoming master [default: 0]
    StartDelay = "start-delay", "--start-delay", Value("SPAN"), Text, value::duration;
    start_delay: Option<Duration> = Duration::ZERO;

    /// Drop packets to the addresses unless owner, except for neighbour discovery; forward those to the virtual MAC address
    Accept = "accept", "--no-accept", Switch("false"), Boolean, value::boolean;
    accept: Option<bool> = true;

    /// Ignore the state of the interface: down or without a carrier is not a fault
    TrackInterface = "track-interface", "--no-track-interface", Switch("false"), Boolean, value::boolean;
    track_interface: Option<bool> = true;

    /// Authentication in version 2: none, pw/TEXT (password of up to 8 octets, sent in clear text), or ah/0xHEX (IP
    /// Authentication Header with HMAC-MD5, key of up to 64 octets; with keepalived its auth_pass in hexadecimal)
    Auth = "auth", "-a", Value("AUTH"), Text, value::auth;
    auth: Option<Authentication> = Authentication::None;

    /// Priority, 1 to 255; the highest becomes master, 255 is for the owner of the addresses [default: 100]
    Priority = "priority", "-p", Value("PRIO"), Number, value::priority;
    priority: Option<Priority> = Priority::DEFAULT;

    /// Advertisement interval: whole seconds; in version 3 also 0.25 or 250ms, from 10ms to 40.95s [default: 1]
    Interval = "interval", "-d", Value("DELAY"), Text, value::duration;
    interval: Option<Duration> = Duration::from_secs(1);

    /// Version 3: longest interval learned from a master; a slower master is followed while it is heard within the
    /// Master_Down_Interval of SPAN [default: 5s, or 10 DELAY if that is longer]
    MaxLearnedInterval =
        "max-learned-interval", "--max-learned-interval", Value("SPAN"), Text, value::duration;
    max_learned_interval: Option<Duration>;

    /// Advertisements in a row that a backup misses before it takes over, 1 to 100, on all routers of a virtual router the
    /// same: Master_Down_Interval is COUNT intervals and Skew_Time [default: 3, as in RFC 9568]
    DownMultiplier = "down-multiplier", "--down-multiplier", Value("COUNT"), Number, value::down_multiplier;
    down_multiplier: Option<u8> = DOWN_MULTIPLIER;

    /// Priority after SIGTTIN or atropos --reduce, instead of 10 less
    LowerPriority = "lower-priority", "-z", Value("PRIO"), Number, value::priority;
    lower_priority: Option<Priority>;

    /// Priority after SIGTTOU or atropos --increase, instead of 10 more
    RaisePriority = "raise-priority", "-x", Value("PRIO"), Number, value::priority;
    raise_priority: Option<Priority>;

    /// On becoming master, send a magic packet from this virtual address: a TCP SYN to port 1100 of the gateway of -O,
    /// which learns from it where the address is
    MagicSource = "magic-source", "-I", Value("VIP"), Text, value::host;
    magic_source: Option<IpAddr>;

    /// Gateway that receives magic packets
    MagicDestination = "magic-destination", "-O", Value("DST"), Text, value::host;
    magic_destination: Option<IpAddr>;

    /// Script to run before becoming master: the router stays backup until it has ended
    Prepare = "prepare", "--prepare", Value("FILE"), Command, value::script;
    prepare: Option<Script>;

    /// Terminate the script of --prepare that runs longer, and become master all the same [default: 500ms]
    PrepareTimeout = "prepare-timeout", "--prepare-timeout", Value("SPAN"), Text, value::duration;
    prepare_timeout: Option<Duration> = PREPARE_TIMEOUT;

    /// Script to run on becoming master
    Up = "up", "-U", Value("FILE"), Command, value::script;
    up: Option<Script>;

    /// Script to run on becoming backup, at start, when the interface fails, and when the daemon stops as master
    Down = "down", "-D", Value("FILE"), Command, value::script;
    down: Option<Script>;

    /// Script to run, instead of that of -D, when something keeps the router from serving
    Fault = "fault", "--fault", Value("FILE"), Command, value::script;
    fault: Option<Script>;

    /// Script to run, instead of that of -D, when the router stops, in any state
    Stop = "stop", "--stop", Value("FILE"), Command, value::script;
    stop: Option<Script>;

    /// Script to run on every transition, after the others
    Notify = "notify", "--notify", Value("FILE"), Command, value::script;
    notify: Option<Script>;

    /// FIFO that receives a line for every transition: INSTANCE "NAME" STATE PRIORITY; created if it is missing
    Fifo = "fifo", "--fifo", Value("FILE"), Text, value::path;
    fifo: Option<PathBuf>;

    /// Run the scripts as this user, and this group instead of the user's own [default: the user of the daemon]
    ScriptUser = "script-user", "--script-user", Value("USER[:GROUP]"), Text, value::script_user;
    script_user: Option<ScriptUser>;

    /// When scripts are run: vrrpd, as above; keepalived: -D for backup alone, and only --notify receives INSTANCE NAME
    /// STATE PRIORITY [vrrpd, keepalived; default: vrrpd]
    ScriptStyle = "script-style", "--script-style", Value("STYLE"), Text, value::script_style;
    script_style: Option<ScriptStyle> = ScriptStyle::Vrrpd;

    /// Terminate a script that runs longer [default: 60s]
    ScriptTimeout = "script-timeout", "--script-timeout", Value("SPAN"), Text, value::duration;
    script_timeout: Option<Duration> = Duration::from_secs(60);

    /// Check that changes the priority or causes a fault: KIND=VALUE, optionally followed by ,weight=N;
    /// KIND is process, command, interface, file, route, tcp, http or ping. In a file also the name of a [[track]]
    Track = "track", "--track", Repeated("CHECK"), List, track::word;
    track: Vec<Track>;

    /// VRRP version, v2 or v3 [default: v2 for IPv4, v3 for IPv6]
    Protocol = "protocol", "--protocol", Value("VERSION"), Text, value::version;
    protocol: Option<Version>;

    /// Gratuitous ARP or neighbour advertisements for each address, on becoming master and after the delay [default: 1]
    GarpCount = "garp-count", "--garp-count", Value("COUNT"), Number, value::garp_count;
    garp_count: Option<u8> = 1;

    /// Announce the addresses again after SPAN; 0 disables it [default: 5s]
    GarpDelay = "garp-delay", "--garp-delay", Value("SPAN"), Text, value::duration;
    garp_delay: Option<Duration> = Duration::from_secs(5);

    /// As master, announce the addresses every SPAN; 0 disables it [default: 0]
    GarpInterval = "garp-interval", "--garp-interval", Value("SPAN"), Text, value::duration;
    garp_interval: Option<Duration> = Duration::ZERO;

    /// Announcements of each address every --garp-interval [default: those of --garp-count]
    GarpRefreshCount = "garp-refresh-count", "--garp-refresh-count", Value("COUNT"), Number, value::garp_count;
    garp_refresh_count: Option<u8>;

    /// As master, announce the addresses on other interfaces every SPAN, for switches that see no advertisements there; 0
    /// disables it [default: 0]
    GarpElsewhereInterval = "garp-elsewhere-interval", "--garp-elsewhere-interval", Value("SPAN"), Text, value::duration;
    garp_elsewhere_interval: Option<Duration> = Duration::ZERO;

    /// Announcements of each address on an advertisement of lower priority while master; 0 disables them [default: those
    /// of --garp-count]
    GarpLowerCount = "garp-lower-count", "--garp-lower-count", Value("COUNT"), Number, value::garp_lower_count;
    garp_lower_count: Option<u8>;

    /// Announce the addresses once more SPAN after an advertisement of lower priority; 0 disables it [default: 1s]
    GarpLowerDelay = "garp-lower-delay", "--garp-lower-delay", Value("SPAN"), Text, value::duration;
    garp_lower_delay: Option<Duration> = Duration::from_secs(1);

    /// Pause between two gratuitous ARP packets on the interface, for hosts and switches that lose bursts [default: 0]
    GarpPause = "garp-pause", "--garp-pause", Value("SPAN"), Text, value::duration;
    garp_pause: Option<Duration> = Duration::ZERO;

    /// Pause between two unsolicited neighbour advertisements on the interface [default: 0]
    NaPause = "na-pause", "--na-pause", Value("SPAN"), Text, value::duration;
    na_pause: Option<Duration> = Duration::ZERO;

    /// Checksum of adverts sent in version 3 over IPv4: with pseudo-header as most routers do, or over the message only
    /// as RFC 9568 specifies; both are accepted [pseudo-header, message; default: pseudo-header]
    V3Checksum = "v3-checksum", "--v3-checksum", Value("STYLE"), Text, value::checksum;
    v3_checksum: Option<ChecksumStyle> = ChecksumStyle::WithPseudoHeader;

    /// How adverts are received: by a classifier in the kernel (tcx), by XDP, or by raw sockets; auto tries tcx, then falls
    /// back to raw sockets, the others are used or fail [auto, xdp-native, xdp-generic, tcx, raw; default: auto]
    Datapath = "datapath", "--datapath", Value("PATH"), Text, value::datapath;
    datapath: Option<Datapath>;

    /// Receive adverts in the kernel by XDP: auto tries the driver, then a classifier (tcx), then generic XDP, then falls
    /// back to raw sockets; native and generic use this mode or fail; off uses raw sockets [auto, native, generic, off]
    Xdp = "xdp", "--xdp", Optional("MODE", "auto"), Text, value::xdp;
    xdp: Option<Datapath>;

    /// Pass adverts on after the XDP program has handled them, so that tcpdump sees them
    XdpPass = "xdp-pass", "--xdp-pass", Switch("true"), Boolean, value::boolean;
    xdp_pass: Option<bool> = false;

    /// Accept version 2 adverts with another interval
    AcceptIntervalMismatch =
        "accept-interval-mismatch", "--accept-interval-mismatch", Switch("true"), Boolean, value::boolean;
    accept_interval_mismatch: Option<bool> = false;

    /// Reject adverts with other addresses, unless the owner sent them
    RequireEqualAddresses =
        "require-equal-addresses", "--require-equal-addresses", Switch("true"), Boolean, value::boolean;
    require_equal_addresses: Option<bool> = false;
}

/// A flag that sets an option to a fixed value.
#[derive(Clone, Copy, Debug)]
pub struct Shorthand {
    /// `-n`
    pub flag: &'static str,
    /// The option.
    pub key: Key,
    /// Its value.
    pub value: &'static str,
    /// The text of `--help`.
    pub help: &'static str,
}

/// `-n`, older than `--vmac`.
pub const NO_VMAC: Shorthand = Shorthand {
    flag: "-n",
    key: Key::Vmac,
    value: "none",
    help: "No virtual MAC address; same as --vmac none",
};

/// A missing option, or one that conflicts with others.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {message}", key.flag())]
pub struct OptionError {
    /// The option to change.
    pub key: Key,
    /// What is wrong and what is expected.
    pub message: String,
}

impl RouterOptions {
    /// The script of this option, if it is a script option and set.
    pub const fn script(&self, key: Key) -> Option<&Script> {
        match key {
            Key::Prepare => self.prepare.as_ref(),
            Key::Up => self.up.as_ref(),
            Key::Down => self.down.as_ref(),
            Key::Fault => self.fault.as_ref(),
            Key::Stop => self.stop.as_ref(),
            Key::Notify => self.notify.as_ref(),
            _ => None,
        }
    }

    /// Sets a script option; `false` if the option is not one.
    pub fn set_script(&mut self, key: Key, script: Script) -> bool {
        let place = match key {
            Key::Prepare => &mut self.prepare,
            Key::Up => &mut self.up,
            Key::Down => &mut self.down,
            Key::Fault => &mut self.fault,
            Key::Stop => &mut self.stop,
            Key::Notify => &mut self.notify,
            _ => return false,
        };
        *place = Some(script);
        true
    }

    /// The name that the router will have, if known.
    pub fn name(&self) -> Option<String> {
        let family =
            self.addresses.first().map(|held| held.address.family()).or(self.family).unwrap_or(Family::Ipv4);
        Some(RouterName { interface: self.interface.as_deref()?, vrid: self.vrid?.get(), family }.to_string())
    }
}

impl Key {
    /// The script options.
    pub const SCRIPTS: [Self; 6] =
        [Self::Prepare, Self::Up, Self::Down, Self::Fault, Self::Stop, Self::Notify];

    /// The options that groups have as well.
    pub const OF_GROUPS: [Self; 9] = [
        Self::Up,
        Self::Down,
        Self::Fault,
        Self::Stop,
        Self::Notify,
        Self::Fifo,
        Self::ScriptUser,
        Self::ScriptStyle,
        Self::ScriptTimeout,
    ];

    /// The option on the command line.
    pub const fn flag(self) -> &'static str {
        self.declaration().flag
    }

    /// The key in the configuration file.
    pub const fn name(self) -> &'static str {
        self.declaration().name
    }

    /// All keys of the configuration file.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|key| key.name())
    }

    /// The option with this key; an underscore may replace a hyphen.
    pub fn named(key: &str) -> Option<Self> {
        let key = key.replace('_', "-");
        Self::ALL.iter().find(|known| known.name() == key).copied()
    }

    /// The option with this letter.
    pub fn with_letter(letter: char) -> Option<Self> {
        Self::ALL.iter().find(|known| known.declaration().letter() == Some(letter)).copied()
    }

    /// An error about this option.
    pub fn error(self, message: impl Into<String>) -> OptionError {
        OptionError { key: self, message: message.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
