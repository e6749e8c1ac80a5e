//! Ethernet addresses.

use core::fmt;

use crate::params::{Family, Vrid};

/// A 48-bit Ethernet address, in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The broadcast address.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The virtual router MAC address (RFC 9568 §7.3).
    pub const fn virtual_router(family: Family, vrid: Vrid) -> Self {
        let family = match family {
            Family::Ipv4 => 1,
            Family::Ipv6 => 2,
        };
        Self([0x00, 0x00, 0x5e, 0x00, family, vrid.get()])
    }
}

impl MacAddr {
    /// Whether it is the virtual router MAC address of some virtual router (RFC 9568 §7.3).
    pub const fn is_virtual_router(self) -> bool {
        matches!(self.0, [0x00, 0x00, 0x5e, 0x00, 1 | 2, 1..=255])
    }

    /// Whether it names a group of stations (IEEE 802.3 §3.2.3): multicast or broadcast.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

/// Text that is not a MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddrError;

impl core::str::FromStr for MacAddr {
    type Err = MacAddrError;

    /// Parses six octets in hexadecimal, two digits each, separated by colons.
    fn from_str(text: &str) -> Result<Self, MacAddrError> {
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut mac {
            let digits = |part: &&str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            let part = parts.next().filter(digits).ok_or(MacAddrError)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| MacAddrError)?;
        }
        match parts.next() {
            None => Ok(Self(mac)),
            Some(_) => Err(MacAddrError),
        }
    }
}

impl fmt::Display for MacAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no MAC address; one is like 02:00:00:00:00:01")
    }
}

impl core::error::Error for MacAddrError {}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn virtual_router_mac_names_family_and_vrid() {
        // RFC 9568 §7.3
        let vrid = Vrid::new(51).expect("51 is legal");
        assert_eq!(MacAddr::virtual_router(Family::Ipv4, vrid).to_string(), "00:00:5e:00:01:33");
        assert_eq!(MacAddr::virtual_router(Family::Ipv6, vrid).to_string(), "00:00:5e:00:02:33");
    }

    #[test]
    fn a_mac_address_reads_back_and_others_do_not() {
        let mac = MacAddr([0x02, 0, 0x5e, 0, 0xff, 1]);
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for text in [
            "",
            "02:00:5e:00:ff",
            "02:00:5e:00:ff:01:02",
            "2:0:5e:0:ff:1",
            "02:00:5e:00:ff:0g",
            "+2:00:5e:00:ff:01",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(MacAddrError), "{text}");
        }
    }

    #[test]
    fn virtual_router_macs_are_recognised() {
        let virtual_router = |text: &str| text.parse::<MacAddr>().expect("legal").is_virtual_router();
        assert!(virtual_router("00:00:5e:00:01:33") && virtual_router("00:00:5e:00:02:ff"));
        assert!(!virtual_router("00:00:5e:00:01:00") && !virtual_router("00:00:5e:00:03:33"));
    }
}
