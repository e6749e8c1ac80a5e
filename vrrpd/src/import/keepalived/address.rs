//! A line of `virtual_ipaddress`.

use std::net::Ipv6Addr;

use thiserror::Error;

use crate::config::value::{self, ValueError};

/// A virtual address in the syntax of keepalived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `10.0.0.1`, `10.0.0.1/24`, `fe80::1/64`
    pub(super) text: String,
    /// `dev`
    pub(super) interface: Option<String>,
    /// `no_track`: its interface is not tracked.
    pub(super) is_untracked: bool,
    /// Options as in `ip address add`.
    pub(super) words: Vec<String>,
    /// Other keywords of the line, each with its value if it has one.
    pub(super) others: Vec<String>,
}

/// Why a line is invalid.
#[derive(Debug, Error)]
pub(super) enum AddressError {
    #[error("an address is missing")]
    Missing,
    #[error(transparent)]
    Address(ValueError),
    #[error("{keyword} has no value")]
    NoValue { keyword: String },
}

/// Keywords with a value.
const WITH_VALUE: [&str; 7] = ["dev", "label", "scope", "brd", "broadcast", "peer", "preferred_lft"];
/// Keywords without effect here: IPv6 addresses are always added without duplicate address detection.
const WITHOUT_EFFECT: [&str; 2] = ["-nodad", "no_track"];

impl Address {
    /// Parses the words of a line.
    pub(super) fn read(words: &[String]) -> Result<Self, AddressError> {
        let (first, rest) = words.split_first().ok_or(AddressError::Missing)?;
        value::address(first).map_err(AddressError::Address)?;
        let mut address = Self {
            text: first.clone(),
            interface: None,
            is_untracked: words.iter().any(|word| word == "no_track"),
            words: Vec::new(),
            others: Vec::new(),
        };
        let mut rest = rest.iter();
        while let Some(keyword) = rest.next() {
            if !WITH_VALUE.contains(&keyword.as_str()) {
                if !WITHOUT_EFFECT.contains(&keyword.as_str()) {
                    address.others.push(keyword.clone());
                }
                continue;
            }
            let value = rest.next().ok_or_else(|| AddressError::NoValue { keyword: keyword.clone() })?;
            match keyword.as_str() {
                "dev" => address.interface = Some(value.clone()),
                // This is the kernel's default.
                "scope" if value == "global" || address.is_ipv6() => {}
                "brd" => address.words.push(format!("broadcast {value}")),
                "preferred_lft" => address.words.push(format!("preferred-lifetime {value}")),
                _ => address.words.push(format!("{keyword} {value}")),
            }
        }
        // Without a lifetime, vrrpd deprecates every IPv6 address but a link-local one; keepalived deprecates /128
        // only.
        let (host, length) = first.split_once('/').unwrap_or((first, "128"));
        let is_global = host.parse::<Ipv6Addr>().is_ok_and(|address| !address.is_unicast_link_local());
        if is_global && length != "128" && !words.iter().any(|word| word == "preferred_lft") {
            address.words.push("preferred-lifetime forever".to_owned());
        }
        let is_right = |word: &String| value::held_address(&format!("{first} {word}")).is_ok();
        let (words, wrong) = address.words.into_iter().partition(is_right);
        address.words = words;
        address.others.extend::<Vec<_>>(wrong);
        Ok(address)
    }

    /// The address in the syntax of vrrpd.
    pub(super) fn setting(&self) -> String {
        let words = self.words.iter().map(String::as_str);
        std::iter::once(self.text.as_str()).chain(words).collect::<Vec<_>>().join(" ")
    }

    /// Whether it is an IPv6 address.
    pub(super) fn is_ipv6(&self) -> bool {
        self.text.contains(':')
    }
}
