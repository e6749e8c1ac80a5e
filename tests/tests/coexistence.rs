//! Beside programs and rules of others on the same interface: what each data path still hears, and what the daemon says.
//!
//! The order in the kernel is XDP, classifiers (tcx), filters of `tc`, nftables' family `netdev`, raw sockets.

use vrrpd_lab::usual::{SOON, master};
use vrrpd_lab::{
    Bystander, Conduct, Datapath, Host, Lab, Vrrpd, classifiers, needs, wait_until, with_pinned_classifier,
};

fn backup(host: &Host, datapath: Datapath) -> Vrrpd {
    Vrrpd::usual(host, 100).datapath(datapath).start()
}

/// It hears the master for longer than its Master_Down_Interval, and has never been anything else than Backup.
#[track_caller]
fn assert_follows(backup: &Vrrpd) {
    let received = backup.counter("adverts_received");
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= received + 10);
    let state = backup.state();
    assert_eq!(
        (&state["state"], &state["counters"]["transitions"]),
        (&"backup".into(), &1.into()),
        "{state}"
    );
}

/// It handles adverts in the kernel without a complaint, follows the master, and takes over when it has failed.
#[track_caller]
fn assert_serves_with(datapath: &str, backup: &Vrrpd, master: &Vrrpd) {
    assert_follows(backup);
    assert_eq!(backup.state()["datapath"], datapath);
    master.kill();
    backup.wait_state("master", SOON);
    assert_eq!(backup.state()["datapath"], datapath);
    backup.assert_in_log("WARN", 0);
}

/// Although there is a master, it becomes one as well: no advert has come to it.
#[track_caller]
fn assert_hears_nothing(backup: &Vrrpd, master: &Vrrpd) {
    backup.wait_state("master", SOON);
    assert_eq!(backup.counter("adverts_received"), 0);
    assert!(master.is_running());
}

/// Runs a program on a machine, which must succeed.
#[track_caller]
fn run(host: &Host, program: needs::Program, arguments: &str) -> String {
    let finished = host.run(program.require(), arguments.split_whitespace());
    assert!(finished.success(), "{} {arguments}: {finished:?}", program.name);
    finished.stdout
}

/// A `tc` filter for received packets, in direct-action mode.
fn add_tc_filter(host: &Host, conduct: Conduct) {
    run(host, needs::TC, "qdisc add dev eth0 clsact");
    with_pinned_classifier(conduct, |path| {
        run(host, needs::TC, &format!("filter add dev eth0 ingress bpf direct-action object-pinned {path}"))
    });
    let shown = run(host, needs::TC, "filter show dev eth0 ingress");
    assert!(shown.contains(Bystander::NAME), "{shown}");
}

/// A rule for received packets of the interface that drops adverts.
fn add_nftables_rule(host: &Host) {
    for command in [
        "add table netdev filter",
        "add chain netdev filter ingress { type filter hook ingress device eth0 priority 0; policy accept; }",
        "add rule netdev filter ingress ip protocol 112 counter drop",
    ] {
        let finished = host.run(needs::NFT.require(), [command]);
        assert!(finished.success(), "{command}: {finished:?}");
    }
}

#[test]
fn filter_of_tc_comes_after_the_classifier_and_before_raw_sockets() {
    for (conduct, reaches_raw) in [(Conduct::Accepts, true), (Conduct::DropsAdverts, false)] {
        let lab = Lab::new();
        let [a, b, c] = lab.hosts();
        let master = master(&a);
        for host in [&b, &c] {
            add_tc_filter(host, conduct);
        }
        let raw = backup(&c, Datapath::Raw);
        if reaches_raw {
            assert_follows(&raw);
        } else {
            assert_hears_nothing(&raw, &master);
        }
        assert_eq!(raw.terminate(), 0);
        let backup = backup(&b, Datapath::Default);
        assert_serves_with("tcx", &backup, &master);
        assert_eq!(backup.terminate(), 0);
        assert!(
            run(&b, needs::TC, "filter show dev eth0 ingress").contains(Bystander::NAME),
            "it is still there"
        );
    }
}

#[test]
fn nftables_rule_of_the_interface_comes_after_the_classifier_and_before_raw_sockets() {
    let lab = Lab::new();
    let [a, b, c] = lab.hosts();
    let master = master(&a);
    for host in [&b, &c] {
        add_nftables_rule(host);
    }
    let raw = backup(&c, Datapath::Raw);
    assert_hears_nothing(&raw, &master);
    assert_eq!(raw.terminate(), 0);
    assert_serves_with("tcx", &backup(&b, Datapath::Default), &master);
}

#[test]
fn classifier_behind_that_drops_adverts_takes_none_from_the_one_of_the_daemon() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let _behind = Bystander::behind(&b, "eth0", Conduct::DropsAdverts);
    let master = master(&a);
    let backup = backup(&b, Datapath::Default);
    let _far_behind = Bystander::behind(&b, "eth0", Conduct::PassesOnAllButAdverts);
    assert_serves_with("tcx", &backup, &master);
    assert_eq!(classifiers(&b, "eth0", Bystander::NAME).len(), 2);
}

/// It cannot be known that it drops none.
#[test]
fn classifier_in_front_that_passes_on_everything_makes_the_backup_listen_with_raw_sockets() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let master = master(&a);
    let backup = backup(&b, Datapath::Default);
    let in_front = Bystander::with(&b, "eth0", Datapath::Tcx, Conduct::PassesOn);
    // The daemon sleeps while the master lives; each question wakes it.
    wait_until(SOON, "it is found", || backup.state()["datapath"] == "raw");
    let state = backup.state();
    let reason = state["datapath_reason"].as_str().expect("there is one");
    assert!(reason.contains(Bystander::NAME) && reason.contains("in front"), "{reason}");
    assert_follows(&backup);
    drop(in_front);
    master.kill();
    backup.wait_state("master", SOON);
}

/// They do not reach raw sockets either.
#[test]
fn classifier_in_front_that_drops_adverts_is_named_before_the_backup_takes_over() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let _master = master(&a);
    let backup = backup(&b, Datapath::Default);
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 3);
    let _in_front = Bystander::with(&b, "eth0", Datapath::Tcx, Conduct::PassesOnAllButAdverts);
    let line = backup.wait_log(SOON, "tcx failed, falling back to raw sockets");
    assert!(line.contains("ERROR") && line.contains(Bystander::NAME), "{line}");
    let state = backup.wait_state("master", SOON);
    let reason = state["datapath_reason"].as_str().expect("there is one");
    assert!(state["datapath"] == "raw" && reason.contains("runs in front"), "{reason}");
    let log = backup.log();
    let at = |text: &str| log.iter().position(|line| line.contains(text));
    assert!(at("falling back to raw sockets") < at("to=\"master\""), "{log:#?}");
}

#[test]
fn no_data_path_hears_what_a_foreign_xdp_program_drops() {
    for mode in [Datapath::Native, Datapath::Generic] {
        for datapath in [Datapath::Default, Datapath::Raw] {
            let lab = Lab::new();
            let [a, b] = lab.hosts();
            let _in_front = Bystander::with(&b, "eth0", mode, Conduct::DropsAdverts);
            let master = master(&a);
            let backup = backup(&b, datapath);
            assert_hears_nothing(&backup, &master);
            let used = if datapath == Datapath::Raw { "raw" } else { "tcx" };
            assert_eq!(backup.state()["datapath"], used);
        }
    }
}

#[test]
fn commands_that_replace_or_remove_xdp_programs_leave_the_one_of_the_daemon() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let master = master(&a);
    let backup = backup(&b, Datapath::Native);
    let ours = b.xdp_program("eth0");
    assert!(ours.is_some());
    for command in ["link set dev eth0 xdpdrv off", "link set dev eth0 xdp off"] {
        let finished = b.run(needs::IP.require(), command.split_whitespace());
        assert!(!finished.success(), "{command}: {finished:?}");
    }
    assert_eq!(b.xdp_program("eth0"), ours);
    assert_serves_with("xdp-native", &backup, &master);
}
