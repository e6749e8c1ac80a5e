//! Names of virtual routers, used by daemon, client and configuration file, and the names of their files.

use std::error::Error;
use std::fmt;

use vrrpd_common::{Family, Vrid};

/// The name of a virtual router: `eth0/51`, or `eth0/51-ipv6` for IPv6, whose VRIDs are separate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouterName<'a> {
    /// The interface.
    pub interface: &'a str,
    /// The VRID, 1 to 255.
    pub vrid: u8,
    /// The family of its addresses.
    pub family: Family,
}

/// Suffix of IPv6 routers, in names of routers and files.
const IPV6: &str = "-ipv6";
const IPV6_FILE: &str = "_ipv6";

/// Prefix of files of a router.
const FILE: &str = "vrrpd_";

/// Why a text is not the name of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No interface or no slash.
    Form(String),
    /// The part after the slash is not 1 to 255, optionally with `-ipv6`.
    Vrid {
        /// The whole text.
        name: String,
        /// The part after the slash.
        vrid: String,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(name) => write!(
                f,
                "{name:?} is not the name of a router: expected IF/VRID or IF/VRID-ipv6, like eth0/51"
            ),
            Self::Vrid { name, vrid } => {
                write!(f, "{vrid:?} in {name:?} is not a VRID: expected 1 to 255, followed by -ipv6 for IPv6")
            }
        }
    }
}

impl Error for NameError {}

impl<'a> RouterName<'a> {
    /// Parses a name; the error says what is expected.
    pub fn parse(text: &'a str) -> Result<Self, NameError> {
        let parts = text.rsplit_once('/').filter(|(interface, _)| !interface.is_empty());
        let (interface, rest) = parts.ok_or_else(|| NameError::Form(text.to_owned()))?;
        let (vrid, family) = without_suffix(rest, IPV6);
        let vrid = vrid.parse().ok().and_then(Vrid::new);
        let vrid = vrid.ok_or_else(|| NameError::Vrid { name: text.to_owned(), vrid: rest.to_owned() })?;
        Ok(Self { interface, vrid: vrid.get(), family })
    }

    /// The base name of the router's files, without extension: `vrrpd_eth0_51_ipv6`.
    pub fn file_stem(&self) -> String {
        let suffix = match self.family {
            Family::Ipv4 => "",
            Family::Ipv6 => IPV6_FILE,
        };
        format!("{FILE}{}_{}{suffix}", self.interface, self.vrid)
    }

    /// The router of files with this base name; `None`: a daemon with a configuration file.
    pub fn of_file_stem(stem: &'a str) -> Option<Self> {
        let name = stem.strip_prefix(FILE)?;
        let (name, family) = without_suffix(name, IPV6_FILE);
        let (interface, vrid) = name.rsplit_once('_')?;
        Some(Self { interface, vrid: vrid.parse().ok().and_then(Vrid::new)?.get(), family })
    }

    /// The name of the router in a report; any family but `ipv6` means IPv4.
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

/// The text without the IPv6 suffix, and the family.
fn without_suffix<'a>(text: &'a str, suffix: &str) -> (&'a str, Family) {
    text.strip_suffix(suffix).map_or((text, Family::Ipv4), |rest| (rest, Family::Ipv6))
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
    fn an_invalid_name_is_refused_with_the_expected_form() {
        for text in ["", "eth0", "/51", "eth0/", "eth0/0", "eth0/256", "eth0/51-ipv4", "eth0/-ipv6", "51"] {
            let message = RouterName::parse(text).expect_err("is no name").to_string();
            assert!(message.contains("expected"), "{message}");
        }
        assert_eq!(RouterName::parse("51"), Err(NameError::Form("51".to_owned())));
        let wrong = NameError::Vrid { name: "eth0/0-ipv6".to_owned(), vrid: "0-ipv6".to_owned() };
        assert_eq!(RouterName::parse("eth0/0-ipv6"), Err(wrong));
    }

    #[test]
    fn names_of_files_say_which_router_they_are_of() {
        for name in ["eth0/51", "eth0/51-ipv6", "eth0.190/255", "br_51/1-ipv6", "x_ipv6/7"] {
            let name = RouterName::parse(name).expect("is a name");
            assert_eq!(RouterName::of_file_stem(&name.file_stem()), Some(name));
        }
        let name = RouterName::parse("eth0/51-ipv6").expect("is a name");
        assert_eq!(name.file_stem(), "vrrpd_eth0_51_ipv6");
        for stem in ["vrrpd", "vrrpd_eth0", "vrrpd_eth0_0", "vrrpd_eth0_x", "keepalived_eth0_51", ""] {
            assert_eq!(RouterName::of_file_stem(stem), None, "{stem}");
        }
    }
}
