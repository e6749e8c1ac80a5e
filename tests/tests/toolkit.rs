//! Tests of the laboratory itself.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::Duration;

use vrrpd_lab::{
    AdvertFrame, Capture, Injector, Instance, Keepalived, Lab, Pinger, is_alive, timers, wait_for, wait_until,
};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn machines_of_a_network_reach_each_other_until_the_cable_is_pulled() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let pinger = Pinger::start(&a, b.ipv4(), Duration::from_millis(5));
    pinger.wait_answers(20, SOON);

    lab.port_down(&b);
    wait_until(SOON, "the carrier is gone", || !b.has_link("eth0"));
    let before = pinger.answered();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(pinger.answered(), before, "nothing comes through a pulled cable");

    lab.port_up(&b);
    pinger.wait_answers(20, SOON);
    let report = pinger.stop();
    assert!(report.lost > 0 && report.longest_gap >= Duration::from_millis(100), "{report:?}");
}

#[test]
fn machines_can_join_several_networks() {
    let mut lab = Lab::new();
    let [a, b] = lab.hosts();
    let second = lab.add_network();
    lab.join(&a, second, "eth1", "10.1.0.1/24");
    lab.join(&b, second, "eth1", "10.1.0.2/24");
    let pinger = Pinger::start(&a, Ipv4Addr::new(10, 1, 0, 2), Duration::from_millis(5));
    pinger.wait_answers(5, SOON);
    assert!(a.link_local("eth1").is_unicast_link_local());
    assert_eq!(a.addresses("eth0").len(), 2, "one IPv4 and one link-local address");
}

#[test]
fn injected_adverts_are_captured_as_they_were_built() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let capture = Capture::on(&b);
    let interval = Duration::from_millis(250);
    let address = Ipv4Addr::new(10, 0, 0, 100);
    let ipv6 = IpAddr::V6(a.link_local("eth0"));
    let frames = [
        AdvertFrame::v2(a.ipv4(), 51, 100, 1, &[address]).with_password("secret"),
        AdvertFrame::v3(IpAddr::V4(a.ipv4()), 52, 101, interval, &[address.into()]),
        AdvertFrame::v3(ipv6, 53, 102, interval, &[ipv6]),
    ];
    for frame in &frames {
        Injector::on(&a).send(&frame.build());
    }
    for (vrid, priority) in [(51, 100), (52, 101), (53, 102)] {
        let (_, advert) = capture.wait_advert(SOON, "the advert arrives", |advert| advert.vrid == vrid);
        assert_eq!((advert.priority, advert.ttl, advert.checksum_is_right), (priority, 255, true));
    }
}

#[test]
fn keepalived_elects_and_hands_over_in_the_laboratory() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let capture = Capture::on(&client);
    let interval = Duration::from_millis(200);
    let instance = Instance::v3(51, "10.0.0.100/24", interval);
    let backup = Keepalived::on(&b).instance(instance.clone()).start();
    let master = Keepalived::on(&a).instance(instance.priority(150)).start();
    master.wait_entered(51, "MASTER", 1, SOON);
    wait_until(SOON, "the address is there", || a.has_address("eth0", "10.0.0.100/24"));
    wait_until(SOON, "the other one stands back", || !b.has_address("eth0", "10.0.0.100/24"));
    let (_, advert) = capture.wait_advert(SOON, "the master advertises", |advert| advert.priority == 150);
    assert_eq!((advert.version, advert.interval, advert.checksum_is_right), (3, interval, true));
    wait_for(SOON, "the address is announced", || {
        capture.announcements().into_iter().find(|(_, address)| *address == Ipv4Addr::new(10, 0, 0, 100))
    });

    let masters_before = backup.entered(51, "MASTER");
    let (pid, mut last) = (master.pid(), capture.adverts());
    master.crash();
    assert!(!is_alive(pid));
    backup.wait_entered(51, "MASTER", masters_before + 1, SOON);
    let (taken, _) = wait_for(SOON, "the backup advertises", || {
        last = capture.adverts();
        last.last().cloned().filter(|(_, advert)| advert.priority == 100)
    });
    let (left, _) = last.iter().rfind(|(_, advert)| advert.priority == 150).expect("it was seen");
    let down = taken - *left;
    let demanded = timers::master_down_interval(interval, 100);
    assert!(down >= demanded && down < demanded + interval, "{down:?}, {demanded:?} demanded");
}

#[test]
fn split_machines_do_not_hear_each_other_and_others_hear_both() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let (at_b, at_client) = (Capture::on(&b), Capture::on(&client));
    let advert = |vrid| AdvertFrame::v2(a.ipv4(), vrid, 100, 1, &[Ipv4Addr::new(10, 0, 0, 100)]).build();
    let heard = |capture: &Capture, vrid| capture.adverts().iter().any(|(_, advert)| advert.vrid == vrid);
    let injector = Injector::on(&a);
    lab.split(&[&a, &b]);
    injector.send(&advert(1));
    wait_until(SOON, "the client hears it", || heard(&at_client, 1));

    lab.heal(&[&a, &b]);
    injector.send(&advert(2));
    wait_until(SOON, "both hear it", || heard(&at_client, 2) && heard(&at_b, 2));
    assert!(!heard(&at_b, 1), "the first one did not pass");
}

#[test]
fn programs_report_how_they_ended() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let finished = a.run("/bin/sh", ["-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (7, "out\n", "err\n"));
    assert_eq!(a.run("/bin/sh", ["-c", "kill -9 $$"]).code, 128 + 9);
}

#[test]
fn processes_end_with_their_machine() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let mut command = Command::new("sleep");
    command.arg("1000");
    let mut child = a.namespace().spawn(command).expect("it starts");
    let pid = i32::try_from(child.id()).expect("process ids are positive");
    assert!(is_alive(pid));
    drop((lab, a));
    wait_until(SOON, "it is killed", || !is_alive(pid));
    assert!(!child.wait().expect("it is ours").success());
}
