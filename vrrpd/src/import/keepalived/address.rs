//! A line of `virtual_ipaddress`.

use std::net::Ipv6Addr;

use thiserror::Error;

use crate::config::value::{self, ValueError};

/// An address of a Master, as keepalived writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `10.0.0.1`, `10.0.0.1/24`, `fe80::1/64`
    pub(super) text: String,
    /// `dev`
    pub(super) interface: Option<String>,
    /// `no_track`: it is not tracked.
    pub(super) is_untracked: bool,
    /// Words of `ip address add`.
    pub(super) words: Vec<String>,
    /// What else the line says, each keyword with its value if it takes one.
    pub(super) others: Vec<String>,
}

/// What is wrong with a line.
#[derive(Debug, Error)]
pub(super) enum AddressError {
    #[error("an address is missing")]
    Missing,
    #[error(transparent)]
    Address(ValueError),
    #[error("{keyword} has no value")]
    NoValue { keyword: String },
}

/// Keywords of an address that take a value.
const WITH_VALUE: [&str; 7] = ["dev", "label", "scope", "brd", "broadcast", "peer", "preferred_lft"];
/// Keywords that change nothing here: IPv6 addresses are always added without duplicate address detection.
const WITHOUT_EFFECT: [&str; 2] = ["-nodad", "no_track"];

impl Address {
    /// Reads the words of a line.
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
                // What the kernel does without being told.
                "scope" if value == "global" || address.is_ipv6() => {}
                "brd" => address.words.push(format!("broadcast {value}")),
                "preferred_lft" => address.words.push(format!("preferred-lifetime {value}")),
                _ => address.words.push(format!("{keyword} {value}")),
            }
        }
        // Without a lifetime every IPv6 address but a link-local one is deprecated here, with keepalived one of /128 is.
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

    /// As our configuration has it.
    pub(super) fn setting(&self) -> String {
        let words = self.words.iter().map(String::as_str);
        std::iter::once(self.text.as_str()).chain(words).collect::<Vec<_>>().join(" ")
    }

    /// Whether it is an IPv6 address.
    pub(super) fn is_ipv6(&self) -> bool {
        self.text.contains(':')
    }
}
