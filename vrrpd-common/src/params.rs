//! The parameters of a virtual router on the wire, each as a type that holds valid values only (RFC 9568 §5.2, §6.1;
//! RFC 3768 §5.3, §6.1).

use core::fmt;
use core::num::NonZeroU8;

use crate::time::Duration;

/// Virtual Router Identifier, 1 to 255 (RFC 9568 §5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Vrid(NonZeroU8);

/// Priority of a router for a virtual router (RFC 9568 §5.2.4): 0 resigns, 1 to 254 compete, 255 is the owner of
/// the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Priority(pub u8);

/// The address family of a virtual router; the VRIDs of both families are separate (RFC 9568 §1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6; VRRPv3 only.
    Ipv6,
}

/// Protocol version (RFC 9568 §5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Version {
    /// VRRPv2, RFC 3768: IPv4, whole seconds, authentication field.
    V2,
    /// VRRPv3, RFC 9568: both families, centiseconds.
    V3,
}

/// Advertisement interval. In centiseconds: 1 to 4095 in version 3 (RFC 9568 §5.2.7), whole seconds from 1 to 255 in
/// version 2 (RFC 3768 §5.3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u16", into = "u16"))]
pub struct Interval(u16);

/// Authentication of version 2: its type and data (RFC 2338 §5.3.6, §5.3.10; RFC 3768 keeps the fields and allows type
/// 0 only). The data is a password, which no output shows.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Auth {
    /// Type 0: none. Its data is zero on transmission and ignored on receipt.
    None,
    /// Type 1: a simple password of up to eight octets, zero-padded on the right.
    // Secrets are never serialized.
    Simple(#[cfg_attr(feature = "serde", serde(skip))] [u8; Auth::DATA_LEN]),
    /// Type 2: an Authentication Header before the message (RFC 2338 §5.3.6.3). The data in the message is zero on
    /// transmission and ignored on receipt.
    Ah,
}

/// Why a duration is not a valid advertisement interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalError {
    /// The interval is zero.
    Zero,
    /// Version 2 has whole seconds only.
    NotWholeSeconds,
    /// More than the field on the wire can hold.
    TooLong {
        /// The longest interval of the version.
        most: Interval,
    },
}

impl Vrid {
    /// `None` for 0.
    pub const fn new(vrid: u8) -> Option<Self> {
        match NonZeroU8::new(vrid) {
            Some(vrid) => Some(Self(vrid)),
            None => None,
        }
    }

    /// 1 to 255.
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Priority {
    /// The priority of a resignation (RFC 9568 §5.2.4).
    pub const RESIGN: Self = Self(0);
    /// The lowest priority of an election.
    pub const LOWEST: Self = Self(1);
    /// The default of a backup (RFC 9568 §6.1).
    pub const DEFAULT: Self = Self(100);
    /// The highest priority of a router that does not own the addresses.
    pub const HIGHEST: Self = Self(254);
    /// The owner of the addresses (RFC 9568 §5.2.4).
    pub const OWNER: Self = Self(255);
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Family {
    /// Octets of an address.
    pub const fn address_len(self) -> usize {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
        }
    }

    /// `ipv4`, `ipv6`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Version {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// The version of a router configured with this one for this family: over IPv6 always version 3.
    #[must_use]
    #[inline(always)]
    pub const fn over(self, family: Family) -> Self {
        match family {
            Family::Ipv4 => self,
            Family::Ipv6 => Self::V3,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.number())
    }
}

impl Interval {
    /// The shortest, 10 ms.
    pub const MIN: Self = Self(1);
    /// One second: the default of both versions.
    pub const DEFAULT: Self = Self(100);

    /// The longest that can be stored, longer than any on the wire.
    pub const MAX: Self = Self(u16::MAX);

    const MAX_V2: Self = Self(255 * 100);
    const MAX_V3: Self = Self(4095);
    const CENTI: u64 = 10_000_000;

    /// From the field of version 2, in seconds.
    pub const fn from_seconds(seconds: u8) -> Result<Self, IntervalError> {
        match seconds {
            0 => Err(IntervalError::Zero),
            seconds => Ok(Self(seconds as u16 * 100)),
        }
    }

    /// From the field of version 3, in centiseconds.
    pub const fn from_centis(centis: u16) -> Result<Self, IntervalError> {
        match centis {
            0 => Err(IntervalError::Zero),
            1..=4095 => Ok(Self(centis)),
            _ => Err(IntervalError::TooLong { most: Self::MAX_V3 }),
        }
    }

    /// From [`Interval::as_centis`]; `None` for 0.
    #[inline(always)]
    pub const fn from_stored(centis: u16) -> Option<Self> {
        match centis {
            0 => None,
            centis => Some(Self(centis)),
        }
    }

    /// From a configured duration. Version 3 rounds to the nearest centisecond, at least 10 ms; version 2 accepts whole
    /// seconds only, since a fraction would be sent as 0.
    pub fn from_duration(version: Version, span: Duration) -> Result<Self, IntervalError> {
        let nanos = span.as_nanos();
        if nanos == 0 {
            return Err(IntervalError::Zero);
        }
        match version {
            Version::V2 => {
                if !nanos.is_multiple_of(100 * Self::CENTI) {
                    return Err(IntervalError::NotWholeSeconds);
                }
                u8::try_from(nanos / (100 * Self::CENTI))
                    .map_or(Err(IntervalError::TooLong { most: Self::MAX_V2 }), Self::from_seconds)
            }
            Version::V3 => {
                let centis = nanos.saturating_add(Self::CENTI / 2) / Self::CENTI;
                u16::try_from(centis.max(1))
                    .map_or(Err(IntervalError::TooLong { most: Self::MAX_V3 }), Self::from_centis)
            }
        }
    }

    /// A multiple, up to [`Interval::MAX`].
    #[must_use]
    pub const fn times(self, count: u16) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// The duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_nanos(self.0 as u64 * Self::CENTI)
    }

    /// Centiseconds, the unit of version 3.
    pub const fn as_centis(self) -> u16 {
        self.0
    }

    /// Whole seconds, the unit of version 2; `None` if there is a fraction or the field cannot hold it.
    pub const fn as_seconds(self) -> Option<u8> {
        if !self.0.is_multiple_of(100) || self.0 > Self::MAX_V2.0 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 255, see above")]
        Some((self.0 / 100) as u8)
    }
}

impl TryFrom<u16> for Interval {
    type Error = IntervalError;

    /// In centiseconds, as from [`Interval::as_centis`].
    fn try_from(centis: u16) -> Result<Self, IntervalError> {
        Self::from_stored(centis).ok_or(IntervalError::Zero)
    }
}

impl From<Interval> for u16 {
    fn from(interval: Interval) -> Self {
        interval.as_centis()
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_duration().fmt(f)
    }
}

impl Auth {
    /// Octets of the authentication data, which a message of version 2 always carries (RFC 3768 §5.3.10).
    pub const DATA_LEN: usize = 8;

    /// From a password, zero-padded; `None` if it is longer than [`Auth::DATA_LEN`] octets.
    pub fn simple(password: &[u8]) -> Option<Self> {
        let mut data = [0; Self::DATA_LEN];
        data.get_mut(..password.len())?.copy_from_slice(password);
        Some(Self::Simple(data))
    }

    /// The authentication type on the wire (RFC 2338 §5.3.6).
    #[inline(always)]
    pub const fn kind(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Simple(_) => 1,
            Self::Ah => 2,
        }
    }

    /// The authentication data on the wire (RFC 2338 §5.3.10).
    #[inline(always)]
    pub const fn data(self) -> [u8; Self::DATA_LEN] {
        match self {
            Self::None | Self::Ah => [0; Self::DATA_LEN],
            Self::Simple(data) => data,
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Simple(_) => "Simple(..)",
            Self::Ah => "Ah",
        })
    }
}

impl fmt::Display for IntervalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("an interval must not be 0"),
            Self::NotWholeSeconds => f.write_str(
                "version 2 advertises whole seconds; use 1 to 255, or version 3 for fractions of a second",
            ),
            Self::TooLong { most } => write!(f, "longer than the longest interval possible, {most}"),
        }
    }
}

impl core::error::Error for IntervalError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn debug_of_a_password_does_not_show_it() {
        let auth = Auth::simple(b"secret").expect("six octets fit");
        assert_eq!(format!("{auth:?}"), "Simple(..)");
        assert_eq!(auth.data(), *b"secret\0\0");
    }

    #[test]
    fn passwords_have_at_most_eight_octets() {
        // RFC 2338 §5.3.10
        assert_eq!(Auth::simple(b"12345678"), Some(Auth::Simple(*b"12345678")));
        assert_eq!(Auth::simple(b"123456789"), None);
    }

    #[test]
    fn vrid_zero_is_refused() {
        // RFC 9568 §5.2.3
        assert_eq!(Vrid::new(0), None);
        assert_eq!(Vrid::new(255).map(Vrid::get), Some(255));
    }

    #[test]
    fn version_2_takes_whole_seconds_only() {
        // RFC 3768 §5.3.7
        let v2 = |span| Interval::from_duration(Version::V2, span);
        assert_eq!(v2(Duration::from_millis(500)), Err(IntervalError::NotWholeSeconds));
        assert_eq!(v2(Duration::ZERO), Err(IntervalError::Zero));
        assert_eq!(v2(Duration::from_secs(256)), Err(IntervalError::TooLong { most: Interval::MAX_V2 }));
        assert_eq!(v2(Duration::from_secs(255)).map(Interval::as_seconds), Ok(Some(255)));
    }

    #[test]
    fn version_3_rounds_to_centiseconds_and_to_no_less_than_ten_milliseconds() {
        // RFC 9568 §5.2.7
        let v3 = |span| Interval::from_duration(Version::V3, span).map(Interval::as_centis);
        assert_eq!(v3(Duration::from_millis(250)), Ok(25));
        assert_eq!(v3(Duration::from_millis(14)), Ok(1));
        assert_eq!(v3(Duration::from_millis(15)), Ok(2));
        assert_eq!(v3(Duration::from_nanos(1)), Ok(1));
        assert_eq!(v3(Duration::from_millis(40_950)), Ok(4095));
        assert_eq!(v3(Duration::from_secs(41)), Err(IntervalError::TooLong { most: Interval::MAX_V3 }));
    }
}
