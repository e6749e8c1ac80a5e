//! The program as a classifier (`--datapath tcx`): works like XDP, consumes nothing, and knows VLANs.

use std::net::SocketAddr;
use std::{fs, io};

use socket2::{Domain, Protocol, Socket, Type};
use vrrpd_lab::usual::{ADDRESS, CIDR, INTERVAL, SOON, VRID, assert_on_time, master, router};
use vrrpd_lab::{
    AdvertFrame, Bystander, Capture, Datapath, Flood, Host, Injector, Lab, Vrrpd, classifiers, detach, needs,
    timers, wait_until,
};

/// Length of an Ethernet and an IPv4 header in octets.
const ETHERNET_AND_IP: usize = 34;

/// A backup with the classifier.
fn backup(host: &Host) -> Vrrpd {
    let backup = router(host, 100, Datapath::Tcx).start();
    let state = backup.state();
    assert_eq!((&state["datapath"], &state["datapath_reason"]), (&"tcx".into(), &serde_json::Value::Null));
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 3);
    backup
}

fn ours(host: &Host) -> Vec<u32> {
    classifiers(host, "eth0", "vrrpd")
}

#[test]
fn backup_hears_its_master_through_the_classifier_and_takes_over_on_time() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let _master = master(&a);
    let backup = backup(&b);
    assert_eq!(ours(&b).len(), 1);
    assert_eq!(b.xdp_program("eth0"), None);
    assert_eq!(backup.state()["kernel"]["timer_armed"], true);

    let capture = Capture::on(&client);
    capture.wait_advert(SOON, "the master advertises", |_| true);
    lab.port_down(&a);
    backup.wait_state("master", SOON);
    let adverts = capture.adverts();
    let last = adverts.iter().rfind(|(_, advert)| advert.priority == 150).expect("it was heard");
    let first = capture.wait_advert(SOON, "the backup advertises", |advert| advert.priority == 100);
    assert_on_time(first.0 - last.0, timers::master_down_interval(INTERVAL, 100));

    assert_eq!(backup.terminate(), 0);
    wait_until(SOON, "the classifier is gone", || ours(&b).is_empty());
}

#[test]
fn adverts_that_were_handled_are_seen_on_the_machine_and_do_not_wake_the_daemon() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let _master = master(&a);
    let above = Capture::on(&b);
    let backup = backup(&b);
    above.clear();
    let (received, events) = (backup.counter("adverts_received"), backup.state()["kernel"]["events"].clone());
    wait_until(SOON, "it has heard ten", || backup.counter("adverts_received") >= received + 10);
    wait_until(SOON, "they are seen above", || above.adverts().len() >= 10);
    assert_eq!(backup.state()["kernel"]["events"], events, "none of them was told");
}

#[test]
fn an_advert_of_a_vlan_is_not_taken_for_one_of_the_port_and_one_from_another_subnet_is() {
    let lab = Lab::new();
    let [b, client] = lab.hosts();
    let backup = router(&b, 100, Datapath::Tcx).start();
    backup.wait_state("master", SOON);
    let advert = |source: [u8; 4]| {
        let source = std::net::Ipv4Addr::from(source);
        AdvertFrame::v3(source.into(), VRID, 200, INTERVAL, &[ADDRESS.into()]).build()
    };
    let mut tagged = advert([10, 0, 0, 77]);
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
    let injector = Injector::on(&client);
    injector.send(&tagged);
    // A later untagged advert was heard, and the master is still followed.
    injector.send(&AdvertFrame::v3(client.ipv4().into(), VRID, 50, INTERVAL, &[ADDRESS.into()]).build());
    wait_until(SOON, "it hears the second", || backup.counter("adverts_received") >= 1);
    let state = backup.state();
    assert_eq!((&state["state"], &state["counters"]["adverts_received"]), (&"master".into(), &1.into()));

    // The program knows that it was sent without a tag: it counts, and the classifier stays.
    let flood = Flood::every(INTERVAL, &client, vec![advert([198, 51, 100, 7])]);
    let state = backup.wait_state("backup", SOON);
    assert_eq!(state["datapath"], "tcx");
    flood.stop();
    backup.wait_state("master", SOON);
}

#[test]
fn detached_classifier_is_noticed_before_the_router_takes_over() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let _master = master(&a);
    let backup = backup(&b);
    let programs = ours(&b);
    assert_eq!(programs.len(), 1);
    programs.into_iter().for_each(detach);
    backup.wait_log(SOON, "tcx failed, falling back to raw sockets");
    let received = backup.counter("adverts_received");
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= received + 10);
    let state = backup.state();
    assert_eq!((&state["state"], &state["counters"]["transitions"]), (&"backup".into(), &1.into()));
    assert_eq!(state["datapath"], "raw");
    assert_eq!(state["datapath_reason"], "the classifier was removed from the interface");
}

#[test]
fn advert_in_several_pieces_is_heard() {
    let lab = Lab::new();
    let [b, client] = lab.hosts();
    let backup = router(&b, 100, Datapath::Tcx).start();
    backup.wait_state("master", SOON);
    let advert = AdvertFrame::v3(client.ipv4().into(), VRID, 200, INTERVAL, &[ADDRESS.into()]).build();
    let (header, rest) = advert[ETHERNET_AND_IP..].split_at(8);
    let socket = client.namespace().enter(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112)))?;
        socket.bind_device(Some(b"eth0"))?;
        socket.set_multicast_ttl_v4(255)?;
        socket.connect(&SocketAddr::from(([224, 0, 0, 18], 0)).into())?;
        io::Result::Ok(socket)
    });
    let socket = socket.expect("root may have one");
    wait_until(SOON, "it hears the other master", || {
        // The kernel puts the second part into another page.
        socket.send_with_flags(header, libc::MSG_MORE).expect("it is sent");
        socket.send(rest).expect("it is sent");
        backup.state()["state"] == "backup"
    });
    let state = backup.state();
    let rejected = state["counters"]["rejected"].as_object().expect("counters by reason");
    assert!(rejected.values().all(|count| *count == 0), "{rejected:?}");
}

#[test]
fn classifier_of_others_in_front_is_found_before_the_router_takes_over_and_one_behind_does_no_harm() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let _behind = Bystander::on(&b, "eth0", Datapath::Tcx);
    let _master = master(&a);
    // It is placed before others.
    let backup = backup(&b);
    let _in_front = Bystander::on(&b, "eth0", Datapath::Tcx);
    backup.wait_log(SOON, "tcx failed, falling back to raw sockets");
    let received = backup.counter("adverts_received");
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= received + 10);
    let state = backup.state();
    assert_eq!((&state["state"], &state["counters"]["transitions"]), (&"backup".into(), &1.into()));
    assert_eq!(state["datapath"], "raw");
    let reason = state["datapath_reason"].as_str().expect("there is one");
    assert!(reason.contains(Bystander::NAME) && reason.contains("in front"), "{reason}");
}

#[test]
fn process_for_which_the_interface_has_no_room_for_a_classifier_uses_raw_sockets() {
    const MOST: usize = 63;
    let lab = Lab::new();
    let [host] = lab.hosts();
    let mut others: Vec<_> = (0..MOST).map(|_| Bystander::on(&host, "eth0", Datapath::Tcx)).collect();
    let with = |path: &str| router(&host, 100, Datapath::Default).args(["--datapath", path]);
    let refused = with("tcx").run_in_foreground();
    assert_eq!(refused.code, 1, "{refused:?}");
    let reason = "tcx: the interface has as many classifiers as the kernel allows";
    assert!(refused.stderr.contains(reason), "{refused:?}");
    let daemon = with("auto").start();
    let state = daemon.state();
    assert_eq!((&state["datapath"], &state["datapath_reason"]), (&"raw".into(), &reason.into()));
    daemon.wait_state("master", SOON);
    assert_eq!(daemon.terminate(), 0);

    others.pop();
    // It takes the last place.
    router(&host, 100, Datapath::Tcx).start().wait_state("master", SOON);
}

#[test]
fn processes_share_an_interface_each_with_its_classifier_and_pins() {
    let lab = Lab::new();
    let [host] = lab.hosts();
    let start = |vrid: u8| {
        let address = format!("10.0.0.{vrid}/24");
        Vrrpd::on(&host).vrid(vrid).address(&address).v3("100ms").datapath(Datapath::Tcx).start()
    };
    let pins = || {
        let namespace = host.namespace().pins("eth0").parent().expect("it has one").to_owned();
        fs::read_dir(namespace).map_or(0, Iterator::count)
    };
    let (first, second) = (start(51), start(52));
    first.wait_state("master", SOON);
    second.wait_state("master", SOON);
    assert_eq!((ours(&host).len(), pins()), (2, 2));
    assert_eq!(second.state()["kernel"]["role"], "master");

    assert_eq!(first.terminate(), 0);
    wait_until(SOON, "one is left", || (ours(&host).len(), pins()) == (1, 1));
    assert_eq!(second.state()["kernel"]["role"], "master");

    second.kill();
    wait_until(SOON, "the classifier is gone", || ours(&host).is_empty());
    assert_eq!(pins(), 1, "what it knew can still be read");
    let third = start(53);
    assert_eq!((third.state()["datapath"].clone(), pins()), ("tcx".into(), 1));
}

#[test]
fn classifier_is_used_without_an_option_and_raw_sockets_where_xdp_is_off() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let file = |line: &str| {
        format!(
            "[[router]]\ninterface = \"eth0\"\nvrid = {VRID}\naddresses = [{CIDR:?}]\nprotocol = \"v3\"\n\
             interval = \"100ms\"\nvmac = \"none\"\n{line}\n"
        )
    };
    let master = router(&a, 150, Datapath::Default).start();
    let state = master.wait_state("master", SOON);
    assert_eq!((&state["datapath"], &state["datapath_reason"]), (&"tcx".into(), &serde_json::Value::Null));
    let backup = Vrrpd::on(&b).config(&file("")).datapath(Datapath::Default).start();
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 3);
    assert_eq!(backup.state()["datapath"], "tcx");
    assert_eq!((ours(&a).len(), ours(&b).len()), (1, 1));

    for (line, reason) in [("xdp = \"off\"", "as configured"), ("datapath = \"raw\"", "as configured")] {
        backup.reload(&file(line));
        wait_until(SOON, "raw sockets receive", || backup.state()["datapath"] == "raw");
        assert_eq!(backup.state()["datapath_reason"], reason);
        wait_until(SOON, "the classifier is gone", || ours(&b).is_empty());
        backup.reload(&file(""));
        wait_until(SOON, "the classifier receives", || backup.state()["datapath"] == "tcx");
    }
    backup.assert_in_log("WARN", 0);
    assert_eq!(master.terminate(), 0);
    backup.wait_state("master", SOON);
}

#[test]
fn raw_sockets_are_used_without_an_option_and_tcx_is_refused_where_programs_are_not_permitted() {
    let lab = Lab::new();
    let [host] = lab.hosts();
    let setpriv = needs::SETPRIV.require().display().to_string();
    let without = |options: &[&str]| {
        let through = [&setpriv, "--inh-caps", "-all", "--bounding-set", "-bpf,-perfmon,-sys_admin", "--"];
        let router = Vrrpd::on(&host).vrid(VRID).address(CIDR).v3("100ms").datapath(Datapath::Default);
        router.args(options.iter().copied()).through(through)
    };
    for options in [&[][..], &["--datapath=auto"]] {
        let daemon = without(options).start();
        let state = daemon.wait_state("master", SOON);
        assert_eq!(state["datapath"], "raw");
        let reason = state["datapath_reason"].as_str().expect("there is one");
        assert!(reason.contains("CAP_BPF"), "{reason}");
        daemon.assert_in_log(
            &format!("INFO data path selected interface=\"eth0\" datapath=\"raw\" reason={reason:?}"),
            1,
        );
        for level in ["WARN", "ERROR"] {
            daemon.assert_in_log(level, 0);
        }
        assert_eq!(daemon.terminate(), 0);
    }

    for path in ["tcx", "xdp-native", "xdp-generic"] {
        let refused = without(&["--datapath", path]).run_in_foreground();
        assert_eq!(refused.code, 1, "{refused:?}");
        let said = format!("--datapath={path}: not possible: ");
        assert!(refused.stderr.contains(&said) && refused.stderr.contains("CAP_BPF"), "{refused:?}");
    }
}

#[test]
fn datapath_and_xdp_together_are_refused() {
    let lab = Lab::new();
    let [host] = lab.hosts();
    let both = router(&host, 100, Datapath::Tcx).args(["--xdp=native"]).run_in_foreground();
    assert_eq!(both.code, 2, "{both:?}");
    assert!(both.stderr.contains("--datapath: cannot be combined with xdp"), "{both:?}");
}

#[test]
fn classifier_works_beside_a_foreign_xdp_program() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let _in_front = Bystander::on(&b, "eth0", Datapath::Generic);
    let theirs = b.xdp_program("eth0");
    assert!(theirs.is_some());
    let master = master(&a);
    let backup = router(&b, 100, Datapath::Default).start();
    assert_eq!(backup.state()["datapath"], "tcx");
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 3);
    assert_eq!((b.xdp_program("eth0"), backup.state()["state"].clone()), (theirs, "backup".into()));

    master.kill();
    backup.wait_state("master", SOON);
    assert_eq!(backup.terminate(), 0);
    assert_eq!(b.xdp_program("eth0"), theirs);
}
