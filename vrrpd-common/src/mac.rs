//! Ethernet addresses.

use core::fmt;

use crate::params::{Family, Vrid};

/// A 48-bit Ethernet address, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations.
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
}
