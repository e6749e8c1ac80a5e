//! Sources and destinations of adverts: `unicast_peer` and related keywords, `mcast_src_ip`, `mcast_dst_ip`.

use std::net::IpAddr;

use super::super::{Imported, RemarkKind, Router};
use super::defaults::Defaults;
use super::tree::Node;
use crate::config::value::{self, Parsed};
use crate::config::{Key, VirtualAddress};

/// The lines of an instance about them.
#[derive(Default)]
pub(super) struct Delivery {
    source: Option<Node>,
    group: Option<Node>,
    ttl: Option<Node>,
    peers: Option<Node>,
}

impl Delivery {
    /// Handles such a line; false: another kind of line.
    pub(super) fn take(&mut self, line: &Node) -> bool {
        match line.keyword() {
            // The last one counts, as in keepalived.
            "unicast_src_ip" | "mcast_src_ip" => self.source = Some(line.clone()),
            "mcast_dst_ip" => self.group = Some(line.clone()),
            "unicast_ttl" => self.ttl = Some(line.clone()),
            "unicast_peer" => self.peers = Some(line.clone()),
            _ => return false,
        }
        true
    }

    /// Applies them to a router with addresses; false if it would have peers, and none can be carried over.
    pub(super) fn carry_over(
        &self,
        router: &mut Router,
        is_ipv6: bool,
        defaults: &Defaults,
        imported: &mut Imported,
    ) -> bool {
        let source = self.source.as_ref().and_then(|line| {
            let checked = of_family(line.argument(), is_ipv6, value::host).and_then(|source| match source {
                IpAddr::V6(address) if self.peers.is_none() && !address.is_unicast_link_local() => {
                    Err("multicast over IPv6 comes from a link-local address (RFC 9568 §5.1.2.1)".to_owned())
                }
                IpAddr::V4(_) | IpAddr::V6(_) => Ok(source),
            });
            keep(line, checked, imported)
        });
        router.extend(Key::Source, source.map(|source| source.to_string()));
        let Some(block) = &self.peers else {
            let group =
                self.group.as_ref().or(if is_ipv6 { &defaults.group6 } else { &defaults.group4 }.as_ref());
            let group = group.and_then(|line| {
                keep(line, of_family(line.argument(), is_ipv6, value::multicast_group), imported)
            });
            router.extend(Key::MulticastGroup, group.map(|group| group.to_string()));
            return true;
        };
        let mut seen: Vec<IpAddr> = virtual_addresses(router).chain(source).collect();
        for line in block.children() {
            let peer = of_family(Some(line.keyword()), is_ipv6, value::host).and_then(|address| {
                if seen.contains(&address) {
                    return Err("an address of this router itself, or listed twice".to_owned());
                }
                Ok(address)
            });
            let Some(address) = keep(line, peer, imported) else { continue };
            seen.push(address);
            let min_ttl = min_ttl(line, imported).map_or_else(String::new, |ttl| format!(",min-ttl={ttl}"));
            router.set(Key::Peers, format!("{address}{min_ttl}"));
        }
        if router.get(Key::Peers).is_none() {
            // With multicast instead of unicast it would not hear its peers, and there would be two masters.
            imported.remark(
                &block.place,
                RemarkKind::LeftOut,
                "vrrp_instance",
                "none of its unicast peers can be carried over",
            );
            return false;
        }
        // keepalived checks the TTL of a peer only if configured.
        router.set(Key::MinTtl, "0");
        let ttl = self.ttl.as_ref().and_then(|line| {
            let ttl = value::ttl(line.argument().unwrap_or_default()).map_err(|error| error.to_string());
            keep(line, ttl, imported)
        });
        router.extend(Key::Ttl, ttl.map(|ttl| ttl.to_string()));
        true
    }
}

/// The value; if invalid, notes a remark.
fn keep<T>(line: &Node, checked: Result<T, String>, imported: &mut Imported) -> Option<T> {
    checked.map_err(|why| imported.remark(&line.place, RemarkKind::LeftOut, line.keyword(), why)).ok()
}

/// An address of the router's family.
fn of_family(
    text: Option<&str>,
    is_ipv6: bool,
    read: impl FnOnce(&str) -> Parsed<IpAddr>,
) -> Result<IpAddr, String> {
    let address = read(text.unwrap_or_default()).map_err(|error| error.to_string())?;
    if address.is_ipv6() == is_ipv6 {
        return Ok(address);
    }
    Err(format!("{address} is not of the family of the virtual addresses"))
}

fn virtual_addresses(router: &Router) -> impl Iterator<Item = IpAddr> {
    let texts = router.settings.iter().filter(|(key, _)| *key == Key::Addresses);
    texts.filter_map(|(_, text)| text.parse::<VirtualAddress>().ok()).map(|address| address.address)
}

/// The TTL limits of a peer; vrrpd has only a lower one.
fn min_ttl(line: &Node, imported: &mut Imported) -> Option<u8> {
    let mut words = line.words.iter().skip(1);
    let mut min_ttl = None;
    while let Some(word) = words.next() {
        let number = words.next().map(String::as_str).unwrap_or_default();
        match (word.as_str(), value::min_ttl(number)) {
            ("min_ttl", Ok(ttl)) => min_ttl = Some(ttl),
            ("max_ttl", Ok(u8::MAX)) => {}
            ("max_ttl", Ok(_)) => {
                imported.remark(
                    &line.place,
                    RemarkKind::LeftOut,
                    "max_ttl",
                    "an upper bound of the TTL is not supported",
                );
            }
            (keyword, _) => {
                let message = "keepalived does not take this either";
                imported.remark(&line.place, RemarkKind::LeftOut, keyword, message);
            }
        }
    }
    min_ttl
}
