//! The VRRP advertisement: version 2 (RFC 3768 §5.1, RFC 2338 §5.1) and version 3 (RFC 9568 §5.1) over both families.
//!
//! [`VrrpRepr`] is an advertisement to send, or one received in full. [`Message`] reads one from any [`Octets`], for
//! [`mod@crate::classify`], and checks whether it is well-formed and undamaged, never whether it is ours or to be
//! believed.
//!
//! The length of the payload is what the IP header says, never that of the frame, which may be padded. The message
//! takes of it what its count of addresses asks for. Octets behind it are no part of the message: keepalived 2.4 with
//! `auth_hmac` adds 28 (draft-cassen-vrrp-auth-hmac). Over IPv4 its checksum covers the message alone; over IPv6 the
//! sender's kernel sums up the whole payload. So a checksum may cover the message, or the whole payload; the length in
//! the pseudo-header is that of what it covers.

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
/// The most addresses that the count can say (RFC 9568 §5.2.5).
pub const MAX_ADDRESSES: usize = 255;
/// The most octets behind a message that its checksum may cover. With more, it has to cover the message alone.
pub const MAX_TRAILING: usize = 256;

/// Where the fields are (RFC 9568 §5.1, RFC 3768 §5.1).
pub mod field {
    /// Version in the high nibble, type in the low one.
    pub const VERSION_TYPE: usize = 0;
    /// Virtual Router Identifier.
    pub const VRID: usize = 1;
    /// Priority.
    pub const PRIORITY: usize = 2;
    /// How many addresses.
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

/// What the checksum of a version 3 message over IPv4 covers. RFC 9568 §5.2.8 says the message alone; senders written
/// to RFC 5798 include a pseudo-header. Receipt takes either; over IPv6 the pseudo-header is always included, in
/// version 2 never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ChecksumStyle {
    /// As the installed base does.
    #[default]
    WithPseudoHeader,
    /// As RFC 9568 says.
    MessageOnly,
}

/// Where adverts go, unless the user wants it otherwise (RFC 9568 §5.1.1.2, §5.1.2.2).
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
        /// From whom.
        source: Ipv4Addr,
        /// To whom.
        destination: Ipv4Addr,
    },
    /// Over IPv6 (RFC 8200 §8.1).
    Ipv6 {
        /// From whom.
        source: Ipv6Addr,
        /// To whom.
        destination: Ipv6Addr,
    },
}

impl PseudoHeader {
    /// Of an advert from one address to another; `None` if they are not of one family.
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

    /// From whom.
    #[inline(always)]
    pub const fn source(&self) -> IpAddr {
        match *self {
            Self::Ipv4 { source, .. } => IpAddr::V4(source),
            Self::Ipv6 { source, .. } => IpAddr::V6(source),
        }
    }

    /// To whom.
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

/// A view over the first eight octets: nothing is checked yet.
#[derive(Clone, Copy, Debug)]
pub struct VrrpHeader([u8; HEADER_LEN]);

impl VrrpHeader {
    /// The header at `at`; `None` when it is not all there.
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

    /// How many addresses.
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

    /// The checksum, as it stands there.
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

/// All that is ever read of a message, before any of it is judged.
///
/// Reading comes first and in one go for the sake of the kernel's verifier, which follows every way through a program:
/// what it does after a loop it does once for each number of turns, unless by then nothing depends on that number any
/// more. Hence also that nothing here is left unset, not even when it is not `complete`.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    header: VrrpHeader,
    /// Whether the frame holds as many octets as the header asks for.
    complete: bool,
    /// Version 2 over IPv4: the authentication data.
    auth_data: [u8; Auth::DATA_LEN],
    addresses: AddressDigest,
    sum: Sum,
    /// The sum over the octets behind the message that the checksum may cover.
    trailing: Sum,
    /// Octets of the message and of these.
    covered: usize,
}

impl Message {
    /// What there is of a message at `at`, in a payload of `len` octets.
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
        // Before the addresses, since nothing depends on the number of its turns afterwards.
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

    /// Takes in `count` addresses from `at` on; `false` when they are not all there.
    #[inline(always)]
    fn read_addresses<F: Octets + ?Sized>(
        &mut self,
        frame: &F,
        at: usize,
        family: Family,
        count: usize,
    ) -> bool {
        // The bound is a constant for the verifier; the count ends the loop.
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
    /// length, checksum, in this order (RFC 9568 §7.1, RFC 3768 §7.1). It has an address (RFC 9568 §5.2.5), unless it
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

    /// The authentication data; zeros unless it is version 2.
    #[inline(always)]
    pub const fn auth_data(&self) -> [u8; Auth::DATA_LEN] {
        self.auth_data
    }

    /// Which addresses it announces.
    #[inline(always)]
    pub const fn addresses(&self) -> AddressDigest {
        self.addresses
    }
}

/// The checksum, with or without the pseudo-header as [`ChecksumStyle`] explains (RFC 9568 §5.2.8, RFC 3768 §5.3.8).
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

/// A length as a [`Rejection`] holds it.
#[inline(always)]
pub(crate) fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
