//! `virtual_routes` and `virtual_rules`.

use vrrpd_common::Family;
use vrrpd_engine::routing::{Route, RouteKind};

use super::super::{Imported, RemarkKind, Router};
use super::tree::Node;
use crate::config::{Key, value};

/// Routes or rules, in the syntax of `ip`. Keywords that only keepalived has are removed, and so is the protocol
/// number, which is ours. Returns the interfaces that keepalived tracks for them.
pub(super) fn routing(key: Key, line: &Node, router: &mut Router, imported: &mut Imported) -> Vec<String> {
    let mut tracked = Vec::new();
    for entry in line.children() {
        let mut words = Vec::new();
        let mut rest = entry.words.iter().map(String::as_str);
        while let Some(word) = rest.next() {
            match word {
                "no_track" => {}
                "proto" | "protocol" => drop(rest.next()),
                "gw" => words.push("via"),
                other => words.push(other),
            }
        }
        let text = words.join(" ");
        let read = match key {
            Key::Routes => value::route(&text).map(|route| with_scope(&route)),
            _ => value::rule(&text).map(|_| text),
        };
        match read {
            Ok(text) => {
                router.set(key, text);
                tracked.extend(interfaces(&entry.words));
            }
            Err(error) => {
                imported.remark(&entry.place, RemarkKind::LeftOut, line.keyword(), error.to_string());
            }
        }
    }
    tracked
}

/// The interfaces of a route or rule that keepalived tracks; not those of multipath routes.
fn interfaces(words: &[String]) -> Vec<String> {
    if words.iter().any(|word| word == "no_track" || word == "nexthop") {
        return Vec::new();
    }
    let pairs = words.iter().zip(words.iter().skip(1));
    let named = pairs.filter(|(word, _)| matches!(word.as_str(), "dev" | "iif" | "oif"));
    named.map(|(_, interface)| interface.clone()).collect()
}

/// An on-link route has global scope in keepalived, and link scope in `ip` and here, unless given.
fn with_scope(route: &Route) -> String {
    let is_direct = route.next_hops.iter().all(|hop| hop.via.is_none());
    if (route.family, route.kind, route.scope) == (Family::Ipv4, RouteKind::Unicast, None) && is_direct {
        format!("{} scope global", route.text)
    } else {
        route.text.clone()
    }
}
