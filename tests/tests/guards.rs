//! Limits of the daemon's resource usage, in numbers that depend neither on the clock nor on the load of the machine.
//!
//! A limit is the measured value plus about 15 %. A change that makes something cheaper lowers the limit; one that
//! makes something more expensive for a reason raises it, with the reason in the commit. Each test prints its values:
//! `cargo xtask test --datapath raw --test guards -- --nocapture`. `wakeups` and `footprint` count wake-ups as well.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vrrpd_lab::program::{Hook, Program};
use vrrpd_lab::trial::hex;
use vrrpd_lab::usual::{ADDRESS, CIDR, SOON, VRID};
use vrrpd_lab::{
    AdvertFrame, Capture, Datapath, Flood, Host, Lab, Strace, Vrrpd, callgrind, classifiers, wait_until,
};

const INTERVAL: Duration = Duration::from_millis(10);
/// Number of adverts over which something is counted.
const ADVERTS: u64 = 300;

/// One measurement at a time, so that they do not disturb each other.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[track_caller]
fn assert_at_most(seen: u64, most: u64, what: &str) {
    println!("{what}: {seen}, {most} allowed");
    assert!(seen <= most, "{what}: {seen}, {most} allowed");
}

/// System calls of a daemon per hundred adverts, measured while `adverts` increases by `count`.
fn calls_per_advert(host: &Host, daemon: &Vrrpd, count: u64, adverts: impl Fn() -> u64) -> u64 {
    let strace = Strace::of(host, daemon.pid());
    let before = adverts();
    wait_until(SOON, "adverts go on", || adverts() >= before + count);
    let seen = adverts() - before;
    let calls = strace.stop();
    println!("{calls:?} for {seen} adverts");
    calls.values().sum::<u64>() * 100 / seen
}

fn sent_by(capture: &Capture, host: &Host) -> u64 {
    let own = IpAddr::from(host.ipv4());
    capture.adverts().iter().filter(|(_, advert)| advert.source == own).count() as u64
}

#[test]
fn raw_backup_makes_few_system_calls_for_an_advert() {
    let _alone = alone();
    let lab = Lab::new();
    let [host, master] = lab.hosts();
    let advert = AdvertFrame::v3(master.ipv4().into(), VRID, 150, INTERVAL, &[ADDRESS.into()]).build();
    let flood = Flood::every(INTERVAL, &master, vec![advert]);
    let daemon = Vrrpd::on(&host).vrid(VRID).address(CIDR).v3("10ms").datapath(Datapath::Raw).start();
    wait_until(SOON, "there is a ring", || daemon.packet_sockets().len() == 3);
    wait_until(SOON, "it hears the master", || daemon.counter("adverts_received") >= 10);
    let calls = calls_per_advert(&host, &daemon, ADVERTS, || flood.sent());
    // epoll; the timer with every third advert. Frames are in shared memory.
    assert_at_most(calls, 155, "system calls for a hundred adverts, raw backup");
}

#[test]
fn adverts_that_arrive_together_wake_a_raw_backup_a_few_times() {
    const BURSTS: u64 = 100;
    let _alone = alone();
    let lab = Lab::new();
    let [host, masters] = lab.hosts();
    let mut text =
        "[defaults]\ninterface = \"eth0\"\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\n"
            .to_owned();
    let mut adverts = Vec::new();
    for vrid in 1..=255 {
        let address = Ipv4Addr::new(10, 1, 0, vrid);
        writeln!(text, "[[router]]\nvrid = {vrid}\naddresses = [\"{address}\"]")
            .expect("writing to a string works");
        let interval = Duration::from_millis(100);
        adverts.push(AdvertFrame::v3(masters.ipv4().into(), vrid, 150, interval, &[address.into()]).build());
    }
    let flood = Flood::every(Duration::from_millis(20), &masters, adverts);
    let daemon = Vrrpd::on(&host).vrid(255).config(&text).datapath(Datapath::Raw).start();
    wait_until(SOON, "it hears the masters", || {
        daemon.states().iter().all(|state| state["counters"]["adverts_received"].as_u64() >= Some(10))
    });
    let (woken, sent) = (daemon.wake_ups(), flood.sent());
    wait_until(SOON, "bursts go on", || flood.sent() >= sent + BURSTS * 255);
    let (woken, bursts) = (daemon.wake_ups() - woken, (flood.sent() - sent) / 255);
    // Two at its start, then after each pause. Without pauses there are up to fifty.
    assert_at_most(woken * 100 / bursts, 800, "wake-ups for a hundred bursts, raw backup of 255");
}

/// The verifier takes longer than a Backup waits with adverts every 10 ms, so routers on other interfaces must be able
/// to send meanwhile.
#[test]
fn program_for_a_new_interface_is_loaded_and_attached_outside_the_loop() {
    let _alone = alone();
    for (datapath, kind) in
        [(Datapath::Native, "BPF_PROG_TYPE_XDP"), (Datapath::Tcx, "BPF_PROG_TYPE_SCHED_CLS")]
    {
        let mut lab = Lab::new();
        let [host] = lab.hosts();
        let other = lab.add_network();
        lab.join(&host, other, "eth1", "10.0.1.1/24");
        let defaults = "[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\n";
        let router = |interface: &str, vrid| {
            format!("[[router]]\ninterface = {interface:?}\nvrid = {vrid}\naddresses = [\"10.9.0.{vrid}\"]\n")
        };
        let text = format!("{defaults}{}", router("eth0", 51));
        let daemon = Vrrpd::on(&host).vrid(51).config(&text).datapath(datapath).start();
        daemon.wait_state("master", SOON);
        let of_one = |vrid| {
            let states = daemon.states();
            states.into_iter().find(|state| state["vrid"] == vrid).unwrap_or_default()
        };

        let strace = Strace::calls_of(&host, daemon.pid(), "bpf");
        host.ip("link del eth0");
        daemon.wait_state("fault", SOON);
        lab.join(&host, 0, "eth0", "10.0.0.1/24");
        daemon.wait_state("master", SOON);
        assert_eq!(of_one(51)["datapath"], datapath.name().expect("it has one"));
        let lines = strace.lines();
        assert!(!lines.iter().any(|line| line.contains(kind)), "the program is loaded already: {lines:#?}");
        // Some drivers take longer for this than the verifier for the program.
        assert_not_by_the_loop(&daemon, &lines, "BPF_LINK_CREATE");

        let strace = Strace::calls_of(&host, daemon.pid(), "bpf");
        // More routers than there are places.
        let more: String = (52..=90).map(|vrid| router("eth1", vrid)).collect();
        daemon.reload(&format!("{text}{more}"));
        wait_until(SOON, "the new routers are master", || {
            (52..=90).all(|vrid| of_one(vrid)["state"] == "master")
        });
        assert_eq!(of_one(52)["datapath"], datapath.name().expect("it has one"));
        let lines = strace.lines();
        for what in [kind, "BPF_LINK_CREATE"] {
            assert_not_by_the_loop(&daemon, &lines, what);
        }

        if datapath == Datapath::Tcx {
            let strace = Strace::calls_of(&host, daemon.pid(), "bpf");
            daemon.reload(&text);
            wait_until(SOON, "it is gone", || classifiers(&host, "eth1", "vrrpd").is_empty());
            assert_not_by_the_loop(&daemon, &strace.lines(), "BPF_LINK_DETACH");
        }
    }
}

/// The kernel waits for all processors when a classifier is attached or detached.
#[test]
fn classifier_for_frames_to_the_own_mac_is_attached_and_detached_outside_the_loop() {
    let _alone = alone();
    let lab = Lab::new();
    let [host] = lab.hosts();
    let daemon = Vrrpd::on(&host).vrid(51).address("10.0.0.51/24").vmac("interface").datapath(Datapath::Raw);
    let daemon = daemon.v3("100ms").start();
    daemon.wait_state("master", SOON);

    let strace = Strace::calls_of(&host, daemon.pid(), "bpf,close");
    host.ip("link del eth0");
    wait_until(SOON, "the classifier is gone", || daemon.classifiers() == 0);
    lab.join(&host, 0, "eth0", "10.0.0.1/24");
    wait_until(SOON, "there is another one", || daemon.classifiers() == 1);
    let lines = strace.lines();
    for what in ["anon_inode:bpf_link", "BPF_PROG_TYPE_SCHED_CLS"] {
        assert_not_by_the_loop(&daemon, &lines, what);
    }
    daemon.wait_state("master", SOON);
}

/// There are system calls with these words, and the thread of the loop has made none of them.
fn assert_not_by_the_loop(daemon: &Vrrpd, lines: &[String], words: &str) {
    let calls: Vec<_> = lines.iter().filter(|line| line.contains(words)).collect();
    let of_the_loop = format!("{} ", daemon.pid());
    let is_right = !calls.is_empty() && !calls.iter().any(|line| line.starts_with(&of_the_loop));
    assert!(is_right, "{words}: the loop is {of_the_loop}: {calls:#?}");
}

/// The kernel takes longer to close a packet socket than a Backup waits with adverts every 10 ms.
#[test]
fn packet_sockets_of_a_removed_interface_are_closed_outside_the_loop() {
    let _alone = alone();
    let mut lab = Lab::new();
    let [host] = lab.hosts();
    let other = lab.add_network();
    lab.join(&host, other, "eth1", "10.0.1.1/24");
    let mut text = "[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\n".to_owned();
    for (interface, vrid) in [("eth0", 51), ("eth1", 52)] {
        writeln!(
            text,
            "[[router]]\ninterface = {interface:?}\nvrid = {vrid}\naddresses = [\"10.9.0.{vrid}\"]"
        )
        .expect("writing to a string works");
    }
    let daemon = Vrrpd::on(&host).vrid(51).config(&text).datapath(Datapath::Raw).start();
    let all_are_master = || daemon.states().iter().all(|state| state["state"] == "master");
    wait_until(SOON, "all are master", all_are_master);
    // One receives, one receives in a ring, one sends.
    wait_until(SOON, "there are rings", || daemon.packet_sockets().len() == 6);
    let before = daemon.packet_sockets();

    let strace = Strace::calls_of(&host, daemon.pid(), "close");
    host.ip("link del eth1");
    wait_until(SOON, "the sockets of the interface are closed", || daemon.packet_sockets().len() == 3);
    let left = daemon.packet_sockets();
    let lines = strace.lines();
    for socket in before.difference(&left) {
        assert_not_by_the_loop(&daemon, &lines, &format!("socket:[{socket}]"));
    }
}

#[test]
fn master_makes_few_system_calls_for_an_advert() {
    let _alone = alone();
    let lab = Lab::new();
    let [host, client] = lab.hosts();
    let daemon = Vrrpd::on(&host).vrid(VRID).address(CIDR).v3("10ms").datapath(Datapath::Raw);
    let daemon = daemon.args(["--garp-delay", "0"]).start();
    daemon.wait_state("master", SOON);
    let capture = Capture::on(&client);
    let calls = calls_per_advert(&host, &daemon, ADVERTS, || sent_by(&capture, &host));
    // epoll, the timer, the frame.
    assert_at_most(calls, 345, "system calls for a hundred adverts, master");
}

#[test]
fn master_of_255_routers_sends_due_adverts_in_one_batch() {
    let _alone = alone();
    let lab = Lab::new();
    let [host, client] = lab.hosts();
    let mut text = "[defaults]\ninterface = \"eth0\"\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\ngarp-delay = 0\n"
        .to_owned();
    for vrid in 1..=255 {
        let address = Ipv4Addr::new(10, 1, 0, vrid);
        writeln!(text, "[[router]]\nvrid = {vrid}\naddresses = [\"{address}\"]")
            .expect("writing to a string works");
    }
    let daemon = Vrrpd::on(&host).vrid(255).config(&text).datapath(Datapath::Raw).start();
    let all_are_master = || daemon.states().iter().all(|state| state["state"] == "master");
    wait_until(SOON, "all are master", all_are_master);
    let capture = Capture::on(&client);
    wait_until(SOON, "it is idle", || sent_by(&capture, &host) >= 255);
    let calls = calls_per_advert(&host, &daemon, 255 * 20, || sent_by(&capture, &host));
    // Four batches of frames, and 3 calls for one advert; a busy machine splits turns. Sent one at a time, it is 100.
    assert_at_most(calls, 20, "system calls for a hundred adverts, master of 255");
}

#[test]
fn backup_in_the_kernel_makes_no_system_call_for_an_advert() {
    let _alone = alone();
    let lab = Lab::new();
    let [host, master] = lab.hosts();
    let advert = AdvertFrame::v3(master.ipv4().into(), VRID, 150, INTERVAL, &[ADDRESS.into()]).build();
    let flood = Flood::every(INTERVAL, &master, vec![advert]);
    for datapath in [Datapath::Native, Datapath::Tcx] {
        let daemon = Vrrpd::on(&host).vrid(VRID).address(CIDR).v3("10ms").datapath(datapath).start();
        wait_until(SOON, "it hears the master", || daemon.counter("adverts_received") >= 10);
        let calls = calls_per_advert(&host, &daemon, ADVERTS, || flood.sent());
        assert_at_most(calls, 5, &format!("system calls for a hundred adverts, backup with {datapath:?}"));
    }
}

#[test]
fn programs_in_the_kernel_stay_small() {
    // The second number is the verifier's work, with a limit of 1,000,000 in the kernel; it differs between kernels.
    for (hook, name, most, most_verified) in [
        (Hook::Xdp, "vrrpd", 4400, 170_000),
        (Hook::Tcx, "vrrpd", 4400, 175_000),
        (Hook::Xdp, "vrrpd_command", 1250, 12_000),
        (Hook::Tcx, "vrrpd_command", 1250, 12_000),
    ] {
        let (program, _ring) = Program::load_for(hook);
        let (instructions, verified) = program.instructions(name);
        let what = format!("instructions of {name}, {hook:?}");
        assert_at_most(instructions.into(), most, &what);
        assert_at_most(verified.into(), most_verified, &format!("{what}, that were verified"));
    }
}

/// Instructions of a program per repetition; one of its arguments is the number of repetitions.
fn instructions_each<'a>(program: &Path, arguments: impl Fn(&'a str) -> [&'a str; 2]) -> u64 {
    const TIMES: [&str; 2] = ["1000", "2000"];
    let [some, more] = TIMES.map(|times| callgrind::instructions(program, arguments(times)));
    // Both include the instructions of the program's start.
    (more - some) / 1000
}

#[test]
fn state_machine_takes_few_instructions() {
    let program = callgrind::release_example("vrrpd-common", "router");
    for (role, what, most) in
        [("backup", "an advert to a backup that follows it", 232), ("master", "the timer of a master", 201)]
    {
        let each = instructions_each(&program, |times| [role, times]);
        assert_at_most(each, most, &format!("instructions for {what}"));
    }
}

#[test]
fn classifying_a_frame_takes_few_instructions() {
    let program = callgrind::release_example("vrrpd-common", "classify");
    let source = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
    let advert = |vrid| AdvertFrame::v3(source, vrid, 150, INTERVAL, &[ADDRESS.into()]);
    let mut tcp = advert(VRID).build();
    tcp[23] = 6;
    for (what, frame, most) in [
        ("TCP", tcp, 112),
        ("an advert for others", advert(VRID + 1).build(), 174),
        ("an advert for us", advert(VRID).build(), 466),
    ] {
        let frame = hex(&frame);
        let each = instructions_each(&program, |times| [times, &frame]);
        assert_at_most(each, most, &format!("instructions to classify {what}"));
    }
}
