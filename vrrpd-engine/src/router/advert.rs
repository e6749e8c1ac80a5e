//! The parameters of a router's adverts: source, priority, and how many addresses fit.

use std::net::IpAddr;

use vrrpd_common::params::Auth;
use vrrpd_common::wire::ethernet;
use vrrpd_common::wire::frame::advert_frame_len;
use vrrpd_common::wire::vrrp::{Kind, VrrpRepr};
use vrrpd_common::{Priority, Version};

use super::Router;
use crate::config::AuthKind;
use crate::sending::addresses_that_fit;

/// An advert to be sent: the variable part of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertToSend {
    /// Its source address.
    pub source: IpAddr,
    /// 0: the router resigns.
    pub priority: Priority,
    /// Number of virtual addresses in it, from the first.
    pub addresses: usize,
}

impl Router {
    /// The advert with this priority; `None` without a source address. A resignation is sent even if the interface has
    /// just become unusable, with only as many addresses as fit into `mtu` octets, since receivers do not check them.
    pub fn advert(&mut self, priority: Priority, mtu: u32) -> Option<AdvertToSend> {
        let resigns = priority == Priority::RESIGN;
        let source = self.machine.source().or_else(|| self.source.filter(|_| resigns))?;
        self.source = Some(source);
        let all = self.config.addresses.len();
        let addresses = if resigns {
            addresses_that_fit(self.packet_len(), all, self.config.family.address_len(), mtu)
        } else {
            all
        };
        Some(AdvertToSend { source, priority, addresses })
    }

    /// Length of an advert's IP packet in octets.
    pub fn packet_len(&self) -> usize {
        let config = &self.config;
        let addresses = self.addresses.first(config.addresses.len());
        let kind = match (config.version, config.auth) {
            (Version::V3, _) => Kind::V3,
            (Version::V2, AuthKind::None) => Kind::V2 { auth: Auth::None },
            // All passwords have the same length.
            (Version::V2, AuthKind::Simple) => Kind::V2 { auth: Auth::Simple([0; Auth::DATA_LEN]) },
            (Version::V2, AuthKind::Ah) => Kind::V2 { auth: Auth::Ah },
        };
        let advert = addresses.and_then(|addresses| {
            VrrpRepr::new(config.vrid, config.priority, config.interval, kind, addresses)
        });
        advert.map_or(0, |advert| advert_frame_len(&advert) - ethernet::HEADER_LEN)
    }

    /// Whether an advert fits into `mtu` octets.
    pub fn advert_fits(&self, mtu: u32) -> bool {
        u32::try_from(self.packet_len()).is_ok_and(|octets| octets <= mtu)
    }
}

#[cfg(test)]
mod tests {
    use vrrpd_common::router::{Event, Fault};
    use vrrpd_common::{Duration, Instant};

    use super::*;
    use crate::config::tests;
    use crate::ids::LinkId;
    use crate::router::TimeOfDay;

    fn router() -> Router {
        Router::new(tests::router("192.0.2.100 192.0.2.101"), LinkId::FIRST, TimeOfDay::default())
    }

    #[test]
    fn a_resignation_names_as_many_addresses_as_fit_and_goes_out_from_the_last_source() {
        let mut router = router();
        assert_eq!(router.advert(Priority::RESIGN, 1500), None, "there was no address to send from");
        let source = IpAddr::from([192, 0, 2, 1]);
        let now = Instant::ZERO + Duration::from_secs(1);
        router.handle(now, Event::InterfaceUp(source), &mut |_| {});
        let advert = router.advert(Priority(100), 0);
        assert_eq!(advert, Some(AdvertToSend { source, priority: Priority(100), addresses: 2 }));
        assert_eq!(router.packet_len(), 20 + 8 + 2 * 4);
        assert!(router.advert_fits(36) && !router.advert_fits(35));
        router.handle(now, Event::InterfaceDown(Fault::LinkDown.into()), &mut |_| {});
        assert_eq!(router.advert(Priority(100), 1500), None);
        let resignation = router.advert(Priority::RESIGN, 35);
        assert_eq!(resignation, Some(AdvertToSend { source, priority: Priority::RESIGN, addresses: 1 }));
    }
}
