//! Elections.

use std::time::{Duration, Instant};

use vrrpd_lab::usual::{CIDR, INTERVAL, SOON, assert_on_time};
use vrrpd_lab::{AdvertFrame, Capture, Injector, Lab, Vrrpd, timers, wait_until};

#[test]
fn master_is_elected_by_priority() {
    let lab = Lab::new();
    let [low, high, middle] = lab.hosts();
    let routers = [
        Vrrpd::usual(&low, 50).start(),
        Vrrpd::usual(&high, 150).start(),
        Vrrpd::usual(&middle, 100).start(),
    ];
    routers[1].wait_state("master", SOON);
    routers[0].wait_state("backup", SOON);
    routers[2].wait_state("backup", SOON);
    assert!(high.has_address("eth0", CIDR));
    wait_until(SOON, "the others do not have the address", || {
        !low.has_address("eth0", CIDR) && !middle.has_address("eth0", CIDR)
    });
    let seen = routers[0].state();
    assert_eq!((&seen["master"]["address"], &seen["master"]["priority"]), (&"10.0.0.2".into(), &150.into()));
}

#[test]
fn only_one_of_two_that_start_together_ever_advertises() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let capture = Capture::on(&client);
    let high = Vrrpd::usual(&a, 200).start();
    let low = Vrrpd::usual(&b, 100).start();
    high.wait_state("master", SOON);
    capture.clear();
    wait_until(SOON, "ten adverts", || capture.adverts().len() >= 10);
    assert!(capture.adverts().iter().all(|(_, advert)| advert.priority == 200), "only the master speaks");
    assert_eq!(low.state()["state"], "backup");
}

/// Two masters of equal priority; their addresses are compared as unsigned numbers in network byte order.
#[test]
fn equal_priority_is_decided_by_the_greater_address_unsigned() {
    // A signed or little-endian comparison gets one of these pairs wrong.
    for (smaller, greater) in [("10.0.0.127/24", "10.0.0.200/24"), ("10.0.0.200/24", "200.0.0.1/24")] {
        let lab = Lab::new();
        let hosts = [lab.host("smaller", smaller), lab.host("greater", greater)];
        lab.split(&[&hosts[0], &hosts[1]]);
        let routers = [Vrrpd::usual(&hosts[0], 100).start(), Vrrpd::usual(&hosts[1], 100).start()];
        routers[0].wait_state("master", SOON);
        routers[1].wait_state("master", SOON);

        lab.heal(&[&hosts[0], &hosts[1]]);
        routers[0].wait_state("backup", SOON);
        assert!(routers[1].is_master(), "{greater} wins against {smaller}");
    }
}

#[test]
fn two_masters_that_meet_settle_within_an_interval() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    lab.split(&[&a, &b]);
    let low = Vrrpd::usual(&a, 100).start();
    let high = Vrrpd::usual(&b, 150).start();
    low.wait_state("master", SOON);
    high.wait_state("master", SOON);

    lab.heal(&[&a, &b]);
    low.wait_state("backup", INTERVAL * 2 + Duration::from_millis(200));
    assert!(high.is_master());
    assert!(!a.has_address("eth0", CIDR), "the address is given up with the role");
}

#[test]
fn owner_takes_over_at_once() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    // Ten seconds: an election by timer would take half a minute.
    let slow = |host, priority| Vrrpd::on(host).vrid(51).priority(priority).address(CIDR).v3("10s");
    let owner = slow(&a, 255).start();
    owner.wait_state("master", Duration::from_secs(2));
    let other = slow(&b, 254).start();
    assert_eq!(other.state()["state"], "backup");
    assert!(a.has_address("eth0", CIDR));
}

#[test]
fn owner_displaces_a_master() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let master = Vrrpd::usual(&a, 254).start();
    master.wait_state("master", SOON);
    // Even without preemption, since the owner never waits (RFC 9568 §6.4.1).
    let owner = Vrrpd::usual(&b, 255).args(["-s"]).start();
    owner.wait_state("master", INTERVAL * 2);
    master.wait_state("backup", SOON);
}

#[test]
fn higher_priority_preempts() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let low = Vrrpd::usual(&a, 100).start();
    low.wait_state("master", SOON);
    let high = Vrrpd::usual(&b, 150).start();
    high.wait_state("master", SOON);
    low.wait_state("backup", SOON);
    wait_until(SOON, "the address moves", || b.has_address("eth0", CIDR) && !a.has_address("eth0", CIDR));
}

#[test]
fn higher_priority_waits_when_preemption_is_off() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let low = Vrrpd::usual(&a, 100).start();
    low.wait_state("master", SOON);
    let high = Vrrpd::usual(&b, 150).args(["-s"]).start();
    assert_eq!(high.state()["preempt"], false);

    let capture = Capture::on(&client);
    let enough = timers::master_down_interval(INTERVAL, 150).as_millis() / INTERVAL.as_millis() + 3;
    wait_until(SOON, "adverts for longer than Master_Down_Interval", || {
        capture.adverts().len() as u128 > enough
    });
    assert!(low.is_master());
    assert_eq!(high.state()["state"], "backup");

    low.kill();
    high.wait_state("master", SOON);
}

#[test]
fn a_lower_master_is_followed_for_the_delay_of_preemption_and_replaced_at_once_when_it_dies() {
    const DELAY: Duration = Duration::from_secs(2);
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let low = Vrrpd::usual(&a, 100).start();
    low.wait_state("master", SOON);
    let begin = Instant::now();
    let high = Vrrpd::usual(&b, 150).args(["--preempt-delay", "2s"]).start();
    wait_until(SOON, "the delay runs", || high.state()["preempt_delay_left_ns"].is_u64());
    assert_eq!(high.state()["preempt_delay_ns"], 2_000_000_000_u64);
    assert!(low.is_master());
    assert_eq!(high.wait_state("master", SOON + DELAY)["reason"], "preempted");
    assert!(begin.elapsed() >= DELAY, "{:?}", begin.elapsed());
    low.wait_state("backup", SOON);
    drop(high);

    low.wait_state("master", SOON);
    let high = Vrrpd::usual(&b, 150).args(["--preempt-delay", "1000s"]).start();
    wait_until(SOON, "the delay runs", || high.state()["preempt_delay_left_ns"].is_u64());
    low.kill();
    high.wait_state("master", SOON);
}

#[test]
fn a_router_that_does_not_preempt_takes_over_from_a_master_below_its_limit() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let low = Vrrpd::usual(&a, 100).args(["-z", "99"]).start();
    low.wait_state("master", SOON);
    let high = Vrrpd::usual(&b, 150).args(["-s", "--preempt-below", "100"]).start();
    assert_eq!(high.state()["preempt_below"], 100);
    let capture = Capture::on(&client);
    let enough = timers::master_down_interval(INTERVAL, 150).as_millis() / INTERVAL.as_millis() + 3;
    wait_until(SOON, "adverts for longer than Master_Down_Interval", || {
        capture.adverts().len() as u128 > enough
    });
    assert!(low.is_master());
    low.atropos(&["--reduce"]);
    assert_eq!(high.wait_state("master", SOON)["reason"], "preempted");
}

#[test]
fn a_router_listens_for_the_start_delay_and_an_operator_ends_it() {
    const DELAY: Duration = Duration::from_secs(2);
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let begin = Instant::now();
    let owner = Vrrpd::usual(&a, 255).args(["--start-delay", "2s"]).start();
    wait_until(SOON, "its take-over is held", || owner.state()["takeover_held_by"] == "start-delay");
    assert_eq!(owner.state()["state"], "backup");
    owner.wait_state("master", SOON + DELAY);
    assert!(begin.elapsed() >= DELAY, "{:?}", begin.elapsed());
    drop(owner);

    let other = Vrrpd::usual(&b, 100).args(["--start-delay", "3600s"]).start();
    wait_until(SOON, "its take-over is held", || other.state()["takeover_held_by"] == "start-delay");
    other.atropos(&["--master"]);
    other.wait_state("master", SOON);
}

#[test]
fn a_master_counts_as_down_after_down_multiplier_intervals() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let capture = Capture::on(&client);
    let interval = Duration::from_millis(300);
    let cases = [(51, 1_u32, "10.0.0.100"), (52, 3, "10.0.0.101"), (53, 7, "10.0.0.102")];
    let defaults =
        "[defaults]\ninterface = \"eth0\"\nprotocol = \"v3\"\ninterval = \"300ms\"\nvmac = \"none\"\n";
    let routers = cases.map(|(vrid, multiplier, address)| {
        format!("[[router]]\nvrid = {vrid}\naddresses = [\"{address}\"]\ndown-multiplier = {multiplier}\n")
    });
    let config = defaults.to_owned() + &routers.concat();
    let daemon = Vrrpd::on(&a).config(&config).start();
    let state = |vrid: u8| daemon.state_of(vrid);
    for (vrid, ..) in cases {
        wait_until(SOON, "it is master", || state(vrid)["state"] == "master");
    }
    let injector = Injector::on(&client);
    for (vrid, _, address) in cases {
        let address = address.parse().expect("an address");
        injector.send(&AdvertFrame::v3(client.ipv4().into(), vrid, 150, interval, &[address]).build());
    }
    for (vrid, multiplier, _) in cases {
        wait_until(SOON, "it is master again", || state(vrid)["counters"]["transitions"] == 4);
        assert_eq!(state(vrid)["down_multiplier"], multiplier);
        let adverts: Vec<_> =
            capture.adverts().into_iter().filter(|(_, advert)| advert.vrid == vrid).collect();
        let heard = adverts.iter().position(|(_, advert)| advert.priority == 150).expect("it was sent");
        let taken = adverts[heard + 1].0 - adverts[heard].0;
        assert_on_time(taken, interval * multiplier + timers::skew_time(interval, 100));
    }
}
