//! From the options of one router to its configuration: defaults, and checks of options that depend on each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vrrpd_common::params::IntervalError;
use vrrpd_common::router::AnnounceTimes;
use vrrpd_common::wire::frame::NOT_ROUTED;
use vrrpd_common::wire::vrrp::group;
use vrrpd_common::{Duration, Family, Interval, Priority, Version};
use vrrpd_engine::held_address::AddressOptions;

use super::options::Complete;
use super::track::Track;
use super::{
    Announce, Authentication, Datapath, DatapathOption, Destination, HeldAddress, Key, Magic, OptionError,
    Pauses, Peer, RouterConfig, RouterOptions, Scripts, Settings, VirtualAddress, VmacMode,
};

/// Maximum number of addresses in an advert (RFC 9568 §5.2.5).
const MAX_ADDRESSES: usize = 255;
/// Maximum number of unicast peers: the number of priorities of a virtual router.
const MAX_PEERS: usize = 255;
/// Default of `--max-learned-interval`: the larger of this and ten intervals.
const LEARNED: Interval = Interval::DEFAULT.times(5);
const LEARNED_INTERVALS: u16 = 10;
/// As keepalived's `preempt_delay`.
pub const LONGEST_PREEMPT_DELAY: Duration = Duration::from_secs(1000);
/// As keepalived's `vrrp_startup_delay`.
pub const LONGEST_START_DELAY: Duration = Duration::from_secs(3600);
/// Minimum interval of announcements.
const GARP_SPACING: Duration = Duration::from_millis(100);

impl Complete {
    /// The scripts of a router or group.
    fn scripts(&self) -> Result<Scripts, OptionError> {
        if self.script_timeout == Duration::ZERO {
            return Err(Key::ScriptTimeout.error("script timeout must not be 0"));
        }
        if self.prepare_timeout == Duration::ZERO {
            return Err(Key::PrepareTimeout.error("prepare timeout must not be 0"));
        }
        Ok(Scripts {
            prepare: self.prepare.clone(),
            prepare_timeout: self.prepare_timeout,
            up: self.up.clone(),
            down: self.down.clone(),
            fault: self.fault.clone(),
            stop: self.stop.clone(),
            notify: self.notify.clone(),
            fifo: self.fifo.clone(),
            user: self.script_user.clone(),
            style: self.script_style,
            timeout: self.script_timeout,
        })
    }
}

impl Complete {
    /// Checks options that depend on others.
    fn check_combinations(&self, faults: &mut Faults) {
        self.check_preemption(faults);
        self.check_vmac_name(faults);
    }

    /// Checks the name of the macvlan link.
    fn check_vmac_name(&self, faults: &mut Faults) {
        let Some(name) = &self.vmac_name else { return };
        if self.vmac != VmacMode::Macvlan {
            faults.add(Key::VmacName.error("only the link of vmac = macvlan has a name"));
        } else if self.interface.as_ref() == Some(name) {
            faults.add(Key::VmacName.error(format!("{name} is the interface: expected another name")));
        }
    }

    /// Checks the delays and the options of preemption.
    fn check_preemption(&self, faults: &mut Faults) {
        for (key, span, longest) in [
            (Key::PreemptDelay, self.preempt_delay, LONGEST_PREEMPT_DELAY),
            (Key::StartDelay, self.start_delay, LONGEST_START_DELAY),
        ] {
            if span > longest {
                faults.add(key.error(format!("invalid delay {span}: expected at most {longest}")));
            }
        }
        if !self.preempt && self.preempt_delay != Duration::ZERO {
            faults.add(Key::PreemptDelay.error("preemption is off; a delay needs preempt = true"));
        }
        if self.preempt && self.preempt_below.is_some() {
            faults.add(
                Key::PreemptBelow
                    .error("every lower master is preempted already; use it with preempt = false (-s)"),
            );
        }
    }

    /// The announcements; `has_others` says whether there are addresses on other interfaces.
    fn announce(&self, has_others: bool) -> Announce {
        let nonzero = |span: Duration| (span != Duration::ZERO).then_some(span);
        Announce {
            count: self.garp_count,
            refresh_count: self.garp_refresh_count.unwrap_or(self.garp_count),
            lower_count: self.garp_lower_count.unwrap_or(self.garp_count),
            pauses: Pauses { arp: self.garp_pause, na: self.na_pause },
            times: AnnounceTimes {
                again_after: nonzero(self.garp_delay),
                refresh_every: nonzero(self.garp_interval),
                elsewhere_every: nonzero(self.garp_elsewhere_interval).filter(|_| has_others),
                after_lower: nonzero(self.garp_lower_delay),
            },
        }
    }
}

impl RouterOptions {
    /// The scripts, with defaults applied.
    pub fn resolve_scripts(self) -> Result<Scripts, OptionError> {
        self.complete().scripts()
    }

    /// The configuration of the router, or all missing or conflicting options.
    pub fn resolve(self) -> Result<RouterConfig, Vec<OptionError>> {
        let mut said = self.complete();
        let mut faults = Faults::default();
        said.check_combinations(&mut faults);
        let scripts = said.scripts();
        let interface =
            said.interface.take().ok_or_else(|| Key::Interface.error("interface missing, for example eth0"));
        let interface = faults.keep(interface);
        let vrid = said.vrid.ok_or_else(|| Key::Vrid.error("VRID missing (1 to 255)"));
        let vrid = faults.keep(vrid);
        let family = said.family.or_else(|| said.addresses.first().map(|held| held.address.family())).ok_or_else(|| {
            Key::Addresses
                .error("virtual address missing, for example 10.16.1.200/24; a router without addresses needs --family (family in a file)")
        });
        let family = faults.keep(family);
        let version = said.protocol.unwrap_or(match family {
            Some(Family::Ipv4) | None => Version::V2,
            Some(Family::Ipv6) => Version::V3,
        });
        let [addresses, extra_addresses] = [&said.addresses, &said.extra_addresses]
            .map(|held| held.iter().map(|held| held.address).collect::<Vec<_>>());
        check_all_addresses([&addresses, &extra_addresses], family, &mut faults);
        let held = said.addresses.iter().chain(&said.extra_addresses);
        let address_interfaces = address_interfaces(held.clone(), interface.as_deref());
        let address_options = address_options(held);
        if family == Some(Family::Ipv6) && version == Version::V2 {
            faults.add(Key::Protocol.error("version 2 has no IPv6; use v3 for IPv6 addresses"));
        }
        if version == Version::V3 && said.auth != Authentication::None {
            faults.add(Key::Auth.error("version 3 has no authentication; use none, or protocol v2"));
        }
        let interval = Interval::from_duration(version, said.interval)
            .map_err(|error| Key::Interval.error(interval_error(version, error)));
        let interval = faults.keep(interval);
        let max_learned_interval = interval.and_then(|interval| {
            faults.keep(max_learned_interval(said.max_learned_interval, version, interval))
        });
        check_garp(&said, &mut faults);
        let scripts = faults.keep(scripts);
        let magic = family.and_then(|family| {
            faults.keep(magic(said.magic_source, said.magic_destination, family)).flatten()
        });
        let destination = family.and_then(|family| faults.keep(destination(&said, family)));
        let (datapath, datapath_option) = faults.keep(datapath(&said)).unwrap_or_default();
        if let Some(source) = said.source
            && let Some(family) = family
        {
            faults.keep(check_source(source, &said, family));
        }
        let (Some(interface), Some(vrid), Some(family), Some(interval), Some(scripts)) =
            (interface, vrid, family, interval, scripts)
        else {
            return Err(faults.0);
        };
        let (Some(max_learned_interval), Some(destination), true) =
            (max_learned_interval, destination, faults.0.is_empty())
        else {
            return Err(faults.0);
        };
        let settings = Settings {
            announce: said.announce(!address_interfaces.is_empty()),
            title: said.title,
            interface,
            vrid,
            family,
            version,
            addresses,
            extra_addresses,
            address_options,
            address_interfaces,
            routes: said.routes,
            rules: said.rules,
            source: said.source,
            destination,
            priority: said.priority,
            preempt: said.preempt,
            preempt_below: said.preempt_below,
            preempt_delay: said.preempt_delay,
            start_delay: said.start_delay,
            accept: said.accept,
            track_interface: said.track_interface,
            interval,
            max_learned_interval,
            down_multiplier: said.down_multiplier,
            auth: said.auth.kind(),
            vmac: said.vmac,
            vmac_name: said.vmac_name,
            vmac_fallback: said.vmac_fallback,
            lower_priority: said.lower_priority,
            raise_priority: said.raise_priority,
            scripts,
            checksum: said.v3_checksum,
            accept_interval_mismatch: said.accept_interval_mismatch,
            require_equal_addresses: said.require_equal_addresses,
            magic,
            datapath,
            xdp_pass: said.xdp_pass,
            grouped: false,
            track: said.track.into_iter().map(Track::into_tracked).collect(),
        };
        Ok(RouterConfig { settings, authentication: said.auth, datapath_option })
    }
}

/// The data path, and the option that it was given with.
fn datapath(said: &Complete) -> Result<(Datapath, DatapathOption), OptionError> {
    match (said.datapath, said.xdp) {
        (Some(_), Some(_)) => Err(Key::Datapath.error("cannot be combined with xdp: use one of them")),
        (Some(wanted), None) => Ok((wanted, DatapathOption::Datapath)),
        (None, Some(wanted)) => Ok((wanted, DatapathOption::Xdp)),
        (None, None) => Ok((Datapath::default(), DatapathOption::default())),
    }
}

/// Checks each address, and the list as a whole.
fn check_all_addresses(
    [addresses, extra]: [&[VirtualAddress]; 2],
    family: Option<Family>,
    faults: &mut Faults,
) {
    if let Some(family) = family {
        faults.keep(check_addresses(addresses, family));
    }
    faults.keep(check_extra_addresses(addresses, extra));
}

/// The options of addresses that have any.
fn address_options<'a>(held: impl Iterator<Item = &'a HeldAddress>) -> BTreeMap<IpAddr, AddressOptions> {
    let held = held.filter(|held| !held.options.is_empty());
    held.map(|held| (held.address.address, held.options)).collect()
}

/// The interfaces of addresses that are not on the router's own interface.
fn address_interfaces<'a>(
    held: impl Iterator<Item = &'a HeldAddress>,
    own: Option<&str>,
) -> BTreeMap<IpAddr, String> {
    let other = |held: &HeldAddress| held.interface.clone().filter(|other| Some(other.as_str()) != own);
    held.filter_map(|held| Some((held.address.address, other(held)?))).collect()
}

/// Checks the minimum interval of announcements.
fn check_garp(said: &Complete, faults: &mut Faults) {
    for (key, span) in [
        (Key::GarpDelay, said.garp_delay),
        (Key::GarpInterval, said.garp_interval),
        (Key::GarpElsewhereInterval, said.garp_elsewhere_interval),
        (Key::GarpLowerDelay, said.garp_lower_delay),
    ] {
        if span != Duration::ZERO && span < GARP_SPACING {
            faults.add(key.error(format!("expected at least {GARP_SPACING}, or 0 to disable")));
        }
    }
}

/// The mistakes of a router, in the order in which they were found.
#[derive(Default)]
struct Faults(Vec<OptionError>);

impl Faults {
    fn add(&mut self, error: OptionError) {
        self.0.push(error);
    }

    /// The value, if valid; otherwise notes the mistake.
    fn keep<T>(&mut self, result: Result<T, OptionError>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }
}

fn interval_error(version: Version, error: IntervalError) -> String {
    match (error, version) {
        (IntervalError::Zero, Version::V2) => "invalid interval 0: expected 1 to 255 seconds".to_owned(),
        (IntervalError::Zero, Version::V3) => "invalid interval 0: expected 10ms to 40.95s".to_owned(),
        (IntervalError::NotWholeSeconds | IntervalError::TooLong { .. }, _) => error.to_string(),
    }
}

/// The maximum learned interval: as configured, or the larger of five seconds and ten intervals of the router. Not used
/// by version 2.
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
            "{limit} is shorter than the advertisement interval of the router, {interval}"
        )));
    }
    Ok(limit)
}

fn check_addresses(addresses: &[VirtualAddress], family: Family) -> Result<(), OptionError> {
    if let Some(other) = addresses.iter().find(|address| address.family() != family) {
        return Err(Key::Addresses
            .error(format!("{other} is not {family}: use a second router for the other address family")));
    }
    if addresses.len() > MAX_ADDRESSES {
        return Err(Key::Addresses
            .error(format!("{} addresses: an advert can have at most {MAX_ADDRESSES}", addresses.len())));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = addresses.iter().find(|address| !seen.insert(address.address)) {
        return Err(Key::Addresses.error(format!("duplicate address {}", twice.address)));
    }
    Ok(())
}

/// The destination of adverts: peers or a group.
fn destination(said: &Complete, family: Family) -> Result<Destination, OptionError> {
    let of_family = |key: Key, address: IpAddr| {
        if address.is_ipv4() == (family == Family::Ipv4) {
            return Ok(());
        }
        Err(key.error(format!("{address} is not {family}: expected the family of the virtual addresses")))
    };
    if said.peers.is_empty() {
        for (key, ttl) in [(Key::Ttl, said.ttl), (Key::MinTtl, said.min_ttl)] {
            if ttl.is_some_and(|ttl| ttl != NOT_ROUTED) {
                let message = "only for a router with peers; multicast has TTL 255 (RFC 9568 §5.1.1.3)";
                return Err(key.error(message));
            }
        }
        let group = said.multicast_group.unwrap_or(group(family));
        of_family(Key::MulticastGroup, group)?;
        return Ok(Destination::Group(group));
    }
    if said.multicast_group.is_some() {
        return Err(
            Key::MulticastGroup.error("a router with peers sends no multicast: leave out one of both")
        );
    }
    let min_ttl = said.min_ttl.unwrap_or(NOT_ROUTED);
    let mut peers: Vec<Peer> = Vec::with_capacity(said.peers.len());
    for peer in &said.peers {
        let address = peer.address;
        of_family(Key::Peers, address)?;
        if peers.iter().any(|before| before.address == address) {
            return Err(Key::Peers.error(format!("duplicate peer {address}")));
        }
        if said.source == Some(address) {
            let message = format!("{address} is the source of this router: list the other routers only");
            return Err(Key::Peers.error(message));
        }
        if said.addresses.iter().any(|ours| ours.address.address == address) {
            let message = format!("{address} is a virtual address: list the peer's own address");
            return Err(Key::Peers.error(message));
        }
        peers.push(Peer { address, min_ttl: peer.min_ttl.unwrap_or(min_ttl) });
    }
    if peers.len() > MAX_PEERS {
        return Err(Key::Peers.error(format!("{} peers: at most {MAX_PEERS}", peers.len())));
    }
    Ok(Destination::Peers { peers, ttl: said.ttl.unwrap_or(NOT_ROUTED) })
}

/// Checks the source address of adverts.
fn check_source(source: IpAddr, said: &Complete, family: Family) -> Result<(), OptionError> {
    let error = |message: String| Err(Key::Source.error(message));
    if source.is_ipv4() != (family == Family::Ipv4) {
        return error(format!("{source} is not {family}: expected the family of the virtual addresses"));
    }
    if said.priority != Priority::OWNER && said.addresses.iter().any(|ours| ours.address.address == source) {
        return error(format!("{source} is a virtual address: only its owner, priority 255, sends from it"));
    }
    match source {
        IpAddr::V6(address) if said.peers.is_empty() && !address.is_unicast_link_local() => error(format!(
            "{address} is not link-local, as the source of multicast over IPv6 must be (RFC 9568 §5.1.2.1)"
        )),
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(()),
    }
}

/// Checks that no address is listed twice.
fn check_extra_addresses(addresses: &[VirtualAddress], extra: &[VirtualAddress]) -> Result<(), OptionError> {
    let mut seen: BTreeSet<_> = addresses.iter().map(|address| address.address).collect();
    match extra.iter().find(|address| !seen.insert(address.address)) {
        Some(twice) => Err(Key::ExtraAddresses.error(format!("duplicate address {}", twice.address))),
        None => Ok(()),
    }
}

/// The magic packet, from an address to a host of the same family; `None` if not configured.
fn magic(
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    family: Family,
) -> Result<Option<Magic>, OptionError> {
    let (source, destination) = match (source, destination) {
        (Some(source), Some(destination)) => (source, destination),
        (None, None) => return Ok(None),
        (Some(_), None) => {
            return Err(Key::MagicDestination.error("destination of magic packets missing"));
        }
        (None, Some(_)) => {
            return Err(Key::MagicSource.error("source of magic packets missing"));
        }
    };
    for (key, address) in [(Key::MagicSource, source), (Key::MagicDestination, destination)] {
        if address.is_ipv4() != (family == Family::Ipv4) {
            return Err(key.error(format!("{address} is not {family}: expected the family of the router")));
        }
    }
    Ok(Some(Magic { source, destination }))
}

#[cfg(test)]
mod tests {
    use super::super::VmacMode;
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
    fn all_mistakes_are_reported_at_once() {
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
        assert_eq!(config.authentication, Authentication::None);
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
    fn a_router_without_addresses_has_a_family() {
        for (family, version) in [("ipv4", Version::V2), ("ipv6", Version::V3)] {
            let words = [(Key::Interface, "eth0"), (Key::Vrid, "51"), (Key::Family, family)];
            let config = options(&words).resolve().expect("is complete");
            assert_eq!((config.family.name(), config.version), (family, version));
            assert!(config.addresses.is_empty());
        }
    }

    #[test]
    fn the_first_ipv6_address_may_be_any() {
        let words = [(Key::Interface, "eth0"), (Key::Vrid, "51"), (Key::Addresses, "2001:db8::1")];
        assert_eq!(options(&words).resolve().expect("is complete").addresses.len(), 1);
    }

    #[test]
    fn the_option_that_is_wrong_is_named() {
        let v4 = (Key::Addresses, "10.0.0.1");
        let v6 = (Key::Addresses, "fe80::1");
        assert_eq!(key_at_fault(&[]), Key::Addresses);
        assert_eq!(key_at_fault(&[v4, v6]), Key::Addresses);
        assert_eq!(key_at_fault(&[v4, v4]), Key::Addresses);
        assert_eq!(key_at_fault(&[(Key::Family, "ipv4"), v6]), Key::Addresses);
        assert_eq!(key_at_fault(&[(Key::Family, "ipv6"), (Key::Protocol, "v2")]), Key::Protocol);
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
        assert_eq!(key_at_fault(&[v4, (Key::GarpLowerDelay, "99ms")]), Key::GarpLowerDelay);
        assert_eq!(key_at_fault(&[v4, (Key::GarpElsewhereInterval, "99ms")]), Key::GarpElsewhereInterval);
    }

    #[test]
    fn peers_that_cannot_work_are_refused() {
        let v4 = (Key::Addresses, "10.0.0.100");
        let peer = |text| (Key::Peers, text);
        for text in ["2001:db8::2", "10.0.0.100"] {
            assert_eq!(key_at_fault(&[v4, peer(text)]), Key::Peers, "{text}");
        }
        assert_eq!(key_at_fault(&[v4, peer("10.0.0.2"), peer("10.0.0.2,min-ttl=1")]), Key::Peers);
        assert_eq!(key_at_fault(&[v4, peer("10.0.0.2"), (Key::Source, "10.0.0.2")]), Key::Peers);
        let group = (Key::MulticastGroup, "224.0.0.18");
        assert_eq!(key_at_fault(&[v4, peer("10.0.0.2"), group]), Key::MulticastGroup);
        assert_eq!(key_at_fault(&[v4, (Key::MulticastGroup, "ff02::12")]), Key::MulticastGroup);
        assert_eq!(key_at_fault(&[v4, (Key::Ttl, "64")]), Key::Ttl);
        assert_eq!(key_at_fault(&[v4, (Key::MinTtl, "0")]), Key::MinTtl);
        for source in ["10.0.0.100", "fe80::1"] {
            assert_eq!(key_at_fault(&[v4, (Key::Source, source)]), Key::Source, "{source}");
        }
        let v6 = (Key::Addresses, "fe80::100");
        assert_eq!(key_at_fault(&[v6, (Key::Source, "2001:db8::1")]), Key::Source);
    }

    #[test]
    fn a_peer_has_the_ttl_of_its_own_or_that_of_the_router_or_255() {
        let peers = |more: &[(Key, &str)]| {
            let mut words = vec![
                (Key::Interface, "eth0"),
                (Key::Vrid, "51"),
                (Key::Addresses, "10.0.0.100"),
                (Key::Peers, "10.0.0.2"),
                (Key::Peers, "10.0.0.3,min-ttl=250"),
            ];
            words.extend(more);
            let config = options(&words).resolve().expect("is legal");
            config.peers().iter().map(|peer| peer.min_ttl).collect::<Vec<_>>()
        };
        assert_eq!(peers(&[]), [255, 250]);
        assert_eq!(peers(&[(Key::MinTtl, "0")]), [0, 250]);
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
}
