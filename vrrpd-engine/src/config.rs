//! The validated configuration of a router or group. The daemon parses it, from the command line or a file; the engine
//! does not check it again.

mod defaults;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::router::{AnnounceTimes, Config, Occasion, Transition};
use vrrpd_common::wire::vrrp::{ChecksumStyle, group};
use vrrpd_common::{AddressDigest, Duration, Family, Interval, Priority, Version, Vrid};

use crate::held_address::AddressOptions;
use crate::priority::Steps;
use crate::router_name::RouterName;
use crate::routing::{Route, Rule};
use crate::script::{Call, Scripts, Subject};
use crate::track::Tracked;

pub use crate::address::VirtualAddress;

/// The configuration of one virtual router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterConfig {
    /// `--name`: the name in scripts, logs and state; `None`: [`RouterConfig::name`].
    pub title: Option<String>,
    /// `-i`
    pub interface: String,
    /// `-v`
    pub vrid: Vrid,
    /// `--family`, or the family of the addresses.
    pub family: Family,
    /// `--protocol`
    pub version: Version,
    /// The virtual addresses, all of `family`; may be empty.
    pub addresses: Vec<VirtualAddress>,
    /// `--extra-address`: addresses of either family that the router holds and announces but does not advertise.
    pub extra_addresses: Vec<VirtualAddress>,
    /// Label, scope, broadcast, peer and lifetime of addresses of both lists, where configured.
    pub address_options: BTreeMap<IpAddr, AddressOptions>,
    /// The interface of each address (of both lists) that is not on the router's own interface.
    pub address_interfaces: BTreeMap<IpAddr, String>,
    /// `--route`: routes that a Master holds.
    pub routes: Vec<Route>,
    /// `--rule`: policy rules that a Master holds.
    pub rules: Vec<Rule>,
    /// `--source`: source address of adverts; `None`: an address of the interface.
    pub source: Option<IpAddr>,
    /// Destination of adverts, and the sources they are accepted from.
    pub destination: Destination,
    /// `-p`
    pub priority: Priority,
    /// Off with `-s`.
    pub preempt: bool,
    /// `--preempt-below`: without `preempt`, Masters that advertise less than this are preempted all the same.
    pub preempt_below: Option<Priority>,
    /// `--preempt-delay`; zero: none.
    pub preempt_delay: Duration,
    /// `--start-delay`; zero: none.
    pub start_delay: Duration,
    /// `--accept`, off with `--no-accept`: packets to the addresses are dropped unless the router owns them
    /// (Accept_Mode, RFC 9568 §6.1).
    pub accept: bool,
    /// `--track-interface`, off with `--no-track-interface`: then an interface that is down or has no carrier is not a
    /// fault.
    pub track_interface: bool,
    /// `-d`
    pub interval: Interval,
    /// `--max-learned-interval`; version 3.
    pub max_learned_interval: Interval,
    /// `--down-multiplier`: missed intervals until the Master counts as down, 1 to 100.
    pub down_multiplier: u8,
    /// `-a`; only the daemon has the secret.
    pub auth: AuthKind,
    /// `--vmac`; `-n` is `none`
    pub vmac: VmacMode,
    /// `--vmac-name`: the name of the macvlan link, if it is free; `None`: `vrrp4.VRID` or `vrrp6.VRID`.
    #[serde(default)]
    pub vmac_name: Option<String>,
    /// `--vmac-fallback`
    pub vmac_fallback: VmacFallback,
    /// `-z`: the priority after SIGTTIN; `None`: 10 less.
    pub lower_priority: Option<Priority>,
    /// `-x`: the priority after SIGTTOU; `None`: 10 more.
    pub raise_priority: Option<Priority>,
    /// Scripts run on a state change.
    pub scripts: Scripts,
    /// How often and how fast the addresses are announced.
    pub announce: Announce,
    /// `--v3-checksum`
    pub checksum: ChecksumStyle,
    /// `--accept-interval-mismatch`
    pub accept_interval_mismatch: bool,
    /// `--require-equal-addresses`
    pub require_equal_addresses: bool,
    /// `-I`, `-O`
    pub magic: Option<Magic>,
    /// `--datapath`, `--xdp`
    pub datapath: Datapath,
    /// `--xdp-pass`
    pub xdp_pass: bool,
    /// The router is Master together with others or not at all: `-M`, or member of a `[[group]]`.
    pub grouped: bool,
    /// Checks that change the priority or cause a fault.
    pub track: Vec<Tracked>,
}

/// Destination of a router's adverts, and the sources it accepts adverts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// `--multicast-group`: sent to this group, accepted from any source.
    Group(IpAddr),
    /// `--peer`: sent by unicast to these peers, accepted from them only.
    Peers {
        /// At least one, without duplicates.
        peers: Vec<Peer>,
        /// `--ttl`: TTL or hop limit of sent adverts, 1 to 255.
        ttl: u8,
    },
}

/// A router of the same virtual router that is reached by unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The source address of its adverts.
    pub address: IpAddr,
    /// `--min-ttl`: the lowest TTL or hop limit accepted from this peer; 0: any.
    pub min_ttl: u8,
}

/// Authentication of version 2, without the secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthKind {
    /// No authentication.
    #[default]
    None,
    /// Password in the message.
    Simple,
    /// Authentication Header.
    Ah,
}

/// How the virtual router MAC address (RFC 9568 §7.3) is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VmacMode {
    /// The interface takes it while Master, so all addresses of the interface share it.
    Interface,
    /// A macvlan link on the interface has it; for any number of virtual routers.
    Macvlan,
    /// Not used: addresses are announced with the interface's own MAC address.
    None,
}

/// What a router does if its interface cannot take the virtual MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VmacFallback {
    /// It becomes Master with the interface's own MAC address.
    None,
    /// It does not become Master.
    Refuse,
}

/// The magic packet: a TCP SYN from which a gateway learns the port of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Magic {
    /// `-I`: a virtual address.
    pub source: IpAddr,
    /// `-O`: the gateway.
    pub destination: IpAddr,
}

/// The data path of an interface: how it receives adverts. All routers of an interface have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Datapath {
    /// Raw sockets.
    Raw,
    /// A classifier (tcx), else raw sockets.
    #[default]
    Auto,
    /// A classifier only.
    Tcx,
    /// Native XDP, else a classifier, else generic XDP, else raw sockets.
    Xdp,
    /// Native XDP only.
    XdpNative,
    /// Generic XDP only.
    XdpGeneric,
}

impl Datapath {
    /// Whether there is no fallback.
    pub const fn is_required(self) -> bool {
        matches!(self, Self::Tcx | Self::XdpNative | Self::XdpGeneric)
    }
}

/// How gratuitous ARP or unsolicited neighbour advertisements are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// `--garp-count`: frames per address on becoming Master, and for the delayed repetition; 1 to 255.
    pub count: u8,
    /// `--garp-refresh-count`: frames per address for each periodic refresh, 1 to 255.
    pub refresh_count: u8,
    /// `--garp-lower-count`: frames per address upon a lower-priority advert; 0: none.
    pub lower_count: u8,
    /// Minimum pauses between two frames.
    pub pauses: Pauses,
    /// When the announcement is repeated.
    pub times: AnnounceTimes,
}

/// Minimum pauses between announcements on an interface; zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pauses {
    /// `--garp-pause`: between two gratuitous ARP frames.
    pub arp: Duration,
    /// `--na-pause`: between two unsolicited neighbour advertisements.
    pub na: Duration,
}

impl Announce {
    /// Frames per address on this occasion.
    pub const fn count_on(&self, occasion: Occasion) -> u8 {
        match occasion {
            Occasion::TakeOver => self.count,
            Occasion::Elsewhere => 1,
            Occasion::Refresh => self.refresh_count,
            Occasion::LowerMaster => self.lower_count,
        }
    }
}

impl RouterConfig {
    /// The identifier of the router in files and in messages between daemons.
    pub fn name(&self) -> RouterName<'_> {
        RouterName { interface: &self.interface, vrid: self.vrid.get(), family: self.family }
    }

    /// The name of the router for people: `--name`, else [`RouterConfig::name`].
    pub fn title(&self) -> Cow<'_, str> {
        self.title.as_deref().map_or_else(|| self.name().to_string().into(), Cow::Borrowed)
    }

    /// What the operator's steps change the priority to.
    pub const fn steps(&self) -> Steps {
        Steps { reduced: self.lower_priority, increased: self.raise_priority }
    }

    /// Whether a running router can change to `other` without a restart: nothing that its state depends on differs,
    /// except its priority.
    #[must_use]
    pub fn can_become(&self, other: &Self) -> bool {
        let exchanged = Self {
            priority: other.priority,
            lower_priority: other.lower_priority,
            raise_priority: other.raise_priority,
            title: other.title.clone(),
            scripts: other.scripts.clone(),
            announce: Announce { times: self.announce.times, ..other.announce },
            max_learned_interval: other.max_learned_interval,
            start_delay: other.start_delay,
            checksum: other.checksum,
            accept: other.accept,
            track_interface: other.track_interface,
            accept_interval_mismatch: other.accept_interval_mismatch,
            require_equal_addresses: other.require_equal_addresses,
            magic: other.magic,
            grouped: other.grouped,
            track: other.track.clone(),
            destination: match (&self.destination, &other.destination) {
                (Destination::Peers { .. }, Destination::Peers { .. }) => other.destination.clone(),
                (Destination::Group(_), _) | (_, Destination::Group(_)) => self.destination.clone(),
            },
            ..self.clone()
        };
        // An owner starts as Master, so changing from or to an owner needs a restart.
        exchanged == *other && (self.priority == Priority::OWNER) == (other.priority == Priority::OWNER)
    }

    /// Whether packets to the addresses are dropped; never for the owner.
    pub fn drops_packets(&self) -> bool {
        !self.accept && self.priority != Priority::OWNER
    }

    /// The unicast peers; empty if adverts go to a group.
    pub fn peers(&self) -> &[Peer] {
        match &self.destination {
            Destination::Peers { peers, .. } => peers,
            Destination::Group(_) => &[],
        }
    }

    /// Whether the BPF programs handle the router's adverts: those to the group of RFC 9568 §5.1.1.2, §5.1.2.2, or from
    /// peers.
    pub fn is_for_program(&self) -> bool {
        match self.destination {
            Destination::Group(to) => to == group(self.family),
            Destination::Peers { .. } => true,
        }
    }

    /// Whether the source of adverts may be an address that is valid beyond the link. Otherwise IPv6 adverts have a
    /// link-local source (RFC 9568 §5.1.2.1), which peers beyond a router cannot reach.
    pub fn reaches_beyond_link(&self) -> bool {
        let is_beyond = |peer: &Peer| match peer.address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        };
        self.peers().iter().any(is_beyond)
    }

    /// The configuration of the state machine.
    pub fn machine(&self) -> Config {
        Config {
            vrid: self.vrid,
            version: self.version,
            priority: self.priority,
            preempt_mode: self.preempt,
            preempt_below: self.preempt_below,
            preempt_delay: self.preempt_delay,
            start_delay: self.start_delay,
            interval: self.interval,
            max_learned_interval: self.max_learned_interval,
            down_multiplier: self.down_multiplier,
            addresses: self.digest(),
            announce: self.announce.times,
            grouped: self.grouped,
            prepares: self.scripts.prepare.is_some(),
        }
    }

    /// All addresses that a Master holds, the advertised ones first.
    pub fn held_addresses(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.addresses.iter().chain(&self.extra_addresses)
    }

    /// Whether a Master holds this address.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.held_addresses().any(|held| held.address == address)
    }

    /// The interface of an address.
    pub fn interface_of(&self, address: IpAddr) -> &str {
        self.address_interfaces.get(&address).map_or(&self.interface, String::as_str)
    }

    /// All addresses that a Master holds on this interface.
    pub fn addresses_on<'a>(&'a self, interface: &'a str) -> impl Iterator<Item = &'a VirtualAddress> {
        self.held_addresses().filter(move |held| self.interface_of(held.address) == interface)
    }

    /// The interfaces, other than the router's own, that have addresses of the router.
    pub fn other_interfaces(&self) -> BTreeSet<&str> {
        self.address_interfaces.values().map(String::as_str).collect()
    }

    /// How an address is added to its interface.
    pub fn options_of(&self, address: &VirtualAddress) -> AddressOptions {
        self.address_options.get(&address.address).copied().unwrap_or_default()
    }

    /// The digest of the advertised address set, as peers compute it.
    pub fn digest(&self) -> AddressDigest {
        AddressDigest::of(self.addresses.iter().map(|address| address.address))
    }
}

impl VmacMode {
    /// The name in options and in the state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Macvlan => "macvlan",
            Self::None => "none",
        }
    }
}

impl AuthKind {
    /// `none`, `pw`, `ah`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Simple => "pw",
            Self::Ah => "ah",
        }
    }
}

/// The configuration of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// The name in the configuration file; `None`: the group of all processes with `-M`.
    pub name: Option<String>,
    /// Number of members, including those of other processes.
    pub size: u8,
    /// The members in this process, by [`RouterConfig::name`].
    pub members: Vec<String>,
    /// Scripts run on a state change.
    pub scripts: Scripts,
}

impl GroupConfig {
    /// The scripts to run for this transition of the group.
    pub fn call(&self, transition: Transition) -> Option<Call> {
        let name = self.name.clone().unwrap_or_default();
        let environment =
            vec![("VRRP_GROUP".into(), name.clone()), ("VRRP_MEMBERS".into(), self.members.join(" "))];
        self.scripts.call(transition, &Subject { kind: "GROUP", name, priority: 0, environment })
    }

    /// Whether both have the same members, in any order. Name and scripts may differ.
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        let set = |group: &Self| group.members.iter().cloned().collect::<BTreeSet<_>>();
        self.size == other.size && set(self) == set(other)
    }

    /// The group of all processes with `-M`, of which `router` is the member of this process.
    pub fn of_processes(size: u8, router: &RouterConfig) -> Self {
        let scripts = Scripts::none(router.scripts.timeout);
        Self { name: None, size, members: vec![router.name().to_string()], scripts }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// eth0/51 with these addresses and defaults otherwise.
    pub(crate) fn router(addresses: &str) -> RouterConfig {
        let addresses: Vec<_> = addresses
            .split(' ')
            .map(|text| VirtualAddress { address: text.parse().expect("an address"), prefix_len: 24 })
            .collect();
        RouterConfig::with_defaults("eth0".to_owned(), Vrid::new(51).expect("a VRID"), addresses)
    }

    #[test]
    fn a_running_router_can_take_another_priority_but_not_become_the_owner() {
        let before = router("192.0.2.100");
        let with = |priority| RouterConfig { priority: Priority(priority), ..before.clone() };
        assert!(before.can_become(&with(150)));
        assert!(!before.can_become(&with(255)));
        assert!(!before.can_become(&router("192.0.2.101")));
    }

    #[test]
    fn a_running_router_can_have_other_peers_but_not_change_between_unicast_and_multicast() {
        let multicast = router("192.0.2.100");
        let unicast = |address: &str, ttl| {
            let peer = Peer { address: address.parse().expect("an address"), min_ttl: 255 };
            RouterConfig { destination: Destination::Peers { peers: vec![peer], ttl }, ..multicast.clone() }
        };
        assert!(unicast("192.0.2.2", 255).can_become(&unicast("192.0.2.3", 64)));
        assert!(!unicast("192.0.2.2", 255).can_become(&multicast));
        assert!(!multicast.can_become(&unicast("192.0.2.2", 255)));
    }

    #[test]
    fn a_group_is_the_same_under_any_name_and_order_of_members() {
        let group = |name: Option<&str>, members: [&str; 2]| GroupConfig {
            name: name.map(str::to_owned),
            size: 2,
            members: members.map(str::to_owned).to_vec(),
            scripts: Scripts::none(Duration::from_secs(60)),
        };
        let one = group(Some("one"), ["eth0/51", "eth1/51"]);
        assert!(one.is_of_the_same(&group(None, ["eth1/51", "eth0/51"])));
        assert!(!one.is_of_the_same(&group(Some("one"), ["eth0/51", "eth1/52"])));
    }
}
