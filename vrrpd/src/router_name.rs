//! What virtual routers are called, by the daemon, its client and the configuration file alike.

use std::fmt;

use vrrpd_common::{Family, Vrid};

use crate::nearest::{list, nearest};

/// The name of a virtual router: `eth0/51`, and `eth0/51-ipv6` for IPv6, whose VRIDs are a space of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouterName<'a> {
    /// The interface.
    pub interface: &'a str,
    /// The VRID, 1 to 255.
    pub vrid: u8,
    /// The family of its addresses.
    pub family: Family,
}

/// What follows the VRID of an IPv6 router.
const IPV6: &str = "-ipv6";

impl<'a> RouterName<'a> {
    /// Reads a name; the error says what one is.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let parts = text.rsplit_once('/').filter(|(interface, _)| !interface.is_empty());
        let (interface, rest) = parts.ok_or_else(|| {
            format!("{text:?} is not the name of a router: expected IF/VRID or IF/VRID-ipv6, like eth0/51")
        })?;
        let (vrid, family) = match rest.strip_suffix(IPV6) {
            Some(vrid) => (vrid, Family::Ipv6),
            None => (rest, Family::Ipv4),
        };
        let vrid = vrid.parse().ok().and_then(Vrid::new).ok_or_else(|| {
            format!("{rest:?} in {text:?} is not a VRID: expected 1 to 255, with -ipv6 behind it for IPv6")
        })?;
        Ok(Self { interface, vrid: vrid.get(), family })
    }

    /// The name of a router that a report is about; any family but `ipv6` is IPv4.
    pub fn of_report(interface: &'a str, vrid: u8, family: &str) -> Self {
        let family = if family == Family::Ipv6.name() { Family::Ipv6 } else { Family::Ipv4 };
        Self { interface, vrid, family }
    }
}

impl fmt::Display for RouterName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.interface, self.vrid)?;
        match self.family {
            Family::Ipv4 => Ok(()),
            Family::Ipv6 => f.write_str(IPV6),
        }
    }
}

/// What to say of a name that no router has: the nearest one that a router has, and which there are.
pub fn unknown(name: &str, known: &[String]) -> String {
    let wanted = RouterName::parse(name).ok();
    // The other family of the same VRID is nearer than any other name.
    let twin = known.iter().find(|other| {
        let other = RouterName::parse(other).ok();
        wanted.zip(other).is_some_and(|(a, b)| (a.interface, a.vrid) == (b.interface, b.vrid))
    });
    let near = twin.map(String::as_str).or_else(|| nearest(name, known.iter().map(String::as_str)));
    let hint = near.map_or_else(|| ";".to_owned(), |near| format!("; did you mean {near}?"));
    format!("no router {name:?}{hint} {}", list("routers", known.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_reads_back_as_it_is_printed() {
        for name in ["eth0/51", "eth0/51-ipv6", "eth0.190/255", "br-lan/1-ipv6"] {
            assert_eq!(RouterName::parse(name).expect("is a name").to_string(), name);
        }
        let name = RouterName { interface: "eth0", vrid: 51, family: Family::Ipv6 };
        assert_eq!(RouterName::parse("eth0/51-ipv6"), Ok(name));
        assert_eq!(RouterName::of_report("eth0", 51, "ipv6"), name);
    }

    #[test]
    fn what_is_no_name_is_refused_with_what_one_is() {
        for text in ["", "eth0", "/51", "eth0/", "eth0/0", "eth0/256", "eth0/51-ipv4", "eth0/-ipv6", "51"] {
            let message = RouterName::parse(text).expect_err("is no name");
            assert!(message.contains("expected"), "{message}");
        }
    }

    #[test]
    fn unknown_name_is_answered_with_the_nearest_and_all_that_there_are() {
        let known = ["eth0/51", "eth0/52-ipv6", "eth1/7"].map(str::to_owned);
        let message = unknown("eth0/52", &known);
        assert_eq!(
            message,
            "no router \"eth0/52\"; did you mean eth0/52-ipv6? routers: eth0/51, eth0/52-ipv6, eth1/7"
        );
        assert!(unknown("eth0/61", &known).contains("did you mean eth0/51?"));
        let far = unknown("wlan5/200", &known);
        assert!(!far.contains("did you mean") && far.contains("eth1/7"), "{far}");
        assert!(unknown("eth0/51", &[]).ends_with("; routers: none"));
    }
}
