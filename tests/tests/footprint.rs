//! The resource usage of the daemon.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Capture, Lab, Vrrpd, needs, wait_until};

/// One measurement at a time, so that they do not disturb each other.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number after a name in a `status` file of `/proc`.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
    line.trim_start_matches(':')
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

#[test]
fn one_router_takes_less_than_7_mib_of_memory() {
    let _alone = alone();
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let status = fs::read_to_string(format!("/proc/{}/status", router.pid())).expect("it runs");
    let resident = field(&status, "VmRSS");
    println!("resident memory with one router: {resident} KiB");
    assert!(resident < 7 * 1024, "{resident} KiB");
}

/// A busy disk may take seconds to read again what the kernel has dropped.
#[test]
fn program_stays_in_memory_in_both_processes() {
    let _alone = alone();
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    for pid in [router.pid(), router.guardian().expect("it has one")] {
        let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("it runs");
        let text =
            maps.split("VmFlags:").filter(|mapping| mapping.contains(" r-xp ") && mapping.contains("/vrrpd"));
        let kept: Vec<_> = text.map(|mapping| (field(mapping, "Rss"), field(mapping, "Locked"))).collect();
        assert!(!kept.is_empty(), "{maps}");
        for (resident, locked) in kept {
            println!("text: {locked} of {resident} KiB locked");
            assert!(resident > 0 && locked >= resident / 2, "{locked} of {resident} KiB");
        }
    }
    let forbidden = ["sh", "-c", "ulimit -l 0; exec \"$@\"", "sh"];
    let setpriv = needs::SETPRIV.require().display().to_string();
    let bounded = [&setpriv[..], "--inh-caps", "-all", "--bounding-set", "-ipc_lock", "--"];
    let without = Vrrpd::usual(&a, 100).args(["--log-level", "debug"]);
    drop(router);
    let without = without.through([&forbidden[..], &bounded].concat()).start();
    without.wait_state("master", SOON);
    without.wait_log(SOON, "cannot lock the program in memory");
}

#[test]
fn memory_for_loading_a_program_is_released() {
    let _alone = alone();
    let own_memory = |options: &[&str]| {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let router = Vrrpd::on(&a).vrid(51).priority(255).address(CIDR).args(options).start();
        router.wait_state("master", SOON);
        router.usage().own
    };
    // With a virtual MAC address there is a classifier for frames to the own one.
    let (without, with) = (own_memory(&["--vmac", "none"]), own_memory(&["--vmac", "interface"]));
    println!("own memory: {without} KiB without a virtual MAC address, {with} KiB with one");
    assert!(with < without + 512, "{with} KiB, not {without} KiB");
}

#[test]
fn idle_backup_wakes_only_for_adverts() {
    let _alone = alone();
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let quick = |host, priority| Vrrpd::on(host).vrid(51).priority(priority).address(CIDR).v3("20ms");
    let master = quick(&a, 150).start();
    master.wait_state("master", SOON);
    let backup = quick(&b, 100).start();
    let received = backup.counter("adverts_received");
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") > received + 5);

    // No requests in between, since each answer is a wake-up.
    let capture = Capture::on(&b);
    wait_until(SOON, "it is idle", || !capture.adverts().is_empty());
    let before = (backup.wake_ups(), capture.adverts().len());
    wait_until(SOON, "a hundred adverts", || capture.adverts().len() >= before.1 + 100);
    let (woken, adverts) = (backup.wake_ups() - before.0, capture.adverts().len() - before.1);
    println!("{woken} wake-ups for {adverts} adverts");
    assert!(woken <= adverts as u64 + 5, "{woken} wake-ups for {adverts} adverts");
    assert_eq!(backup.state()["state"], "backup");
}

#[test]
fn idle_master_wakes_only_to_advertise() {
    let _alone = alone();
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let master = Vrrpd::on(&a).vrid(51).address(CIDR).v3("20ms").args(["--garp-delay", "0"]).start();
    master.wait_state("master", SOON);
    let capture = Capture::on(&client);
    wait_until(SOON, "it is idle", || capture.adverts().len() >= 5);
    let before = (master.wake_ups(), capture.adverts().len());
    wait_until(SOON, "a hundred adverts", || capture.adverts().len() >= before.1 + 100);
    let (woken, adverts) = (master.wake_ups() - before.0, capture.adverts().len() - before.1);
    println!("{woken} wake-ups for {adverts} adverts");
    // Up to two per advert: one by a timer, one by the daemon's own frame.
    assert!(woken <= 2 * adverts as u64 + 5, "{woken} wake-ups for {adverts} adverts");
}
