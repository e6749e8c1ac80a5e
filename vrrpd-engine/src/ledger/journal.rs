//! The journal: what a daemon may have put on interfaces, written before it does so. After the daemon was killed, the
//! guardian or the next start undoes it.
//!
//! Each line is a [`Record`]: the name of the interface, a space, and the resource.
//!
//! ```text
//! eth0 10.0.0.100/24              a virtual address
//! eth0 10.0.0.1/32 peer 10.0.0.2  one of a point-to-point link
//! eth0 mac 02:00:00:00:00:0a      the own MAC address of an interface that gets a virtual one
//! eth1 link eth1/52               the macvlan link of a router
//! eth2 answers eth2/53            classifiers of a router on other interfaces of the same port
//! eth0 route default via 10.0.0.1 a route
//! eth0 rule from 10.0.0.9 table 7 a rule
//! ```
//!
//! A release reads the journal of the previous release, so the format of existing lines must not change. Unknown lines
//! are skipped.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use vrrpd_common::MacAddr;

use super::resource::{Filter, Resource};
use crate::config::VirtualAddress;
use crate::routing::{Route, Rule};

/// Prefix of a MAC address, after the interface.
const MAC: &str = "mac ";
/// Prefix of a route.
const ROUTE: &str = "route ";
/// Prefix of a rule.
const RULE: &str = "rule ";
/// Separator of an address and its peer.
const PEER: &str = " peer ";
/// Prefix of a macvlan link.
const LINK: &str = "link ";
/// Prefix of a packet filter.
const FILTER: &str = "filter ";
/// Prefix of ARP answers on other interfaces.
const ANSWERS: &str = "answers ";

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The address is on the interface, or is about to be added.
    Address {
        /// The interface.
        interface: String,
        /// The address.
        address: VirtualAddress,
        /// The peer of the address, which the kernel needs to remove it.
        peer: Option<IpAddr>,
    },
    /// The interface has a virtual MAC address instead of its own one, or is about to.
    Mac {
        /// The interface.
        interface: String,
        /// Its own MAC address.
        own: MacAddr,
    },
    /// The router has a macvlan link on the interface, or is about to create it.
    Link {
        /// The interface.
        interface: String,
        /// The router: `eth0/51`.
        router: String,
    },
    /// The router corrects the ARP answers of other interfaces on the same port, or is about to.
    Answers {
        /// The interface.
        interface: String,
        /// The router: `eth0/51`.
        router: String,
    },
    /// Packets to the addresses of the router are dropped, or are about to be.
    Filter {
        /// The interface.
        interface: String,
        /// The router: `eth0/51`.
        router: String,
    },
    /// The route was added, or is about to be.
    Route {
        /// The interface of the router.
        interface: String,
        /// The route.
        route: Box<Route>,
    },
    /// The rule was added, or is about to be.
    Rule {
        /// The interface of the router.
        interface: String,
        /// The rule.
        rule: Box<Rule>,
    },
}

/// A line that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRecord;

impl Record {
    /// The interface of the record.
    pub fn interface(&self) -> &str {
        match self {
            Self::Address { interface, .. }
            | Self::Mac { interface, .. }
            | Self::Link { interface, .. }
            | Self::Answers { interface, .. }
            | Self::Filter { interface, .. }
            | Self::Route { interface, .. }
            | Self::Rule { interface, .. } => interface,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { interface, address, peer: None } => write!(f, "{interface} {address}"),
            Self::Address { interface, address, peer: Some(peer) } => {
                write!(f, "{interface} {address}{PEER}{peer}")
            }
            Self::Mac { interface, own } => write!(f, "{interface} {MAC}{own}"),
            Self::Link { interface, router } => write!(f, "{interface} {LINK}{router}"),
            Self::Answers { interface, router } => write!(f, "{interface} {ANSWERS}{router}"),
            Self::Filter { interface, router } => write!(f, "{interface} {FILTER}{router}"),
            Self::Route { interface, route } => write!(f, "{interface} {ROUTE}{route}"),
            Self::Rule { interface, rule } => write!(f, "{interface} {RULE}{rule}"),
        }
    }
}

impl FromStr for Record {
    type Err = NoRecord;

    fn from_str(line: &str) -> Result<Self, NoRecord> {
        let (interface, what) = line.split_once(' ').ok_or(NoRecord)?;
        let interface = interface.to_owned();
        if let Some(own) = what.strip_prefix(MAC) {
            Ok(Self::Mac { interface, own: own.parse().map_err(|_| NoRecord)? })
        } else if let Some(router) = what.strip_prefix(LINK) {
            Ok(Self::Link { interface, router: router.to_owned() })
        } else if let Some(router) = what.strip_prefix(ANSWERS) {
            Ok(Self::Answers { interface, router: router.to_owned() })
        } else if let Some(router) = what.strip_prefix(FILTER) {
            Ok(Self::Filter { interface, router: router.to_owned() })
        } else if let Some(route) = what.strip_prefix(ROUTE) {
            Ok(Self::Route { interface, route: Box::new(route.parse().map_err(|_| NoRecord)?) })
        } else if let Some(rule) = what.strip_prefix(RULE) {
            Ok(Self::Rule { interface, rule: Box::new(rule.parse().map_err(|_| NoRecord)?) })
        } else {
            let (address, peer) =
                what.split_once(PEER).map_or((what, None), |(address, peer)| (address, Some(peer)));
            let peer = peer.map(str::parse).transpose().map_err(|_| NoRecord)?;
            Ok(Self::Address { interface, address: address.parse().map_err(|_| NoRecord)?, peer })
        }
    }
}

/// All records of a daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    records: Vec<Record>,
}

impl Journal {
    /// Parses the text of a journal; unknown lines are skipped.
    pub fn parse(text: &str) -> Self {
        text.split('\n').filter_map(|line| line.parse().ok()).collect()
    }

    /// The records, in order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// The addresses on this interface.
    pub fn addresses_on<'a>(&'a self, interface: &'a str) -> impl Iterator<Item = VirtualAddress> + 'a {
        self.addresses(interface).map(|(address, _)| address)
    }

    /// The peer of an address on this interface, if it has one.
    pub fn peer_of(&self, interface: &str, address: &VirtualAddress) -> Option<IpAddr> {
        self.addresses(interface).find_map(|(of, peer)| peer.filter(|_| of == *address))
    }

    /// The addresses on an interface, each with its peer.
    fn addresses<'a>(
        &'a self,
        interface: &'a str,
    ) -> impl Iterator<Item = (VirtualAddress, Option<IpAddr>)> + 'a {
        self.records.iter().filter_map(move |record| match record {
            Record::Address { interface: on, address, peer } if on == interface => Some((*address, *peer)),
            Record::Address { .. }
            | Record::Mac { .. }
            | Record::Link { .. }
            | Record::Answers { .. }
            | Record::Filter { .. }
            | Record::Route { .. }
            | Record::Rule { .. } => None,
        })
    }

    /// The routes and rules of all interfaces.
    pub fn routing(&self) -> impl Iterator<Item = Resource> + '_ {
        self.records.iter().filter_map(|record| match record {
            Record::Route { route, .. } => Some(Resource::Route(route.clone())),
            Record::Rule { rule, .. } => Some(Resource::Rule(rule.clone())),
            Record::Address { .. }
            | Record::Mac { .. }
            | Record::Link { .. }
            | Record::Answers { .. }
            | Record::Filter { .. } => None,
        })
    }

    /// All interfaces that occur.
    pub fn interfaces(&self) -> BTreeSet<String> {
        self.records.iter().map(|record| record.interface().to_owned()).collect()
    }

    /// The own MAC address of this interface.
    pub fn own_mac(&self, interface: &str) -> Option<MacAddr> {
        self.records.iter().find_map(|record| match record {
            Record::Mac { interface: of, own } if of == interface => Some(*own),
            Record::Address { .. }
            | Record::Mac { .. }
            | Record::Link { .. }
            | Record::Answers { .. }
            | Record::Filter { .. }
            | Record::Route { .. }
            | Record::Rule { .. } => None,
        })
    }

    /// The routers that may have classifiers: those with a macvlan link on an interface that may own the addresses, and
    /// those with other interfaces on the same port.
    pub fn routers_with_classifiers(&self) -> BTreeSet<String> {
        let routers = self.records.iter().filter_map(|record| match record {
            Record::Link { router, .. } | Record::Answers { router, .. } => Some(router.clone()),
            Record::Address { .. }
            | Record::Mac { .. }
            | Record::Filter { .. }
            | Record::Route { .. }
            | Record::Rule { .. } => None,
        });
        routers.collect()
    }

    /// The packet filters of routers.
    pub fn filters(&self) -> impl Iterator<Item = Resource> + '_ {
        self.records.iter().filter_map(|record| match record {
            Record::Filter { router, .. } => {
                Some(Resource::Filter(Box::new(Filter { router: router.clone(), addresses: Vec::new() })))
            }
            Record::Address { .. }
            | Record::Mac { .. }
            | Record::Link { .. }
            | Record::Answers { .. }
            | Record::Route { .. }
            | Record::Rule { .. } => None,
        })
    }

    /// Whether this router had a macvlan link.
    pub fn has_link_of(&self, router: &str) -> bool {
        self.records
            .iter()
            .any(|record| matches!(record, Record::Link { router: noted, .. } if noted == router))
    }
}

impl FromIterator<Record> for Journal {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        Self { records: records.into_iter().collect() }
    }
}

impl fmt::Display for Journal {
    /// The text of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.records.iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As written by version 0.1.0.
    const GOLDEN: &str = include_str!("journal-0.1.0.txt");

    fn addresses(journal: &Journal, interface: &str) -> Vec<String> {
        journal.addresses_on(interface).map(|address| address.to_string()).collect()
    }

    #[test]
    fn the_journal_of_the_release_before_is_read_and_written_in_the_same_words() {
        let journal = Journal::parse(GOLDEN);
        assert_eq!(addresses(&journal, "eth0"), ["10.0.0.100/24", "10.0.0.101/32"]);
        assert_eq!(addresses(&journal, "eth1.190"), ["fe80::33/64", "2001:db8::1/64"]);
        assert_eq!(journal.own_mac("eth0"), Some(MacAddr([2, 0, 0, 0, 0, 0x0a])));
        assert_eq!(journal.own_mac("eth1.190"), None);
        assert!(journal.has_link_of("eth1.190/52-ipv6") && journal.has_link_of("eth2/53"));
        assert!(!journal.has_link_of("eth1.190/52"));
        assert_eq!(Vec::from_iter(journal.interfaces()), ["eth0", "eth1.190", "eth2"]);
        assert_eq!(journal.to_string(), GOLDEN);
    }

    #[test]
    fn the_answers_record_is_parsed_as_it_was_written() {
        let text = "eth0 10.0.0.100/24\neth0 answers eth0/51-ipv6\n";
        let journal = Journal::parse(text);
        assert_eq!(Vec::from_iter(journal.routers_with_classifiers()), ["eth0/51-ipv6"]);
        assert_eq!(Vec::from_iter(journal.interfaces()), ["eth0"]);
        assert_eq!(journal.to_string(), text);
    }

    #[test]
    fn lines_that_are_no_record_are_skipped() {
        let journal = Journal::parse(
            "eth0 10.0.0.1/24\nnonsense\neth1 fe80::1/64\neth0 10.0.0.300/24\neth0 mac 02:00:00:00:00:0a\n\
             eth1 mac 02\neth1 link eth1/52\neth2 answers eth2/53\neth0 224.0.0.18/32\neth0 route 192.0.2.0/24 via 10.0.0.9\neth0 route x\neth0 rule x\n\n",
        );
        assert_eq!(addresses(&journal, "eth0"), ["10.0.0.1/24"]);
        assert_eq!(addresses(&journal, "eth1"), ["fe80::1/64"]);
        assert_eq!(journal.own_mac("eth0"), Some(MacAddr([2, 0, 0, 0, 0, 10])));
        assert_eq!(journal.own_mac("eth1"), None);
        assert!(journal.has_link_of("eth1/52") && !journal.has_link_of("eth1/51"));
        assert_eq!(Vec::from_iter(journal.routers_with_classifiers()), ["eth1/52", "eth2/53"]);
        assert_eq!(journal.records().count(), 6);
    }

    #[test]
    fn a_journal_that_was_cut_off_is_read_as_far_as_it_goes() {
        for length in 0..GOLDEN.len() {
            let Some(text) = GOLDEN.get(..length) else { continue };
            let whole = text.rsplit_once('\n').map_or(0, |(lines, _)| lines.lines().count());
            let read = Journal::parse(text);
            assert!(read.records().count() >= whole, "{length}");
            assert!(read.records().zip(Journal::parse(GOLDEN).records()).take(whole).all(|(a, b)| a == b));
        }
    }
}
