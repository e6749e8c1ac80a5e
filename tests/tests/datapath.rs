//! The data path: in the kernel if possible, raw sockets otherwise, with the reason.

use std::time::{Duration, Instant};

use vrrpd_lab::usual::{
    ADDRESS, CIDR, INTERVAL, SOON, VRID, assert_on_time, assert_serves, in_mounts_of_its_own, master, router,
};
use vrrpd_lab::{
    AdvertFrame, Bystander, Capture, Datapath, Finished, Flood, Host, Injector, Lab, Signal, Vrrpd,
    VrrpdBuilder, left_files, needs, timers, wait_until,
};

/// Runs the daemon without these capabilities.
fn without(router: VrrpdBuilder, capabilities: &str) -> VrrpdBuilder {
    let setpriv = needs::SETPRIV.require().display().to_string();
    router.through([&setpriv, "--inh-caps", "-all", "--bounding-set", capabilities, "--"])
}

/// The data path of a router, and the reason why not a better one.
fn datapath(router: &Vrrpd) -> (String, String) {
    let state = router.state();
    let text = |key: &str| state[key].as_str().unwrap_or_default().to_owned();
    (text("datapath"), text("datapath_reason"))
}

#[track_caller]
fn assert_falls_back(router: &Vrrpd, to: &str, because: &str) {
    let (path, reason) = datapath(router);
    assert_eq!(path, to, "reason: {reason}");
    assert!(reason.contains(because), "{because:?} is not in the reason: {reason}");
    router.wait_log(SOON, because);
    let lines: Vec<_> = router.log().into_iter().filter(|line| line.contains(because)).collect();
    assert_eq!(lines.len(), 1, "the log says it once: {lines:?}");
}

/// It ends at once, and names in one line the option that is not available and the reason.
#[track_caller]
fn assert_refused(router: &VrrpdBuilder, option: &str, because: &str) {
    for finished in [router.run_in_foreground(), router.run()] {
        let Finished { code, stderr, .. } = &finished;
        assert_eq!(*code, 1, "{finished:?}");
        let lines: Vec<_> = stderr.lines().filter(|line| line.contains(option)).collect();
        assert_eq!(lines.len(), 1, "one line names {option}: {stderr}");
        assert!(lines[0].contains(because), "{because:?} is not in: {}", lines[0]);
        assert_eq!(left_files(&router.directory()), Vec::<String>::new());
    }
}

#[test]
fn auto_is_native_on_a_veth() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let master = master(&a);
    let backup = router(&b, 100, Datapath::Auto).start();
    assert_eq!(datapath(&backup), ("xdp-native".to_owned(), String::new()));
    backup.wait_log(SOON, "data path selected");
    backup.assert_in_log("data path selected", 1);
    assert_serves(&lab, &backup, &master, &client);
}

#[test]
fn without_cap_bpf_raw_sockets_are_used_and_the_reason_is_given() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let master = master(&a);
    let backup = without(router(&b, 100, Datapath::Auto), "-bpf,-perfmon,-sys_admin").start();
    assert_falls_back(&backup, "raw", "CAP_BPF");
    assert_eq!(b.xdp_program("eth0"), None);
    assert_serves(&lab, &backup, &master, &client);
}

#[test]
fn the_capability_that_is_missing_is_the_one_that_is_named() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for (dropped, because) in [
        ("-bpf,-sys_admin", "CAP_BPF is missing"),
        ("-perfmon,-sys_admin", "CAP_PERFMON is missing"),
        ("-bpf,-perfmon,-sys_admin", "CAP_BPF and CAP_PERFMON are missing"),
    ] {
        let router = without(router(&a, 100, Datapath::Auto), dropped).start();
        assert_falls_back(&router, "raw", because);
        assert_eq!(router.terminate(), 0);
    }
    // It implies both.
    let router = without(router(&a, 100, Datapath::Native), "-bpf,-perfmon").start();
    assert_eq!(router.terminate(), 0);
}

#[test]
fn missing_capability_for_frames_to_the_own_mac_is_logged_as_such() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).vmac("interface").datapath(Datapath::Raw);
    let router = without(router, "-bpf,-perfmon,-sys_admin").start();
    let line = router.wait_log(SOON, "frames to the interface's own MAC address are lost");
    assert!(line.contains("CAP_BPF and CAP_PERFMON are missing: needed to load programs"), "{line}");
    assert_eq!(router.count_in_log("relocat"), 0, "{:#?}", router.log());
    router.wait_state("master", SOON);
}

#[test]
fn sysctls_that_cannot_be_set_are_logged_in_one_line_with_the_reason() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$@\"";
    let router = Vrrpd::usual(&a, 100).vmac("macvlan").datapath(Datapath::Raw);
    let router = router.through(in_mounts_of_its_own(read_only)).start();
    let line = router.wait_log(SOON, "/proc/sys is read-only");
    for setting in ["net.ipv4.conf.vrrp4/51.accept_local=1", "net.ipv4.conf.eth0.arp_ignore=1"] {
        assert!(line.contains(setting), "{setting} is not in {line}");
    }
    router.wait_state("master", SOON);
    router.assert_in_log("read-only", 1);
    assert_eq!(router.terminate(), 0);
    assert_eq!(router.count_in_log("os error"), 0, "{:#?}", router.log());
}

#[test]
fn without_cap_bpf_an_explicit_data_path_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for (datapath, option) in [(Datapath::Native, "--xdp=native"), (Datapath::Generic, "--xdp=generic")] {
        let refused = without(router(&a, 100, datapath), "-bpf,-perfmon,-sys_admin");
        assert_refused(&refused, option, "CAP_BPF");
    }
}

#[test]
fn foreign_program_is_not_touched() {
    for mode in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        let master = master(&a);
        let _bystander = Bystander::on(&b, "eth0", mode);
        let theirs = b.xdp_program("eth0");
        assert!(theirs.is_some(), "{mode:?}");
        let backup = router(&b, 100, Datapath::Auto).start();
        assert_falls_back(&backup, "tcx", Bystander::NAME);
        assert_refused(&router(&b, 100, Datapath::Native), "--xdp=native", Bystander::NAME);
        assert_refused(&router(&b, 100, Datapath::Generic), "--xdp=generic", Bystander::NAME);
        assert_eq!(b.xdp_program("eth0"), theirs, "{mode:?}");

        assert_serves(&lab, &backup, &master, &client);
        assert_eq!(backup.terminate(), 0);
        assert_eq!(b.xdp_program("eth0"), theirs, "{mode:?}");
    }
}

#[test]
fn device_without_native_mode_gets_a_classifier_else_generic_mode_and_the_reason() {
    for device in ["link add link eth0 name there0 type macvlan mode bridge", "bridge"] {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        if device == "bridge" {
            b.ip("link add there0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
            b.ip("link set eth0 master there0");
        } else {
            b.ip(device);
        }
        b.ip("addr flush dev eth0");
        b.ip("addr add 10.0.0.2/24 dev there0");
        b.ip("link set there0 up");
        wait_until(SOON, "it has a link", || b.has_link("there0"));

        let refused = router(&b, 100, Datapath::Native).interface("there0");
        assert_refused(&refused, "--xdp=native", "native: the driver does not support it");

        let master = master(&a);
        let start = || router(&b, 100, Datapath::Auto).interface("there0").start();
        let backup = start();
        assert_falls_back(&backup, "tcx", "native: the driver does not support it");
        assert_eq!(b.xdp_program("there0"), None);
        let received = backup.counter("adverts_received");
        wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= received + 3);
        assert_eq!(backup.terminate(), 0);

        // The kernel takes no further classifier.
        let others: Vec<_> = (0..63).map(|_| Bystander::on(&b, "there0", Datapath::Tcx)).collect();
        let backup = start();
        let reason = "native: the driver does not support it; tcx: the interface has as many classifiers as the kernel allows";
        assert_falls_back(&backup, "xdp-generic", reason);
        assert_serves(&lab, &backup, &master, &client);
        drop(others);
    }
}

#[test]
fn reload_that_wants_the_kernel_to_take_the_adverts_has_it_do_so() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.add_bridge("10.2.0.1/24");
    let file = |xdp: &str| {
        format!(
            "[[router]]\ninterface = \"br0\"\nvrid = 51\naddresses = [\"10.2.0.51/24\"]\nprotocol = \"v3\"\n\
             interval = \"100ms\"\nvmac = \"none\"\nxdp = \"{xdp}\"\n"
        )
    };
    let daemon = Vrrpd::on(&a).config(&file("off")).datapath(Datapath::Default).start();
    daemon.wait_state("master", SOON);
    daemon.reload(&file("generic"));
    wait_until(SOON, "the kernel takes its adverts", || {
        let state = daemon.state();
        state["datapath"] == "xdp-generic" && state["state"] == "master"
    });
}

#[test]
fn second_process_on_an_interface_names_the_owner_of_the_hook_and_hears_its_adverts() {
    for mode in [Datapath::Auto, Datapath::Generic] {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let other = |host: &Host, priority, datapath| {
            let router = Vrrpd::on(host).vrid(52).priority(priority).address("10.0.0.101/24").v3("100ms");
            router.datapath(datapath)
        };
        let (master_51, master_52) = (master(&a), other(&a, 150, Datapath::Raw).start());
        master_52.wait_state("master", SOON);

        let first = router(&b, 100, mode).start();
        let program = b.xdp_program("eth0");
        assert!(program.is_some());
        let second = other(&b, 100, Datapath::Auto).beside(&first).start();
        assert_falls_back(&second, "tcx", "another vrrpd");
        assert_eq!(b.xdp_program("eth0"), program);
        for router in [&first, &second] {
            wait_until(SOON, "it hears its master", || router.counter("adverts_received") >= 10);
            let state = router.state();
            assert_eq!((&state["state"], &state["counters"]["transitions"]), (&"backup".into(), &1.into()));
        }

        // Each notices only the failure of its own master.
        master_52.kill();
        second.wait_state("master", SOON);
        assert_eq!(first.state()["state"], "backup");
        master_51.kill();
        first.wait_state("master", SOON);

        // The hook is free now, but the second process continues unchanged.
        assert_eq!(first.terminate(), 0);
        assert_eq!(b.xdp_program("eth0"), None);
        assert!(second.is_master());
    }
}

#[test]
fn adverts_that_were_handled_are_seen_on_the_machine_with_xdp_pass_only() {
    for mode in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        let _master = master(&a);
        let (on_the_wire, above) = (Capture::on(&client), Capture::on(&b));
        let backup = router(&b, 100, mode).start();
        above.clear();
        let received = backup.counter("adverts_received");
        wait_until(SOON, "it has heard ten", || backup.counter("adverts_received") >= received + 10);
        assert_eq!(above.adverts().len(), 0, "{mode:?}: nothing above sees them");

        // Frames for others are passed on.
        let foreign = AdvertFrame::v3(client.ipv4().into(), VRID + 1, 100, INTERVAL, &[ADDRESS.into()]);
        Injector::on(&client).send(&foreign.build());
        above.wait_advert(SOON, "an advert for another router", |advert| advert.vrid == VRID + 1);

        assert_eq!(backup.terminate(), 0);
        let _backup = router(&b, 100, mode).args(["--xdp-pass"]).start();
        on_the_wire.clear();
        above.clear();
        wait_until(SOON, "ten adverts", || on_the_wire.adverts().len() >= 10);
        wait_until(SOON, "they are seen above", || above.adverts().len() >= 10);
    }
}

#[test]
fn priority_lowered_below_the_masters_before_the_timer_runs_out_keeps_the_backup() {
    const SLOW: Duration = Duration::from_millis(400);
    for mode in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        let slow = |host, priority, datapath| {
            Vrrpd::on(host).vrid(VRID).priority(priority).address(CIDR).v3("400ms").datapath(datapath)
        };
        let master = slow(&a, 100, Datapath::Raw).start();
        master.wait_state("master", SOON);
        let capture = Capture::on(&client);
        // It would preempt in 1.3 seconds; before that it gets a priority that does not.
        let backup = slow(&b, 200, mode).args(["-z", "50"]).start();
        let started = Instant::now();
        wait_until(SOON, "it has heard the master", || backup.counter("adverts_received") >= 1);
        backup.signal(Signal::SIGTTIN);
        wait_until(SOON, "it has its new priority", || backup.state()["effective_priority"] == 50);
        assert!(started.elapsed() < SLOW * 3, "the machine is too slow for this test");

        capture.clear();
        wait_until(SOON, "adverts for longer than Master_Down_Interval", || capture.adverts().len() >= 7);
        let state = backup.state();
        assert_eq!((&state["state"], &state["counters"]["transitions"]), (&"backup".into(), &1.into()));
        assert_eq!(state["master"]["priority"], 100);

        lab.port_down(&a);
        let (taken, _) = capture.wait_advert(SOON, "it takes over", |advert| advert.priority == 50);
        let adverts = capture.adverts();
        let (last, _) = adverts.iter().rfind(|(_, advert)| advert.priority == 100).expect("it was heard");
        assert_on_time(taken - *last, timers::master_down_interval(SLOW, 50));
    }
}

#[test]
fn interval_of_the_master_is_learned_whether_it_grows_or_shrinks() {
    for mode in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let [b, client] = lab.hosts();
        // Its own interval is different again.
        let backup = Vrrpd::on(&b).vrid(VRID).address(CIDR).v3("5s").datapath(mode).start();
        let capture = Capture::on(&client);
        let advert =
            |interval| AdvertFrame::v3(client.ipv4().into(), VRID, 150, interval, &[ADDRESS.into()]).build();
        let (short, long) = (Duration::from_millis(100), Duration::from_millis(600));
        let every = |interval| Flood::every(interval, &client, vec![advert(interval)]);

        let flood = every(short);
        wait_until(SOON, "it learns the interval", || backup.state()["master_interval_ns"] == 100_000_000);
        flood.stop();
        // Four times what the shorter interval would have allowed: the longer one counts from its first advert.
        let flood = every(long);
        wait_until(SOON, "three long intervals", || flood.sent() >= 3);
        let state = backup.state();
        assert_eq!((&state["state"], &state["counters"]["transitions"]), (&"backup".into(), &1.into()));
        assert_eq!(state["master_interval_ns"], 600_000_000);
        flood.stop();

        // The shorter one counts again from its first advert, although the timer was set to a later time.
        Injector::on(&client).send(&advert(short));
        let (taken, _) = capture.wait_advert(SOON, "it takes over", |advert| advert.priority == 100);
        let adverts = capture.adverts();
        let (last, _) = adverts.iter().rfind(|(_, advert)| advert.priority == 150).expect("it was sent");
        assert_on_time(taken - *last, timers::master_down_interval(short, 100));
    }
}
