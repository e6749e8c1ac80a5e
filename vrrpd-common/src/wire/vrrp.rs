//! The VRRP advertisement: version 2 (RFC 3768 §5.1, RFC 2338 §5.1) and version 3 (RFC 9568 §5.1) over both families.
//!
//! [`VrrpRepr`] is an advertisement to send, or one received in full. [`Message`] reads one from any [`Octets`], for
//! [`mod@crate::classify`], and checks whether it is well-formed and undamaged, but not whether it is for us and
//! accepted.
//!
//! The IP header determines the length of the payload, since the frame may be padded. The count of addresses determines
//! the length of the message in it. Octets after the message do not belong to it: keepalived 2.4 with `auth_hmac` adds
//! 28 (draft-cassen-vrrp-auth-hmac). Over IPv4 its checksum covers only the message; over IPv6 the sender's kernel
//! computes it over the whole payload. So a checksum may cover the message or the whole payload; the pseudo-header has
//! the length of the covered part.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use super::{ipv4, ipv6};
use crate::advert::AddressDigest;
use crate::octets::Octets;
use crate::params::{Auth, Family, Interval, Priority, Version, Vrid};
use crate::reject::{Reject, Rejection};

mod addresses;
mod repr;
#[cfg(test)]
mod tests;

pub use addresses::{Addresses, TooManyAddresses};
pub use repr::{Kind, VrrpRepr};

/// Octets before the addresses, in every version.
pub const HEADER_LEN: usize = 8;
/// Type 1, the only one (RFC 9568 §5.2.2).
pub const TYPE_ADVERTISEMENT: u8 = 1;
/// Maximum number of addresses in the count field (RFC 9568 §5.2.5).
pub const MAX_ADDRESSES: usize = 255;
/// Maximum number of octets after a message that its checksum may cover. With more, the checksum has to cover only the
/// message.
pub const MAX_TRAILING: usize = 256;

/// Offsets of the fields (RFC 9568 §5.1, RFC 3768 §5.1).
pub mod field {
    /// Version in the high nibble, type in the low one.
    pub const VERSION_TYPE: usize = 0;
    /// Virtual Router Identifier.
    pub const VRID: usize = 1;
    /// Priority.
    pub const PRIORITY: usize = 2;
    /// Number of addresses.
    pub const COUNT: usize = 3;
    /// Version 2: type of authentication.
    pub const AUTH_TYPE: usize = 4;
    /// Version 2: interval in seconds.
    pub const INTERVAL_SECONDS: usize = 5;
    /// Version 3: reserved nibble and 12 bits of interval in centiseconds.
    pub const INTERVAL_CENTIS: usize = 4;
    /// Checksum.
    pub const CHECKSUM: usize = 6;
    /// The first address.
    pub const ADDRESSES: usize = 8;
}

/// Coverage of the checksum of a version 3 message over IPv4. In RFC 9568 §5.2.8 it is the message; senders that follow
/// RFC 5798 include a pseudo-header. Both are accepted on receipt; the pseudo-header is always included over IPv6, and
/// never in version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ChecksumStyle {
    /// The message and a pseudo-header, as in RFC 5798 and most implementations.
    #[default]
    WithPseudoHeader,
    /// Only the message, as in RFC 9568.
    MessageOnly,
}

/// The default destination of adverts (RFC 9568 §5.1.1.2, §5.1.2.2).
pub const fn group(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(ipv4::VRRP_GROUP),
        Family::Ipv6 => IpAddr::V6(ipv6::VRRP_GROUP),
    }
}

/// The parts of the IP header that a checksum may cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PseudoHeader {
    /// Over IPv4 (RFC 5798 §5.2.8).
    Ipv4 {
        /// Source address.
        source: Ipv4Addr,
        /// Destination address.
        destination: Ipv4Addr,
    },
    /// Over IPv6 (RFC 8200 §8.1).
    Ipv6 {
        /// Source address.
        source: Ipv6Addr,
        /// Destination address.
        destination: Ipv6Addr,
    },
}

impl PseudoHeader {
    /// The pseudo-header of an advert between two addresses; `None` if they are of different families.
    pub const fn between(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::Ipv4 { source, destination }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::Ipv6 { source, destination }),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// The family of the addresses.
    #[inline(always)]
    pub const fn family(&self) -> Family {
        match self {
            Self::Ipv4 { .. } => Family::Ipv4,
            Self::Ipv6 { .. } => Family::Ipv6,
        }
    }

    /// Source address.
    #[inline(always)]
    pub const fn source(&self) -> IpAddr {
        match *self {
            Self::Ipv4 { source, .. } => IpAddr::V4(source),
            Self::Ipv6 { source, .. } => IpAddr::V6(source),
        }
    }

    /// Destination address.
    #[inline(always)]
    pub const fn destination(&self) -> IpAddr {
        match *self {
            Self::Ipv4 { destination, .. } => IpAddr::V4(destination),
            Self::Ipv6 { destination, .. } => IpAddr::V6(destination),
        }
    }

    /// The sum over the pseudo-header of a message of `len` octets.
    #[inline(always)]
    fn sum(&self, len: usize) -> Sum {
        let sum = Sum::ZERO.plus_u32(number(len)).plus_u16(u16::from(ipv6::NEXT_HEADER_VRRP));
        match self {
            Self::Ipv4 { source, destination } => {
                sum.plus_octets(&source.octets()).plus_octets(&destination.octets())
            }
            Self::Ipv6 { source, destination } => {
                sum.plus_octets(&source.octets()).plus_octets(&destination.octets())
            }
        }
    }
}

/// The first eight octets, unchecked.
#[derive(Clone, Copy, Debug)]
pub struct VrrpHeader([u8; HEADER_LEN]);

impl VrrpHeader {
    /// The header at `at`; `None` if the frame is too short.
    #[inline(always)]
    pub fn read<F: Octets + ?Sized>(frame: &F, at: usize) -> Option<Self> {
        frame.get(at).map(Self)
    }

    /// The version nibble.
    #[inline(always)]
    pub const fn version(self) -> u8 {
        self.0[field::VERSION_TYPE] >> 4
    }

    /// The type nibble.
    #[inline(always)]
    pub const fn message_type(self) -> u8 {
        self.0[field::VERSION_TYPE] & 0x0f
    }

    /// The VRID; `None` for 0.
    #[inline(always)]
    pub const fn vrid(self) -> Option<Vrid> {
        Vrid::new(self.0[field::VRID])
    }

    /// The priority.
    #[inline(always)]
    pub const fn priority(self) -> Priority {
        Priority(self.0[field::PRIORITY])
    }

    /// Number of addresses.
    #[inline(always)]
    pub const fn address_count(self) -> u8 {
        self.0[field::COUNT]
    }

    /// Version 2: the type of authentication.
    #[inline(always)]
    pub const fn auth_kind(self) -> u8 {
        self.0[field::AUTH_TYPE]
    }

    /// The interval in the unit of the version: seconds, or centiseconds with the reserved nibble ignored (RFC 9568
    /// §5.2.6).
    #[inline(always)]
    pub const fn interval_field(self, version: Version) -> u16 {
        match version {
            Version::V2 => self.0[field::INTERVAL_SECONDS] as u16,
            Version::V3 => self.u16(field::INTERVAL_CENTIS) & 0x0fff,
        }
    }

    /// The interval; `None` for 0.
    #[inline(always)]
    pub fn interval(self, version: Version) -> Option<Interval> {
        match version {
            Version::V2 => Interval::from_seconds(self.0[field::INTERVAL_SECONDS]).ok(),
            Version::V3 => Interval::from_centis(self.interval_field(version)).ok(),
        }
    }

    /// The checksum in the header.
    #[inline(always)]
    pub const fn checksum(self) -> u16 {
        self.u16(field::CHECKSUM)
    }

    #[inline(always)]
    const fn u16(self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }
}

/// Octets of a message with `count` addresses (RFC 9568 §5.1, RFC 3768 §5.1).
#[inline(always)]
pub const fn message_len(version: Version, family: Family, count: usize) -> usize {
    let addresses = HEADER_LEN + count * family.address_len();
    match version {
        Version::V2 => addresses + Auth::DATA_LEN,
        Version::V3 => addresses,
    }
}

/// Everything that is read of a message, before its checks.
///
/// Everything is read first, for the kernel's verifier, which follows every path through a program: it checks the code
/// after a loop once for each number of iterations, unless no state depends on that number by then. For the same reason
/// all fields are set, even if the message is not `complete`.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    header: VrrpHeader,
    /// Whether the frame holds the number of octets that the header requires.
    complete: bool,
    /// Version 2 over IPv4: the authentication data.
    auth_data: [u8; Auth::DATA_LEN],
    addresses: AddressDigest,
    sum: Sum,
    /// The sum over the octets after the message that the checksum may cover.
    trailing: Sum,
    /// Octets of the message and of the covered octets after it.
    covered: usize,
}

impl Message {
    /// Reads the message at `at`, in a payload of `len` octets, as far as the frame goes.
    #[inline(always)]
    pub fn read<F: Octets + ?Sized>(frame: &F, at: usize, family: Family, len: usize) -> Self {
        let mut message = Self {
            header: VrrpHeader([0; HEADER_LEN]),
            complete: false,
            auth_data: [0; Auth::DATA_LEN],
            addresses: AddressDigest::default(),
            sum: Sum::ZERO,
            trailing: Sum::ZERO,
            covered: 0,
        };
        let Some(header) = VrrpHeader::read(frame, at) else {
            return message;
        };
        message.header = header;
        let count = usize::from(header.address_count());
        let mut own_len = message_len(Version::V3, family, count);
        if family == Family::Ipv4 && header.version() == Version::V2.number() {
            let Some(auth_data) = frame.get(at + own_len) else {
                return message;
            };
            message.auth_data = auth_data;
            own_len += Auth::DATA_LEN;
        }
        // Before the addresses, since nothing depends on the number of iterations afterwards.
        message.covered = own_len;
        let trailing = len.saturating_sub(own_len);
        if trailing <= MAX_TRAILING
            && let Some(sum) = Sum::of(frame, at + own_len, trailing)
        {
            message.trailing = sum;
            message.covered = len;
        }
        message.complete = message.read_addresses(frame, at + field::ADDRESSES, family, count);
        message.sum = message.sum.plus_octets(&message.header.0).plus_octets(&message.auth_data);
        message
    }

    /// Reads `count` addresses from `at` on; returns `false` if the frame is too short.
    #[inline(always)]
    fn read_addresses<F: Octets + ?Sized>(
        &mut self,
        frame: &F,
        at: usize,
        family: Family,
        count: usize,
    ) -> bool {
        // The verifier needs a constant bound; the count ends the loop.
        for done in 0..MAX_ADDRESSES {
            if done >= count {
                break;
            }
            match family {
                Family::Ipv4 => {
                    let Some(address) = frame.get(at + done * 4) else {
                        return false;
                    };
                    self.addresses.add_ipv4(address);
                    self.sum = self.sum.plus_octets(&address);
                }
                Family::Ipv6 => {
                    let Some(address) = frame.get(at + done * 16) else {
                        return false;
                    };
                    self.addresses.add_ipv6(address);
                    self.sum = self.sum.plus_octets(&address);
                }
            }
        }
        true
    }

    /// Whether this is an undamaged advertisement of `version` in a payload of `len` octets: version, type, count,
    /// length, checksum, in this order (RFC 9568 §7.1, RFC 3768 §7.1). It needs an address (RFC 9568 §5.2.5), unless it
    /// `may_be_empty`.
    #[inline(always)]
    pub fn check(
        &self,
        len: usize,
        version: Version,
        pseudo: &PseudoHeader,
        may_be_empty: bool,
    ) -> Result<(), Rejection> {
        let header = self.header;
        if len < HEADER_LEN {
            return Err(Reject::Truncated.because(number(len), number(HEADER_LEN)));
        }
        if header.version() != version.number() {
            return Err(Reject::Version.because(u32::from(header.version()), u32::from(version.number())));
        }
        if header.message_type() != TYPE_ADVERTISEMENT {
            let got = u32::from(header.message_type());
            return Err(Reject::Type.because(got, u32::from(TYPE_ADVERTISEMENT)));
        }
        if header.address_count() == 0 && !may_be_empty {
            return Err(Reject::AddressCount.because(0, 1));
        }
        let needed = message_len(version, pseudo.family(), usize::from(header.address_count()));
        if len < needed || !self.complete {
            return Err(Reject::Truncated.because(number(len), number(needed)));
        }
        let family = pseudo.family();
        let of_message = check_sum(self.sum, pseudo.sum(needed), version, family, header.checksum());
        if of_message.is_ok() {
            return of_message;
        }
        let with_trailing = self.sum.plus(self.trailing);
        check_sum(with_trailing, pseudo.sum(self.covered), version, family, header.checksum()).or(of_message)
    }

    /// The first eight octets.
    #[inline(always)]
    pub const fn header(&self) -> VrrpHeader {
        self.header
    }

    /// The authentication data; zeros unless the version is 2.
    #[inline(always)]
    pub const fn auth_data(&self) -> [u8; Auth::DATA_LEN] {
        self.auth_data
    }

    /// The digest of its addresses.
    #[inline(always)]
    pub const fn addresses(&self) -> AddressDigest {
        self.addresses
    }
}

/// Verifies the checksum, with or without the pseudo-header as [`ChecksumStyle`] describes (RFC 9568 §5.2.8, RFC 3768
/// §5.3.8).
#[inline(always)]
fn check_sum(message: Sum, pseudo: Sum, version: Version, family: Family, got: u16) -> Result<(), Rejection> {
    let with_pseudo_header = message.plus(pseudo);
    let (valid, sum) = match (version, family) {
        (Version::V2, _) => (message.is_valid(), message),
        (Version::V3, Family::Ipv4) => {
            (with_pseudo_header.is_valid() || message.is_valid(), with_pseudo_header)
        }
        (Version::V3, Family::Ipv6) => (with_pseudo_header.is_valid(), with_pseudo_header),
    };
    if valid {
        return Ok(());
    }
    Err(Reject::Checksum.because(u32::from(got), u32::from(sum.without_u16(got).checksum())))
}

/// Converts a length for a [`Rejection`].
#[inline(always)]
pub(crate) fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
