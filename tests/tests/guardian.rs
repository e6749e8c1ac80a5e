//! The daemon is killed, and its guardian resigns and cleans up.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use vrrpd_lab::death::{Doomed, INTERVAL as DOOMED_INTERVAL};
use vrrpd_lab::usual::{ADDRESS, CIDR, INTERVAL, SOON, assert_on_time};
use vrrpd_lab::{
    Capture, Datapath, Dying, Host, Lab, ScriptLog, Signal, Snapshot, Vrrpd, VrrpdBuilder, is_alive, needs,
    stretched, timers, wait_until,
};

const MODES: [&str; 3] = ["none", "interface", "macvlan"];

fn router(host: &Host, priority: u8, mode: &str) -> VrrpdBuilder {
    Vrrpd::usual(host, priority).vmac(mode)
}

fn wait_all(daemons: &[Vrrpd], state: &str) {
    for daemon in daemons {
        daemon.wait_state(state, SOON);
    }
}

/// Everything but the kernel's records, which stay for atropos.
fn wait_until_as_before(before: &Snapshot, host: &Host) {
    let differences = || {
        let all = before.differences(&Snapshot::of(host));
        all.into_iter().filter(|line| !line.starts_with("+ pin: ")).collect::<Vec<_>>()
    };
    let mut left = Vec::new();
    wait_until(SOON, "the machine is as it was", || {
        left = differences();
        left.is_empty()
    });
}

#[test]
fn kill_9_of_the_daemon_leaves_nothing_on_its_machine() {
    for mode in MODES {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let before = Snapshot::of(&a);
        let master = router(&a, 150, mode).address("10.0.0.101").start();
        master.wait_state("master", SOON);
        assert!(!before.differences(&Snapshot::of(&a)).is_empty(), "{mode}: there is something to give back");
        let guardian = master.guardian().expect("it has one");
        master.kill_daemon();
        wait_until_as_before(&before, &a);
        wait_until(SOON, "the guardian has ended", || !is_alive(guardian));
    }
}

#[test]
fn the_other_router_takes_over_within_skew_time_and_has_the_address_alone() {
    for mode in MODES {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        let master = router(&a, 150, mode).start();
        master.wait_state("master", SOON);
        let backup = router(&b, 100, mode).start();
        let capture = Capture::on(&client);
        wait_until(SOON, "the master advertises", || capture.adverts().len() >= 5);
        master.kill_daemon();
        let (resigned, _) = capture.wait_advert(SOON, "a resignation", |advert| advert.priority == 0);
        let (taken, _) = capture.wait_advert(SOON, "b advertises", |advert| advert.priority == 100);
        assert_on_time(taken - resigned, timers::skew_time(INTERVAL, 100));
        assert_eq!(backup.wait_state("master", SOON)["reason"], "master-resigned");
        wait_until(SOON, "a has not got the address any more", || {
            !a.ip("addr show").contains(&ADDRESS.to_string())
        });
        assert!(!a.ip("link show up").contains("00:00:5e:00:01:33"), "{mode}");
    }
}

#[test]
fn member_of_a_group_that_is_killed_gives_its_address_to_the_other_machine() {
    let mut lab = Lab::new();
    let [a, b] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    lab.join(&b, network, "eth1", "10.1.0.2/24");
    let machine = |host: &Host, priority| {
        let first = Vrrpd::usual(host, priority).args(["-M", "2"]).start();
        let second = Vrrpd::on(host).interface("eth1").vrid(52).priority(priority).v3("100ms").beside(&first);
        let second = second.args(["-M", "2", "10.1.0.100/24"]).start();
        [first, second]
    };
    let on_a = machine(&a, 150);
    wait_all(&on_a, "master");
    let on_b = machine(&b, 100);
    wait_all(&on_b, "backup");
    on_a[1].kill_daemon();
    wait_all(&on_b, "master");
    for (interface, address) in [("eth0", CIDR), ("eth1", "10.1.0.100/24")] {
        wait_until(SOON, "b alone has it", || {
            b.has_address(interface, address) && !a.has_address(interface, address)
        });
    }
}

#[test]
fn script_for_a_backup_runs_once_for_a_master_that_was_killed() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let (up, down) = (ScriptLog::new(&["VRRP_REASON"]), ScriptLog::new(&["VRRP_STATE", "VRRP_REASON"]));
    let scripts = ["-U".into(), up.path(), "-D".into(), down.path()];
    let master = Vrrpd::usual(&a, 150).args(scripts).start();
    master.wait_state("master", SOON);
    up.wait_run(SOON, "master-down-timer");
    let guardian = master.guardian().expect("it has one");
    master.kill_daemon();
    let run = down.wait_run(SOON, "|BACKUP|crash");
    assert!(run.starts_with("INSTANCE ") && run.contains(" BACKUP 150|"), "{run}");
    wait_until(SOON, "the guardian has ended", || !is_alive(guardian));
    let crashes = down.runs().into_iter().filter(|run| run.ends_with("|crash"));
    assert_eq!((up.runs().len(), crashes.count()), (1, 1), "{:?}", down.runs());
}

#[test]
fn guardian_says_and_runs_nothing_for_a_router_that_a_reload_has_removed() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let down = ScriptLog::new(&["VRRP_VRID", "VRRP_REASON"]);
    let common = format!(
        "interface = \"eth0\"\ninterval = \"100ms\"\nprotocol = \"v3\"\nvmac = \"none\"\ndown = {:?}",
        down.path()
    );
    let stays = format!("[defaults]\n{common}\n[[router]]\nvrid = 51\naddresses = [\"10.0.0.51\"]\n");
    // Without addresses it has nothing to give back, so it is gone at once.
    let leaves = "[[router]]\nvrid = 52\nfamily = \"ipv4\"\n";
    let daemon = Vrrpd::of_file(&a, &format!("{stays}{leaves}"));
    daemon.wait_state_of(51, "master", SOON);
    daemon.wait_state_of(52, "master", SOON);
    let capture = Capture::on(&client);
    daemon.reload(&stays);
    capture.wait_advert(SOON, "it resigns", |advert| advert.vrid == 52 && advert.priority == 0);
    down.wait_run(SOON, "|52|");
    daemon.kill_daemon();
    down.wait_run(SOON, "|51|crash");
    let resignations =
        capture.adverts().into_iter().filter(|(_, advert)| (advert.vrid, advert.priority) == (52, 0));
    assert_eq!(resignations.count(), 1);
    assert!(down.runs().iter().all(|run| !run.ends_with("|52|crash")), "{:?}", down.runs());
}

#[test]
fn scripts_of_more_masters_than_files_may_be_open_unless_asked_all_run() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let down = ScriptLog::new(&["VRRP_REASON"]);
    let defaults = "interface = \"eth0\"\ninterval = \"100ms\"\nprotocol = \"v3\"\nvmac = \"none\"";
    let router = |vrid| format!("[[router]]\nvrid = {vrid}\naddresses = [\"10.0.1.{vrid}\"]\n");
    let routers: String = (1..=100).map(router).collect();
    let config = format!("[defaults]\n{defaults}\ndown = {:?}\n{routers}", down.path());
    let few = ["/bin/sh", "-c", "ulimit -Sn 64; exec \"$@\"", "sh"];
    let daemon = Vrrpd::on(&a).config(&config).through(few).start();
    wait_until(SOON, "all are master", || daemon.states().iter().all(|state| state["state"] == "master"));
    daemon.kill_daemon();
    let crashes = || down.runs().iter().filter(|run| run.ends_with("|crash")).count();
    wait_until(SOON, "every router runs its script", || crashes() == 100);
}

#[test]
fn killed_backup_sends_nothing_and_runs_no_script() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let _master = Vrrpd::usual(&a, 150).start();
    let down = ScriptLog::new(&["VRRP_REASON"]);
    let backup = Vrrpd::usual(&b, 100).args(["-D".into(), down.path()]).start();
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") > 2);
    let runs = down.runs();
    let capture = Capture::on(&client);
    let guardian = backup.guardian().expect("it has one");
    backup.kill_daemon();
    wait_until(SOON, "the guardian has ended", || !is_alive(guardian));
    wait_until(SOON, "three more adverts", || capture.adverts().len() >= 3);
    assert!(capture.adverts().iter().all(|(_, advert)| advert.priority == 150));
    assert_eq!(down.runs(), runs);
}

#[test]
fn backup_that_is_killed_leaves_nothing_on_its_machine() {
    for mode in MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let before = Snapshot::of(&b);
        let master = router(&a, 150, mode).start();
        master.wait_state("master", SOON);
        let backup = router(&b, 100, mode).start();
        wait_until(SOON, "it hears the master", || backup.counter("adverts_received") > 2);
        backup.kill_daemon();
        wait_until_as_before(&before, &b);
    }
}

#[test]
fn daemon_that_is_started_again_at_once_waits_for_the_guardian_and_serves() {
    for mode in MODES {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let before = Snapshot::of(&a);
        let master = router(&a, 150, mode).start();
        master.wait_state("master", SOON);
        master.kill_daemon();
        let again = router(&a, 150, mode).beside(&master).start();
        again.wait_state("master", SOON);
        let place = if mode == "macvlan" { "vrrp4.51" } else { "eth0" };
        wait_until(SOON, "it has the address", || a.has_address(place, CIDR));
        assert_eq!(again.terminate(), 0);
        before.assert_as_before(&a);
    }
}

#[test]
fn address_that_was_there_before_survives_a_kill_and_the_next_start() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.ip(&format!("addr add {CIDR} dev eth0"));
    let owner = || Vrrpd::usual(&a, 255);
    let first = owner().start();
    first.wait_state("master", SOON);
    let guardian = first.guardian().expect("it has one");
    first.kill_daemon();
    wait_until(SOON, "the guardian has ended", || !is_alive(guardian));
    assert!(a.has_address("eth0", CIDR), "the guardian leaves it alone");
    let second = owner().beside(&first).start();
    second.wait_state("master", SOON);
    second.kill();
    assert!(a.has_address("eth0", CIDR));
    let third = owner().beside(&second).start();
    third.wait_state("master", SOON);
    assert_eq!(third.terminate(), 0);
    assert!(a.has_address("eth0", CIDR), "and so does a start after a power failure");
}

#[test]
fn address_of_another_in_the_subnet_of_one_that_is_given_back_stays() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let master = Vrrpd::on(&a).vrid(51).v3("100ms").address("10.7.0.100/24").start();
    master.wait_state("master", SOON);
    a.ip("addr add 10.7.0.7/24 dev eth0");
    master.kill_daemon();
    wait_until(SOON, "the virtual address is off", || !a.has_address("eth0", "10.7.0.100/24"));
    assert!(a.has_address("eth0", "10.7.0.7/24"));
    assert_eq!(a.namespace().sysctl_value("ipv4/conf/eth0/promote_secondaries"), "0", "as it was");
}

#[test]
fn guardian_outlasts_the_signals_for_the_daemon_and_ends_with_it() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 150).start();
    router.wait_state("master", SOON);
    let guardian = router.guardian().expect("it has one");
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        router.signal_guardian(signal);
    }
    router.signal(Signal::SIGUSR1);
    router.wait_log(SOON, "state file written");
    assert_eq!(router.guardian(), Some(guardian));
    assert_eq!(router.terminate(), 0);
    assert!(!is_alive(guardian), "the daemon has seen it off");
}

#[test]
fn stopped_guardian_does_not_keep_a_daemon_from_ending() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let before = Snapshot::of(&a);
    let router = Vrrpd::usual(&a, 150).vmac("interface").start();
    router.wait_state("master", SOON);
    let guardian = router.guardian().expect("it has one");
    router.signal_guardian(Signal::SIGSTOP);
    let told = Instant::now();
    assert_eq!(router.terminate(), 0);
    assert!(told.elapsed() < stretched(SOON), "it does not wait for long: {:?}", told.elapsed());
    assert!(!is_alive(guardian), "nor leave it behind");
    before.assert_as_before(&a);
}

#[test]
fn daemon_without_its_guardian_logs_that_and_continues() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    router.signal_guardian(Signal::SIGKILL);
    wait_until(SOON, "it has none", || router.guardian().is_none());
    router.wait_log(SOON, "guardian process lost");
    let other = Vrrpd::usual(&b, 150).start();
    router.wait_state("backup", SOON);
    other.terminate();
    router.wait_state("master", SOON);
    assert_eq!(router.terminate(), 0);
    assert!(!a.has_address("eth0", CIDR));
}

/// The processes with a directory on their command line.
fn processes_with(directory: &Path) -> Vec<i32> {
    let directory = directory.as_os_str().as_encoded_bytes();
    let pids = fs::read_dir("/proc").expect("there are processes").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|octet| *octet == 0).any(|word| word == directory)
    })
    .collect()
}

#[test]
fn guardian_is_not_taken_for_a_daemon_by_its_command_line() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 150).start();
    assert_eq!(processes_with(&router.directory()), [router.pid()]);
    let guardian = router.guardian().expect("it has one");
    let command_line = fs::read(format!("/proc/{guardian}/cmdline")).expect("it is there");
    let words = String::from_utf8(command_line).expect("it is text");
    assert_eq!(words.trim_end_matches('\0'), "vrrp-guard");
    // The interface can have only one XDP program.
    let (command, daemon) = Vrrpd::usual(&a, 150).vrid(52).datapath(Datapath::Raw).start_in_background();
    assert!(command.success(), "{command:?}");
    let pid = daemon.pid("vrrpd_eth0.pid").expect("it is there");
    assert_eq!(processes_with(daemon.directory()), [pid]);
}

#[test]
fn kill_9_in_the_background_leaves_nothing_either() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let before = Snapshot::of(&a);
    let (command, daemon) = Vrrpd::usual(&a, 150).vmac("interface").start_in_background();
    assert!(command.success() && command.took < SOON, "nobody keeps its output open: {command:?}");
    wait_until(SOON, "it is master", || a.has_address("eth0", CIDR));
    daemon.signal("vrrpd_eth0.pid", Signal::SIGKILL);
    wait_until_as_before(&before, &a);
}

#[test]
fn machine_with_seventeen_interfaces_has_given_back_its_addresses_before_another_one_has_them() {
    for mode in MODES {
        let doomed = Doomed::new(17, Datapath::usual(), mode);
        let death = doomed.kill();
        // Whichever is first: a resignation, or a Master_Down_Interval after an advert that may be an interval older
        // than the kill. The kernel takes 37 ms to close the sockets of each interface.
        let resigned = death.last_resigned + timers::skew_time(DOOMED_INTERVAL, 100);
        let silent = timers::master_down_interval(DOOMED_INTERVAL, 100).saturating_sub(DOOMED_INTERVAL);
        assert!(death.addresses_gone < stretched(resigned.min(silent)), "{mode}: {death:?}");
    }
}

#[test]
fn guardian_holds_slow_descriptors_until_the_daemon_closes_them() {
    let mut lab = Lab::new();
    let [a] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    let router = |interface: &str, vrid: u8| {
        format!(
            "[[router]]\ninterface = {interface:?}\nvrid = {vrid}\naddresses = [\"10.{vrid}.0.100/24\"]\n"
        )
    };
    let defaults = "[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\n";
    let one = format!("{defaults}{}", router("eth0", 51));
    let two = format!("{one}{}", router("eth1", 1));
    let daemon = Vrrpd::on(&a).config(&two).start();
    let guardian = daemon.guardian().expect("it has one");
    let held = || daemon.slow_to_close(guardian);
    let open = || daemon.slow_to_close(daemon.pid());
    wait_until(SOON, "it holds a copy of each", || held() == open());
    let all = held();
    assert!(all.len() >= 4, "two interfaces: {all:?}");
    daemon.reload(&one);
    wait_until(SOON, "what the other interface needed is closed", || held().len() <= all.len() - 2);
    wait_until(SOON, "by both", || held() == open());
    daemon.reload(&two);
    wait_until(SOON, "what it needs again is held as well", || held().len() == all.len() && held() == open());
    // A guardian that does not read gets all messages later.
    daemon.signal_guardian(Signal::SIGSTOP);
    daemon.reload(&one);
    wait_until(SOON, "the daemon has closed it", || open().len() < all.len());
    daemon.signal_guardian(Signal::SIGCONT);
    wait_until(SOON, "and so has the guardian", || held() == open());
}

#[test]
fn crashing_daemon_is_cleaned_up_before_its_core_is_written() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let before = Snapshot::of(&a);
    let down = ScriptLog::new(&["VRRP_REASON"]);
    let master = router(&a, 150, "interface").args(["-D".into(), down.path()]).start();
    master.wait_state("master", SOON);
    let capture = Capture::on(&client);
    let guardian = master.guardian().expect("it has one");
    let dying = Dying::of(&master, Signal::SIGSEGV);
    capture.wait_advert(SOON, "a resignation", |advert| advert.priority == 0);
    wait_until(SOON, "the address is off", || !a.has_address("eth0", CIDR));
    down.wait_run(SOON, "|crash");
    assert!(is_alive(guardian), "it waits for the end");
    drop(dying);
    wait_until_as_before(&before, &a);
    wait_until(SOON, "the guardian has ended", || !is_alive(guardian));
}

#[test]
fn every_resignation_and_announcement_gets_through_a_queue_that_is_full() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let own: Vec<_> = (1..=150).map(|host| format!("10.2.0.{host}")).collect();
    for address in &own {
        a.ip(&format!("addr add {address}/24 dev eth0"));
    }
    let defaults =
        "interface = \"eth0\"\ninterval = \"1s\"\nprotocol = \"v3\"\npriority = 200\ngarp-count = 1";
    let router = |vrid: u8| {
        let vmac = if vrid == 1 { "interface" } else { "none" };
        format!("[[router]]\nvrid = {vrid}\nvmac = {vmac:?}\naddresses = [\"10.0.1.{vrid}\"]\n")
    };
    let routers: String = (1..=120).map(router).collect();
    let daemon = Vrrpd::on(&a).config(&format!("[defaults]\n{defaults}\n{routers}")).start();
    wait_until(SOON * 4, "all are master", || daemon.states().iter().all(|state| state["state"] == "master"));
    // Room for about thirty frames, of which two per millisecond are sent.
    let queue =
        ["qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", "1mbit", "burst", "2000", "limit", "2000"];
    assert!(a.run(needs::TC.require(), queue).success());
    let capture = Capture::on(&client);
    daemon.kill_daemon();
    let mut resigned = BTreeSet::new();
    wait_until(SOON, "every router resigns", || {
        let adverts = capture.adverts();
        resigned = adverts.iter().filter(|(_, it)| it.priority == 0).map(|(_, it)| it.vrid).collect();
        resigned.len() == 120
    });
    let announced = || capture.announcements().into_iter().map(|(_, address)| address.to_string());
    wait_until(SOON, "every address of the interface is announced", || {
        let announced: BTreeSet<_> = announced().collect();
        own.iter().all(|address| announced.contains(address))
    });
    assert!(announced().all(|address| !address.starts_with("10.0.1.")), "none that was given back");
}
