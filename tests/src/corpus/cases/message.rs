//! Frames with right and wrong VRRP messages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Cases, trailer};
use crate::checksum;
use crate::corpus::{
    BROADCAST, FAR_OFF, OWN_V4, OWN_V6, PEER_V4, V3, V6, address, address_v6, v2_password, v2_strict, v3, v6,
    v6_strict,
};
use crate::frame::MULTICAST_V4;

impl Cases {
    /// Errors in the message.
    pub(super) fn message(&mut self) {
        for version in (0..16).filter(|version| *version != 3) {
            for advert in [v3(V3), v6(V6)] {
                self.change(format!("version {version}"), "discard: version", advert, |a| {
                    a.version = version;
                });
            }
        }
        for version in (0..16).filter(|version| *version != 2) {
            self.change(format!("version {version}"), "discard: version", v2_password(), |a| {
                a.version = version;
            });
        }
        for kind in (0..16).filter(|kind| *kind != 1) {
            for advert in [v3(V3), v2_password(), v6(V6)] {
                self.change(format!("type {kind}"), "discard: type", advert, |advert| advert.kind = kind);
            }
        }
        for advert in [v3(V3), v2_password(), v6(V6)] {
            self.change("no address", "discard: address_count", advert.clone(), |a| a.addresses.clear());
            self.change("a count of none", "discard: address_count", advert.clone(), |a| a.count = Some(0));
            self.change("a count of two for one", "discard: truncated", advert.clone(), |a| {
                a.count = Some(2);
            });
            self.change("a count of 255 for one", "discard: truncated", advert.clone(), |a| {
                a.count = Some(255);
            });
            self.change(
                "a count of two for one, and padding",
                "discard: truncated",
                advert.clone(),
                |advert| {
                    advert.count = Some(2);
                    advert.padding = 64;
                },
            );
            for flip in [1, 0x8000, 0xffff] {
                self.change("checksum", "discard: checksum", advert.clone(), |a| a.checksum_flip = flip);
            }
        }
        for advert in [v3(V3), v2_password(), v6(V6)] {
            self.change("a trailer, and a wrong checksum", "discard: checksum", advert.clone(), |advert| {
                (advert.trailer, advert.trailer_summed, advert.checksum_flip) = (trailer(28), true, 1);
            });
            self.change("too long a trailer in the checksum", "discard: checksum", advert, |advert| {
                (advert.trailer, advert.trailer_summed) = (trailer(257), true);
            });
        }
        // Octets after the first address may be a trailer.
        self.change("a count of one for two", "advert", v3(V3), |advert| {
            advert.addresses.push(address(1));
            advert.count = Some(1);
        });
        let mut frame = v6(V6).build();
        frame[60..62].copy_from_slice(&[0, 0]);
        let without = checksum::internet(&frame[54..]);
        frame[60..62].copy_from_slice(&without.to_be_bytes());
        self.add("no pseudo-header in IPv6", "discard: checksum", frame);
        let mut frame = v2_strict().build();
        let message = frame[34..].to_vec();
        frame[40..42].copy_from_slice(&[0, 0]);
        let peer = IpAddr::V4(PEER_V4);
        let mut covered = checksum::pseudo_header(peer, MULTICAST_V4.into(), message.len());
        covered.extend(&frame[34..]);
        frame[40..42].copy_from_slice(&checksum::internet(&covered).to_be_bytes());
        self.add("a pseudo-header in version 2", "discard: checksum", frame);
        self.patch("seven octets of message", "discard: truncated", &v3(V3), |frame| frame[17] = 27);
        self.patch("one octet of message", "stray: truncated", &v3(V3), |frame| frame[17] = 21);
        self.patch("no message", "stray: truncated", &v3(V3), |frame| frame[17] = 20);
        self.patch("less than a header", "stray: truncated", &v3(V3), |frame| frame[17] = 4);
        self.patch("seven octets of message", "discard: truncated", &v6(V6), |frame| frame[19] = 7);
        self.patch("one octet of message", "stray: truncated", &v6(V6), |frame| frame[19] = 1);
        self.patch("no message", "stray: truncated", &v6(V6), |frame| frame[19] = 0);
    }

    /// Well-formed but rejected.
    pub(super) fn content(&mut self) {
        for kind in [0, 2, 255] {
            self.change(format!("authentication {kind}"), "discard: auth", v2_password(), |a| {
                a.interval[0] = kind;
            });
        }
        for kind in [1, 2, 255] {
            self.change(format!("authentication {kind}"), "discard: auth", v2_strict(), |a| {
                a.interval[0] = kind;
            });
        }
        for password in ["", "secreT", "secret1", "12345678"] {
            let advert = v2_password().with_password(password);
            self.add(format!("password {password:?}"), "discard: auth", advert.build());
        }
        for place in 0..8 {
            self.change(format!("octet {place} of the password"), "discard: auth", v2_password(), |advert| {
                advert.auth_data.as_mut().expect("version 2")[place] ^= 1;
            });
        }
        self.change("data without authentication", "advert", v2_strict(), |advert| {
            advert.auth_data = Some(*b"anything");
        });

        for octets in [[0, 0], [0xf0, 0]] {
            for advert in [v3(V3), v6(V6)] {
                self.change("interval 0", "discard: interval", advert, |advert| advert.interval = octets);
            }
        }
        for seconds in [0, 2, 255] {
            self.change(format!("{seconds} s"), "discard: interval", v2_password(), |a| {
                a.interval[1] = seconds;
            });
        }
        self.change("0 s where any is taken", "discard: interval", v2_strict(), |a| a.interval[1] = 0);
        self.change("2 s where any is taken", "advert", v2_strict(), |advert| advert.interval[1] = 2);
        self.change("255 s where any is taken", "advert", v2_strict(), |advert| advert.interval[1] = 255);

        for advert in [v3(V3), v2_password(), v2_strict()] {
            self.change("our own", "discard: loopback", advert, |advert| advert.source = OWN_V4.into());
        }
        for advert in [v6(V6), v6_strict()] {
            self.change("our own", "discard: loopback", advert, |advert| advert.source = OWN_V6.into());
        }
    }

    /// Impossible sources.
    pub(super) fn source(&mut self) {
        // RFC 1122 §3.2.1.3, RFC 4291 §2.5.2, §2.5.3, §2.7
        for (source, outcome) in [
            ([0, 0, 0, 0], "discard: source"),
            ([0, 255, 255, 255], "discard: source"),
            ([1, 0, 0, 0], "advert"),
            ([126, 255, 255, 255], "advert"),
            ([127, 0, 0, 0], "discard: source"),
            ([127, 255, 255, 255], "discard: source"),
            ([128, 0, 0, 0], "advert"),
            ([223, 255, 255, 255], "advert"),
            ([224, 0, 0, 0], "discard: source"),
            ([224, 0, 0, 18], "discard: source"),
            ([240, 0, 0, 1], "discard: source"),
            ([255, 255, 255, 255], "discard: source"),
            ([192, 0, 2, 126], "advert"),
            (BROADCAST.octets(), "discard: source"),
            ([192, 0, 2, 128], "advert"),
        ] {
            let source = Ipv4Addr::from_octets(source);
            for advert in [v3(V3), v2_password(), v2_strict()] {
                for priority in [0, 1, 200, 255] {
                    let name = format!("from {source}, priority {priority}");
                    self.change(name, outcome, advert.clone(), |advert| {
                        (advert.source, advert.priority) = (source.into(), priority);
                    });
                }
            }
        }
        for (source, outcome) in [
            ("::", "discard: source"),
            ("::1", "discard: source"),
            ("::2", "advert"),
            ("fe80::12", "advert"),
            ("2001:db8::12", "advert"),
            ("feff:ffff::1", "advert"),
            ("ff00::", "discard: source"),
            ("ff02::12", "discard: source"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "discard: source"),
        ] {
            for advert in [v6(V6), v6_strict()] {
                self.change(format!("from {source}"), outcome, advert, |advert| {
                    advert.source = source.parse().expect("an address");
                });
            }
        }
        for (advert, [first, second, other]) in [
            (v3(V3), [0, 1, 2].map(address)),
            (v2_password(), [0, 1, 2].map(address)),
            (v6(V6), [0, 1, 2].map(address_v6)),
        ] {
            for (priority, outcome) in
                [(0, "advert"), (1, "discard: source"), (254, "discard: source"), (255, "advert")]
            {
                for source in [first, second] {
                    let name = format!("from a virtual address, priority {priority}");
                    self.change(name, outcome, advert.clone(), |advert| {
                        (advert.source, advert.priority) = (source, priority);
                    });
                }
                self.change("from nobody's virtual address", "advert", advert.clone(), |advert| {
                    (advert.source, advert.priority) = (other, priority);
                });
            }
        }
    }

    /// Rejected addresses.
    pub(super) fn addresses(&mut self) {
        let global = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        self.change("a global one first", "advert", v6(V6), |advert| advert.addresses = vec![global]);
        self.change("a global one second", "advert", v6(V6), |advert| advert.addresses.push(global));
        for (priority, padding) in [(0, 0), (200, 0), (200, 46)] {
            let name =
                format!("none, where none are taken, priority {priority}, {padding} octets of padding");
            self.change(name, "advert", v3(FAR_OFF), |advert| {
                (advert.priority, advert.padding) = (priority, padding);
                advert.addresses.clear();
            });
        }
        self.change(
            "a count of none with an address, where none are taken",
            "advert",
            v3(FAR_OFF),
            |advert| {
                advert.count = Some(0);
            },
        );
        for (name, addresses, outcome) in [
            ("ours in another order", vec![address(1), address(0)], "advert"),
            ("one of ours", vec![address(0)], "discard: address_list"),
            ("one of ours twice", vec![address(0), address(0)], "discard: address_list"),
            ("ours and one more", vec![address(0), address(1), address(2)], "discard: address_list"),
            ("others", vec![address(2), address(3)], "discard: address_list"),
        ] {
            self.change(name, outcome, v2_strict(), |advert| advert.addresses.clone_from(&addresses));
            self.change(format!("{name}, from the owner"), "advert", v2_strict(), |advert| {
                advert.addresses = addresses;
                advert.priority = 255;
            });
        }
        self.change("others", "discard: address_list", v6_strict(), |a| {
            a.addresses = vec![address_v6(0), global];
        });
        self.change("others of the owner", "advert", v6_strict(), |advert| {
            advert.addresses = vec![address_v6(0), global];
            advert.priority = 255;
        });
    }
}
