//! Groups whose members are separate processes (`-M`): how they find each other, what happens when one is gone, and
//! which are refused. Two servers between two networks; see [`vrrpd_lab::site`].

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;
use vrrpd_common::group::{Key, Message, Standing};
use vrrpd_common::{Family, Vrid};
use vrrpd_lab::site::{
    Connection, Kind, Server, Site, assert_resigns, assert_steady, failover, first_advert, member, repeatedly,
};
use vrrpd_lab::usual::{INTERVAL, SOON};
use vrrpd_lab::{
    AdvertFrame, Injector, Intruder, ScriptLog, Signal, Vrrpd, atropos, timers, wait_for, wait_until,
};

#[test]
fn process_of_the_master_that_is_killed_takes_the_others_along_and_joins_again_when_started() {
    let site = Site::set_up();
    let mut a = Server::start(&site.a, Kind::Processes, [150, 150]);
    let b = Server::start(&site.b, Kind::Processes, [100, 100]);
    assert_steady(&a, &b);
    let captures = site.captures();

    let start = Instant::now();
    a.daemons[1].kill();
    for capture in &captures {
        let taken = first_advert(capture, start, 100) - start;
        assert!(taken <= failover(), "{taken:?}");
    }
    assert_resigns(&a, 0, &captures[0]);
    b.wait_all("master");
    let left = a.state(0);
    assert_eq!((left["state"].as_str(), left["reason"].as_str()), (Some("backup"), Some("group")));
    assert_eq!(left["group"]["missing"], serde_json::json!(["eth1/52"]), "{left}");
    assert_eq!((left["group"]["members"].as_u64(), left["group"]["ready"].as_bool()), (Some(1), Some(false)));
    wait_until(SOON, "it only waits for the other one", || a.lacking(0) == "eth1/52 missing");

    let again = member(&site.a, 1, 150, "2").beside(&a.daemons[0]).start();
    a.daemons[1] = again;
    assert_steady(&a, &b);
    let group = a.state(0)["group"].clone();
    assert_eq!(group["present"], serde_json::json!(["eth0/51", "eth1/52"]));
    assert_eq!((group["missing"].clone(), group["lacking"].clone()), (serde_json::json!([]), Value::Null));
    assert!(
        atropos(&site.a, &a.daemons[0].directory(), &["--state"])
            .stdout
            .contains("group      2 of 2 members, ready")
    );
}

#[test]
fn process_that_leaves_takes_the_others_along_and_leaves_no_socket() {
    let site = Site::set_up();
    let a = Server::start(&site.a, Kind::Processes, [150, 150]);
    let b = Server::start(&site.b, Kind::Processes, [100, 100]);
    assert_steady(&a, &b);
    let socket = a.daemons[1].directory().join("vrrpd_eth1_52.group");
    assert!(socket.exists());
    assert_eq!(fs::metadata(&socket).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert_eq!(a.daemons[1].terminate(), 0);
    assert!(!socket.exists());
    b.wait_all("master");
    assert_eq!(a.state(0)["reason"], "group");
}

#[test]
fn stopped_process_counts_as_gone_and_comes_back() {
    let site = Site::set_up();
    let a = Server::start(&site.a, Kind::Processes, [150, 150]);
    let b = Server::start(&site.b, Kind::Processes, [100, 100]);
    assert_steady(&a, &b);
    a.daemons[1].pause();
    b.wait_all("master");
    wait_until(SOON, "the other one gives up", || !a.has(0));
    a.daemons[1].resume();
    assert_steady(&a, &b);
}

#[test]
fn members_that_start_at_the_same_time_find_each_other() {
    let site = Site::set_up();
    for _ in 0..5 {
        let first = member(&site.a, 0, 100, "2");
        let second = member(&site.a, 1, 100, "2").in_directory_of(&first);
        let daemons = std::thread::scope(|scope| {
            let both = [first, second].map(|builder| scope.spawn(|| builder.start()));
            both.map(|one| one.join().expect("it starts"))
        });
        let a = Server { host: site.a.clone(), daemons: daemons.into() };
        a.wait_all("master");
        for side in 0..2 {
            assert_eq!(a.state(side)["group"]["present"], serde_json::json!(["eth0/51", "eth1/52"]));
        }
        // After a kill, programs stay on the interfaces for a moment.
        for daemon in &a.daemons {
            assert_eq!(daemon.terminate(), 0);
        }
    }
}

#[test]
fn members_that_missed_each_other_find_each_other_later() {
    let site = Site::set_up();
    let first = member(&site.a, 0, 100, "2").start();
    let (socket, hidden) = (first.directory().join("vrrpd_eth0_51.group"), first.directory().join("hidden"));
    fs::rename(&socket, &hidden).expect("it is there");
    let second = member(&site.a, 1, 100, "2").beside(&first).start();
    fs::rename(&hidden, &socket).expect("it is there");
    let a = Server { host: site.a.clone(), daemons: vec![first, second] };
    a.wait_all("master");
}

#[test]
fn tcp_connection_through_the_servers_survives_a_process_that_is_killed() {
    for vmac in ["none", "interface", "macvlan"] {
        let site = Site::set_up();
        let mut a = Server::start_with(&site.a, Kind::Processes, [150, 150], vmac);
        let b = Server::start_with(&site.b, Kind::Processes, [100, 100], vmac);
        assert_steady(&a, &b);
        let mut connection = Connection::open(&site.clients);
        connection.ask(*b"one\n");
        a.daemons[1].kill();
        b.wait_all("master");
        connection.ask(*b"two\n");
        a.daemons[1] = member(&site.a, 1, 150, "2").vmac(vmac).beside(&a.daemons[0]).start();
        assert_steady(&a, &b);
        connection.ask(*b"tri\n");
    }
}

#[test]
fn group_of_two_with_one_process_is_never_master_and_reports_the_missing_one() {
    let site = Site::set_up();
    let router = member(&site.a, 0, 150, "2").start();
    let a = Server { host: site.a.clone(), daemons: vec![router] };
    let [capture, _] = site.captures();
    wait_until(SOON, "it would be master otherwise", || {
        a.daemons[0].atropos(&["--state"]).stdout.contains("1 of 2 members, not ready (1 not seen or silent)")
    });
    std::thread::sleep(timers::master_down_interval(INTERVAL, 150) * 3);
    assert_eq!(a.state(0)["state"], "backup");
    assert!(capture.adverts().is_empty() && !a.has(0));

    let second = member(&site.a, 1, 150, "2").beside(&a.daemons[0]).start();
    a.wait_all("master");
    drop(second);
}

#[test]
fn group_of_one_is_master_alone() {
    let site = Site::set_up();
    let router = member(&site.a, 0, 100, "1").start();
    router.wait_state("master", SOON);
    site.lab.port_down(&site.a);
    router.wait_state("fault", SOON);
    site.lab.port_up(&site.a);
    router.wait_state("master", SOON);
}

#[test]
fn willing_member_that_hears_its_master_again_is_not_willing_any_more() {
    let site = Site::set_up();
    // Side 1 has another master, so the member on side 0 waits for the group.
    let above = AdvertFrame::v3(
        Ipv4Addr::new(10, 1, 0, 77).into(),
        52,
        250,
        INTERVAL,
        &[Ipv4Addr::new(10, 1, 0, 100).into()],
    )
    .build();
    let advert = AdvertFrame::v3(
        Ipv4Addr::new(10, 0, 0, 77).into(),
        51,
        200,
        INTERVAL,
        &[Ipv4Addr::new(10, 0, 0, 100).into()],
    )
    .build();
    let injectors = site.clients.each_ref().map(|client| Injector::on_interface(client, "lan"));
    let a = Server::start(&site.a, Kind::Processes, [100, 100]);
    repeatedly(&injectors[1], &above, INTERVAL / 2, || {
        let waits = || a.lacking(1) == "eth1/52 listening";
        wait_until(SOON, "side 0 waits for side 1", waits);
        // The same advert each time, so that only its arrival is new. The other daemon is asked, since a request makes
        // a daemon read its records.
        for _ in 0..3 {
            injectors[0].send(&advert);
            wait_until(SOON, "side 0 follows its master", || {
                a.lacking(1) == "eth0/51 listening, eth1/52 listening"
            });
            wait_until(SOON, "and waits for side 1 again", waits);
        }
        assert_eq!(a.transitions(), 2, "both are backup since they started");
    });
    a.wait_all("master");
}

#[test]
fn script_that_hangs_does_not_hold_its_group_up() {
    let site = Site::set_up();
    let end = tempfile::tempdir().expect("a temporary directory can be made");
    let end = end.path().join("end");
    let hangs = ScriptLog::running(&format!("echo $3; until test -e {}; do sleep 0.05; done", end.display()));
    let script = hangs.path().display().to_string();
    let router = |side, priority| member(&site.a, side, priority, "2").args(["-U", &script, "-D", &script]);
    let first = router(0, 150).start();
    let second = router(1, 150).beside(&first).start();
    let a = Server { host: site.a.clone(), daemons: vec![first, second] };
    let b = Server::start(&site.b, Kind::Processes, [100, 100]);
    assert_steady(&a, &b);
    assert!(!hangs.runs().is_empty());
    site.lab.port_down(&site.a);
    b.wait_all("master");
    site.lab.port_up(&site.a);
    assert_steady(&a, &b);
    fs::write(&end, "").expect("it can be written");
    assert_eq!((a.daemons[0].terminate(), a.daemons[1].terminate()), (0, 0));
}

#[test]
fn socket_left_behind_is_no_member_and_is_replaced() {
    let site = Site::set_up();
    let a = Server::start(&site.a, Kind::Processes, [100, 100]);
    a.wait_all("master");
    a.daemons[1].kill();
    let socket = a.daemons[0].directory().join("vrrpd_eth1_52.group");
    a.daemons[0].kill();
    assert!(socket.exists(), "it was left behind");
    let first = member(&site.a, 0, 100, "2").beside(&a.daemons[0]).start();
    let group = wait_for(SOON, "it answers", || {
        let a = Server { host: site.a.clone(), daemons: Vec::new() };
        let answer = atropos(&a.host, &first.directory(), &["--state", "--json"]);
        let states = serde_json::from_str::<Value>(&answer.stdout).ok()?;
        states
            .as_array()?
            .iter()
            .find(|state| state["pid"] == first.pid())
            .map(|state| state["group"].clone())
    });
    assert_eq!((group["members"].as_u64(), group["size"].as_u64()), (Some(1), Some(2)), "{group}");
    let second = member(&site.a, 1, 100, "2").beside(&a.daemons[0]).start();
    let a = Server { host: site.a.clone(), daemons: vec![first, second] };
    a.wait_all("master");
}

#[test]
fn a_peer_of_another_user_or_with_invalid_or_too_many_messages_is_disconnected() {
    let site = Site::set_up();
    let a = Server::start(&site.a, Kind::Processes, [100, 100]);
    a.wait_all("master");
    let daemon = &a.daemons[0];
    let socket = daemon.directory().join("vrrpd_eth0_51.group");
    let transitions = a.transitions();

    Intruder::connect(&socket).send(b"");
    for nonsense in [&b"\0\xff"[..], b"eth0/51", &[b'x'; 200]] {
        let intruder = Intruder::connect(&socket);
        assert!(intruder.send(nonsense));
        intruder.wait_closed(SOON);
    }
    let of_another = Intruder::connect(&socket);
    assert!(of_another.send(b"1 eth9/9"));
    of_another.wait_closed(SOON);
    let namespace = site.a.namespace().enter(|| fs::metadata("/proc/thread-self/ns/net"));
    let introduction = format!("{} eth9/9", namespace.expect("there is one").ino());
    let intruder = Intruder::connect(&socket);
    assert!(intruder.send(introduction.as_bytes()) && intruder.send(b"what?"));
    intruder.wait_closed(SOON);
    daemon.wait_log(SOON, "invalid message from group peer");

    let directories: Vec<PathBuf> = socket.ancestors().skip(1).take(2).map(PathBuf::from).collect();
    for directory in &directories {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("it is ours");
    let nobody = Intruder::connect_as_nobody(&socket);
    nobody.wait_closed(SOON);
    daemon.wait_log(SOON, "group peer of another user rejected");

    let steady = || {
        assert_eq!((a.transitions(), a.is_all("master")), (transitions, true), "nobody was taken in by it");
        assert_eq!(a.state(0)["group"]["present"], serde_json::json!(["eth0/51", "eth1/52"]));
    };
    steady();

    // A surplus member that would yield, but sends too many messages.
    let message = Message {
        term: 0,
        standing: Standing::Master,
        members: 1,
        size: 2,
        first: Key { family: Family::Ipv4, vrid: Vrid::new(9).expect("is legal"), addresses: 0 },
        master_down_interval: vrrpd_common::Duration::from_secs(3),
    };
    let intruder = Intruder::connect(&socket);
    assert!(intruder.send(introduction.as_bytes()));
    wait_until(SOON, "it is let go", || (0..500).any(|_| !intruder.send(&message.to_octets())));
    daemon.wait_log(SOON, "sends too many messages");
    steady();
}

#[test]
fn invalid_group_size_and_group_size_with_a_file_are_refused() {
    let site = Site::set_up();
    for wrong in ["0", "10", "-1", "two"] {
        let finished = member(&site.a, 0, 100, wrong).run();
        assert_eq!(finished.code, 2, "{wrong}: {finished:?}");
        assert!(finished.stderr.contains("-M") && finished.stderr.contains("1 to 9"), "{}", finished.stderr);
    }
    let text = "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.100/24\"]\n";
    let finished = Vrrpd::on(&site.a).config(text).args(["-M", "2"]).run();
    assert_eq!(finished.code, 2, "{finished:?}");
    assert!(finished.stderr.contains("-M") && finished.stderr.contains("[[group]]"), "{}", finished.stderr);
}

#[test]
fn member_reports_the_group_to_vrrpds_users_in_the_state_file() {
    let site = Site::set_up();
    let a = Server::start(&site.a, Kind::Processes, [100, 100]);
    a.daemons[0].signal(Signal::SIGUSR1);
    let file = a.daemons[0].directory().join("vrrpd_eth0_51.state");
    let text = wait_for(SOON, "the state file", || fs::read_to_string(&file).ok());
    assert!(text.contains("vrrpd: eth0 atropos information monitoring process: 2\n"), "{text}");
}
