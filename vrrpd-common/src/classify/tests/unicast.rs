//! Adverts from peers, and of routers with another multicast group.

use super::*;

const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

/// VRID 51 accepts adverts from [`PEER`] with a TTL of 64 or more, VRID 52 from [`GROUP`], VRID 53 from VRRP's group.
struct Elsewhere;

impl Routers for Elsewhere {
    fn expect(&self, _: u16, family: Family, _: Vrid) -> Option<Expect> {
        Some(Expect { source: Some(US.into()), ..ours(Version::V3, family).expect })
    }

    fn use_of(&self, router: &RouterKey, address: IpAddr) -> AddressUse {
        AddressUse::new(false, (router.vrid.get() == 51 && address == PEER).then_some(64))
    }

    fn is_destination(&self, destination: IpAddr) -> bool {
        is_vrrp_group(destination) || destination == US || destination == GROUP
    }

    fn delivery(&self, router: &RouterKey, sender: AddressUse, to: IpAddr) -> Delivery {
        match router.vrid.get() {
            51 => Delivery::to_peer(is_vrrp_group(to), to == US, sender),
            52 => Delivery::to_group(to == GROUP),
            _ => Delivery::to_group(is_vrrp_group(to)),
        }
    }
}

fn sent(router: u8, source: Ipv4Addr, destination: Ipv4Addr, ttl: u8) -> Vec<u8> {
    let addresses = v4_addresses(1);
    let addresses = Addresses::ipv4(&addresses).expect("one address");
    let advert = VrrpRepr::new(vrid(router), Priority(100), Interval::DEFAULT, Kind::V3, addresses);
    let frame = AdvertFrame {
        source_mac: SENDER,
        source: source.into(),
        destination: destination.into(),
        ttl,
        checksum: ChecksumStyle::WithPseudoHeader,
        advert: advert.expect("legal"),
    };
    let mut buffer = std::vec![0; advert_frame_len(&frame.advert)];
    assert_eq!(emit_advert(&frame, &mut buffer), Some(buffer.len()));
    buffer
}

fn judged(frame: &[u8]) -> Result<IpAddr, Option<Reject>> {
    match classify(frame, &Elsewhere) {
        Classified::Advert { advert, .. } => Ok(advert.source),
        Classified::Reject { rejection, .. } => Err(Some(rejection.reject)),
        Classified::NotVrrp => Err(None),
        Classified::NotOurs { .. } => Err(Some(Reject::NotOurs)),
    }
}

#[test]
fn a_peer_is_heard_and_a_stranger_is_not() {
    assert_eq!(judged(&sent(51, PEER, US, 255)), Ok(PEER.into()));
    assert_eq!(judged(&sent(51, Ipv4Addr::new(10, 0, 0, 3), US, 255)), Err(Some(Reject::Peer)));
}

#[test]
fn the_ttl_of_a_peer_may_be_as_low_as_its_own_bound() {
    assert_eq!(judged(&sent(51, PEER, US, 64)), Ok(PEER.into()));
    assert_eq!(judged(&sent(51, PEER, US, 63)), Err(Some(Reject::Ttl)));
}

#[test]
fn multicast_is_rejected_where_peers_are_configured() {
    assert_eq!(judged(&sent(51, PEER, ipv4::VRRP_GROUP, 255)), Err(Some(Reject::Destination)));
}

#[test]
fn an_advert_to_another_destination_does_not_count() {
    for (router, destination) in [(51, GROUP), (52, US), (52, ipv4::VRRP_GROUP), (53, US), (53, GROUP)] {
        assert_eq!(judged(&sent(router, PEER, destination, 255)), Err(None), "{router} {destination}");
    }
    assert_eq!(judged(&sent(51, PEER, Ipv4Addr::new(10, 0, 0, 9), 255)), Err(None), "it is passing through");
}

#[test]
fn a_router_of_another_group_hears_that_and_wants_ttl_255() {
    assert_eq!(judged(&sent(52, PEER, GROUP, 255)), Ok(PEER.into()));
    assert_eq!(judged(&sent(52, PEER, GROUP, 254)), Err(Some(Reject::Ttl)));
    assert_eq!(judged(&sent(53, PEER, ipv4::VRRP_GROUP, 255)), Ok(PEER.into()));
}

#[test]
fn unicast_is_ignored_unless_a_router_has_peers() {
    let ours = ours(Version::V3, Family::Ipv4);
    assert_eq!(classify(&sent(51, PEER, US, 255)[..], &ours), Classified::NotVrrp);
}
