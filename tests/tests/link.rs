//! Link failures.

use std::thread;
use std::time::Duration;

use vrrpd_lab::usual::{ADDRESS, CIDR, INTERVAL, SOON};
use vrrpd_lab::{
    Advert, Capture, Datapath, Lab, Monitor, Told, Vrrpd, index_of, needs, stretched, wait_until,
};

/// Maximum time until a master gives up after the cause.
const AT_ONCE: Duration = Duration::from_millis(10);

#[test]
fn master_gives_up_on_link_failure_and_the_backup_takes_over() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let first = Vrrpd::usual(&a, 150).start();
    first.wait_state("master", SOON);
    let second = Vrrpd::usual(&b, 100).start();

    lab.port_down(&a);
    let state = first.wait_state("fault", SOON);
    assert_eq!(state["reason"], "link-down");
    wait_until(SOON, "the address is given up", || !a.has_address("eth0", CIDR));
    second.wait_state("master", SOON);

    lab.port_up(&a);
    first.wait_state("master", SOON);
    second.wait_state("backup", SOON);
    wait_until(SOON, "the address is back", || a.has_address("eth0", CIDR) && !b.has_address("eth0", CIDR));
}

#[test]
fn master_gives_its_address_up_within_10_ms_of_a_link_failure() {
    for mode in ["none", "interface", "macvlan"] {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let router = Vrrpd::usual(&a, 150).vmac(mode).start();
        let no_carrier = Told::NoCarrier(index_of(&a, "eth0"));
        // On a busy machine the daemon may be delayed for longer, but not each time.
        let mut took = Vec::new();
        while took.len() < 10 && took.iter().all(|took| *took > stretched(AT_ONCE)) {
            router.wait_state("master", SOON);
            let mut monitor = Monitor::on(&a);
            took.push(thread::scope(|scope| {
                scope.spawn(|| lab.port_down(&a));
                monitor.longest_between(SOON, no_carrier, Told::AddressGone(ADDRESS))
            }));
            lab.port_up(&a);
        }
        assert!(took.iter().any(|took| *took <= stretched(AT_ONCE)), "{mode}: {took:?}");
    }
}

#[test]
fn interface_for_which_there_is_no_file_descriptor_is_used_once_there_is_one() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 150).start();
    router.wait_state("master", SOON);
    let limit = |files: &str| {
        let arguments = ["--pid", &router.pid().to_string(), &format!("--nofile={files}:")];
        let finished = a.run(needs::PRLIMIT.require(), arguments);
        assert!(finished.success(), "{}", finished.stderr);
    };
    a.ip("link del eth0");
    router.wait_state("fault", SOON);
    limit("3");
    lab.join(&a, 0, "eth0", "10.0.0.1/24");
    let failures = || router.count_in_log("cannot open interface");
    wait_until(SOON, "it was tried, and the kernel has nothing more to tell of it", || {
        let before = failures();
        thread::sleep(Duration::from_millis(300));
        before > 0 && failures() == before
    });
    limit("1024");
    router.wait_state("master", SOON);
}

#[test]
fn interface_that_is_set_down_and_up_is_used_again() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::usual(&a, 150).start();
    router.wait_state("master", SOON);
    a.ip("link set eth0 down");
    router.wait_state("fault", SOON);
    a.ip("link set eth0 up");
    router.wait_state("master", SOON);
    assert!(a.has_address("eth0", CIDR));
    let capture = Capture::on(&client);
    capture.wait_advert(SOON, "it advertises again", |advert| advert.priority == 150);
}

#[test]
fn master_that_does_not_track_its_interface_stays_master_while_that_is_down() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::usual(&a, 150).vmac("none").args(["--no-track-interface"]).start();
    router.wait_state("master", SOON);
    let transitions = router.counter("transitions");
    let capture = Capture::on(&client);
    let sent = || router.counter("adverts_sent");

    lab.port_down(&a);
    wait_until(SOON, "the carrier is gone", || !a.has_link("eth0"));
    let before = sent();
    wait_until(SOON, "it goes on without a carrier", || sent() > before + 10);
    lab.port_up(&a);
    capture.wait_advert(SOON, "it is heard again", |advert| advert.priority == 150);

    a.ip("link set eth0 down");
    // Longer than a Master_Down_Interval, after which others give up.
    thread::sleep(INTERVAL * 6);
    assert!(router.is_master() && a.has_address("eth0", CIDR));
    let before = sent();
    a.ip("link set eth0 up");
    wait_until(SOON, "it advertises again", || sent() > before + 3);
    assert_eq!(router.counter("transitions"), transitions);
}

#[test]
fn after_a_link_failure_a_backup_hears_the_master_first() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).start();
    master.wait_state("master", SOON);
    let backup = Vrrpd::usual(&b, 100).start();
    backup.wait_state("backup", SOON);

    lab.port_down(&b);
    backup.wait_state("fault", SOON);
    lab.port_up(&b);
    backup.wait_state("backup", SOON);
    let received = backup.counter("adverts_received");
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= received + 5);
    assert_eq!(backup.state()["state"], "backup");
    assert!(master.is_master());
}

#[test]
fn router_without_a_link_starts_and_waits_for_it() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    lab.port_down(&a);
    wait_until(SOON, "the carrier is gone", || !a.has_link("eth0"));
    let router = Vrrpd::usual(&a, 100).start();
    thread::sleep(INTERVAL * 5);
    assert_ne!(router.state()["state"], "master", "it cannot be heard");
    assert!(!a.has_address("eth0", CIDR));
    lab.port_up(&a);
    router.wait_state("master", SOON + Duration::from_secs(1));
}

#[test]
fn interface_that_cannot_tell_whether_it_has_a_link_counts_as_up() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.ip("link add ifb9 type ifb");
    a.ip("link set ifb9 up");
    a.ip("addr add 10.9.0.1/24 dev ifb9");
    let router = Vrrpd::on(&a).interface("ifb9").vrid(51).address("10.9.0.100/24").v3("100ms");
    let router = router.datapath(Datapath::Raw).start();
    router.wait_state("master", SOON);
    router.wait_log(SOON, "carrier state unknown");
    router.assert_in_log("carrier state unknown", 1);
}

#[test]
fn fault_has_the_reason_of_the_interface() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 150).start();
    router.wait_state("master", SOON);
    let because = |reason: &str| {
        wait_until(SOON, reason, || {
            let state = router.state();
            state["state"] == "fault" && state["reason"] == reason
        });
    };
    lab.port_down(&a);
    because("link-down");
    a.ip("link set eth0 down");
    because("admin-down");
    lab.port_up(&a);
    a.ip("link set eth0 up");
    router.wait_state("master", SOON);
    a.ip("addr del 10.0.0.1/24 dev eth0");
    because("no-address");
    a.ip("addr add 10.0.0.1/24 dev eth0");
    router.wait_state("master", SOON);
    a.ip("link set eth0 down");
    a.ip("link set eth0 name old0");
    because("interface-removed");
    a.ip("link set old0 name eth0");
    a.ip("link set eth0 up");
    let master = router.wait_state("master", SOON);
    assert_eq!(master["faults"].as_array().map(Vec::len), Some(0), "{master}");
    // The end of one fault leaves the others.
    let faults = |faults: &[&str]| {
        wait_until(SOON, &faults.join(", "), || {
            let state = router.state();
            state["faults"] == serde_json::json!(faults) && state["reason"] == faults[0]
        });
    };
    a.ip("addr del 10.0.0.1/24 dev eth0");
    lab.port_down(&a);
    faults(&["link-down", "no-address"]);
    a.ip("link set eth0 down");
    faults(&["admin-down", "no-address"]);
    lab.port_up(&a);
    a.ip("link set eth0 up");
    faults(&["no-address"]);
    a.ip("addr add 10.0.0.1/24 dev eth0");
    router.wait_state("master", SOON);
    a.ip("link del eth0");
    because("interface-removed");
}

/// The kernel drops memberships with everything else of a family, and the sockets do not get them back.
#[test]
fn membership_of_the_group_is_there_again_after_the_interface_has_lost_the_family() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let is_member = || a.ip("maddr show dev eth0").contains("ff02::12");
    let router = Vrrpd::on(&a).vrid(51).address("fe80::33/64").v3("100ms").start();
    router.wait_state("master", SOON);
    assert!(is_member());
    let too_short = |lost| a.ip(&format!("link set eth0 mtu {}", if lost { 1000 } else { 1500 }));
    let disabled = |lost| a.namespace().sysctl("ipv6/conf/eth0/disable_ipv6", if lost { "1" } else { "0" });
    let ways: [&dyn Fn(bool); 2] = [&|lost| drop(too_short(lost)), &disabled];
    for set_lost in ways {
        set_lost(true);
        router.wait_state("fault", SOON);
        set_lost(false);
        router.wait_state("master", SOON);
        assert!(is_member(), "{}", a.ip("maddr show dev eth0"));
    }
}

/// An advert with these has 828 octets.
fn many_addresses() -> impl Iterator<Item = String> {
    (1..=200).map(|number| format!("10.8.0.{number}/32"))
}

#[test]
fn master_with_adverts_beyond_the_mtu_resigns_and_serves_again_when_they_fit() {
    for mode in ["none", "macvlan"] {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        let capture = Capture::on(&client);
        let router = |host, priority| {
            Vrrpd::on(host).vrid(51).priority(priority).args(many_addresses()).vmac(mode).v3("500ms").start()
        };
        let first = router(&a, 150);
        first.wait_state("master", SOON);
        let second = router(&b, 100);
        second.wait_state("backup", SOON);

        a.ip("link set eth0 mtu 576");
        let (_, resigned) = capture.wait_advert(SOON, "a resigns", |advert| advert.priority == 0);
        // As many as fit: (576 - 20 - 8) / 4; one if the next advert is tried before the MTU is known.
        assert!([137, 1].contains(&resigned.addresses.len()), "{mode}: {}", resigned.addresses.len());
        assert_eq!(second.wait_state("master", SOON)["reason"], "master-resigned", "{mode}");
        assert_eq!(first.wait_state("fault", SOON)["reason"], "advert-unsendable", "{mode}");
        wait_until(SOON, "no address is left", || !a.ip("addr show").contains("10.8.0."));

        // The first of several faults is the reason.
        let reason = |expected: &str| wait_until(SOON, expected, || first.state()["reason"] == expected);
        lab.port_down(&a);
        reason("link-down");
        lab.port_up(&a);
        reason("advert-unsendable");
        assert_eq!(first.state()["state"], "fault");

        a.ip("link set eth0 mtu 1500");
        first.wait_state("master", SOON);
        second.wait_state("backup", SOON);
        if mode == "macvlan" {
            let link = || a.ip("-oneline link show type macvlan");
            wait_until(SOON, "its link follows", || link().contains(" mtu 1500 "));
            a.ip("link set eth0 mtu 2000");
            wait_until(SOON, "its link follows", || link().contains(" mtu 2000 "));
        }

        b.ip("link set eth0 mtu 576");
        assert_eq!(second.wait_state("fault", SOON)["reason"], "advert-unsendable", "a backup as well");
    }
}

#[test]
fn master_that_hits_a_smaller_mtu_before_the_notification_still_resigns() {
    let interval = Duration::from_millis(500);
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let router = |host, priority| {
        Vrrpd::on(host).vrid(51).priority(priority).args(many_addresses()).vmac("none").v3("500ms").start()
    };
    let first = router(&a, 150);
    first.wait_state("master", SOON);
    let second = router(&b, 100);
    second.wait_state("backup", SOON);

    first.pause();
    a.ip("link set eth0 mtu 576");
    // Its next advert is due when it continues, so it is sent before the notification is read.
    thread::sleep(interval);
    first.resume();
    assert_eq!(second.wait_state("master", SOON)["reason"], "master-resigned");
    assert_eq!(first.wait_state("fault", SOON)["reason"], "advert-unsendable");
}

#[test]
fn master_with_unsent_adverts_gives_up_and_takes_over_again_only_when_sending_works() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let first = Vrrpd::usual(&a, 150).start();
    first.wait_state("master", SOON);
    let second = Vrrpd::usual(&b, 100).start();
    second.wait_state("backup", SOON);
    let tc = |arguments: &str| {
        assert!(a.run(needs::TC.require(), arguments.split(' ')).success(), "tc {arguments}");
    };
    // The queue accepts nothing.
    tc("qdisc add dev eth0 root pfifo limit 0");
    assert_eq!(first.wait_state("fault", SOON)["reason"], "advert-unsendable");
    second.wait_state("master", SOON);
    wait_until(SOON, "the address is gone", || !a.has_address("eth0", CIDR));
    let unsendable = |state: &serde_json::Value| {
        let history = state["history"].as_array().expect("a list");
        history.iter().filter(|past| past["reason"] == "advert-unsendable").count()
    };
    let mut state = first.state();
    wait_until(2 * SOON, "it has tried in vain", || {
        state = first.state();
        unsendable(&state) >= 3
    });
    let history = state["history"].as_array().expect("a list");
    let promotions = history.iter().filter(|past| past["to"] == "master").count();
    assert_eq!(promotions, 1, "nobody was told of a trial: {history:?}");
    assert!(second.is_master());

    tc("qdisc del dev eth0 root");
    first.wait_state("master", 3 * SOON);
    second.wait_state("backup", SOON);
}

#[test]
fn hosts_and_peers_learn_at_once_of_another_mac_address_of_the_interface() {
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
    for (addresses, family) in [([CIDR], "ipv4"), (["fe80::33/64"], "ipv6")] {
        let lab = Lab::new();
        let [a, client] = lab.hosts();
        let address = addresses[0].split('/').next().expect("an address").parse().expect("an address");
        // No advert is due for a while, and there is no periodic announcement.
        let router =
            Vrrpd::on(&a).vrid(51).args(addresses).v3("3s").priority(255).args(["--garp-delay", "0"]);
        let router = router.start();
        router.wait_state("master", SOON);
        wait_until(SOON, "its adverts are sent", || router.counter("adverts_sent") >= 1);
        let capture = Capture::on(&client);
        a.ip("link set eth0 address 02:00:00:00:00:aa");
        wait_until(SOON, "it is announced", || capture.claims(address).contains(&OTHER));
        wait_until(SOON, "it advertises", || !capture.adverts().is_empty());
        let advert = |frame: &[u8]| frame[6..12] == OTHER && Advert::read(frame).is_some();
        let at = |wanted: &dyn Fn(&[u8]) -> bool| {
            let frames = capture.frames();
            frames.iter().find(|seen| wanted(&seen.frame)).map(|seen| seen.at).expect("it was seen")
        };
        let (announced, advertised) = (at(&|frame| frame[6..12] == OTHER), at(&advert));
        assert!(advertised - announced < stretched(AT_ONCE), "{family}: {:?}", advertised - announced);

        // The guardian's resignation has that source address as well. It has been updated when the daemon answers
        // again.
        router.state();
        router.kill_daemon();
        let resigns = |frame: &[u8]| Advert::read(frame).is_some_and(|advert| advert.priority == 0);
        wait_until(SOON, "it resigns", || capture.frames().iter().any(|seen| resigns(&seen.frame)));
        let frames = capture.frames();
        let resignation = frames.iter().find(|seen| resigns(&seen.frame)).expect("it was seen");
        assert_eq!(resignation.frame[6..12], OTHER, "{family}");
    }
}
