//! The words of a route or rule, with their columns, for parsing.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::Family;

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Prefix {
    /// The network address.
    pub address: IpAddr,
    /// Prefix length.
    pub len: u8,
}

/// A parse error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordError {
    /// Column, from 1.
    pub column: usize,
    /// What is wrong with it.
    pub message: String,
}

/// The remaining words of a text.
#[derive(Clone, Debug)]
pub(super) struct Words<'a> {
    text: &'a str,
    at: usize,
    /// Start of the last word.
    last: usize,
}

impl<'a> Words<'a> {
    pub(super) const fn of(text: &'a str) -> Self {
        Self { text, at: 0, last: 0 }
    }

    /// The word after this one.
    pub(super) fn value(&mut self, of: &str) -> Result<&'a str, WordError> {
        let wrong = self.wrong(format!("{of} has no value"));
        self.next().ok_or(wrong)
    }

    /// The value after this word, parsed by `read`.
    pub(super) fn read<T>(
        &mut self,
        of: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, WordError> {
        let word = self.value(of)?;
        read(word).ok_or_else(|| self.wrong(format!("invalid {of} {word:?}: expected {expected}")))
    }

    /// The number after this word, decimal or hexadecimal.
    pub(super) fn number(&mut self, of: &str) -> Result<u32, WordError> {
        self.read(of, "a number", number)
    }

    /// An error at the last word.
    pub(super) fn wrong(&self, message: impl Into<String>) -> WordError {
        let before = self.text.get(..self.last).unwrap_or_default();
        WordError { column: before.chars().count() + 1, message: message.into() }
    }

    /// The next word, without consuming it.
    pub(super) fn peek(&self) -> Option<&'a str> {
        self.clone().next()
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let begin = self.at + (rest.len() - rest.trim_start().len());
        let rest = self.text.get(begin..)?;
        let word = rest.split_whitespace().next()?;
        self.last = begin;
        self.at = begin + word.len();
        Some(word)
    }
}

pub(super) fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `local`, `main`, `default` or a number.
pub(super) fn table(text: &str) -> Option<u32> {
    match text {
        "local" => Some(255),
        "main" => Some(super::MAIN_TABLE),
        "default" => Some(253),
        other => number(other).filter(|table| *table != 0),
    }
}

impl Prefix {
    /// Parses `192.0.2.0/24`, `192.0.2.1`, `2001:db8::/32`. Host bits must be zero.
    pub fn read(text: &str) -> Option<Self> {
        let (address, len) = text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
        let address: IpAddr = address.parse().ok()?;
        let (longest, bits) = match address {
            IpAddr::V4(address) => (32, u128::from(address.to_bits()) << 96),
            IpAddr::V6(address) => (128, address.to_bits()),
        };
        let len = len.map_or(Some(longest), |len| len.parse().ok()).filter(|len| *len <= longest)?;
        let behind = bits.checked_shl(u32::from(len)).unwrap_or(0);
        (behind == 0).then_some(Self { address, len })
    }

    /// The family of the addresses.
    pub const fn family(&self) -> Family {
        family(self.address)
    }
}

pub(super) const fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for WordError {}
