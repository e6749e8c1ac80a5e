//! An address with options as in `ip address add`: `10.0.0.100/24 label eth0:vip scope link`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::address::{AddressError, VirtualAddress};

/// Maximum length of the name of an interface or label, without the terminating NUL.
const MAX_NAME: usize = 15;

/// A virtual address with its interface and options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldAddress {
    /// The address. With a peer, the prefix length is that of the peer.
    pub address: VirtualAddress,
    /// The interface of the address; `None`: the router's.
    pub interface: Option<String>,
    /// How the address is added to the interface.
    pub options: AddressOptions,
}

/// Options of an address on its interface; `None` leaves a value to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AddressOptions {
    /// IPv4: the label.
    pub label: Option<Label>,
    /// IPv4: the scope, by its number in the kernel.
    pub scope: Option<u8>,
    /// IPv4: the broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// The other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// Preferred lifetime in seconds; `u32::MAX`: forever.
    pub preferred_lifetime: Option<u32>,
}

/// The label of an IPv4 address: 1 to 15 octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Label([u8; MAX_NAME]);

/// Text that is not an address with options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldAddressError {
    /// The address or the peer is invalid.
    Address(AddressError),
    /// Unknown option.
    Unknown(String),
    /// This option has no value.
    NoValue(&'static str),
    /// The value of this option is not what is expected.
    Value(&'static str, &'static str),
    /// The option was given twice.
    Twice(&'static str),
    /// An IPv4 option for an IPv6 address.
    NotIpv6(&'static str),
}

/// Options with a value, and their aliases.
const WORDS: [(&str, &[&str]); 6] = [
    ("interface", &["dev"]),
    ("label", &[]),
    ("scope", &[]),
    ("broadcast", &["brd"]),
    ("peer", &[]),
    ("preferred-lifetime", &["preferred_lft"]),
];

/// Scopes by name (`/etc/iproute2/rt_scopes`).
const SCOPES: [(&str, u8); 5] =
    [("global", 0), ("site", 200), ("link", 253), ("host", 254), ("nowhere", 255)];

impl AddressOptions {
    /// Whether no option is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl From<VirtualAddress> for HeldAddress {
    fn from(address: VirtualAddress) -> Self {
        Self { address, interface: None, options: AddressOptions::default() }
    }
}

impl FromStr for HeldAddress {
    type Err = HeldAddressError;

    fn from_str(text: &str) -> Result<Self, HeldAddressError> {
        let mut words = text.split_whitespace();
        let address = words.next().unwrap_or_default().parse::<VirtualAddress>();
        let address = address.map_err(HeldAddressError::Address)?;
        let mut held = Self::from(address);
        let mut said = Vec::new();
        while let Some(word) = words.next() {
            let is_it = |(name, others): &&(&'static str, &[&str])| *name == word || others.contains(&word);
            let Some((name, _)) = WORDS.iter().find(is_it) else {
                return Err(HeldAddressError::Unknown(word.to_owned()));
            };
            if said.contains(name) {
                return Err(HeldAddressError::Twice(name));
            }
            said.push(name);
            held.set(name, words.next().ok_or(HeldAddressError::NoValue(name))?)?;
        }
        Ok(held)
    }
}

impl HeldAddress {
    fn set(&mut self, name: &'static str, value: &str) -> Result<(), HeldAddressError> {
        let expected = |what| HeldAddressError::Value(name, what);
        let of_ipv4 = matches!(name, "label" | "scope" | "broadcast");
        if of_ipv4 && self.address.address.is_ipv6() {
            return Err(HeldAddressError::NotIpv6(name));
        }
        match name {
            "interface" => self.interface = Some(value.to_owned()),
            "label" => {
                let label = Label::new(value).ok_or(expected("1 to 15 characters, such as eth0:vip"))?;
                self.options.label = Some(label);
            }
            "scope" => {
                let scope = scope(value).ok_or(expected("global, site, link, host, nowhere or 0 to 255"))?;
                self.options.scope = Some(scope);
            }
            "broadcast" => {
                let broadcast = broadcast(&self.address, value).ok_or(expected("an IPv4 address, + or -"))?;
                self.options.broadcast = Some(broadcast);
            }
            "peer" => {
                let peer: VirtualAddress = value.parse().map_err(HeldAddressError::Address)?;
                if peer.family() != self.address.family() {
                    return Err(expected("an address of the same family"));
                }
                if value.contains('/') {
                    self.address.prefix_len = peer.prefix_len;
                }
                self.options.peer = Some(peer.address);
            }
            _ => {
                let lifetime = match value {
                    "forever" => Some(u32::MAX),
                    seconds => seconds.strip_suffix("sec").unwrap_or(seconds).parse().ok(),
                };
                let lifetime = lifetime.ok_or(expected("seconds or forever"))?;
                self.options.preferred_lifetime = Some(lifetime);
            }
        }
        Ok(())
    }
}

fn scope(text: &str) -> Option<u8> {
    let named = SCOPES.iter().find(|(name, _)| *name == text).map(|(_, scope)| *scope);
    named.or_else(|| text.parse().ok())
}

/// The address, or the subnet's with all host bits set (`+`) or clear (`-`).
fn broadcast(address: &VirtualAddress, text: &str) -> Option<Ipv4Addr> {
    let IpAddr::V4(of) = address.address else { return None };
    let hosts = u32::MAX.checked_shr(u32::from(address.prefix_len)).unwrap_or(0);
    match text {
        "+" => Some(Ipv4Addr::from_bits(of.to_bits() | hosts)),
        "-" => Some(Ipv4Addr::from_bits(of.to_bits() & !hosts)),
        other => other.parse().ok(),
    }
}

impl Label {
    /// A label; `None` if the text is not a valid one.
    pub fn new(text: &str) -> Option<Self> {
        if text.is_empty() || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return None;
        }
        let mut octets = [0; MAX_NAME];
        octets.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self(octets))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.0.split(|octet| *octet == 0).next().unwrap_or_default();
        f.write_str(str::from_utf8(octets).unwrap_or_default())
    }
}

impl fmt::Display for HeldAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Unknown(word) => {
                let words = WORDS.map(|(name, _)| name).join(", ");
                write!(f, "unknown word {word:?}, expected {words}")
            }
            Self::NoValue(word) => write!(f, "{word} has no value"),
            Self::Value(word, expected) => write!(f, "{word}: expected {expected}"),
            Self::Twice(word) => write!(f, "duplicate {word}"),
            Self::NotIpv6(word) => write!(f, "an IPv6 address has no {word}"),
        }
    }
}

impl std::error::Error for HeldAddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<HeldAddress, HeldAddressError> {
        text.parse()
    }

    #[test]
    fn an_address_has_the_words_of_ip_address_add() {
        let held =
            read("10.0.0.100/24 dev eth0 label eth0:vip scope link brd + preferred_lft 60").expect("right");
        assert_eq!(
            (held.address.to_string(), held.interface.as_deref()),
            ("10.0.0.100/24".into(), Some("eth0"))
        );
        assert_eq!(held.options.label.map(|label| label.to_string()).as_deref(), Some("eth0:vip"));
        assert_eq!((held.options.scope, held.options.preferred_lifetime), (Some(253), Some(60)));
        assert_eq!(held.options.broadcast, Some(Ipv4Addr::new(10, 0, 0, 255)));
        let held = read("10.0.0.1 peer 10.0.0.2/31 broadcast 10.0.0.9").expect("right");
        assert_eq!(held.address.prefix_len, 31, "the prefix length belongs to the peer");
        assert_eq!(held.options.peer, Some(Ipv4Addr::new(10, 0, 0, 2).into()));
        let held = read("2001:db8::1/64 preferred-lifetime forever").expect("right");
        assert_eq!(held.options.preferred_lifetime, Some(u32::MAX));
        assert!(read("10.0.0.1/24").expect("right").options.is_empty());
        assert_eq!(
            read("10.0.0.5/24 brd -").expect("right").options.broadcast,
            Some(Ipv4Addr::new(10, 0, 0, 0))
        );
        assert_eq!(Label::new("fifteen-octets-"), Label::new("fifteen-octets-"));
        assert_eq!(Label::new("sixteen-octets--"), None);
    }

    #[test]
    fn the_mistake_is_named() {
        for (text, message) in [
            ("", "expected for example 10.16.1.200, 10.16.1.200/24 or fe80::1/64"),
            (
                "10.0.0.1 labl x",
                "unknown word \"labl\", expected interface, label, scope, broadcast, peer, preferred-lifetime",
            ),
            ("10.0.0.1 label", "label has no value"),
            (
                "10.0.0.1 label a-label-that-is-too-long",
                "label: expected 1 to 15 characters, such as eth0:vip",
            ),
            ("10.0.0.1 scope near", "scope: expected global, site, link, host, nowhere or 0 to 255"),
            ("10.0.0.1 brd x", "broadcast: expected an IPv4 address, + or -"),
            ("10.0.0.1 peer fe80::1", "peer: expected an address of the same family"),
            ("10.0.0.1 preferred_lft soon", "preferred-lifetime: expected seconds or forever"),
            ("10.0.0.1 brd + broadcast +", "duplicate broadcast"),
            ("fe80::1 scope link", "an IPv6 address has no scope"),
        ] {
            assert_eq!(read(text).expect_err(text).to_string(), message, "{text}");
        }
    }
}
