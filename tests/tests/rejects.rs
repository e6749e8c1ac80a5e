//! Invalid adverts: each is counted under its reason, and has no other effect.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::Value;
use vrrpd_lab::usual::{ADDRESS, CIDR, INTERVAL, SOON, VRID};
use vrrpd_lab::{AdvertFrame, Capture, Host, Injector, Lab, Vrrpd, wait_until};

/// Sends the frame three times to a master that would yield if it accepted it.
fn assert_rejected(router: &Vrrpd, from: &Host, reason: &str, frame: &AdvertFrame) {
    let before = router.counter(&format!("rejected/{reason}"));
    let injector = Injector::on(from);
    for _ in 0..3 {
        injector.send(&frame.build());
    }
    wait_until(SOON, &format!("three more are counted under {reason}"), || {
        router.counter(&format!("rejected/{reason}")) == before + 3
    });
    let state = router.state();
    assert_eq!(state["state"], "master", "{reason}: it stays master");
    let rejected = state["counters"]["rejected"].as_object().expect("counters by reason");
    let others: Vec<_> = rejected.iter().filter(|(name, count)| *name != reason && **count != 0).collect();
    assert!(others.is_empty(), "{reason} is also counted under {others:?}");
    assert_eq!(state["counters"]["adverts_received"], 0, "{reason} is no advert received");
}

/// A master of version 3, and an invalid advert of another machine that would displace it.
fn version_3(spoil: impl FnOnce(&Host, &mut AdvertFrame), reason: &str) {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let mut frame = AdvertFrame::v3(client.ipv4().into(), VRID, 200, INTERVAL, &[ADDRESS.into()]);
    spoil(&a, &mut frame);
    assert_rejected(&router, &client, reason, &frame);
}

/// The same with version 2, with an owner, which is master at once.
fn version_2(spoil: impl FnOnce(&mut AdvertFrame), reason: &str) {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::on(&a).vrid(VRID).priority(255).address(CIDR).start();
    router.wait_state("master", SOON);
    let mut frame = AdvertFrame::v2(Ipv4Addr::new(10, 0, 0, 250), VRID, 255, 1, &[ADDRESS]);
    spoil(&mut frame);
    assert_rejected(&router, &client, reason, &frame);
}

#[test]
fn the_adverts_of_these_tests_would_be_believed_if_they_were_not_spoiled() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let version_3 = Vrrpd::usual(&a, 100).start();
    version_3.wait_state("master", SOON);
    let frame = AdvertFrame::v3(client.ipv4().into(), VRID, 200, INTERVAL, &[ADDRESS.into()]);
    Injector::on(&client).send(&frame.build());
    wait_until(SOON, "it is received", || version_3.counter("adverts_received") == 1);

    let version_2 = Vrrpd::on(&b).vrid(52).priority(255).address("10.0.0.102").start();
    version_2.wait_state("master", SOON);
    let frame = AdvertFrame::v2(Ipv4Addr::new(10, 0, 0, 250), 52, 255, 1, &[Ipv4Addr::new(10, 0, 0, 102)]);
    Injector::on(&client).send(&frame.build());
    version_2.wait_state("backup", SOON);
}

#[test]
fn ttl_below_255_is_rejected() {
    version_3(|_, frame| frame.ttl = 254, "ttl");
}

#[test]
fn wrong_checksum_is_rejected() {
    version_3(|_, frame| frame.checksum_flip = 0x0100, "checksum");
    version_2(|frame| frame.checksum_flip = 1, "checksum");
}

#[test]
fn other_version_is_rejected() {
    version_3(
        |_, frame| *frame = AdvertFrame::v2(Ipv4Addr::new(10, 0, 0, 250), VRID, 200, 1, &[ADDRESS]),
        "version",
    );
    version_2(
        |frame| *frame = AdvertFrame::v3(frame.source, VRID, 255, INTERVAL, &[ADDRESS.into()]),
        "version",
    );
}

#[test]
fn other_type_is_rejected() {
    version_3(|_, frame| frame.kind = 2, "type");
}

#[test]
fn message_shorter_than_its_address_count_is_rejected() {
    version_3(|_, frame| frame.count = Some(3), "truncated");
    // RFC 2338 §5.1: the authentication data belongs to the message.
    version_2(|frame| frame.auth_data = None, "truncated");
}

#[test]
fn padding_is_no_part_of_the_message() {
    version_3(
        |_, frame| {
            frame.count = Some(3);
            frame.padding = 30;
        },
        "truncated",
    );
}

#[test]
fn authentication_that_was_not_agreed_on_is_rejected() {
    version_2(|frame| *frame = frame.clone().with_password("secret"), "auth");
    version_2(|frame| frame.interval[0] = 2, "auth");
}

#[test]
fn interval_of_zero_is_rejected_and_in_version_2_any_other_than_ours() {
    version_3(|_, frame| frame.interval = [0, 0], "interval");
    version_2(|frame| frame.interval[1] = 2, "interval");
}

#[test]
fn message_without_addresses_is_rejected() {
    version_3(|_, frame| frame.addresses.clear(), "address_count");
}

#[test]
fn fragment_is_rejected() {
    const MORE_FRAGMENTS: u16 = 0x2000;
    version_3(|_, frame| frame.fragment = MORE_FRAGMENTS, "fragment");
}

#[test]
fn advert_from_our_own_address_is_rejected() {
    version_3(|a, frame| frame.source = a.ipv4().into(), "loopback");
}

#[test]
fn advert_from_an_address_that_no_other_router_can_have_is_rejected() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let right = AdvertFrame::v3(client.ipv4().into(), VRID, 200, INTERVAL, &[ADDRESS.into()]);
    let broadcast = Ipv4Addr::new(10, 0, 0, 255);
    for source in ["0.0.0.0", "255.255.255.255", "224.0.0.18", "240.0.0.1", "127.0.0.1"]
        .map(|source| source.parse().expect("an address"))
        .into_iter()
        .chain([broadcast, ADDRESS])
    {
        assert_rejected(&router, &client, "source", &AdvertFrame { source: source.into(), ..right.clone() });
    }

    // The owner of an address sends from it.
    let owner = AdvertFrame { source: ADDRESS.into(), priority: 255, ..right };
    Injector::on(&client).send(&owner.build());
    router.wait_state("backup", SOON);
}

#[test]
fn ipv6_advert_from_an_address_that_no_other_router_can_have_is_rejected() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::on(&a).vrid(VRID).address("fe80::33/64").v3("100ms").start();
    router.wait_state("master", SOON);
    let address: IpAddr = "fe80::33".parse().expect("an address");
    for source in ["::", "::1", "ff02::12", "fe80::33"] {
        let source = source.parse().expect("an address");
        assert_rejected(
            &router,
            &client,
            "source",
            &AdvertFrame::v3(source, VRID, 200, INTERVAL, &[address]),
        );
    }
}

#[test]
fn frame_to_another_mac_address_is_ignored_and_passed_on() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let (injector, capture) = (Injector::on(&client), Capture::on(&a));
    let advert = AdvertFrame::v3(client.ipv4().into(), VRID, 50, INTERVAL, &[ADDRESS.into()]);
    let to = |mac| AdvertFrame { destination_mac: Some(mac), ..advert.clone() }.build();
    let before = router.state()["counters"]["rejected"].clone();
    // The last two are of a guest behind a bridge, for example: a valid and an invalid one.
    let guest = [0x02, 0, 0, 0, 0, 0x42];
    let damaged = AdvertFrame { ttl: 1, destination_mac: Some(guest), ..advert.clone() }.build();
    for frame in [to(guest), damaged] {
        injector.send(&frame);
        wait_until(SOON, "it reaches what is behind the data path", || {
            capture.frames().iter().any(|seen| seen.frame.starts_with(&frame))
        });
    }
    assert_eq!(router.state()["counters"]["rejected"], before);
    assert_eq!(router.counter("adverts_received"), 0);

    // An advert to our own MAC address is valid: switches may convert multicast to unicast.
    injector.send(&to(a.mac("eth0")));
    wait_until(SOON, "it is received", || router.counter("adverts_received") == 1);
}

#[test]
fn advert_for_another_router_is_not_ours() {
    version_3(|_, frame| frame.vrid = VRID + 1, "not_ours");
}

#[test]
fn the_daemon_survives_a_flood_of_garbage() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let injector = Injector::on(&client);
    let right = AdvertFrame::v3(client.ipv4().into(), VRID, 50, INTERVAL, &[ADDRESS.into()]).build();
    // Every octet of the packet with every bit flipped and set to 255, and the frame truncated at every length.
    for at in 14..right.len() {
        for value in [!right[at], 255] {
            let mut frame = right.clone();
            frame[at] = value;
            injector.send(&frame);
        }
        injector.send(&right[..at]);
    }
    let sent = router.counter("adverts_sent");
    wait_until(SOON, "it goes on advertising", || router.counter("adverts_sent") > sent + 5);
    assert!(router.is_master());
    let state = router.state();
    let rejected = state["counters"]["rejected"].as_object().expect("counters by reason");
    let sum: u64 = rejected.values().filter_map(Value::as_u64).sum();
    assert!(sum > 20, "they were seen: {rejected:?}");
}

#[test]
fn rejected_adverts_do_not_fill_the_log() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let mut frame = AdvertFrame::v3(client.ipv4().into(), VRID, 200, INTERVAL, &[ADDRESS.into()]);
    frame.ttl = 1;
    let (injector, lines) = (Injector::on(&client), router.log().len());
    let start = std::time::Instant::now();
    for _ in 0..500 {
        injector.send(&frame.build());
    }
    wait_until(SOON, "all are counted", || router.counter("rejected/ttl") == 500);
    // The daemon or the BPF program has rejected them.
    router.wait_log(SOON, "rejected");
    let allowed = start.elapsed().as_secs() + 2;
    let log = router.log();
    let written = u64::try_from(log.len() - lines).expect("few lines");
    assert!((1..=allowed).contains(&written), "{written} lines in {:?}", Duration::from_secs(allowed));
    let said = log.iter().filter(|line| line.contains("check=\"ttl\"")).count();
    assert_eq!(said, usize::try_from(written).expect("few lines"));
}

#[test]
fn a_trailer_may_be_in_the_checksum_of_a_message() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let ipv4 = Vrrpd::usual(&a, 100).start();
    let ipv6 = Vrrpd::on(&b).vrid(VRID).address("fe80::33/64").v3("100ms").start();
    for (router, source, address) in [
        (&ipv4, client.ipv4().into(), ADDRESS.into()),
        (&ipv6, client.link_local("eth0").into(), "fe80::33".parse().expect("an address")),
    ] {
        router.wait_state("master", SOON);
        let advert = AdvertFrame::v3(source, VRID, 50, INTERVAL, &[address]);
        // As keepalived 2.4 signs its adverts, over IPv4 and over IPv6.
        for trailer_summed in [false, true] {
            let before = router.counter("adverts_received");
            let signed = AdvertFrame { trailer: vec![0x5a; 28], trailer_summed, ..advert.clone() };
            Injector::on(&client).send(&signed.build());
            wait_until(SOON, "it is received", || router.counter("adverts_received") == before + 1);
        }
        assert_eq!(router.counter("rejected/checksum"), 0);
    }
}

/// The mismatch in the state, once there is one of this kind; it is logged once.
fn wait_mismatch(router: &Vrrpd, check: &str) -> Value {
    let mismatch = || router.state()["mismatch"].clone();
    wait_until(SOON, &format!("{check} is in the state"), || mismatch()["check"] == check);
    let said = format!("configuration mismatch with another router router=eth0/51 check=\"{check}\"");
    router.wait_log(SOON, &said);
    router.assert_in_log(&said, 1);
    mismatch()
}

#[test]
fn state_and_log_name_the_mismatching_router_and_what_to_set() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::on(&a).vrid(VRID).priority(255).address(CIDR).start();
    router.wait_state("master", SOON);
    assert_eq!(router.state()["mismatch"], Value::Null);
    let right = AdvertFrame::v2(client.ipv4(), VRID, 200, 1, &[ADDRESS]);
    let slower = AdvertFrame { interval: [0, 2], ..right.clone() };
    let other_version = AdvertFrame::v3(right.source, VRID, 200, INTERVAL, &[ADDRESS.into()]);
    let damaged = AdvertFrame { checksum_flip: 0x0100, ..right.clone() };
    for (check, frame, theirs, ours, advice) in [
        ("interval", slower, "interval 2 s", "interval 1 s", "--accept-interval-mismatch"),
        ("version", other_version, "version 3", "version 2", "--protocol v3"),
        (
            "auth",
            right.clone().with_password("hush"),
            "simple text authentication",
            "no authentication",
            "same -a on all routers",
        ),
        ("checksum", damaged, "checksum 0x", "checksum 0x", "damages frames"),
    ] {
        let injector = Injector::on(&client);
        for _ in 0..5 {
            injector.send(&frame.build());
        }
        let mismatch = wait_mismatch(&router, check);
        assert_eq!(mismatch["source"], client.ipv4().to_string());
        for (key, part) in [("theirs", theirs), ("ours", ours), ("advice", advice)] {
            assert!(mismatch[key].as_str().is_some_and(|text| text.contains(part)), "{key}: {mismatch}");
        }
        let shown = router.atropos(&["--state"]).stdout;
        let line = shown.lines().find(|line| line.starts_with("  mismatch"));
        assert!(line.is_some_and(|line| line.contains(advice)), "{shown}");
    }
    assert!(!router.log().join("\n").contains("hush"), "no secret is in the log");
}

#[test]
fn state_and_log_say_that_another_cluster_uses_the_vrid() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let foreign = Ipv4Addr::new(10, 0, 0, 150);
    let advert = AdvertFrame::v3(client.ipv4().into(), VRID, 200, INTERVAL, &[foreign.into()]);
    Injector::on(&client).send(&advert.build());
    let mismatch = wait_mismatch(&router, "addresses");
    assert_eq!(
        (&mismatch["source"], &mismatch["ours"]),
        (&client.ipv4().to_string().into(), &ADDRESS.to_string().into())
    );
    let advice = mismatch["advice"].as_str().expect("words");
    assert!(advice.contains("another cluster uses VRID 51"), "{mismatch}");
    if router.state()["datapath"] == "raw" {
        assert_eq!(mismatch["theirs"], foreign.to_string());
    }
}
