//! Frames on the wire.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vrrpd_lab::frame::{MULTICAST_MAC_V4, MULTICAST_MAC_V6, MULTICAST_V4, MULTICAST_V6};
use vrrpd_lab::usual::{ADDRESS, INTERVAL, SOON};
use vrrpd_lab::{AdvertFrame, Capture, Injector, Lab, Vrrpd, wait_until};

/// DSCP CS6, network control, in the upper six bits of the octet.
const CS6: u8 = 0xc0;

#[test]
fn version_3_advert_over_ipv4_is_as_the_rfc_says() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let capture = Capture::on(&client);
    let _router = Vrrpd::usual(&a, 150).start();
    let (_, advert) = capture.wait_advert(SOON, "an advert", |_| true);
    assert_eq!((advert.destination_mac, advert.destination), (MULTICAST_MAC_V4, MULTICAST_V4.into()));
    assert_eq!((advert.source_mac, advert.source), (a.mac("eth0"), a.ipv4().into()));
    assert_eq!((advert.ttl, advert.traffic_class), (255, CS6));
    assert_eq!((advert.version, advert.kind, advert.vrid, advert.priority), (3, 1, 51, 150));
    assert_eq!((advert.interval, advert.checksum_is_right), (INTERVAL, true));
    assert_eq!(advert.addresses, [IpAddr::V4(ADDRESS)]);
}

#[test]
fn version_3_advert_over_ipv6_is_as_the_rfc_says() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    // Read before the virtual address is added, which is link-local as well.
    let own = a.link_local("eth0");
    let capture = Capture::on(&client);
    let _router = Vrrpd::on(&a).vrid(7).address("fe80::7/64").address("2001:db8::7/64").v3("100ms").start();
    let (_, advert) = capture.wait_advert(SOON, "an advert", |_| true);
    assert_eq!((advert.destination_mac, advert.destination), (MULTICAST_MAC_V6, MULTICAST_V6.into()));
    assert_eq!(advert.source, own);
    assert_eq!((advert.ttl, advert.traffic_class), (255, CS6));
    assert_eq!((advert.version, advert.kind, advert.vrid, advert.priority), (3, 1, 7, 100));
    assert_eq!((advert.interval, advert.checksum_is_right), (INTERVAL, true));
    assert_eq!(advert.addresses.len(), 2);
}

#[test]
fn version_2_is_the_default_for_ipv4_and_as_the_rfc_says() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let capture = Capture::on(&client);
    let router = Vrrpd::on(&a).vrid(51).priority(255).address("10.0.0.100/24").start();
    let (_, advert) = capture.wait_advert(SOON, "an advert", |_| true);
    assert_eq!((advert.ttl, advert.traffic_class), (255, CS6));
    assert_eq!((advert.version, advert.kind, advert.vrid, advert.priority), (2, 1, 51, 255));
    assert_eq!((advert.interval, advert.checksum_is_right), (Duration::from_secs(1), true));
    // RFC 2338 §5.1: the authentication data is present for every type.
    assert_eq!((advert.auth_type, advert.auth_data), (0, Some([0; 8])));
    assert_eq!(router.state()["protocol"], 2);
}

#[test]
fn adverts_come_before_the_announcements_and_each_address_is_announced() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let capture = Capture::on(&client);
    let addresses: Vec<IpAddr> = (1..=80).map(|host| Ipv4Addr::new(10, 0, 1, host).into()).collect();
    let builder = Vrrpd::on(&a).vrid(51).v3("100ms");
    let router =
        addresses.iter().fold(builder, |router, address| router.address(&address.to_string())).start();
    router.wait_state("master", SOON);
    wait_until(SOON, "every address is announced", || {
        let announced = capture.announcements();
        addresses.iter().all(|address| announced.iter().any(|(_, seen)| seen == address))
    });
    let first_announcement = capture.announcements()[0].0;
    let adverts = capture.adverts();
    assert!(adverts[0].0 < first_announcement, "the peers are told first");
    assert_eq!(adverts[0].1.addresses, addresses);

    // Many addresses do not delay the next adverts.
    wait_until(SOON, "five adverts", || capture.adverts().len() >= 5);
    let adverts = capture.adverts();
    let longest = adverts.windows(2).map(|pair| pair[1].0 - pair[0].0).max();
    assert!(longest < Some(INTERVAL * 2), "{longest:?} between two adverts");
    assert!(router.counter("garp_sent") >= 80);
}

#[test]
fn master_answers_a_lower_advert_at_once_with_an_advert_and_announces_again() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    // With such a long interval that no periodic advert is due.
    let router = Vrrpd::on(&a).vrid(51).priority(255).address("10.0.0.100/24").v3("20s").start();
    router.wait_state("master", SOON);
    // The announcement is repeated some time after the election, together with one for a lower advert in between.
    let capture = Capture::on(&client);
    let lower = AdvertFrame::v3(client.ipv4().into(), 51, 100, Duration::from_secs(20), &[ADDRESS.into()]);
    Injector::on(&client).send(&lower.build());
    // RFC 9568 §6.4.3
    capture.wait_advert(SOON, "it advertises at once", |advert| advert.priority == 255);
    wait_until(SOON * 2, "it announces the address", || !capture.announcements().is_empty());
}

/// Times of the announcements of an address, in milliseconds after the first of all.
fn announced(capture: &Capture, address: IpAddr) -> Vec<u128> {
    let announcements = capture.announcements();
    let Some((start, _)) = announcements.first() else { return Vec::new() };
    let of_address = announcements.iter().filter(|(_, seen)| *seen == address);
    of_address.map(|(at, _)| (*at - *start).as_millis()).collect()
}

/// Number of announcements at each time; those within a tenth of a second count as one time.
fn bursts(times: &[u128]) -> Vec<(u128, usize)> {
    let mut bursts: Vec<(u128, usize)> = Vec::new();
    for time in times {
        match bursts.last_mut() {
            Some((first, count)) if time - *first < 100 => *count += 1,
            _ => bursts.push((*time, 1)),
        }
    }
    bursts
}

#[test]
fn addresses_are_announced_as_often_as_the_occasion_wants_and_with_the_pauses_that_are_set() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let capture = Capture::on(&client);
    let schedule = "--garp-count 2 --garp-delay 700ms --garp-interval 1500ms --garp-refresh-count 3 \
                    --garp-lower-count 4 --garp-lower-delay 400ms";
    let router = Vrrpd::usual(&a, 255).args(schedule.split_whitespace()).start();
    let times = |count: usize| {
        wait_until(SOON * 2, "announcements", || announced(&capture, ADDRESS.into()).len() >= count);
        bursts(&announced(&capture, ADDRESS.into()))
    };
    // On becoming master, after the delay, and then periodically.
    times(7);
    let third_burst = capture.announcements()[6].0;
    wait_until(SOON, "some adverts later", || {
        capture.adverts().last().is_some_and(|(at, _)| *at - third_burst > Duration::from_millis(300))
    });
    let lower = AdvertFrame::v3(client.ipv4().into(), 51, 100, INTERVAL, &[ADDRESS.into()]);
    Injector::on(&client).send(&lower.build());
    let seen = times(7 + 4 + 4 + 3);
    let counts: Vec<_> = seen.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [2, 2, 3, 4, 4, 3], "{seen:?}");
    for (index, wanted) in [(1, 700), (2, 1500), (5, 3000)] {
        // The first one waits for the addresses.
        assert!((wanted - 200..wanted + 300).contains(&seen[index].0), "{seen:?}");
    }
    let between = seen[4].0 - seen[3].0;
    assert!((300..700).contains(&between), "{seen:?}");
    assert_eq!(router.counter("garp_sent"), 18);
    drop(router);

    // Of both families, which do not wait for each other.
    let capture = Capture::on(&client);
    let others = ["10.0.0.102/24", "--extra-address", "2001:db8::1/64", "--extra-address", "2001:db8::2/64"];
    let pauses = "--garp-count 2 --garp-delay 0 --garp-pause 150ms --na-pause 250ms";
    let _router = Vrrpd::usual(&b, 255).args(others).args(pauses.split_whitespace()).start();
    for (first, second, pause) in [
        (IpAddr::V4(ADDRESS), "10.0.0.102".parse().expect("an address"), 150),
        ("2001:db8::1".parse().expect("an address"), "2001:db8::2".parse().expect("an address"), 250),
    ] {
        wait_until(SOON, "all announcements", || announced(&capture, second).len() == 2);
        let mut times = announced(&capture, first);
        times.extend(announced(&capture, second));
        times.sort_unstable();
        assert_eq!(times.len(), 4, "{times:?}");
        let between: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(between.iter().all(|span| (pause - 20..pause + 200).contains(span)), "{between:?}");
        assert!(announced(&capture, first)[1] < times[3], "one round follows the other");
    }
}

#[test]
fn backup_announces_nothing() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).start();
    master.wait_state("master", SOON);
    let capture = Capture::on(&client);
    let backup = Vrrpd::usual(&b, 100).start();
    wait_until(SOON, "ten adverts", || capture.adverts().len() >= 10);
    assert_eq!(backup.state()["state"], "backup");
    assert_eq!((backup.counter("adverts_sent"), backup.counter("garp_sent")), (0, 0));
    assert!(capture.adverts().iter().all(|(_, advert)| advert.source == a.ipv4()));
}
