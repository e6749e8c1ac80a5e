//! What the user wants of a router or a group, checked: nothing in it has to be checked again. How it is said, on the command
//! line or in a file, is the daemon's.

mod defaults;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::router::{AnnounceTimes, Config, Occasion};
use vrrpd_common::wire::vrrp::{ChecksumStyle, group};
use vrrpd_common::{AddressDigest, Duration, Family, Interval, Priority, Version, Vrid};

use crate::held_address::AddressOptions;
use crate::router_name::RouterName;
use crate::routing::{Route, Rule};
use crate::script::Scripts;
use crate::track::Tracked;

/// One virtual router, as the user wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterConfig {
    /// `--name`: what scripts, logs and the state call it; `None`: as [`RouterConfig::name`] does.
    pub title: Option<String>,
    /// `-i`
    pub interface: String,
    /// `-v`
    pub vrid: Vrid,
    /// `--family`, or that of the addresses.
    pub family: Family,
    /// `--protocol`
    pub version: Version,
    /// The virtual addresses, all of its family; there may be none.
    pub addresses: Vec<VirtualAddress>,
    /// `--extra-address`: addresses of either family that it holds and announces, and does not advertise.
    pub extra_addresses: Vec<VirtualAddress>,
    /// How addresses of both lists are set on the interface, where something was said about that.
    pub address_options: BTreeMap<IpAddr, AddressOptions>,
    /// The interfaces of addresses of both lists that are on another one than the router's.
    pub address_interfaces: BTreeMap<IpAddr, String>,
    /// `--route`: routes that it holds as Master.
    pub routes: Vec<Route>,
    /// `--rule`: policy rules that it holds as Master.
    pub rules: Vec<Rule>,
    /// `--source`: where adverts come from; `None`: an address of the interface is chosen.
    pub source: Option<IpAddr>,
    /// Where adverts go, and from whom they are taken.
    pub destination: Destination,
    /// `-p`
    pub priority: Priority,
    /// Off with `-s`.
    pub preempt: bool,
    /// `--preempt-below`; without `preempt`.
    pub preempt_below: Option<Priority>,
    /// `--preempt-delay`; zero: none.
    pub preempt_delay: Duration,
    /// `--start-delay`; zero: none.
    pub start_delay: Duration,
    /// Off with `--no-accept`: packets to the addresses are dropped unless it is their owner (Accept_Mode, RFC 9568 §6.1).
    pub accept: bool,
    /// Off with `--no-track-interface`: the interface being down, or without a carrier, is no fault.
    pub track_interface: bool,
    /// `-d`
    pub interval: Interval,
    /// `--max-learned-interval`; version 3.
    pub max_learned_interval: Interval,
    /// `--down-multiplier`: intervals without an advert, 1 to 100.
    pub down_multiplier: u8,
    /// `-a`; the secret is known to the daemon alone.
    pub auth: AuthKind,
    /// `--vmac`; `-n` is none
    pub vmac: VmacMode,
    /// `--vmac-fallback`
    pub vmac_fallback: VmacFallback,
    /// `-z`: the priority after SIGTTIN; `None`: 10 less.
    pub lower_priority: Option<Priority>,
    /// `-x`: the priority after SIGTTOU; `None`: 10 more.
    pub raise_priority: Option<Priority>,
    /// What is run when its state changes.
    pub scripts: Scripts,
    /// How the addresses are announced.
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
    /// It is Master together with others or not at all: `-M`, or a member of a `[[group]]`.
    pub grouped: bool,
    /// What its priority, or its being able to serve, depends on.
    pub track: Vec<Tracked>,
}

/// Where the adverts of a router go, and from whom it takes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// `--multicast-group`: to this group, and from everybody who sends to it.
    Group(IpAddr),
    /// `--peer`: by unicast to these, and from nobody else.
    Peers {
        /// At least one, each of them once.
        peers: Vec<Peer>,
        /// `--ttl`: TTL or hop limit of what is sent, 1 to 255.
        ttl: u8,
    },
}

/// Another router of the same virtual router, reached by unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its own address, where it sends from.
    pub address: IpAddr,
    /// `--min-ttl`: the lowest TTL or hop limit with which its adverts are taken; 0: any.
    pub min_ttl: u8,
}

/// How adverts of version 2 are authenticated, without the secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthKind {
    /// Not at all.
    #[default]
    None,
    /// By a password in the message.
    Simple,
    /// By an Authentication Header.
    Ah,
}

/// How the virtual router MAC address (RFC 9568 §7.3) is put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VmacMode {
    /// The interface takes it while Master, so that whatever address is put on the interface shares it.
    Interface,
    /// A macvlan link above the interface has it; any number of virtual routers.
    Macvlan,
    /// Not at all: the addresses are announced with the interface's own.
    None,
}

/// What becomes of a router whose interface does not take the virtual MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VmacFallback {
    /// It serves the addresses with the interface's own MAC address.
    None,
    /// It does not become Master.
    Refuse,
}

/// The magic packet: a TCP SYN that tells a gateway's tables where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Magic {
    /// `-I`: a virtual address.
    pub source: IpAddr,
    /// `-O`: the gateway.
    pub destination: IpAddr,
}

/// How an interface receives adverts. All its routers want the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Datapath {
    /// By raw sockets.
    Raw,
    /// By a classifier (tcx), else by raw sockets.
    #[default]
    Auto,
    /// By a classifier, or not at all.
    Tcx,
    /// By XDP in the driver, else by generic XDP, else by raw sockets.
    Xdp,
    /// By XDP in the driver, or not at all.
    XdpNative,
    /// By generic XDP, or not at all.
    XdpGeneric,
}

impl Datapath {
    /// Whether it is this one or none.
    pub const fn is_required(self) -> bool {
        matches!(self, Self::Tcx | Self::XdpNative | Self::XdpGeneric)
    }

    /// Whether the program for it is a classifier.
    pub const fn is_classifier(self) -> bool {
        matches!(self, Self::Auto | Self::Tcx)
    }
}

/// A virtual address and the length of its subnet mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// 1 to 32 or 128.
    pub prefix_len: u8,
}

/// Gratuitous ARP or unsolicited neighbour advertisements of a new master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// `--garp-count`: frames per address on becoming Master, and the second time; 1 to 255.
    pub count: u8,
    /// `--garp-refresh-count`: frames per address when they are refreshed, 1 to 255.
    pub refresh_count: u8,
    /// `--garp-lower-count`: frames per address upon an advert of lower priority; 0: none.
    pub lower_count: u8,
    /// Between two frames.
    pub pauses: Pauses,
    /// When it is repeated.
    pub times: AnnounceTimes,
}

/// Pauses between announcements on an interface; zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pauses {
    /// `--garp-pause`: between two frames of gratuitous ARP.
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
    /// What identifies the router, in files and messages of daemons.
    pub fn name(&self) -> RouterName<'_> {
        RouterName { interface: &self.interface, vrid: self.vrid.get(), family: self.family }
    }

    /// What people call it.
    pub fn title(&self) -> Cow<'_, str> {
        self.title.as_deref().map_or_else(|| self.name().to_string().into(), Cow::Borrowed)
    }

    /// Whether a running router can go on with `other`: what differs is nothing that its state depends on, or only its
    /// priority.
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
        // An owner has its addresses anyway, and is begun in another way.
        exchanged == *other && (self.priority == Priority::OWNER) == (other.priority == Priority::OWNER)
    }

    /// Whether packets to its addresses are dropped: never those of their owner.
    pub fn drops_packets(&self) -> bool {
        !self.accept && self.priority != Priority::OWNER
    }

    /// The routers that adverts go to by unicast; none: they go to a group.
    pub fn peers(&self) -> &[Peer] {
        match &self.destination {
            Destination::Peers { peers, .. } => peers,
            Destination::Group(_) => &[],
        }
    }

    /// Whether adverts go to the group of RFC 9568 §5.1.1.2, §5.1.2.2: all that the program in the kernel knows.
    pub fn goes_to_vrrp_group(&self) -> bool {
        self.destination == Destination::Group(group(self.family))
    }

    /// Whether adverts may come from an address that is valid beyond the link: over IPv6 they are link-local otherwise (RFC
    /// 9568 §5.1.2.1), and peers elsewhere could not answer.
    pub fn reaches_beyond_link(&self) -> bool {
        let is_beyond = |peer: &Peer| match peer.address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        };
        self.peers().iter().any(is_beyond)
    }

    /// The part that the state machine needs.
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

    /// All addresses that it holds as Master: those that it advertises first.
    pub fn held_addresses(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.addresses.iter().chain(&self.extra_addresses)
    }

    /// Whether it holds this address as Master.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.held_addresses().any(|held| held.address == address)
    }

    /// The interface of an address.
    pub fn interface_of(&self, address: IpAddr) -> &str {
        self.address_interfaces.get(&address).map_or(&self.interface, String::as_str)
    }

    /// All addresses that it holds on this interface.
    pub fn addresses_on<'a>(&'a self, interface: &'a str) -> impl Iterator<Item = &'a VirtualAddress> {
        self.held_addresses().filter(move |held| self.interface_of(held.address) == interface)
    }

    /// The interfaces that have addresses of it beside its own.
    pub fn other_interfaces(&self) -> BTreeSet<&str> {
        self.address_interfaces.values().map(String::as_str).collect()
    }

    /// How an address is set on the interface.
    pub fn options_of(&self, address: &VirtualAddress) -> AddressOptions {
        self.address_options.get(&address.address).copied().unwrap_or_default()
    }

    /// The set of addresses as peers see it.
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

impl VirtualAddress {
    /// The family of the address.
    pub const fn family(&self) -> Family {
        match self.address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// A group, as the user wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// What a file calls it; `None`: the one group of all processes with `-M`.
    pub name: Option<String>,
    /// How many members it has to have, those of other processes included.
    pub size: u8,
    /// The members in this process, as [`RouterConfig::name`] calls them.
    pub members: Vec<String>,
    /// What is run when its state changes.
    pub scripts: Scripts,
}

impl GroupConfig {
    /// Whether it has the same members, in any order. Its name and scripts may differ.
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        let set = |group: &Self| group.members.iter().cloned().collect::<BTreeSet<_>>();
        self.size == other.size && set(self) == set(other)
    }

    /// The group of all processes with `-M`, to which this one adds a router.
    pub fn of_processes(size: u8, router: &RouterConfig) -> Self {
        let scripts = Scripts::none(router.scripts.timeout);
        Self { name: None, size, members: vec![router.name().to_string()], scripts }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// eth0/51 with these addresses, as the defaults have it.
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
    fn a_group_is_the_same_whatever_it_is_called_and_in_any_order() {
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
