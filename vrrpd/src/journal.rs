//! What a daemon may have put on interfaces, written down before it does: a crash leaves it for the next start to undo.
//!
//! A line for each virtual address: the interface, a space, the address with its length. The mark on the addresses
//! (`IFA_PROTO`) says the same on newer kernels, but not which of them belong to a daemon that still lives. And a line
//! for each interface that a virtual MAC address is put on: the interface, `mac`, its own MAC address. And a line for
//! each router that has a macvlan link: the interface, `link`, what the router is called.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use vrrpd_common::MacAddr;

use crate::config::{RouterConfig, VirtualAddress, VmacMode, value};
use crate::router_name::RouterName;
use crate::rundir::Directory;

/// How an entry about a MAC address begins.
const MAC: &str = "mac ";
/// How an entry about a macvlan link begins.
const LINK: &str = "link ";

/// What an earlier daemon of this name was to serve, and on what.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Journal {
    addresses: Vec<(String, VirtualAddress)>,
    macs: Vec<(String, MacAddr)>,
    links: Vec<String>,
}

impl Journal {
    /// Reads the journal of this name, which a daemon that ended well has removed.
    pub fn read(directory: &Directory, name: &str) -> Self {
        Self::parse(&directory.read(name).unwrap_or_default())
    }

    /// Reads the text of a journal. Lines that are not an entry are skipped.
    pub fn parse(text: &str) -> Self {
        let mut journal = Self::default();
        for line in text.lines() {
            let Some((interface, entry)) = line.split_once(' ') else { continue };
            if let Some(mac) = entry.strip_prefix(MAC) {
                journal.macs.extend(mac.parse().ok().map(|mac| (interface.to_owned(), mac)));
            } else if let Some(router) = entry.strip_prefix(LINK) {
                journal.links.push(router.to_owned());
            } else if let Ok(address) = value::address(entry) {
                journal.addresses.push((interface.to_owned(), address));
            }
        }
        journal
    }

    /// The addresses that were to be on this interface.
    pub fn on<'a>(&'a self, interface: &'a str) -> impl Iterator<Item = VirtualAddress> + 'a {
        self.addresses.iter().filter(move |(name, _)| name == interface).map(|(_, address)| *address)
    }

    /// The interfaces it names.
    pub fn interfaces(&self) -> BTreeSet<String> {
        let of_links = self.links.iter().filter_map(|router| Some(RouterName::parse(router).ok()?.interface));
        let names = self.addresses.iter().map(|(name, _)| name.as_str());
        names
            .chain(self.macs.iter().map(|(name, _)| name.as_str()))
            .chain(of_links)
            .map(str::to_owned)
            .collect()
    }

    /// The own MAC address of an interface.
    pub fn own_mac(&self, interface: &str) -> Option<MacAddr> {
        self.macs.iter().find(|(name, _)| name == interface).map(|(_, mac)| *mac)
    }

    /// Whether this router had a macvlan link.
    pub fn has_link_of(&self, router: &str) -> bool {
        self.links.iter().any(|noted| noted == router)
    }

    /// The text of a journal for these routers, each with those of its addresses that are not somebody else's, and the own
    /// MAC address of its interface if it is replaced.
    pub fn text<'a>(
        routers: impl Iterator<Item = (&'a RouterConfig, Vec<VirtualAddress>, Option<MacAddr>)>,
    ) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for (router, addresses, own_mac) in routers {
            for address in addresses {
                let _ = writeln!(text, "{} {address}", router.interface);
            }
            if let Some(mac) = own_mac {
                let _ = writeln!(text, "{} {MAC}{mac}", router.interface);
            }
            if router.vmac == VmacMode::Macvlan {
                let _ = writeln!(text, "{} {LINK}{}", router.interface, router.name());
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_journal_reads_back_and_broken_lines_are_passed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("vrrpd_eth0_51.journal");
        fs::write(&path, "eth0 10.0.0.1/24\nnonsense\neth1 fe80::1/64\neth0 10.0.0.300/24\neth0 mac 02:00:00:00:00:0a\neth1 mac 02\neth1 link eth1/52\n")
            .expect("writes");
        let directory = Directory::make(dir.path()).expect("is ours");
        let journal = Journal::read(&directory, "vrrpd_eth0_51.journal");
        let on = |interface| journal.on(interface).map(|address| address.to_string()).collect::<Vec<_>>();
        assert_eq!(on("eth0"), ["10.0.0.1/24"]);
        assert_eq!(on("eth1"), ["fe80::1/64"]);
        assert_eq!(journal.own_mac("eth0"), Some(MacAddr([2, 0, 0, 0, 0, 10])));
        assert_eq!(journal.own_mac("eth1"), None);
        assert!(journal.has_link_of("eth1/52") && !journal.has_link_of("eth1/51"));
        assert_eq!(Vec::from_iter(journal.interfaces()), ["eth0", "eth1"]);
        assert!(Journal::read(&directory, "missing").on("eth0").next().is_none());
    }
}
