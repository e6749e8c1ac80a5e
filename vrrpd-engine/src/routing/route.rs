//! A route.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use vrrpd_common::Family;

use super::MAIN_TABLE;
use super::words::{Prefix, WordError, Words, family, table};

/// The type of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteKind {
    /// Packets are forwarded.
    #[default]
    Unicast,
    /// Packets are delivered locally.
    Local,
    /// Packets are dropped.
    Blackhole,
    /// Packets are dropped with an ICMP host unreachable error.
    Unreachable,
    /// Packets are dropped with an ICMP prohibited error.
    Prohibit,
    /// The look-up continues with the next rule.
    Throw,
}

/// A next hop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// The gateway, of either family.
    pub via: Option<IpAddr>,
    /// The name of the interface.
    pub device: Option<String>,
    /// The gateway is on the link even if no route covers it.
    pub onlink: bool,
    /// Relative weight, 1 to 256.
    pub weight: u16,
}

/// A parsed route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The text of the route, with single spaces.
    pub text: String,
    /// Its family.
    pub family: Family,
    /// What becomes of packets.
    pub kind: RouteKind,
    /// `None`: the default route.
    pub destination: Option<Prefix>,
    /// One or more next hops, which share the packets. Empty for types that drop packets.
    pub next_hops: Vec<NextHop>,
    /// The routing table.
    pub table: u32,
    /// The metric; `None`: the kernel's default.
    pub metric: Option<u32>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// The scope, if given.
    pub scope: Option<u8>,
    /// The type of service.
    pub tos: u8,
    /// The path MTU in octets.
    pub mtu: Option<u32>,
    /// The advertised MSS.
    pub advmss: Option<u32>,
}

const SCOPES: [(&str, u8); 5] =
    [("global", 0), ("site", 200), ("link", 253), ("host", 254), ("nowhere", 255)];

impl FromStr for Route {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let mut words = Words::of(text);
        let mut route = Self {
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            family: Family::Ipv4,
            kind: RouteKind::Unicast,
            destination: None,
            next_hops: Vec::new(),
            table: MAIN_TABLE,
            metric: None,
            source: None,
            scope: None,
            tos: 0,
            mtu: None,
            advmss: None,
        };
        let mut families = Families::default();
        route.kind = words.peek().and_then(kind).unwrap_or_default();
        if words.peek().and_then(kind).is_some() {
            words.next();
        }
        if words.peek() == Some("to") {
            words.next();
        }
        let destination = words.next().ok_or_else(|| words.wrong("destination missing"))?;
        match destination {
            "default" | "any" | "all" => {}
            "0.0.0.0/0" => families.is(&words, Family::Ipv4)?,
            "::/0" => families.is(&words, Family::Ipv6)?,
            prefix => {
                let prefix = Prefix::read(prefix).ok_or_else(|| {
                    words.wrong(format!(
                        "invalid destination {prefix:?}: expected default or a prefix such as 192.0.2.0/24"
                    ))
                })?;
                families.is(&words, prefix.family())?;
                route.destination = Some(prefix);
            }
        }
        let mut alone = NextHop { weight: 1, ..NextHop::default() };
        while let Some(word) = words.next() {
            match word {
                "via" | "dev" | "onlink" => alone.word(word, &mut words, &mut families)?,
                "nexthop" => route.next_hops.push(NextHop::read(&mut words, &mut families)?),
                "table" => route.table = words.read(word, "a number, main, local or default", table)?,
                "metric" | "priority" | "preference" => route.metric = Some(words.number(word)?),
                "src" => {
                    let source: IpAddr = words.read(word, "an address", |text| text.parse().ok())?;
                    families.is(&words, family(source))?;
                    route.source = Some(source);
                }
                "scope" => {
                    let named =
                        |text: &str| SCOPES.iter().find(|(name, _)| *name == text).map(|(_, scope)| *scope);
                    let read = |text: &str| named(text).or_else(|| text.parse().ok());
                    route.scope =
                        Some(words.read(word, "global, site, link, host, nowhere or 0 to 255", read)?);
                }
                "tos" | "dsfield" => {
                    let tos = words.number(word)?;
                    route.tos = u8::try_from(tos)
                        .map_err(|_| words.wrong("expected a type of service of 0 to 0xff"))?;
                }
                "mtu" => route.mtu = Some(words.number(word)?),
                "advmss" => route.advmss = Some(words.number(word)?),
                other => {
                    return Err(words.wrong(format!(
                        "unknown word {other:?}: expected via, dev, onlink, nexthop, table, metric, src, scope, tos, mtu or advmss"
                    )));
                }
            }
        }
        if alone.via.is_some() || alone.device.is_some() {
            if !route.next_hops.is_empty() {
                return Err(words.wrong("with several next hops, via and dev belong after nexthop"));
            }
            route.next_hops.push(alone);
        }
        let drops = !matches!(route.kind, RouteKind::Unicast | RouteKind::Local);
        if drops && !route.next_hops.is_empty() {
            return Err(words.wrong("a route that drops packets has neither via nor dev"));
        }
        if !drops && route.next_hops.is_empty() {
            return Err(words.wrong("via or dev missing"));
        }
        route.family = families.0.unwrap_or(Family::Ipv4);
        Ok(route)
    }
}

/// The family that all parts of the text agree on.
#[derive(Default)]
struct Families(Option<Family>);

impl Families {
    fn is(&mut self, words: &Words<'_>, family: Family) -> Result<(), WordError> {
        match self.0.replace(family) {
            Some(before) if before != family => {
                Err(words.wrong(format!("not {before}, as what is in front of it")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl NextHop {
    /// Parses the words after `nexthop`.
    fn read(words: &mut Words<'_>, families: &mut Families) -> Result<Self, WordError> {
        let mut hop = Self { weight: 1, ..Self::default() };
        while let Some(word @ ("via" | "dev" | "onlink" | "weight")) = words.peek() {
            words.next();
            hop.word(word, words, families)?;
        }
        if hop.via.is_none() && hop.device.is_none() {
            return Err(words.wrong("nexthop has neither via nor dev"));
        }
        Ok(hop)
    }

    fn word(&mut self, word: &str, words: &mut Words<'_>, families: &mut Families) -> Result<(), WordError> {
        match word {
            "via" => {
                // `via inet6 fe80::1` for an IPv4 route: the gateway's family is not that of the route.
                let other_family = matches!(words.peek(), Some("inet" | "inet6"));
                if other_family {
                    words.next();
                }
                let via: IpAddr = words.read(word, "an address", |text| text.parse().ok())?;
                if !other_family {
                    families.is(words, family(via))?;
                }
                self.via = Some(via);
            }
            "dev" => self.device = Some(words.value(word)?.to_owned()),
            "onlink" => self.onlink = true,
            _ => {
                let weight = words.number(word)?;
                let weight = u16::try_from(weight).ok().filter(|weight| (1..=256).contains(weight));
                self.weight = weight.ok_or_else(|| words.wrong("expected a weight of 1 to 256"))?;
            }
        }
        Ok(())
    }
}

fn kind(word: &str) -> Option<RouteKind> {
    Some(match word {
        "unicast" => RouteKind::Unicast,
        "local" => RouteKind::Local,
        "blackhole" => RouteKind::Blackhole,
        "unreachable" => RouteKind::Unreachable,
        "prohibit" => RouteKind::Prohibit,
        "throw" => RouteKind::Throw,
        _ => return None,
    })
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Route, WordError> {
        text.parse()
    }

    #[test]
    fn routes_have_the_words_of_ip_route() {
        let route = read("192.0.2.0/24 via 10.0.0.1  dev eth1 metric 50 table 10 src 10.0.0.100 mtu 1400")
            .expect("right");
        assert_eq!(
            route.to_string(),
            "192.0.2.0/24 via 10.0.0.1 dev eth1 metric 50 table 10 src 10.0.0.100 mtu 1400"
        );
        assert_eq!(
            (route.family, route.table, route.metric, route.mtu),
            (Family::Ipv4, 10, Some(50), Some(1400))
        );
        assert_eq!(route.next_hops[0].device.as_deref(), Some("eth1"));
        assert_eq!(read("default via fe80::1 dev eth0").expect("right").family, Family::Ipv6);
        let route = read("default via inet6 fe80::1 dev eth0").expect("right");
        assert_eq!((route.family, route.destination), (Family::Ipv4, None));
        assert_eq!(read("blackhole 198.51.100.0/24").expect("right").kind, RouteKind::Blackhole);
        let route = read("default nexthop via 10.0.0.1 weight 2 nexthop dev ppp0 onlink").expect("right");
        assert_eq!(route.next_hops.iter().map(|hop| hop.weight).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_wrong_word_is_named_with_its_column() {
        for (text, error) in [
            ("", "column 1: destination missing"),
            ("192.0.2.1/24 via 10.0.0.1", "column 1: invalid destination \"192.0.2.1/24\""),
            ("192.0.2.0/24 vai 10.0.0.1", "column 14: unknown word \"vai\""),
            ("192.0.2.0/24 via", "column 14: via has no value"),
            ("192.0.2.0/24 via fe80::1", "column 18: not ipv4"),
            ("192.0.2.0/24 via 10.0.0.1 metric x", "column 34: invalid metric \"x\": expected a number"),
            ("192.0.2.0/24", "column 1: via or dev missing"),
            ("blackhole 192.0.2.0/24 dev eth0", "column 28: a route that drops packets"),
            ("default nexthop via 10.0.0.1 weight 300", "column 37: expected a weight of 1 to 256"),
            (
                "default via 10.0.0.1 nexthop via 10.0.0.2",
                "column 34: with several next hops, via and dev belong",
            ),
        ] {
            let wrong = read(text).expect_err(text).to_string();
            assert!(wrong.starts_with(error), "{text}: {wrong}");
        }
    }
}
