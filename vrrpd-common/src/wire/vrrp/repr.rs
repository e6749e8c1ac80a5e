//! An advertisement as a value: to be sent by the daemon, or parsed in full by tools.

use core::net::IpAddr;

use super::{
    Addresses, ChecksumStyle, Message, PseudoHeader, TYPE_ADVERTISEMENT, field, message_len, number,
};
use crate::params::{Auth, Family, Interval, Priority, Version, Vrid};
use crate::reject::{Reject, Rejection};
use crate::wire::checksum::Sum;
use crate::wire::put;

/// Fields that only one of the versions has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RFC 3768; the addresses are IPv4, the interval is whole seconds.
    V2 {
        /// Type and data of the authentication.
        auth: Auth,
    },
    /// RFC 9568; the interval is at most 40.95 s.
    V3,
}

/// A valid advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VrrpRepr<'a> {
    vrid: Vrid,
    priority: Priority,
    interval: Interval,
    kind: Kind,
    addresses: Addresses<'a>,
}

impl<'a> VrrpRepr<'a> {
    /// `None` if `kind` cannot represent the interval, or is version 2 with IPv6 addresses.
    pub fn new(
        vrid: Vrid,
        priority: Priority,
        interval: Interval,
        kind: Kind,
        addresses: Addresses<'a>,
    ) -> Option<Self> {
        let legal = match kind {
            Kind::V2 { .. } => interval.as_seconds().is_some() && addresses.family() == Family::Ipv4,
            Kind::V3 => Interval::from_centis(interval.as_centis()).is_ok(),
        };
        legal.then_some(Self { vrid, priority, interval, kind, addresses })
    }

    /// The same advertisement with another priority: to resign, or after tracking changed it.
    #[must_use]
    pub const fn with_priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// The virtual router.
    pub const fn vrid(&self) -> Vrid {
        self.vrid
    }

    /// The sender's priority.
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// The sender's advertisement interval.
    pub const fn interval(&self) -> Interval {
        self.interval
    }

    /// The fields that only its version has.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The virtual addresses.
    pub const fn addresses(&self) -> Addresses<'a> {
        self.addresses
    }

    /// The protocol version.
    pub const fn version(&self) -> Version {
        match self.kind {
            Kind::V2 { .. } => Version::V2,
            Kind::V3 => Version::V3,
        }
    }

    /// Parses an advertisement of either version from the whole payload of an IP packet. It borrows the addresses from
    /// the message.
    pub fn parse(message: &'a [u8], pseudo: &PseudoHeader) -> Result<Self, Rejection> {
        let version = match (message.first().map(|octet| octet >> 4), pseudo.family()) {
            (Some(2), Family::Ipv4) => Version::V2,
            _ => Version::V3,
        };
        let read = Message::read(message, 0, pseudo.family(), message.len());
        read.check(message.len(), version, pseudo, true)?;
        let header = read.header();
        let kind = match version {
            Version::V3 => Kind::V3,
            Version::V2 => Kind::V2 {
                auth: match header.auth_kind() {
                    0 => Auth::None,
                    1 => Auth::Simple(read.auth_data()),
                    2 => Auth::Ah,
                    other => return Err(Reject::Auth.because(u32::from(other), 0)),
                },
            },
        };
        let interval = header.interval(version).ok_or(Reject::Interval.because(0, 1))?;
        let addresses = Addresses::from_message(message, pseudo.family(), header.address_count())
            .ok_or(Reject::Truncated.because(number(message.len()), number(message.len())))?;
        let vrid = header.vrid().ok_or(Reject::NotOurs.because(0, 1))?;
        Ok(Self { vrid, priority: header.priority(), interval, kind, addresses })
    }

    /// Octets of the message.
    pub fn buffer_len(&self) -> usize {
        message_len(self.version(), self.addresses.family(), self.addresses.count().into())
    }

    /// Writes the message and returns its length; `None` if the buffer is too short or the pseudo-header is of another
    /// family than the addresses. `style` matters in version 3 over IPv4 only.
    pub fn emit(&self, pseudo: &PseudoHeader, style: ChecksumStyle, buffer: &mut [u8]) -> Option<usize> {
        let family = self.addresses.family();
        if pseudo.family() != family {
            return None;
        }
        let len = self.buffer_len();
        let message = buffer.get_mut(..len)?;
        let version_type = self.version().number() << 4 | TYPE_ADVERTISEMENT;
        let count = self.addresses.count();
        put(message, field::VERSION_TYPE, &[version_type, self.vrid.get(), self.priority.0, count])?;
        put(message, field::CHECKSUM, &[0, 0])?;
        let mut at = field::ADDRESSES;
        for address in self.addresses {
            match address {
                IpAddr::V4(address) => put(message, at, &address.octets())?,
                IpAddr::V6(address) => put(message, at, &address.octets())?,
            }
            at += family.address_len();
        }
        match self.kind {
            Kind::V2 { auth } => {
                put(message, field::AUTH_TYPE, &[auth.kind(), self.interval.as_seconds()?])?;
                put(message, at, &auth.data())?;
            }
            Kind::V3 => put(message, field::INTERVAL_CENTIS, &self.interval.as_centis().to_be_bytes())?,
        }
        let sum = Sum::of(&*message, 0, len)?;
        let sum = match (self.kind, family, style) {
            (Kind::V2 { .. }, _, _) | (Kind::V3, Family::Ipv4, ChecksumStyle::MessageOnly) => sum,
            (Kind::V3, Family::Ipv4, ChecksumStyle::WithPseudoHeader) | (Kind::V3, Family::Ipv6, _) => {
                sum.plus(pseudo.sum(len))
            }
        };
        put(message, field::CHECKSUM, &sum.checksum().to_be_bytes())?;
        Some(len)
    }
}
