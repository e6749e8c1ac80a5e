//! What was said about one router, and what follows from it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use thiserror::Error;
use vrrpd_common::params::IntervalError;
use vrrpd_common::router::AnnounceTimes;
use vrrpd_common::wire::vrrp::ChecksumStyle;
use vrrpd_common::{Duration, Family, Interval, Priority, Version, Vrid};

use super::{
    Announce, Authentication, Magic, RouterConfig, VirtualAddress, VmacFallback, VmacMode, Xdp, value,
};
use crate::router_name::RouterName;

/// Most addresses that an advert can hold (RFC 9568 §5.2.5).
const ADDRESSES_MAX: usize = 255;
/// The limit of what is learned from a master, unless the user sets it: the larger one of this and so many intervals.
const LEARNED: Interval = Interval::DEFAULT.times(5);
const LEARNED_INTERVALS: u16 = 10;
/// A script is ended after this long.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(60);
/// Announcements come no closer than this.
const GARP_SPACING: Duration = Duration::from_millis(100);
/// The second gratuitous ARP comes this long after the first.
const GARP_DELAY: Duration = Duration::from_secs(5);

/// An option of a router: its long name on the command line, which is its key in the file, and its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is documented where the command line declares it")]
pub enum Key {
    Interface,
    Vrid,
    Addresses,
    Priority,
    Preempt,
    Interval,
    MaxLearnedInterval,
    Protocol,
    Auth,
    Vmac,
    VmacFallback,
    LowerPriority,
    RaisePriority,
    Up,
    Down,
    ScriptTimeout,
    GarpCount,
    GarpDelay,
    GarpInterval,
    V3Checksum,
    AcceptIntervalMismatch,
    RequireEqualAddresses,
    MagicSource,
    MagicDestination,
    Xdp,
    XdpPass,
}

/// What was said about one router; what was not said is `None`.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each is documented where the command line declares it")]
pub struct RouterOptions {
    pub interface: Option<String>,
    pub vrid: Option<Vrid>,
    pub addresses: Vec<VirtualAddress>,
    pub priority: Option<Priority>,
    pub preempt: Option<bool>,
    pub interval: Option<Duration>,
    pub max_learned_interval: Option<Duration>,
    pub protocol: Option<Version>,
    pub auth: Option<Authentication>,
    pub vmac: Option<VmacMode>,
    pub vmac_fallback: Option<VmacFallback>,
    pub lower_priority: Option<Priority>,
    pub raise_priority: Option<Priority>,
    pub up: Option<PathBuf>,
    pub down: Option<PathBuf>,
    pub script_timeout: Option<Duration>,
    pub garp_count: Option<u8>,
    pub garp_delay: Option<Duration>,
    pub garp_interval: Option<Duration>,
    pub v3_checksum: Option<ChecksumStyle>,
    pub accept_interval_mismatch: Option<bool>,
    pub require_equal_addresses: Option<bool>,
    pub magic_source: Option<IpAddr>,
    pub magic_destination: Option<IpAddr>,
    pub xdp: Option<Xdp>,
    pub xdp_pass: Option<bool>,
}

/// An option that is missing or does not go with the others.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {message}", key.flag())]
pub struct OptionError {
    /// The option to change.
    pub key: Key,
    /// What is wrong and what would be right.
    pub message: String,
}

impl RouterOptions {
    /// Reads the text of an option as the command line and the file write it. `Addresses` adds one.
    pub fn set(&mut self, key: Key, text: &str) -> value::Parsed<()> {
        match key {
            Key::Interface => self.interface = Some(value::interface(text)?),
            Key::Vrid => self.vrid = Some(value::vrid(text)?),
            Key::Addresses => self.addresses.push(value::address(text)?),
            Key::Priority => self.priority = Some(value::priority(text)?),
            Key::Preempt => self.preempt = Some(value::boolean(text)?),
            Key::Interval => self.interval = Some(value::duration(text)?),
            Key::MaxLearnedInterval => self.max_learned_interval = Some(value::duration(text)?),
            Key::Protocol => self.protocol = Some(value::version(text)?),
            Key::Auth => self.auth = Some(value::auth(text)?),
            Key::Vmac => self.vmac = Some(value::vmac(text)?),
            Key::VmacFallback => self.vmac_fallback = Some(value::vmac_fallback(text)?),
            Key::LowerPriority => self.lower_priority = Some(value::priority(text)?),
            Key::RaisePriority => self.raise_priority = Some(value::priority(text)?),
            Key::Up => self.up = Some(value::script(text)?),
            Key::Down => self.down = Some(value::script(text)?),
            Key::ScriptTimeout => self.script_timeout = Some(value::duration(text)?),
            Key::GarpCount => self.garp_count = Some(value::garp_count(text)?),
            Key::GarpDelay => self.garp_delay = Some(value::duration(text)?),
            Key::GarpInterval => self.garp_interval = Some(value::duration(text)?),
            Key::V3Checksum => self.v3_checksum = Some(value::checksum(text)?),
            Key::AcceptIntervalMismatch => self.accept_interval_mismatch = Some(value::boolean(text)?),
            Key::RequireEqualAddresses => self.require_equal_addresses = Some(value::boolean(text)?),
            Key::MagicSource => self.magic_source = Some(value::host(text)?),
            Key::MagicDestination => self.magic_destination = Some(value::host(text)?),
            Key::Xdp => self.xdp = Some(value::xdp(text)?),
            Key::XdpPass => self.xdp_pass = Some(value::boolean(text)?),
        }
        Ok(())
    }

    /// What the router will be called, as far as that has been said.
    pub fn name(&self) -> Option<String> {
        let family = self.addresses.first().map_or(Family::Ipv4, VirtualAddress::family);
        Some(RouterName { interface: self.interface.as_deref()?, vrid: self.vrid?.get(), family }.to_string())
    }

    /// The router that was meant, or all that is missing or does not go with the rest.
    pub fn resolve(self) -> Result<RouterConfig, Vec<OptionError>> {
        let mut faults = Faults::default();
        let interface =
            self.interface.ok_or_else(|| Key::Interface.error("which interface to run on is missing"));
        let interface = faults.keep(interface);
        let vrid = self.vrid.ok_or_else(|| Key::Vrid.error("the VRID is missing; it is 1 to 255"));
        let vrid = faults.keep(vrid);
        let family = self.addresses.first().map(VirtualAddress::family).ok_or_else(|| {
            Key::Addresses.error("at least one virtual address is needed, like 10.16.1.200/24")
        });
        let family = faults.keep(family);
        let version = self.protocol.unwrap_or(match family {
            Some(Family::Ipv4) | None => Version::V2,
            Some(Family::Ipv6) => Version::V3,
        });
        if let Some(family) = family {
            faults.keep(check_addresses(&self.addresses, family));
        }
        if family == Some(Family::Ipv6) && version == Version::V2 {
            faults.add(Key::Protocol.error("version 2 has no IPv6; use v3 for IPv6 addresses"));
        }
        let auth = self.auth.unwrap_or(Authentication::None);
        if version == Version::V3 && auth != Authentication::None {
            faults.add(Key::Auth.error("version 3 has no authentication; use none, or protocol v2"));
        }
        let interval = match self.interval {
            None => Ok(Interval::DEFAULT),
            Some(span) => Interval::from_duration(version, span)
                .map_err(|error| Key::Interval.error(interval_error(version, error))),
        };
        let interval = faults.keep(interval);
        let max_learned_interval = interval.and_then(|interval| {
            faults.keep(max_learned_interval(self.max_learned_interval, version, interval))
        });
        for (key, span) in [(Key::GarpDelay, self.garp_delay), (Key::GarpInterval, self.garp_interval)] {
            if span.is_some_and(|span| span != Duration::ZERO && span < GARP_SPACING) {
                faults.add(key.error(format!(
                    "addresses are announced no more often than every {GARP_SPACING}; 0: never"
                )));
            }
        }
        let nonzero = |span: Duration| (span != Duration::ZERO).then_some(span);
        let script_timeout = nonzero(self.script_timeout.unwrap_or(SCRIPT_TIMEOUT))
            .ok_or_else(|| Key::ScriptTimeout.error("a script needs some time to run; 0 is not possible"));
        let script_timeout = faults.keep(script_timeout);
        let magic = family.and_then(|family| {
            faults.keep(magic(self.magic_source, self.magic_destination, family)).flatten()
        });
        let (Some(interface), Some(vrid), Some(family), Some(interval), Some(script_timeout)) =
            (interface, vrid, family, interval, script_timeout)
        else {
            return Err(faults.0);
        };
        let Some(max_learned_interval) = max_learned_interval.filter(|_| faults.0.is_empty()) else {
            return Err(faults.0);
        };
        Ok(RouterConfig {
            interface,
            vrid,
            family,
            version,
            addresses: self.addresses,
            priority: self.priority.unwrap_or(Priority::DEFAULT),
            preempt: self.preempt.unwrap_or(true),
            interval,
            max_learned_interval,
            auth,
            vmac: self.vmac.unwrap_or_default(),
            vmac_fallback: self.vmac_fallback.unwrap_or_default(),
            lower_priority: self.lower_priority,
            raise_priority: self.raise_priority,
            up: self.up,
            down: self.down,
            script_timeout,
            announce: Announce {
                count: self.garp_count.unwrap_or(1),
                times: AnnounceTimes {
                    again_after: nonzero(self.garp_delay.unwrap_or(GARP_DELAY)),
                    then_every: self.garp_interval.and_then(nonzero),
                },
            },
            checksum: self.v3_checksum.unwrap_or(ChecksumStyle::WithPseudoHeader),
            accept_interval_mismatch: self.accept_interval_mismatch.unwrap_or(false),
            require_equal_addresses: self.require_equal_addresses.unwrap_or(false),
            magic,
            xdp: self.xdp.unwrap_or_default(),
            xdp_pass: self.xdp_pass.unwrap_or(false),
            grouped: false,
        })
    }

    /// What was said here, and where nothing was said, what `defaults` say.
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        Self {
            interface: self.interface.or_else(|| defaults.interface.clone()),
            vrid: self.vrid.or(defaults.vrid),
            addresses: if self.addresses.is_empty() { defaults.addresses.clone() } else { self.addresses },
            priority: self.priority.or(defaults.priority),
            preempt: self.preempt.or(defaults.preempt),
            interval: self.interval.or(defaults.interval),
            max_learned_interval: self.max_learned_interval.or(defaults.max_learned_interval),
            protocol: self.protocol.or(defaults.protocol),
            auth: self.auth.or_else(|| defaults.auth.clone()),
            vmac: self.vmac.or(defaults.vmac),
            vmac_fallback: self.vmac_fallback.or(defaults.vmac_fallback),
            lower_priority: self.lower_priority.or(defaults.lower_priority),
            raise_priority: self.raise_priority.or(defaults.raise_priority),
            up: self.up.or_else(|| defaults.up.clone()),
            down: self.down.or_else(|| defaults.down.clone()),
            script_timeout: self.script_timeout.or(defaults.script_timeout),
            garp_count: self.garp_count.or(defaults.garp_count),
            garp_delay: self.garp_delay.or(defaults.garp_delay),
            garp_interval: self.garp_interval.or(defaults.garp_interval),
            v3_checksum: self.v3_checksum.or(defaults.v3_checksum),
            accept_interval_mismatch: self.accept_interval_mismatch.or(defaults.accept_interval_mismatch),
            require_equal_addresses: self.require_equal_addresses.or(defaults.require_equal_addresses),
            magic_source: self.magic_source.or(defaults.magic_source),
            magic_destination: self.magic_destination.or(defaults.magic_destination),
            xdp: self.xdp.or(defaults.xdp),
            xdp_pass: self.xdp_pass.or(defaults.xdp_pass),
        }
    }
}

/// What is wrong with a router, in the order in which it was found.
#[derive(Default)]
struct Faults(Vec<OptionError>);

impl Faults {
    fn add(&mut self, error: OptionError) {
        self.0.push(error);
    }

    /// The value that is right, for what follows from it.
    fn keep<T>(&mut self, result: Result<T, OptionError>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }
}

fn interval_error(version: Version, error: IntervalError) -> String {
    match (error, version) {
        (IntervalError::Zero, Version::V2) => "0 is no interval; one is 1 to 255 seconds".to_owned(),
        (IntervalError::Zero, Version::V3) => "0 is no interval; one is 10ms to 40.95s".to_owned(),
        (IntervalError::NotWholeSeconds | IntervalError::TooLong { .. }, _) => error.to_string(),
    }
}

/// The longest interval to learn from a master: what the user says, or the larger of five seconds and ten intervals of ours.
/// Version 2 learns none.
fn max_learned_interval(
    said: Option<Duration>,
    version: Version,
    interval: Interval,
) -> Result<Interval, OptionError> {
    let Some(span) = said else { return Ok(interval.times(LEARNED_INTERVALS).max(LEARNED)) };
    let error = |message: String| Key::MaxLearnedInterval.error(message);
    let limit = Interval::from_duration(Version::V3, span)
        .map_err(|wrong| error(interval_error(Version::V3, wrong)))?;
    if version == Version::V3 && limit < interval {
        return Err(error(format!(
            "{limit} is shorter than the interval of the router, {interval}, which others have as well"
        )));
    }
    Ok(limit)
}

fn check_addresses(addresses: &[VirtualAddress], family: Family) -> Result<(), OptionError> {
    if let Some(other) = addresses.iter().find(|address| address.family() != family) {
        return Err(Key::Addresses.error(format!(
            "{other} is not {family}; the addresses of a router are of one family, the others need a second router"
        )));
    }
    if addresses.len() > ADDRESSES_MAX {
        return Err(
            Key::Addresses.error(format!("{} addresses; an advert holds {ADDRESSES_MAX}", addresses.len()))
        );
    }
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = addresses.iter().find(|address| !seen.insert(address.address)) {
        return Err(Key::Addresses.error(format!("{} is there twice", twice.address)));
    }
    match addresses.first() {
        // RFC 9568 §5.2.9
        Some(VirtualAddress { address: IpAddr::V6(first), .. }) if !first.is_unicast_link_local() => {
            Err(Key::Addresses.error(format!(
                "{first} is not link-local; the first IPv6 address must be, like fe80::{:x} (RFC 9568 §5.2.9)",
                first.segments()[7].max(1)
            )))
        }
        Some(_) | None => Ok(()),
    }
}

/// The magic packet: from an address to a host of the same family, or none.
fn magic(
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    family: Family,
) -> Result<Option<Magic>, OptionError> {
    let (source, destination) = match (source, destination) {
        (Some(source), Some(destination)) => (source, destination),
        (None, None) => return Ok(None),
        (Some(_), None) => {
            return Err(Key::MagicDestination.error("is missing; it says where magic packets go"));
        }
        (None, Some(_)) => {
            return Err(Key::MagicSource.error("is missing; it says where magic packets come from"));
        }
    };
    for (key, address) in [(Key::MagicSource, source), (Key::MagicDestination, destination)] {
        if address.is_ipv4() != (family == Family::Ipv4) {
            return Err(key.error(format!("{address} is not {family}, as the addresses of the router are")));
        }
    }
    Ok(Some(Magic { source, destination }))
}

impl Key {
    /// The option as the user writes it on the command line.
    pub const fn flag(self) -> &'static str {
        match self {
            Self::Interface => "-i",
            Self::Vrid => "-v",
            Self::Addresses => "ADDR",
            Self::Priority => "-p",
            Self::Preempt => "-s",
            Self::Interval => "-d",
            Self::MaxLearnedInterval => "--max-learned-interval",
            Self::Protocol => "--protocol",
            Self::Auth => "-a",
            Self::Vmac => "--vmac",
            Self::VmacFallback => "--vmac-fallback",
            Self::LowerPriority => "-z",
            Self::RaisePriority => "-x",
            Self::Up => "-U",
            Self::Down => "-D",
            Self::ScriptTimeout => "--script-timeout",
            Self::GarpCount => "--garp-count",
            Self::GarpDelay => "--garp-delay",
            Self::GarpInterval => "--garp-interval",
            Self::V3Checksum => "--v3-checksum",
            Self::AcceptIntervalMismatch => "--accept-interval-mismatch",
            Self::RequireEqualAddresses => "--require-equal-addresses",
            Self::MagicSource => "-I",
            Self::MagicDestination => "-O",
            Self::Xdp => "--xdp",
            Self::XdpPass => "--xdp-pass",
        }
    }

    /// The option as a key of the configuration file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Vrid => "vrid",
            Self::Addresses => "addresses",
            Self::Priority => "priority",
            Self::Preempt => "preempt",
            Self::Interval => "interval",
            Self::MaxLearnedInterval => "max-learned-interval",
            Self::Protocol => "protocol",
            Self::Auth => "auth",
            Self::Vmac => "vmac",
            Self::VmacFallback => "vmac-fallback",
            Self::LowerPriority => "lower-priority",
            Self::RaisePriority => "raise-priority",
            Self::Up => "up",
            Self::Down => "down",
            Self::ScriptTimeout => "script-timeout",
            Self::GarpCount => "garp-count",
            Self::GarpDelay => "garp-delay",
            Self::GarpInterval => "garp-interval",
            Self::V3Checksum => "v3-checksum",
            Self::AcceptIntervalMismatch => "accept-interval-mismatch",
            Self::RequireEqualAddresses => "require-equal-addresses",
            Self::MagicSource => "magic-source",
            Self::MagicDestination => "magic-destination",
            Self::Xdp => "xdp",
            Self::XdpPass => "xdp-pass",
        }
    }

    /// Every option of a router.
    pub const ALL: [Self; 26] = [
        Self::Interface,
        Self::Vrid,
        Self::Addresses,
        Self::Priority,
        Self::Preempt,
        Self::Interval,
        Self::MaxLearnedInterval,
        Self::Protocol,
        Self::Auth,
        Self::Vmac,
        Self::VmacFallback,
        Self::LowerPriority,
        Self::RaisePriority,
        Self::Up,
        Self::Down,
        Self::ScriptTimeout,
        Self::GarpCount,
        Self::GarpDelay,
        Self::GarpInterval,
        Self::V3Checksum,
        Self::AcceptIntervalMismatch,
        Self::RequireEqualAddresses,
        Self::MagicSource,
        Self::MagicDestination,
        Self::Xdp,
        Self::XdpPass,
    ];

    /// The option with this key; an underscore is as good as a hyphen.
    pub fn named(key: &str) -> Option<Self> {
        let key = key.replace('_', "-");
        Self::ALL.iter().find(|known| known.name() == key).copied()
    }

    /// This option is wrong.
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
mod tests {
    use super::*;

    fn options(words: &[(Key, &str)]) -> RouterOptions {
        let mut options = RouterOptions::default();
        for (key, text) in words {
            options.set(*key, text).expect("each is legal on its own");
        }
        options
    }

    fn key_at_fault(words: &[(Key, &str)]) -> Key {
        let mut all = vec![(Key::Interface, "eth0"), (Key::Vrid, "51")];
        all.extend(words);
        let faults = options(&all).resolve().expect_err("cannot work");
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].key
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let faults = options(&[(Key::Interval, "0.5"), (Key::ScriptTimeout, "0"), (Key::GarpDelay, "1ms")]);
        let keys: Vec<_> =
            faults.resolve().expect_err("cannot work").into_iter().map(|error| error.key).collect();
        let missing = [Key::Interface, Key::Vrid, Key::Addresses];
        assert_eq!(keys[..3], missing);
        assert_eq!(keys[3..], [Key::Interval, Key::GarpDelay, Key::ScriptTimeout]);
    }

    #[test]
    fn defaults_are_those_of_vrrpd() {
        let config = options(&[(Key::Interface, "eth0"), (Key::Vrid, "51"), (Key::Addresses, "10.16.1.200")])
            .resolve()
            .expect("is complete");
        assert_eq!(config.version, Version::V2);
        assert_eq!(config.priority, Priority(100));
        assert_eq!(config.interval.as_seconds(), Some(1));
        assert!(config.preempt);
        assert_eq!(config.auth, Authentication::None);
        assert_eq!((config.vmac, config.magic), (VmacMode::Interface, None));
    }

    #[test]
    fn ipv6_is_version_3() {
        let config = options(&[(Key::Interface, "eth0"), (Key::Vrid, "51"), (Key::Addresses, "fe80::1")])
            .resolve()
            .expect("is complete");
        assert_eq!((config.version, config.family), (Version::V3, Family::Ipv6));
    }

    #[test]
    fn the_option_that_is_wrong_is_named() {
        let v4 = (Key::Addresses, "10.0.0.1");
        let v6 = (Key::Addresses, "fe80::1");
        assert_eq!(key_at_fault(&[]), Key::Addresses);
        assert_eq!(key_at_fault(&[v4, v6]), Key::Addresses);
        assert_eq!(key_at_fault(&[v4, v4]), Key::Addresses);
        assert_eq!(key_at_fault(&[(Key::Addresses, "2001:db8::1")]), Key::Addresses);
        assert_eq!(key_at_fault(&[v6, (Key::Protocol, "v2")]), Key::Protocol);
        assert_eq!(key_at_fault(&[v4, (Key::Interval, "0")]), Key::Interval);
        assert_eq!(key_at_fault(&[v4, (Key::Interval, "0.5")]), Key::Interval);
        for auth in ["pw/x", "ah/0x78"] {
            assert_eq!(key_at_fault(&[v4, (Key::Protocol, "v3"), (Key::Auth, auth)]), Key::Auth);
            assert_eq!(key_at_fault(&[v6, (Key::Auth, auth)]), Key::Auth);
        }
        assert_eq!(key_at_fault(&[v4, (Key::MagicSource, "10.0.0.1")]), Key::MagicDestination);
        assert_eq!(key_at_fault(&[v4, (Key::MagicDestination, "10.0.0.254")]), Key::MagicSource);
        assert_eq!(
            key_at_fault(&[v4, (Key::MagicSource, "10.0.0.1"), (Key::MagicDestination, "fe80::1")]),
            Key::MagicDestination
        );
        assert_eq!(key_at_fault(&[v4, (Key::ScriptTimeout, "0")]), Key::ScriptTimeout);
        for span in ["0", "41", "90ms"] {
            let wrong = [v4, (Key::Protocol, "v3"), (Key::Interval, "0.1"), (Key::MaxLearnedInterval, span)];
            assert_eq!(key_at_fault(&wrong), Key::MaxLearnedInterval);
        }
        assert_eq!(key_at_fault(&[v4, (Key::GarpDelay, "1ns")]), Key::GarpDelay);
        assert_eq!(key_at_fault(&[v4, (Key::GarpInterval, "99ms")]), Key::GarpInterval);
    }

    #[test]
    fn the_limit_of_learned_intervals_is_five_seconds_or_ten_intervals_unless_set() {
        for (interval, limit, wanted) in [
            ("0.1", None, 500),
            ("1", None, 1000),
            ("40.95", None, 40_950),
            ("0.1", Some("0.1"), 10),
            ("1", Some("40.95"), 4095),
        ] {
            let mut words = vec![
                (Key::Interface, "eth0"),
                (Key::Vrid, "51"),
                (Key::Addresses, "10.16.1.200"),
                (Key::Protocol, "v3"),
                (Key::Interval, interval),
            ];
            words.extend(limit.map(|limit| (Key::MaxLearnedInterval, limit)));
            let config = options(&words).resolve().expect("is legal");
            assert_eq!(config.max_learned_interval.as_centis(), wanted, "{interval} {limit:?}");
        }
    }

    #[test]
    fn every_option_has_a_name_and_a_flag_of_its_own() {
        for (index, key) in Key::ALL.into_iter().enumerate() {
            for other in &Key::ALL[index + 1..] {
                assert_ne!(key.name(), other.name());
                assert_ne!(key.flag(), other.flag());
            }
        }
    }
}
