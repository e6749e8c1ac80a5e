//! Frames with different results: both sides of each limit.

mod message;

use std::net::Ipv4Addr;

use super::{
    Case, DISTANT_V4, FAR_OFF, FOREIGN, OLD_MAC, OWN_MAC, OWN_V4, OWN_V6, PASSWORD, PEER_V4, PEER_V6, TAGGED,
    V2_PEERS, V2_STRICT, V3, V3_PEERS, V6, V6_PEERS, VLAN, address, address_v6, distant, ip_header,
    most_ipv6_addresses, repair_header, right_ones, tagged, unicast, v2, v2_password, v2_strict, v3, v6,
    v6_strict, with_options,
};
use crate::AdvertFrame;

/// The frames.
pub fn cases() -> Vec<Case> {
    let mut cases = Cases(Vec::new());
    cases.right();
    cases.others();
    cases.unicast();
    cases.ip_header();
    cases.message();
    cases.content();
    cases.source();
    cases.addresses();
    cases.0
}

/// This many octets after a message, each different from the next.
fn trailer(octets: u16) -> Vec<u8> {
    (0..octets).map(|octet| 0xa5 ^ octet.to_be_bytes()[1]).collect()
}

struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: impl Into<String>, outcome: &'static str, frame: Vec<u8>) {
        self.0.push(Case { name: name.into(), outcome, frame });
    }

    /// The advert with a change.
    fn change(
        &mut self,
        name: impl Into<String>,
        outcome: &'static str,
        mut advert: AdvertFrame,
        change: impl FnOnce(&mut AdvertFrame),
    ) {
        change(&mut advert);
        self.add(name, outcome, advert.build());
    }

    /// The octets with a change, and a correct IPv4 header.
    fn patch(
        &mut self,
        name: impl Into<String>,
        outcome: &'static str,
        advert: &AdvertFrame,
        change: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut frame = advert.build();
        change(&mut frame);
        repair_header(&mut frame);
        self.add(name, outcome, frame);
    }

    /// Valid adverts, up to their limits.
    fn right(&mut self) {
        for (name, frame) in right_ones() {
            for padding in [0, 1, 2, 3, 4, 18, 26, 64] {
                for octet in [0x00, 0xff] {
                    let mut padded = frame.clone();
                    padded.resize(frame.len() + padding, octet);
                    self.add(format!("{name}, {padding} octets {octet:#x} of padding"), "advert", padded);
                }
            }
        }
        for count in [1_u16, 2, 20, 254, 255] {
            let addresses: Vec<_> = (0..count).map(address).collect();
            for advert in [v3(V3), v2_password()] {
                self.change(format!("{count} addresses"), "advert", advert, |advert| {
                    advert.addresses.clone_from(&addresses);
                });
            }
        }
        for count in [1, 2, 20, most_ipv6_addresses()] {
            self.change(format!("{count} IPv6 addresses"), "advert", v6(V6), |advert| {
                advert.addresses = (0..count).map(address_v6).collect();
            });
        }
        for words in 0..=10 {
            self.add(format!("IHL {}", 5 + words), "advert", with_options(&v3(V3).build(), words));
            self.add(format!("IHL {}", 5 + words), "advert", with_options(&v2_strict().build(), words));
            let many = AdvertFrame { addresses: (0..255).map(address).collect(), ..v3(V3) };
            self.add(format!("IHL {}, 255", 5 + words), "advert", with_options(&many.build(), words));
        }
        for priority in [0, 1, 99, 100, 101, 149, 150, 151, 254, 255] {
            for advert in [v3(V3), v3(FAR_OFF), v2_password(), v2_strict(), v6(V6), v6_strict()] {
                self.change(format!("priority {priority}"), "advert", advert, |a| a.priority = priority);
            }
            // The same from an address above ours.
            for advert in [v3(V3), v3(FAR_OFF), v2_strict()] {
                self.change(format!("priority {priority}"), "advert", advert, |advert| {
                    advert.priority = priority;
                    advert.source = Ipv4Addr::new(192, 0, 2, 200).into();
                });
            }
        }
        for octets in [[0, 1], [0x0f, 0xff], [0xf0, 1], [0xff, 0xff], [0, 100]] {
            for advert in [v3(V3), v6(V6)] {
                self.change(format!("interval {octets:?}"), "advert", advert, |a| a.interval = octets);
            }
        }
        for extra in [1, 2, 3, 4, 8, 16, 100] {
            for advert in [v3(V3), v2_password(), v6(V6)] {
                self.patch(format!("{extra} octets in the packet too many"), "advert", &advert, |frame| {
                    let ip = ip_header(frame).expect("an IP packet");
                    let low = if frame[ip] >> 4 == 4 { ip + 3 } else { ip + 5 };
                    frame[low] += extra;
                    frame.resize(frame.len() + usize::from(extra), 0xab);
                });
            }
        }
        // draft-cassen-vrrp-auth-hmac uses 28 octets; other numbers are possible.
        for octets in [1, 2, 3, 4, 27, 28, 29, 255, 256] {
            for advert in [v3(V3), v2_password(), v2_strict(), v6(V6), v6_strict()] {
                for (summed, pseudo_header) in [(false, true), (true, true), (true, false)] {
                    let name = format!("{octets} octets behind the message, summed: {summed}");
                    self.change(name, "advert", advert.clone(), |advert| {
                        advert.trailer = trailer(octets);
                        (advert.trailer_summed, advert.pseudo_header) = (summed, pseudo_header);
                    });
                }
            }
        }
        for advert in [v3(V3), v2_password(), v6(V6)] {
            self.change("more octets behind the message than it may sum", "advert", advert, |advert| {
                advert.trailer = trailer(257);
            });
        }
        self.patch("don't fragment", "advert", &v3(V3), |frame| frame[20] = 0x40);
        self.patch("the reserved flag", "advert", &v3(V3), |frame| frame[20] = 0x80);
        self.patch("another type of service", "advert", &v3(V3), |frame| frame[15] = 0);
    }

    /// Frames that are not for us.
    fn others(&mut self) {
        for length in [14, 15, 17, 18, 33, 34, 60] {
            self.add(format!("{length} octets of zero"), "not vrrp", vec![0; length]);
        }
        let mut arp = AdvertFrame { padding: 40, ..v3(V3) }.build();
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        self.add("ARP", "not vrrp", arp);
        // IEEE 802.3 §3.2.3; for example the frame of a guest behind us.
        for (name, mac, outcome) in [
            ("to our MAC address", OWN_MAC, "advert"),
            ("to our former MAC address", OLD_MAC, "advert"),
            ("to all stations", [0xff; 6], "advert"),
            ("to another MAC address", [0x02, 0, 0, 0, 0, 0x01], "not vrrp"),
            ("to a virtual router's MAC address", [0, 0, 0x5e, 0, 1, V3], "not vrrp"),
            ("to no MAC address", [0; 6], "not vrrp"),
        ] {
            for advert in [v3(V3), v2_password(), v6(V6)] {
                self.change(name, outcome, advert, |advert| advert.destination_mac = Some(mac));
            }
        }
        self.change("damaged, to another MAC address", "not vrrp", v3(V3), |advert| {
            advert.destination_mac = Some([0x02, 0, 0, 0, 0, 0x01]);
            (advert.ttl, advert.fragment, advert.checksum_flip) = (1, 0x2000, 1);
        });
        for (name, protocol) in [("TCP", 6), ("UDP", 17), ("IGMP", 2), ("AH", 51), ("ICMPv6", 58)] {
            self.patch(name, "not vrrp", &v3(V3), |frame| frame[14 + 9] = protocol);
            self.patch(name, "not vrrp", &v6(V6), |frame| frame[14 + 6] = protocol);
        }
        self.patch("to all hosts", "not vrrp", &v3(V3), |frame| frame[14 + 19] = 1);
        self.patch("to all nodes", "not vrrp", &v6(V6), |frame| frame[14 + 39] = 1);
        self.patch("to one host", "not vrrp", &v3(V3), |frame| {
            frame[14 + 16..14 + 20].copy_from_slice(&OWN_V4.octets());
        });
        self.patch("version 5 of IP", "not vrrp", &v3(V3), |frame| frame[14] = 0x55);
        self.patch("version 6 in an IPv4 frame", "not vrrp", &v3(V3), |frame| frame[14] = 0x65);
        self.patch("version 4 in an IPv6 frame", "not vrrp", &v6(V6), |frame| frame[14] = 0x4c);
        for next in [0, 43, 44, 60] {
            // Eight octets of extension header: next header VRRP, length 0, padding.
            self.patch(format!("extension header {next}"), "not vrrp", &v6(V6), |frame| {
                frame[14 + 6] = next;
                frame[14 + 5] += 8;
                frame.splice(54..54, [112, 0, 1, 4, 0, 0, 0, 0]);
            });
        }

        for vrid in [0, FOREIGN, V3 - 1, 254] {
            for advert in [v3(vrid), v2(vrid), v6(vrid)] {
                self.add(format!("VRID {vrid}"), "stray: not_ours", advert.build());
            }
        }
        self.add("ours over the other family", "stray: not_ours", v6(V2_STRICT).build());
        self.change("damaged, for somebody else", "stray: not_ours", v3(FOREIGN), |advert| {
            advert.ttl = 1;
            advert.checksum_flip = 1;
        });

        let plain = v3(V3).build();
        for protocol in [0x8100, 0x88a8] {
            self.add("a tag for priority only", "advert", tagged(&plain, protocol, 0));
            self.add("a tag for priority only", "advert", tagged(&v6(V6).build(), protocol, 0));
            for id in [1, VLAN, VLAN + 1, 4094] {
                self.add(format!("in VLAN {id}"), "stray: not_ours", tagged(&plain, protocol, id));
                let v6 = v6(V6).build();
                self.add(format!("in VLAN {id}"), "stray: not_ours", tagged(&v6, protocol, id));
            }
            self.add("in VLAN 4095", "not vrrp", tagged(&plain, protocol, 4095));
            let inner = tagged(&plain, 0x8100, VLAN);
            self.add("two tags", "not vrrp", tagged(&inner, protocol, VLAN));
            self.add("two tags", "not vrrp", tagged(&tagged(&plain, 0x8100, 0), protocol, 0));
            self.add("ours in its VLAN", "advert", tagged(&v3(TAGGED).build(), protocol, VLAN));
            self.add("ours in another VLAN", "stray: not_ours", tagged(&v3(TAGGED).build(), protocol, 99));
        }
        self.add("ours without its VLAN", "stray: not_ours", v3(TAGGED).build());
    }

    /// To one host.
    fn unicast(&mut self) {
        let v2 = || v2(V2_PEERS).with_password(PASSWORD);
        for (name, advert) in [("IPv4", v3(V3_PEERS)), ("version 2", v2()), ("IPv6", v6(V6_PEERS))] {
            self.add(format!("{name}, multicast"), "discard: destination", advert.build());
            for mac in [OLD_MAC, [0xff; 6]] {
                self.change(format!("{name}, to {mac:x?}"), "advert", unicast(advert.clone()), |advert| {
                    advert.destination_mac = Some(mac);
                });
            }
            self.change(format!("{name}, to a guest"), "not vrrp", unicast(advert.clone()), |advert| {
                advert.destination_mac = Some([0x02, 0, 0, 0, 0, 0x01]);
            });
            self.change(format!("{name}, passing through"), "not vrrp", unicast(advert.clone()), |advert| {
                advert.destination = Some(advert.source);
            });
            self.change(format!("{name}, damaged"), "discard: checksum", unicast(advert.clone()), |advert| {
                advert.checksum_flip = 1;
            });
            self.change(format!("{name}, for others"), "stray: not_ours", unicast(advert), |advert| {
                advert.vrid = FOREIGN;
            });
        }
        for (source, outcome) in [
            (PEER_V4.into(), "advert"),
            (Ipv4Addr::new(192, 0, 2, 10).into(), "discard: peer"),
            (address(0), "discard: peer"),
            (OWN_V4.into(), "discard: peer"),
            (DISTANT_V4.into(), "advert"),
        ] {
            self.change(format!("unicast from {source}"), outcome, unicast(v3(V3_PEERS)), |advert| {
                advert.source = source;
            });
        }
        // A peer that owns the address may send from it.
        for (source, priority, outcome) in [
            (PEER_V6.into(), 200, "advert"),
            (address_v6(0), 200, "discard: source"),
            (address_v6(0), 255, "advert"),
            (address_v6(1), 255, "discard: peer"),
            (OWN_V6.into(), 255, "discard: peer"),
        ] {
            let name = format!("unicast from {source}, priority {priority}");
            self.change(name, outcome, unicast(v6(V6_PEERS)), |advert| {
                (advert.source, advert.priority) = (source, priority);
            });
        }
        for (ttl, near, far) in [
            (0, "discard: ttl", "discard: ttl"),
            (63, "discard: ttl", "discard: ttl"),
            (64, "discard: ttl", "advert"),
            (254, "discard: ttl", "advert"),
            (255, "advert", "advert"),
        ] {
            for (advert, outcome) in
                [(v3(V3_PEERS), near), (v6(V6_PEERS), near), (distant(), far), (v2(), "advert")]
            {
                self.change(format!("unicast, TTL {ttl}"), outcome, unicast(advert), |a| a.ttl = ttl);
            }
        }
        // To where routers here take unicast, but not these.
        for advert in [v3(V3), v2_strict(), v6(V6)] {
            self.add("unicast to a router without peers", "not vrrp", unicast(advert).build());
        }
        self.change("a fragment by unicast", "stray: fragment", unicast(v3(FOREIGN)), |a| a.fragment = 1);
        self.change("a fragment that passes through", "not vrrp", unicast(v3(V3_PEERS)), |advert| {
            (advert.fragment, advert.destination) = (1, Some(DISTANT_V4.into()));
        });
        self.patch("no message, by unicast", "stray: truncated", &unicast(v3(V3_PEERS)), |frame| {
            frame[17] = 20;
        });
        let tagged = tagged(&unicast(v3(V3_PEERS)).build(), 0x8100, VLAN);
        self.add("unicast in a VLAN", "stray: not_ours", tagged);
    }

    /// Errors in the IP header.
    fn ip_header(&mut self) {
        for words in 0..5 {
            self.patch(format!("IHL {words}"), "stray: truncated", &v3(V3), |frame| frame[14] = 0x40 | words);
        }
        for (name, fragment) in [
            ("a first fragment", 0x2000),
            ("a middle fragment", 0x2001),
            ("a last fragment", 0x0001),
            ("the last fragment of the longest packet", 0x1fff),
        ] {
            for advert in [v3(V3), v2_strict(), v3(FOREIGN)] {
                self.change(name, "stray: fragment", advert, |advert| advert.fragment = fragment);
            }
        }
        for ttl in [0, 1, 64, 254] {
            for advert in [v3(V3), v2_strict(), v6(V6)] {
                self.change(format!("TTL {ttl}"), "discard: ttl", advert, |advert| advert.ttl = ttl);
            }
        }
        for (ttl, outcome) in [(0, "discard: ttl"), (1, "discard: ttl"), (2, "advert"), (255, "advert")] {
            self.change(format!("TTL {ttl}, 2 is enough"), outcome, v3(FAR_OFF), |advert| advert.ttl = ttl);
        }
        for flip in [1, 0x80] {
            for place in [10, 11] {
                let mut frame = v3(V3).build();
                frame[14 + place] ^= flip;
                self.add("checksum of the header", "discard: checksum", frame);
                let mut frame = with_options(&v3(V3).build(), 1);
                frame[34] ^= flip;
                self.add("an octet of the options", "discard: checksum", frame);
            }
        }
    }
}
