//! How the address moves from one router to the other, and how long that takes.

use std::time::{Duration, Instant};

use vrrpd_lab::usual::{ADDRESS, CIDR, INTERVAL, SOON, TOLERANCE, assert_on_time};
use vrrpd_lab::{Advert, Capture, Lab, Pinger, Vrrpd, left_files, stretched, timers, wait_until};

/// The last advert of a priority before another priority is heard, and the first one of that other.
fn turn(capture: &Capture, from: u8, to: u8) -> (Instant, Instant) {
    let (taken, _) = capture.wait_advert(SOON, "the new master advertises", |advert| advert.priority == to);
    let adverts = capture.adverts();
    let last = adverts.iter().rfind(|(at, advert)| *at < taken && advert.priority == from);
    (last.expect("the old master was heard").0, taken)
}

#[test]
fn sigterm_hands_over_within_skew_time() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    // Slow enough to distinguish Skew_Time (305 ms) from Master_Down_Interval (1805 ms) on a busy machine.
    let interval = Duration::from_millis(500);
    let router = |host, priority| Vrrpd::on(host).vrid(51).priority(priority).address(CIDR).v3("500ms");
    let master = router(&a, 150).start();
    master.wait_state("master", SOON);
    let backup = router(&b, 100).start();
    let capture = Capture::on(&client);
    capture.wait_advert(SOON, "the master advertises", |advert| advert.priority == 150);

    assert_eq!(master.terminate(), 0);
    let (resigned, taken) = turn(&capture, 0, 100);
    assert_on_time(taken - resigned, timers::skew_time(interval, 100));
    assert_eq!(backup.wait_state("master", SOON)["reason"], "master-resigned");
}

#[test]
fn kill_9_of_the_master_is_noticed_after_master_down_interval_and_not_before() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).start();
    master.wait_state("master", SOON);
    let backup = Vrrpd::usual(&b, 100).start();
    let capture = Capture::on(&client);
    wait_until(SOON, "the master advertises", || capture.adverts().len() >= 5);

    master.kill();
    let (last, taken) = turn(&capture, 150, 100);
    assert_on_time(taken - last, timers::master_down_interval(INTERVAL, 100));
    assert_eq!(backup.wait_state("master", SOON)["reason"], "master-down-timer");
}

#[test]
fn master_that_was_stopped_for_long_gives_up_and_listens_before_it_is_master_again() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let first = Vrrpd::usual(&a, 150).start();
    first.wait_state("master", SOON);
    let second = Vrrpd::usual(&b, 100).start();
    wait_until(SOON, "it hears the master", || second.counter("adverts_received") >= 3);
    first.pause();
    let stopped = Instant::now();
    second.wait_state("master", SOON);
    // Later than a deadline could be by chance.
    wait_until(SOON, "more than a second is over", || stopped.elapsed() > Duration::from_millis(1500));
    first.resume();
    wait_until(SOON, "it has given up", || first.counter("transitions") >= 3);
    let state = first.wait_state("master", SOON);
    let history: Vec<_> = state["history"].as_array().into_iter().flatten().collect();
    let gave_up = history.iter().find(|past| past["to"] == "backup" && past["from"] == "master");
    assert_eq!(gave_up.expect("it has")["reason"], "clock-gap", "{history:?}");
    second.wait_state("backup", SOON);
    wait_until(SOON, "the address is back", || a.has_address("eth0", CIDR) && !b.has_address("eth0", CIDR));
}

#[test]
fn master_that_was_stopped_for_a_moment_is_replaced_and_takes_its_addresses_back() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let first = Vrrpd::usual(&a, 150).start();
    first.wait_state("master", SOON);
    let second = Vrrpd::usual(&b, 100).start();
    first.pause();
    second.wait_state("master", SOON);
    first.resume();
    first.wait_state("master", SOON);
    second.wait_state("backup", SOON);
    wait_until(SOON, "the address is back", || a.has_address("eth0", CIDR) && !b.has_address("eth0", CIDR));
}

#[test]
fn sigterm_leaves_nothing_behind() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let before = a.addresses("eth0");
    let router = Vrrpd::usual(&a, 100).address("10.0.0.101").start();
    router.wait_state("master", SOON);
    assert_eq!(a.addresses("eth0").len(), before.len() + 2);

    assert_eq!(router.terminate(), 0);
    assert_eq!(a.addresses("eth0"), before);
    assert_eq!(left_files(&router.directory()), Vec::<String>::new());
}

#[test]
fn sigint_leaves_as_sigterm_does() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let capture = Capture::on(&client);
    router.signal(vrrpd_lab::Signal::SIGINT);
    assert_eq!(router.wait(), 0);
    capture.wait_advert(SOON, "it resigns", |advert| advert.priority == 0);
    assert!(!a.has_address("eth0", CIDR));
}

#[test]
fn backup_leaves_silently() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).start();
    master.wait_state("master", SOON);
    let backup = Vrrpd::usual(&b, 100).start();
    let capture = Capture::on(&client);
    assert_eq!(backup.terminate(), 0);
    wait_until(SOON, "three more adverts", || capture.adverts().len() >= 3);
    let from_master = |advert: &Advert| advert.source == a.ipv4();
    assert!(capture.adverts().iter().all(|(_, advert)| from_master(advert)), "RFC 9568 §6.4.2: no advert");
}

#[test]
fn client_is_answered_again_within_master_down_interval_after_a_power_failure() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).start();
    master.wait_state("master", SOON);
    let _backup = Vrrpd::usual(&b, 100).start();
    let pinger = Pinger::start(&client, ADDRESS, Duration::from_millis(5));
    pinger.wait_answers(20, SOON);

    lab.port_down(&a);
    master.kill();
    wait_until(SOON, "the backup has the address", || b.has_address("eth0", CIDR));
    pinger.wait_answers(20, SOON);
    let report = pinger.stop();
    let allowed = timers::master_down_interval(INTERVAL, 100) + stretched(TOLERANCE);
    assert!(report.lost > 0 && report.longest_gap <= allowed, "{report:?}, {allowed:?} allowed");
}

#[test]
fn client_hardly_notices_a_planned_handover() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).start();
    master.wait_state("master", SOON);
    let backup = Vrrpd::usual(&b, 100).start();
    let pinger = Pinger::start(&client, ADDRESS, Duration::from_millis(5));
    pinger.wait_answers(20, SOON);

    assert_eq!(master.terminate(), 0);
    backup.wait_state("master", SOON);
    pinger.wait_answers(20, SOON);
    let report = pinger.stop();
    let allowed = timers::skew_time(INTERVAL, 100) + stretched(TOLERANCE);
    assert!(report.longest_gap <= allowed, "{report:?}, {allowed:?} allowed");
}
