//! Version 2 in an IP Authentication Header. Interoperation with keepalived is in `keepalived`.

use std::time::Duration;

use vrrpd_lab::usual::{ADDRESS, CIDR, VRID};
use vrrpd_lab::{
    AdvertFrame, Authenticated, Capture, Datapath, Host, Injector, Instance, Keepalived, Lab, Seen, Vrrpd,
    VrrpdBuilder, wait_until,
};

/// The interval of version 2 is at least a second.
const PATIENCE: Duration = Duration::from_secs(15);
const KEY: &[u8] = b"sesame";
/// The same key in the syntax of `-a`.
const HEX: &str = "736573616d65";

fn router(host: &Host, priority: u8) -> VrrpdBuilder {
    Vrrpd::on(host).vrid(VRID).priority(priority).address(CIDR).ah(KEY)
}

fn keepalived(host: &Host, priority: u8) -> Keepalived {
    Keepalived::on(host).instance(Instance::v2(VRID, CIDR).priority(priority).ah("sesame")).start()
}

/// The captured adverts in the header, with their frames.
fn authenticated(capture: &Capture) -> Vec<(Seen, Authenticated)> {
    let frames = capture.frames().into_iter();
    frames.filter_map(|seen| Authenticated::read(&seen.frame, KEY).map(|advert| (seen, advert))).collect()
}

/// Waits for this many adverts in the header with this priority, and returns their frames.
fn record(capture: &Capture, priority: u8, count: usize) -> Vec<Vec<u8>> {
    let of_it = || {
        let seen = authenticated(capture).into_iter();
        let of_it = seen.filter(|(_, authenticated)| authenticated.advert.priority == priority);
        of_it.map(|(seen, _)| seen.frame).collect::<Vec<_>>()
    };
    wait_until(PATIENCE, "so many adverts in the header", || of_it().len() >= count);
    of_it()
}

#[test]
fn routers_with_the_same_key_elect_a_master_and_follow_each_other() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let capture = Capture::on(&client);
    let low = router(&a, 100).start();
    low.wait_state("master", PATIENCE);
    let high = router(&b, 150).start();
    high.wait_state("master", PATIENCE);
    low.wait_state("backup", PATIENCE);
    record(&capture, 150, 2);
    assert_eq!(high.terminate(), 0);
    let state = low.wait_state("master", PATIENCE);
    assert_eq!((&state["auth"], &state["reason"]), (&"ah".into(), &"master-resigned".into()));
    record(&capture, 100, 3);

    let adverts: Vec<_> = authenticated(&capture).into_iter().map(|(_, advert)| advert).collect();
    assert_eq!(adverts.len(), capture.frames().iter().filter(|seen| seen.frame[23] == 51).count());
    for Authenticated { spi, advert, .. } in &adverts {
        assert_eq!(advert.source, *spi, "as keepalived wants it");
        assert_eq!((advert.ttl, advert.traffic_class), (255, 0xc0));
        assert_eq!((advert.auth_type, advert.auth_data), (2, Some([0; 8])));
        assert!(advert.checksum_is_right);
    }
    assert!(adverts.is_sorted_by_key(|advert| advert.sequence), "one row of numbers, whoever sends");
    assert_eq!(low.counter("rejected/auth"), 0);
}

#[test]
fn unauthentic_adverts_are_discarded_and_counted_and_no_key_is_shown() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    // The owner is master at once.
    let router = router(&a, 255).start();
    router.wait_state("master", PATIENCE);
    let injector = Injector::on(&client);
    // From a higher address than its own, so that it would yield.
    let advert = AdvertFrame::v2(client.ipv4(), VRID, 255, 1, &[ADDRESS]);
    let mut damaged = advert.clone().build_authenticated(KEY, u32::MAX);
    damaged[60] ^= 1;
    let wrong = [
        damaged,
        advert.clone().build_authenticated(b"geheim", u32::MAX),
        // From before the owner's own adverts.
        advert.clone().build_authenticated(KEY, 1),
        advert.build(),
        advert.with_password("sesame").build(),
    ];
    for frame in &wrong {
        injector.send(frame);
    }
    wait_until(PATIENCE, "all are counted", || router.counter("rejected/auth") == 5);
    assert_eq!(router.counter("adverts_received"), 0);
    let state = router.wait_state("master", PATIENCE);
    assert_eq!(state["counters"]["transitions"], 1);
    for shown in [state.to_string(), router.log().join("\n")] {
        assert!(!shown.contains("sesame") && !shown.contains(HEX), "{shown}");
    }
}

#[test]
fn the_adverts_of_these_tests_would_be_believed_with_the_key_and_a_new_number() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = router(&a, 255).start();
    router.wait_state("master", PATIENCE);
    let advert = AdvertFrame::v2(client.ipv4(), VRID, 255, 1, &[ADDRESS]);
    Injector::on(&client).send(&advert.build_authenticated(KEY, u32::MAX));
    let state = router.wait_state("backup", PATIENCE);
    assert_eq!(state["master"]["address"], client.ipv4().to_string());
}

#[test]
fn another_key_does_not_hold_a_backup_down() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let one = router(&a, 150).start();
    let other = Vrrpd::on(&b).vrid(VRID).address(CIDR).ah(b"geheim").start();
    one.wait_state("master", PATIENCE);
    other.wait_state("master", PATIENCE);
    wait_until(PATIENCE, "each counts", || {
        one.counter("rejected/auth") > 0 && other.counter("rejected/auth") > 0
    });
}

#[test]
fn a_long_key_is_as_good_as_a_short_one() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let long = [0x5a; 64];
    let high = Vrrpd::on(&a).vrid(VRID).priority(150).address(CIDR).ah(&long).start();
    high.wait_state("master", PATIENCE);
    let low = Vrrpd::on(&b).vrid(VRID).address(CIDR).ah(&long).start();
    wait_until(PATIENCE, "it hears the master", || low.counter("adverts_received") > 1);
    assert_eq!(low.counter("rejected/auth"), 0);
}

#[test]
fn recorded_adverts_neither_replace_a_dead_master_nor_end_the_reign_of_the_next() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let capture = Capture::on(&client);
    let first = router(&a, 150).start();
    first.wait_state("master", PATIENCE);
    let backup = router(&b, 100).start();
    let recorded = record(&capture, 150, 5);
    first.kill();
    let injector = Injector::on(&client);
    let mut sent = 0;
    wait_until(PATIENCE, "it takes over while the dead master's adverts are repeated", || {
        for frame in &recorded {
            injector.send(frame);
        }
        sent += recorded.len();
        backup.is_master()
    });
    for frame in &recorded {
        injector.send(frame);
    }
    sent += recorded.len();
    wait_until(PATIENCE, "all are counted", || backup.counter("rejected/auth") == sent as u64);
    let state = backup.state();
    assert_eq!((&state["state"], &state["reason"]), (&"master".into(), &"master-down-timer".into()));
}

#[test]
fn a_master_does_not_believe_adverts_from_before_its_time_that_it_never_heard() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let capture = Capture::on(&client);
    let first = router(&a, 255).start();
    let recorded = record(&capture, 255, 2);
    first.kill();
    let second = router(&b, 100).start();
    second.wait_state("master", PATIENCE);
    let injector = Injector::on(&client);
    for frame in &recorded {
        injector.send(frame);
    }
    let sent = recorded.len() as u64;
    wait_until(PATIENCE, "all are counted", || second.counter("rejected/auth") == sent);
    assert_eq!(second.counter("adverts_received"), 0);
    assert!(second.is_master());
}

#[test]
fn a_daemon_restarted_after_a_crash_is_heard_and_no_router_takes_over() {
    let lab = Lab::new();
    let [a, b, c] = lab.hosts();
    // The owner is master without having heard another router.
    let owner = router(&a, 255);
    let first = owner.clone().start();
    first.wait_state("master", PATIENCE);
    let ours = router(&b, 100).start();
    let theirs = keepalived(&c, 90);
    wait_until(PATIENCE, "they hear it", || ours.counter("adverts_received") > 3);
    first.kill();
    let second = owner.start();
    second.wait_state("master", PATIENCE);
    // Longer than a Master_Down_Interval.
    let heard = ours.counter("adverts_received");
    wait_until(PATIENCE, "they hear it again", || ours.counter("adverts_received") > heard + 4);
    // Its first advert may be in the same second as the last one before.
    assert!(ours.counter("rejected/auth") <= 1 && theirs.count_in_log("already processed") <= 1);
    assert_eq!(ours.counter("transitions"), 1);
    assert_eq!(theirs.entered(VRID, "MASTER"), 0);
}

/// Both become master while they do not hear each other; one remains when they do.
fn after_a_split(lower: impl Fn(&Host) -> Box<dyn Fn() -> bool>) {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let high = router(&a, 150).start();
    high.wait_state("master", PATIENCE);
    let lower_is_master = lower(&b);
    lab.split(&[&a, &b]);
    wait_until(PATIENCE, "the lower one takes over", &lower_is_master);
    // Some adverts, so that the sequence numbers of both have advanced.
    let sent = high.counter("adverts_sent");
    wait_until(PATIENCE, "three adverts", || high.counter("adverts_sent") > sent + 3);
    lab.heal(&[&a, &b]);
    wait_until(PATIENCE, "the lower one gives way", || !lower_is_master());
    assert!(high.is_master());
    assert_eq!(high.counter("transitions"), 2, "backup at the start, and master since then");
}

#[test]
fn after_a_split_the_lower_of_two_masters_gives_way() {
    after_a_split(|host| {
        let low = router(host, 100).start();
        low.wait_state("backup", PATIENCE);
        Box::new(move || low.is_master())
    });
}

#[test]
fn after_a_split_keepalived_gives_way() {
    after_a_split(|host| {
        let low = keepalived(host, 100);
        Box::new(move || low.entered(VRID, "MASTER") >= low.entered(VRID, "BACKUP"))
    });
}

#[test]
fn after_a_split_we_give_way_to_keepalived() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let low = router(&a, 100).start();
    let high = keepalived(&b, 150);
    high.wait_entered(VRID, "MASTER", 1, PATIENCE);
    low.wait_state("backup", PATIENCE);
    lab.split(&[&a, &b]);
    low.wait_state("master", PATIENCE);
    lab.heal(&[&a, &b]);
    let state = low.wait_state("backup", PATIENCE);
    assert_eq!(state["reason"], "higher-priority-advert");
    assert_eq!(high.entered(VRID, "BACKUP"), 1, "it remains master");
}

#[test]
fn a_router_with_the_header_and_one_without_share_an_interface() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let text = format!(
        "[defaults]\ninterface = \"eth0\"\nvmac = \"none\"\npriority = 255\n\
         [[router]]\nvrid = 51\naddresses = [\"{CIDR}\"]\nauth = \"ah/0x{HEX}\"\n\
         [[router]]\nvrid = 52\naddresses = [\"10.0.0.101/24\"]\n"
    );
    let daemon = Vrrpd::on(&a).config(&text).vrid(51).in_user_space().start();
    daemon.wait_state("master", PATIENCE);
    let other = || daemon.state_of(52);
    let (with, without) = (daemon.state(), other());
    assert_eq!((&with["auth"], &without["auth"]), (&"ah".into(), &"none".into()));
    if let Some(wanted) = Datapath::usual().name() {
        assert_eq!((&with["datapath"], &without["datapath"]), (&"raw".into(), &wanted.into()));
        if wanted != "raw" {
            assert_eq!(with["datapath_reason"], "the Authentication Header is verified in user space");
            assert_eq!(with["kernel"], serde_json::Value::Null);
        }
    }

    let injector = Injector::on(&client);
    let advert = |vrid| AdvertFrame::v2(client.ipv4(), vrid, 255, 1, &[ADDRESS]);
    injector.send(&advert(51).build());
    injector.send(&advert(52).build_authenticated(KEY, u32::MAX));
    wait_until(PATIENCE, "each counts what is not as it has it", || {
        daemon.counter("rejected/auth") == 1 && other()["counters"]["rejected"]["auth"] == 1
    });
    for state in [daemon.state(), other()] {
        assert_eq!(state["state"], "master");
        let rejected = state["counters"]["rejected"].as_object().expect("counters by reason");
        assert_eq!(rejected.values().filter_map(serde_json::Value::as_u64).sum::<u64>(), 1, "{rejected:?}");
    }
}

#[test]
fn an_advert_that_is_too_long_with_the_header_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.ip("link set eth0 mtu 68");
    let builder = |count| {
        let addresses = (1..=count).map(|last| format!("10.0.1.{last}"));
        Vrrpd::on(&a).vrid(VRID).args(addresses)
    };
    // 20 octets of IPv4, 24 of the header, 8 of VRRP, 4 per address, 8 of authentication data.
    let finished = builder(3).ah(KEY).run_in_foreground();
    assert_eq!(finished.code, 1, "{}", finished.stderr);
    assert!(finished.stderr.contains("72 octets"), "{}", finished.stderr);
    drop(builder(2).ah(KEY).start());
    drop(builder(3).start());
}
