//! Groups: the routers of a machine fail over together, in one process or in several. Two servers between two networks;
//! see [`vrrpd_lab::site`].

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use vrrpd_lab::site::{
    Connection, KINDS, Kind, SIDES, Server, Site, assert_resigns, assert_steady, failover, first_advert,
    repeatedly,
};
use vrrpd_lab::usual::{INTERVAL, SOON, TOLERANCE};
use vrrpd_lab::{AdvertFrame, Injector, ScriptLog, Vrrpd, stretched, timers, wait_for, wait_until};

/// Maximum time until a group gives up after the cause.
const AT_ONCE: Duration = Duration::from_millis(10);
/// Maximum lateness of a group beyond the timers of its routers.
const WITHIN: Duration = Duration::from_millis(20);

#[test]
fn link_of_the_master_that_is_pulled_takes_both_sides_along_and_nothing_flaps_when_it_is_back() {
    for kind in KINDS {
        let site = Site::set_up();
        let (a, b) = (Server::start(&site.a, kind, [150, 150]), Server::start(&site.b, kind, [100, 100]));
        assert_steady(&a, &b);
        let captures = site.captures();

        let start = Instant::now();
        site.lab.port_down(&site.a);
        for capture in &captures {
            let taken = first_advert(capture, start, 100) - start;
            assert!(taken <= failover(), "{kind:?}: {taken:?}");
        }
        assert_resigns(&a, 1, &captures[1]);
        b.wait_all("master");
        assert_eq!(
            (a.state(0)["reason"].as_str(), a.state(1)["reason"].as_str()),
            (Some("link-down"), Some("group"))
        );
        assert!(!a.has(0) && !a.has(1), "{kind:?}");
        wait_until(SOON, "the other side only waits for this one", || a.lacking(1) == "eth0/51 unusable");
        let steady = [a.transitions(), b.transitions()];
        let sent = b.adverts_sent();
        wait_until(SOON, "the master advertises", || b.adverts_sent() >= sent + 2 * 20);
        assert_eq!([a.transitions(), b.transitions()], steady);

        site.lab.port_up(&site.a);
        assert_steady(&a, &b);
    }
}

/// A busy machine may be late, so one good round of several is sufficient.
#[test]
fn both_addresses_are_on_the_other_server_within_the_timers_plus_20_ms() {
    const ROUNDS: usize = 10;
    for kind in KINDS {
        let site = Site::set_up();
        let (a, b) = (Server::start(&site.a, kind, [150, 150]), Server::start(&site.b, kind, [100, 100]));
        let mut late = Vec::new();
        while late.iter().min().is_none_or(|late| *late > WITHIN) {
            assert!(late.len() < ROUNDS, "{kind:?}: late by {late:?}");
            assert_steady(&a, &b);
            let captures = site.captures();
            wait_until(SOON, "the master advertises", || captures[0].adverts().len() >= 2);
            let start = Instant::now();
            site.lab.port_down(&site.a);
            let taken = captures.iter().map(|capture| first_advert(capture, start, 100)).max();
            let adverts = captures[0].adverts();
            let last = adverts.iter().rfind(|(_, advert)| advert.priority == 150).expect("it was heard");
            let demanded = last.0 + timers::master_down_interval(INTERVAL, 100);
            late.push(taken.expect("there are two sides").saturating_duration_since(demanded));
            b.wait_all("master");
            site.lab.port_up(&site.a);
        }
    }
}

#[test]
fn backup_command_to_a_member_makes_all_members_resign_within_10_ms() {
    for kind in KINDS {
        let site = Site::set_up();
        let (a, b) = (Server::start(&site.a, kind, [150, 150]), Server::start(&site.b, kind, [100, 100]));
        assert_steady(&a, &b);
        let captures = site.captures();
        // On a busy machine a process may be delayed for longer, but not each time.
        let mut apart = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            assert_eq!(a.daemons[0].atropos(&["--backup", "-v", "52"]).code, 0);
            let [first, second] = captures.each_ref().map(|capture| first_advert(capture, start, 0));
            apart.push(first.max(second) - first.min(second));
            assert_steady(&b, &a);
            assert_eq!(a.state(0)["reason"], "group");
            assert_eq!(a.state(1)["reason"], "operator");
            assert_eq!(a.daemons[0].atropos(&["--master", "-v", "52"]).code, 0);
            assert_steady(&a, &b);
        }
        assert!(apart.iter().any(|apart| *apart <= stretched(AT_ONCE)), "{kind:?}: {apart:?}");
    }
}

#[test]
fn crossed_priorities_end_with_one_machine_master_of_both_sides() {
    for kind in KINDS {
        let site = Site::set_up();
        let a = Server::start(&site.a, kind, [150, 100]);
        let b = Server::start(&site.b, kind, [100, 150]);
        let master = wait_for(SOON, "one of them is master of all", || {
            let (of_a, of_b) = (a.is_all("master"), b.is_all("master"));
            assert!(!(of_a && of_b));
            (of_a || of_b).then_some(of_a)
        });
        let (master, backup) = if master { (&a, &b) } else { (&b, &a) };
        assert_steady(master, backup);
    }
}

#[test]
fn tcp_connection_through_the_servers_survives_a_failover() {
    for kind in KINDS {
        let site = Site::set_up();
        let (a, b) = (Server::start(&site.a, kind, [150, 150]), Server::start(&site.b, kind, [100, 100]));
        assert_steady(&a, &b);
        let mut connection = Connection::open(&site.clients);
        connection.ask(*b"one\n");
        site.lab.port_down_of(&site.a, "eth1");
        b.wait_all("master");
        connection.ask(*b"two\n");
        site.lab.port_up_of(&site.a, "eth1");
        assert_steady(&a, &b);
        connection.ask(*b"tri\n");
    }
}

#[test]
fn better_master_on_a_minor_side_is_tolerated_for_a_while_and_then_displaces_the_group() {
    let site = Site::set_up();
    // The tolerance is renewed by each advert; after three intervals without one, the next would count as a new master.
    let often = INTERVAL / 2;
    let better = AdvertFrame::v3(
        Ipv4Addr::new(10, 1, 0, 77).into(),
        52,
        250,
        often,
        &[Ipv4Addr::new(10, 1, 0, 100).into()],
    )
    .build();
    for kind in KINDS {
        let a = Server::start(&site.a, kind, [150, 150]);
        a.wait_all("master");
        let injector = Injector::on_interface(&site.clients[1], "lan");
        let captures = site.captures();
        let start = Instant::now();
        // Read while the better master is heard; when it is silent the group serves again, for another reason.
        let (took, states) = repeatedly(&injector, &better, often, || {
            wait_until(SOON, "the group gives up", || !a.has(0));
            (start.elapsed(), [a.state(0), a.state(1)])
        });
        let hold = timers::master_down_interval(INTERVAL, 150);
        // On a busy machine an advert may be late enough to count as the first one of a new master.
        let longest = hold * 2 + stretched(TOLERANCE);
        assert!(took >= hold && took <= longest, "{kind:?}: {took:?}, {hold:?} demanded");
        assert_eq!(states[1]["reason"], "higher-priority-advert");
        assert_eq!(states[0]["reason"], "group");
        assert_resigns(&a, 0, &captures[0]);
    }
}

#[test]
fn group_shares_its_fate_with_virtual_mac_addresses_in_both_modes() {
    for vmac in ["interface", "macvlan"] {
        for kind in KINDS {
            let site = Site::set_up();
            let a = Server::start_with(&site.a, kind, [150, 150], vmac);
            let b = Server::start_with(&site.b, kind, [100, 100], vmac);
            assert_steady(&a, &b);
            site.lab.port_down_of(&site.a, "eth1");
            b.wait_all("master");
            wait_until(SOON, "the other side is given up", || !a.has(0));
            site.lab.port_up_of(&site.a, "eth1");
            assert_steady(&a, &b);
        }
    }
}

#[test]
fn scripts_of_a_group_follow_its_state_to_the_end_of_a_killed_daemon() {
    let site = Site::set_up();
    let log = ScriptLog::new(&["VRRP_MEMBERS", "VRRP_REASON"]);
    let mut text = "[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\n".to_owned();
    for (interface, vrid, address) in SIDES {
        let router = format!("interface = \"{interface}\"\nvrid = {vrid}\naddresses = [\"{address}\"]");
        writeln!(text, "[[router]]\nname = \"on {interface}\"\n{router}").expect("writing to a string works");
    }
    let path = log.path();
    writeln!(
        text,
        "[[group]]\nname = \"edge\"\nmembers = [\"on eth0\", \"eth1/52\"]\nup = [{path:?}, \"up\"]\nnotify = {path:?}\n\
         script-style = \"keepalived\""
    )
    .expect("writing to a string works");
    let start = || Server { host: site.a.clone(), daemons: vec![Vrrpd::on(&site.a).config(&text).start()] };
    let told = |state: &str| log.wait_run(SOON, &format!("GROUP edge {state} 0|eth0/51 eth1/52|"));
    let server = start();
    told("BACKUP");
    told("MASTER");
    server.wait_all("master");
    assert!(log.runs().iter().any(|run| run.starts_with("up|")), "{:?}", log.runs());
    site.a.ip("link set eth1 down");
    told("FAULT");
    site.a.ip("link set eth1 up");
    server.wait_all("master");
    wait_until(SOON, "it is Master again", || log.runs().last().is_some_and(|run| run.contains("MASTER")));
    let before = log.runs().len();
    server.daemons[0].kill_daemon();
    told("STOP");
    assert!(log.runs()[before].ends_with("|crash"), "{:?}", log.runs());
    assert_eq!(log.runs().len(), before + 1, "once for both members");
    drop(server);

    let server = start();
    server.wait_all("master");
    wait_until(SOON, "it is Master again", || log.runs().last().is_some_and(|run| run.contains("MASTER")));
    let before = log.runs().len();
    assert_eq!(server.daemons[0].terminate(), 0);
    let last = "GROUP edge STOP 0|eth0/51 eth1/52|shutdown";
    assert_eq!(log.runs()[before..], [last]);
}

#[test]
fn group_of_a_file_is_formed_kept_and_dissolved_by_sighup() {
    let site = Site::set_up();
    let text = |groups: &str, more: &str| {
        let mut text = "[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\n".to_owned();
        for (interface, vrid, address) in SIDES {
            writeln!(
                text,
                "[[router]]\ninterface = \"{interface}\"\nvrid = {vrid}\naddresses = [\"{address}\"]"
            )
            .expect("writing to a string works");
        }
        text + more + groups
    };
    let edge = "[[group]]\nname = \"edge\"\nmembers = [\"eth0/51\", \"eth1/52\"]\n";
    let a = Server { host: site.a.clone(), daemons: vec![Vrrpd::on(&site.a).config(&text("", "")).start()] };
    a.wait_all("master");
    assert_eq!(a.state(0)["group"], Value::Null);

    a.daemons[0].reload(&text(edge, ""));
    wait_until(SOON, "the group is there", || a.state(0)["group"]["name"] == "edge");
    a.wait_all("master");
    let transitions = a.transitions();
    let third = "[[router]]\ninterface = \"eth0\"\nvrid = 53\naddresses = [\"10.0.0.103/24\"]\n";
    a.daemons[0].reload(&text(edge, third));
    wait_until(SOON, "a router that is no member comes", || {
        a.states_of(&["-v", "53"]).first().is_some_and(|state| state["state"] == "master")
    });
    let of_members = |side: usize| a.state(side)["counters"]["transitions"].as_u64().expect("it is counted");
    assert_eq!(of_members(0) + of_members(1), transitions, "the group stays as it was");
    site.lab.port_down_of(&site.a, "eth1");
    wait_until(SOON, "the group gives up", || !a.has(0));
    assert_eq!(a.states_of(&["-v", "53"])[0]["state"], "master");

    a.daemons[0].reload(&text("", third));
    wait_until(SOON, "each is on its own", || a.has(0) && a.state(0)["group"] == Value::Null);
}

/// Two members of a group on two networks, prepared by a script that ends when `SIDE/go` is there.
fn prepared_members(home: &Path, priority: u8) -> String {
    let member = |interface: &str, vrid: u8, address: &str| {
        let place = home.join(interface);
        let script =
            format!("echo run >>{0}.runs; until [ -e {0}.go ]; do sleep 0.01; done", place.display());
        format!(
            "[[router]]\ninterface = \"{interface}\"\nvrid = {vrid}\naddresses = [\"{address}\"]\n\
             prepare = [\"/bin/sh\", \"-c\", {script:?}]\n"
        )
    };
    let [first, second] = SIDES.map(|(interface, vrid, address)| member(interface, vrid, address));
    format!(
        "[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\npriority = {priority}\n\
         prepare-timeout = \"60s\"\n{first}{second}\
         [[group]]\nname = \"edge\"\nmembers = [\"eth0/51\", \"eth1/52\"]\n"
    )
}

#[test]
fn group_is_master_only_when_all_members_are_prepared() {
    let site = Site::set_up();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let file = |name: &str| home.path().join(name);
    let captures = site.captures();
    let runs = |side: &str| fs::read_to_string(file(side)).unwrap_or_default().lines().count();
    let daemon = Vrrpd::of_file(&site.a, &prepared_members(home.path(), 100));
    let server = Server { host: site.a.clone(), daemons: vec![daemon] };
    wait_until(SOON, "both scripts run", || runs("eth0.runs") == 1 && runs("eth1.runs") == 1);
    fs::write(file("eth0.go"), "").expect("the directory is ours");
    wait_until(SOON, "one member waits for the other", || server.lacking(0).contains("eth1/52"));
    assert!(server.is_all("backup"), "{:#?}", server.states());
    assert!(captures.iter().all(|capture| capture.adverts().is_empty()), "nobody advertises");

    // An advertisement for the member that is not ready keeps all of them backup, until it is gone.
    let other = Server::start(&site.b, Kind::File, [150, 150]);
    other.wait_all("master");
    server.daemons[0].wait_log(SOON, "preparation ended");
    fs::write(file("eth1.go"), "").expect("the directory is ours");
    assert_steady(&other, &server);
    drop(other);
    server.wait_all("master");
    assert_eq!([runs("eth0.runs"), runs("eth1.runs")], [2, 2], "each is prepared anew");
}
