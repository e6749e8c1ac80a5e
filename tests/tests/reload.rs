//! SIGHUP: the configuration is read again, and the difference applied.

use std::time::Duration;

use serde_json::Value;
use vrrpd_lab::usual::{SOON, routers_file};
use vrrpd_lab::{AdvertFrame, Capture, Flood, Host, Lab, ScriptLog, Vrrpd, detach, stretched, wait_until};

const INTERVAL: Duration = Duration::from_millis(100);

#[test]
fn routers_that_did_not_change_miss_no_advert_while_others_come_and_go() {
    let mut lab = Lab::new();
    let [a, client] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", ""), (52, "10.0.0.52", "")]));
    daemon.wait_state_of(51, "master", SOON);
    daemon.wait_state_of(52, "master", SOON);
    let capture = Capture::on(&client);
    let elsewhere = "interface = \"eth1\"";
    daemon.reload(&routers_file(&[
        (51, "10.0.0.51", ""),
        (53, "10.0.0.53", ""),
        (54, "10.1.0.54", elsewhere),
    ]));
    daemon.wait_state_of(53, "master", SOON);
    daemon.wait_state_of(54, "master", SOON);
    wait_until(SOON, "the router that left is gone", || daemon.find(52).is_none());
    assert!(!a.has_address("eth0", "10.0.0.52/24"));
    assert!(a.has_address("eth0", "10.0.0.53/24") && a.has_address("eth1", "10.1.0.54/24"));
    capture.wait_advert(SOON, "it resigns", |advert| advert.vrid == 52 && advert.priority == 0);

    assert_eq!(daemon.state_of(51)["counters"]["transitions"], 2);
    let adverts = capture.adverts();
    let times: Vec<_> = adverts.iter().filter(|(_, advert)| advert.vrid == 51).map(|(at, _)| *at).collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().expect("several adverts");
    assert!(longest < INTERVAL * 2 + stretched(Duration::from_millis(50)), "{longest:?} between two adverts");
    assert_eq!(daemon.terminate(), 0);
    assert!(a.addresses("eth1").iter().all(|address| !address.starts_with("10.1.0.54")));
}

#[test]
fn other_priority_and_scripts_are_taken_without_leaving() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let script = ScriptLog::new(&[]);
    let first = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", "priority = 150")]));
    first.wait_state_of(51, "master", SOON);
    let second = Vrrpd::of_file(&b, &routers_file(&[(51, "10.0.0.51", "priority = 100")]));
    second.wait_state_of(51, "backup", SOON);
    let up = format!("priority = 200\nup = \"{}\"", script.path().display());
    second.reload(&routers_file(&[(51, "10.0.0.51", &up)]));
    second.wait_state_of(51, "master", SOON);
    first.wait_state_of(51, "backup", SOON);
    script.wait_run(SOON, "MASTER 200");
    assert_eq!(second.state_of(51)["counters"]["transitions"], 2);
}

#[test]
fn other_addresses_are_served_after_a_reload() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", "")]));
    daemon.wait_state_of(51, "master", SOON);
    daemon.reload(&routers_file(&[(51, "10.0.0.61", "")]));
    wait_until(SOON, "the other address is there", || a.has_address("eth0", "10.0.0.61/24"));
    assert!(!a.has_address("eth0", "10.0.0.51/24"));
    assert_eq!(daemon.terminate(), 0);
    assert!(!a.has_address("eth0", "10.0.0.61/24"));
}

#[test]
fn virtual_mac_comes_and_goes_with_a_reload() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let own = a.mac("eth0");
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", "")]));
    daemon.wait_state_of(51, "master", SOON);
    for (mode, is_there) in [
        (
            "interface",
            (|host: &Host| host.ip("link show dev eth0").contains("00:00:5e:00:01:33")) as fn(&Host) -> bool,
        ),
        ("macvlan", |host: &Host| host.ip("addr show").contains("scope global noprefixroute vrrp4.51")),
        ("none", |host: &Host| !host.ip("link show").contains("00:00:5e:00:01:33")),
    ] {
        daemon.reload(&routers_file(&[(51, "10.0.0.51", &format!("vmac = \"{mode}\""))]));
        wait_until(SOON, &format!("the virtual MAC is there as {mode} has it"), || {
            is_there(&a) && daemon.find(51).is_some_and(|router| router["state"] == "master")
        });
    }
    assert_eq!(a.mac("eth0"), own);
    assert_eq!(daemon.terminate(), 0);
}

#[test]
fn nothing_begins_when_the_end_comes_while_the_file_is_read() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for _ in 0..5 {
        let stays = (50, "10.0.0.50", "");
        let daemon = Vrrpd::of_file(&a, &routers_file(&[stays, (51, "10.0.0.51", "vmac = \"macvlan\"")]));
        daemon.wait_state_of(51, "master", SOON);
        let owner = "vmac = \"macvlan\"\npriority = 255";
        daemon.reload(&routers_file(&[stays, (52, "10.0.0.52", owner), (53, "10.0.0.53", "priority = 255")]));
        assert_eq!(daemon.terminate(), 0);
        assert!(!a.has_address("eth0", "10.0.0.53/24") && !a.ip("link show").contains("vrrp4"));
    }
}

#[test]
fn owner_that_is_taken_out_resigns_although_it_has_nothing_to_give_back() {
    let mut lab = Lab::new();
    let [a, client] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    let owner = "priority = 255";
    let elsewhere = "interface = \"eth1\"";
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.1", owner), (54, "10.1.0.54", elsewhere)]));
    daemon.wait_state_of(51, "master", SOON);
    let capture = Capture::on(&client);
    daemon.reload(&routers_file(&[(54, "10.1.0.54", elsewhere)]));
    capture.wait_advert(SOON, "it resigns", |advert| advert.vrid == 51 && advert.priority == 0);
}

#[test]
fn frames_to_the_own_mac_are_no_exception_when_there_is_no_virtual_one_any_more() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let with = routers_file(&[(51, "10.0.0.51", "vmac = \"interface\""), (52, "10.0.0.52", "")]);
    let daemon = Vrrpd::of_file(&a, &with);
    daemon.wait_state_of(51, "master", SOON);
    assert_eq!(daemon.classifiers(), 1);
    daemon.reload(&routers_file(&[(52, "10.0.0.52", "")]));
    wait_until(SOON, "the router is gone", || daemon.find(51).is_none());
    wait_until(SOON, "the classifier is gone", || daemon.classifiers() == 0);
}

#[test]
fn a_reconfigured_router_is_no_leftover_and_a_new_interface_is_no_fault() {
    let mut lab = Lab::new();
    let [a] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", "")]));
    daemon.wait_state_of(51, "master", SOON);
    for interval in ["200ms", "100ms", "200ms", "100ms"] {
        let changed = format!("interval = \"{interval}\"");
        daemon
            .reload(&routers_file(&[(51, "10.0.0.51", &changed), (54, "10.1.0.54", "interface = \"eth1\"")]));
        wait_until(SOON, "it is another one", || {
            daemon.find(51).is_some_and(|router| {
                router["interval_ns"] == if interval == "200ms" { 200_000_000 } else { 100_000_000 }
                    && router["state"] == "master"
            })
        });
    }
    daemon.wait_state_of(54, "master", SOON);
    for leftover in ["leftover virtual", "leftover macvlan", "leftover classifier"] {
        assert_eq!(daemon.count_in_log(leftover), 0, "{:#?}", daemon.log());
    }
    assert_eq!(daemon.count_in_log("interface-removed"), 0, "{:#?}", daemon.log());
}

/// The lines of a group.
fn group(name: &str, members: &[&str]) -> String {
    format!("[[group]]\nname = \"{name}\"\nmembers = {members:?}\n")
}

#[test]
fn members_of_a_group_keep_their_state_when_it_is_renamed_reordered_or_gets_and_loses_a_member() {
    let mut lab = Lab::new();
    let [a, client] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    let elsewhere = "interface = \"eth1\"";
    let two = routers_file(&[(51, "10.0.0.51", ""), (52, "10.1.0.52", elsewhere)]);
    let three = routers_file(&[(51, "10.0.0.51", ""), (52, "10.1.0.52", elsewhere), (53, "10.0.0.53", "")]);
    let daemon = Vrrpd::of_file(&a, &(two.clone() + &group("edge", &["eth0/51", "eth1/52"])));
    daemon.wait_state_of(51, "master", SOON);
    daemon.wait_state_of(52, "master", SOON);
    let capture = Capture::on(&client);
    let has_group = |vrid: u8, name: &str, size: u8| {
        wait_until(SOON, &format!("router {vrid} is in {name} of {size}"), || {
            daemon.find(vrid).is_some_and(|router| {
                let group = &router["group"];
                group["name"] == name
                    && group["size"] == size
                    && group["ready"] == true
                    && router["state"] == "master"
            })
        });
    };
    daemon.reload(&(two.clone() + &group("rim", &["eth1/52", "eth0/51"])));
    has_group(51, "rim", 2);
    daemon.reload(&(three.clone() + &group("rim", &["eth1/52", "eth0/51", "eth0/53"])));
    for vrid in [51, 52, 53] {
        has_group(vrid, "rim", 3);
    }
    daemon.reload(&(two.clone() + &group("rim", &["eth1/52", "eth0/51"])));
    has_group(52, "rim", 2);
    wait_until(SOON, "the router that left is gone", || daemon.find(53).is_none());
    daemon.reload(&two);
    wait_until(SOON, "there is no group", || daemon.find(51).is_some_and(|router| router["group"].is_null()));
    for vrid in [51, 52] {
        assert_eq!(daemon.wait_state_of(vrid, "master", SOON)["counters"]["transitions"], 2, "router {vrid}");
    }
    let adverts = capture.adverts();
    let times: Vec<_> = adverts.iter().filter(|(_, advert)| advert.vrid == 51).map(|(at, _)| *at).collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().expect("several adverts");
    assert!(longest < INTERVAL * 2 + stretched(Duration::from_millis(50)), "{longest:?} between two adverts");
}

#[test]
fn new_member_that_does_not_become_master_takes_the_others_along_in_the_end() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let better = Vrrpd::of_file(&b, &routers_file(&[(53, "10.0.0.53", "priority = 200")]));
    better.wait_state_of(53, "master", SOON);
    let two = routers_file(&[(51, "10.0.0.51", ""), (52, "10.0.0.52", "")]);
    let daemon = Vrrpd::of_file(&a, &(two + &group("edge", &["eth0/51", "eth0/52"])));
    daemon.wait_state_of(51, "master", SOON);
    let three = routers_file(&[(51, "10.0.0.51", ""), (52, "10.0.0.52", ""), (53, "10.0.0.53", "")]);
    daemon.reload(&(three.clone() + &group("edge", &["eth0/51", "eth0/52", "eth0/53"])));
    daemon.wait_state_of(53, "backup", SOON);
    daemon.wait_state_of(51, "backup", SOON);
    daemon.wait_state_of(52, "backup", SOON);
    // A member that waits for the others serves when it has left the group.
    daemon.reload(&(three + &group("edge", &["eth0/52", "eth0/53"])));
    daemon.wait_state_of(51, "master", SOON);
}

/// The counters of router 51, not only recent ones.
fn counters(daemon: &Vrrpd) -> Option<Vec<(String, u64)>> {
    let counters = daemon.find(51)?["counters"].take();
    let all = [
        "/adverts_sent",
        "/adverts_received",
        "/garp_sent",
        "/transitions",
        "/rejected/ttl",
        "/rejected/vrid",
    ];
    Some(
        all.map(|path| (path.to_owned(), counters.pointer(path).and_then(Value::as_u64).unwrap_or(0)))
            .to_vec(),
    )
}

#[test]
fn counters_never_go_back_while_the_daemon_lives() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let two = || routers_file(&[(51, "10.0.0.51", ""), (52, "10.0.0.52", "")]);
    let daemon = Vrrpd::of_file(&a, &two());
    daemon.wait_state_of(51, "master", SOON);
    let advert = |ttl| {
        let advert = AdvertFrame::v3(b.ipv4().into(), 51, 200, INTERVAL, &[[10, 0, 0, 51].into()]);
        AdvertFrame { ttl, ..advert }
    };
    let flood = Flood::every(INTERVAL, &b, vec![advert(255).build(), advert(7).build()]);
    daemon.wait_state_of(51, "backup", SOON);
    wait_until(SOON, "both kinds are counted", || {
        counters(&daemon).is_some_and(|all| all[1].1 > 3 && all[4].1 > 3)
    });
    let mut last = counters(&daemon).expect("it is there");
    let mut goes_on = |after: &str| {
        wait_until(SOON, &format!("it hears more after {after}"), || {
            let Some(now) = counters(&daemon) else { return false };
            for (now, last) in now.iter().zip(&last) {
                assert!(now.1 >= last.1, "after {after}: {now:?}, {last:?}");
            }
            let more = now[1].1 > last[1].1;
            last = now;
            more
        });
    };
    daemon.reload(&routers_file(&[(51, "10.0.0.61", ""), (52, "10.0.0.52", "")]));
    goes_on("another address");
    daemon.reload(&routers_file(&[(52, "10.0.0.52", "")]));
    wait_until(SOON, "it has left", || daemon.find(51).is_none());
    daemon.reload(&two());
    goes_on("its return");
    if let Some(program) = a.xdp_program("eth0") {
        detach(program);
        wait_until(SOON, "it is missed", || daemon.find(51).is_some_and(|it| it["datapath"] == "raw"));
        goes_on("the fall-back");
    }
    a.ip("link del eth0");
    daemon.wait_state_of(51, "fault", SOON);
    lab.join(&a, 0, "eth0", "10.0.0.1/24");
    goes_on("the return of the interface");
    drop(flood);
}

#[test]
fn routers_that_come_and_go_again_and_again_cost_no_memory() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let few = routers_file(&[(51, "10.0.0.51", "")]);
    let come: Vec<_> = (100..120).map(|vrid| (vrid, format!("10.1.0.{vrid}"))).collect();
    let many: Vec<_> = come.iter().map(|(vrid, address)| (*vrid, address.as_str(), "")).collect();
    let many = routers_file(&[&[(51, "10.0.0.51", "")], &many[..]].concat());
    let daemon = Vrrpd::of_file(&a, &few);
    let mut reloads = 0;
    let mut come_and_go = || {
        for text in [&many, &few] {
            daemon.reload(text);
            reloads += 1;
            wait_until(SOON, "it is read", || daemon.count_in_log("configuration reloaded") == reloads);
        }
    };
    // Memory that the allocator keeps has been requested by then.
    (0..60).for_each(|_| come_and_go());
    // Routers that stay in memory cost more each time; the allocator may once take more.
    let growth = [(); 3].map(|()| {
        let before = daemon.usage().own;
        (0..60).for_each(|_| come_and_go());
        daemon.usage().own.saturating_sub(before)
    });
    assert!(growth.into_iter().min() <= Some(20), "60 times 20 routers cost {growth:?} KiB");
}
