//! Why an advert was discarded (RFC 9568 §7.1, RFC 3768 §7.1): one enum for the error, the counter's name, the log
//! field and the JSON key.

use core::fmt;

/// A check that an advert failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub enum Reject {
    /// TTL or hop limit is not 255.
    Ttl,
    /// Checksum of the IPv4 header or of the message.
    Checksum,
    /// The protocol version differs from the router's.
    Version,
    /// Not an advertisement.
    Type,
    /// The frame ends before the length in its headers.
    Truncated,
    /// Authentication type or data differ from ours, or are replayed (version 2).
    Auth,
    /// An interval of zero, or in version 2 other than ours.
    Interval,
    /// No address.
    AddressCount,
    /// The list of addresses differs although equality is required.
    AddressList,
    /// An IPv4 fragment.
    Fragment,
    /// Our own frame, looped back.
    Loopback,
    /// A source address that no other router can have.
    Source,
    /// Sent to the multicast group, for a router with peers.
    Destination,
    /// Unicast from an address that is not a peer of the router.
    Peer,
    /// A virtual router that is not configured on this interface.
    NotOurs,
}

/// A failed check with the values found and expected, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rejection {
    /// The check.
    pub reject: Reject,
    /// The value found; its meaning depends on the check.
    pub got: u32,
    /// The expected value.
    pub wanted: u32,
}

impl Reject {
    /// With [`Reject::Auth`], `got` of a replayed advert; not an authentication type.
    pub const REPLAYED: u32 = 256;
    /// With [`Reject::Source`], `got` for an address that is not a host's.
    pub const NOT_UNICAST: u32 = 0;
    /// With [`Reject::Source`], `got` for a virtual address whose sender is not its owner.
    pub const VIRTUAL_ADDRESS: u32 = 1;

    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Ttl,
        Self::Checksum,
        Self::Version,
        Self::Type,
        Self::Truncated,
        Self::Auth,
        Self::Interval,
        Self::AddressCount,
        Self::AddressList,
        Self::Fragment,
        Self::Loopback,
        Self::Source,
        Self::Destination,
        Self::Peer,
        Self::NotOurs,
    ];

    /// The name in counters, logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Checksum => "checksum",
            Self::Version => "version",
            Self::Type => "type",
            Self::Truncated => "truncated",
            Self::Auth => "auth",
            Self::Interval => "interval",
            Self::AddressCount => "address_count",
            Self::AddressList => "address_list",
            Self::Fragment => "fragment",
            Self::Loopback => "loopback",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Peer => "peer",
            Self::NotOurs => "not_ours",
        }
    }

    /// Whether the reason is a different configuration of the routers rather than a bad frame.
    #[inline(always)]
    pub const fn is_mismatch(self) -> bool {
        matches!(
            self,
            Self::Checksum
                | Self::Version
                | Self::Auth
                | Self::Interval
                | Self::AddressCount
                | Self::AddressList
                | Self::Source
                | Self::Destination
                | Self::Peer
        )
    }

    /// A rejection for this check, with these values.
    #[inline(always)]
    pub const fn because(self, got: u32, wanted: u32) -> Rejection {
        Rejection { reject: self, got, wanted }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reject, got, wanted } = *self;
        match reject {
            Reject::Ttl => write!(f, "TTL {got}, must be {wanted} (RFC 9568 §7.1)"),
            Reject::Checksum => write!(f, "checksum {got:#06x}, must be {wanted:#06x} (RFC 9568 §5.2.8)"),
            Reject::Version => {
                write!(f, "version {got}, this router speaks version {wanted} (RFC 9568 §7.1)")
            }
            Reject::Type => write!(f, "type {got}, must be {wanted} (RFC 9568 §5.2.2)"),
            Reject::Truncated => write!(f, "{got} octets, its headers announce {wanted} (RFC 9568 §7.1)"),
            Reject::Auth if got == Reject::REPLAYED => {
                write!(f, "sequence number is not above the last one (RFC 2402 §3.4.3)")
            }
            Reject::Auth if got == wanted => write!(f, "authentication data differs (RFC 2338 §5.3.6)"),
            Reject::Auth => write!(f, "authentication type {got}, must be {wanted} (RFC 2338 §5.3.6)"),
            Reject::Interval if got == 0 => write!(f, "interval 0 (RFC 9568 §5.2.7)"),
            Reject::Interval => write!(f, "interval {got} s, ours is {wanted} s (RFC 3768 §7.1)"),
            Reject::AddressCount => write!(f, "{got} addresses, must be at least {wanted} (RFC 9568 §5.2.5)"),
            Reject::AddressList => write!(f, "address list is not ours (RFC 3768 §7.1)"),
            Reject::Fragment => write!(f, "fragment at octet {got} (RFC 9568 §5.1)"),
            Reject::Loopback => write!(f, "source is our own address (RFC 9568 §7.1)"),
            Reject::Source if got == Reject::VIRTUAL_ADDRESS => {
                write!(
                    f,
                    "source is a virtual address, and the priority not that of its owner (RFC 9568 §5.2.4)"
                )
            }
            Reject::Source => {
                write!(f, "source is not the address of a host (RFC 1122 §3.2.1.3, RFC 4291 §2.5)")
            }
            Reject::Destination => {
                write!(f, "sent to the multicast group, this router takes unicast from its peers only")
            }
            Reject::Peer => write!(f, "source is not one of the configured peers"),
            Reject::NotOurs => write!(f, "VRID {got} is not configured on this interface (RFC 9568 §7.1)"),
        }
    }
}

impl core::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn reasons_are_numbered_in_the_order_of_all_and_named_once() {
        for (number, reject) in Reject::ALL.into_iter().enumerate() {
            assert_eq!(reject as usize, number);
        }
        assert_eq!(
            Reject::ALL.map(Reject::name).into_iter().collect::<BTreeSet<_>>().len(),
            Reject::ALL.len()
        );
    }
}
