//! The script that prepares a router for being master: what waits for it, and what ends it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Capture, Lab, ScriptLog, Vrrpd, is_alive, stretched, wait_until};

/// A script that says with its own process number that it runs, and goes on for a while.
fn preparation(home: &Path, seconds: &str) -> (String, impl Fn() -> Vec<i32> + use<>) {
    let pids = home.join("pids");
    let text = format!("echo $$ >>{0}; sleep {seconds} & echo $! >>{0}; wait", pids.display());
    let read = move || {
        let text = fs::read_to_string(&pids).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    (text, read)
}

fn prepared_by(script: &str, more: &str) -> String {
    format!(
        "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"{CIDR}\"]\nprotocol = \"v3\"\n\
         interval = \"100ms\"\nvmac = \"none\"\nprepare = [\"/bin/sh\", \"-c\", {script:?}]\n{more}"
    )
}

#[test]
fn router_waits_for_the_script_that_prepares_it_and_is_silent_meanwhile() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let log = ScriptLog::new(&["VRRP_STATE", "VRRP_REASON", "VRRP_PREVIOUS_STATE"]);
    let capture = Capture::on(&client);
    let go = log.path().with_file_name("go");
    // It ends when the test says so.
    let script = format!(
        "{} \"$@\"; until [ -e {} ]; do sleep 0.01; done; exit 3",
        log.path().display(),
        go.display()
    );
    let text = prepared_by(&script, "prepare-timeout = \"60s\"\n");
    let router = Vrrpd::on(&a).config(&text.replace("]\nprepare-", ", \"own\"]\nprepare-")).start();
    let run = log.wait_run(SOON, "PREPARE");
    assert_eq!(run, "INSTANCE eth0/51 PREPARE 100|PREPARE|master-down-timer|BACKUP");
    // Three times as long as a Master_Down_Interval.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(router.state()["state"], "backup");
    assert!(!a.has_address("eth0", CIDR));
    assert_eq!(capture.adverts().len(), 0, "it says nothing");
    fs::write(&go, "").expect("the directory is ours");
    router.wait_state("master", SOON);
    assert!(a.has_address("eth0", CIDR));
    // A script that fails is no reason to serve nobody.
    router.wait_log(SOON, "script failed");
    assert_eq!(log.runs().len(), 1);
}

#[test]
fn advert_that_keeps_a_router_backup_ends_the_script_that_prepares_it() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let (script, pids) = preparation(home.path(), "1000");
    let router = Vrrpd::on(&a).config(&prepared_by(&script, "prepare-timeout = \"60s\"\n")).start();
    wait_until(SOON, "the script runs", || pids().len() == 2);
    let higher = Vrrpd::usual(&b, 150).start();
    router.wait_log(SOON, "preparation ended");
    wait_until(SOON, "script and child are gone", || !pids().into_iter().any(is_alive));
    assert_eq!((router.state()["state"].as_str(), pids().len()), (Some("backup"), 2));
    assert_eq!(router.counter("transitions"), 1, "nothing happened but the start");
    assert_eq!(higher.terminate(), 0);
    wait_until(SOON, "the script runs anew", || pids().len() == 4);
    assert_eq!(router.terminate(), 0);
    wait_until(SOON, "script and child are gone", || !pids().into_iter().any(is_alive));
}

#[test]
fn router_becomes_master_without_the_script_that_takes_too_long() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let (script, pids) = preparation(home.path(), "1000");
    // Longer than it takes to start the script.
    let timeout = stretched(Duration::from_millis(300)).as_millis();
    let text = prepared_by(&script, &format!("prepare-timeout = \"{timeout}ms\"\n"));
    let router = Vrrpd::on(&a).config(&text).start();
    router.wait_state("master", SOON);
    router.wait_log(SOON, "script timed out");
    wait_until(SOON, "script and child are gone", || !pids().into_iter().any(is_alive));
    assert_eq!(pids().len(), 2);
}

#[test]
fn owner_is_prepared_at_start_and_when_its_link_is_back() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let capture = Capture::on(&client);
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let go = home.path().join("go");
    let log = ScriptLog::new(&["VRRP_REASON"]);
    let script =
        format!("{} \"$@\"; until [ -e {} ]; do sleep 0.01; done", log.path().display(), go.display());
    let text = prepared_by(&script, "priority = 255\nprepare-timeout = \"60s\"\n");
    let router = Vrrpd::on(&a).config(&text.replace("]\npriority", ", \"own\"]\npriority")).start();
    log.wait_run(SOON, "PREPARE 255");
    assert_eq!(router.state()["state"], "backup");
    assert!(capture.adverts().is_empty() && !a.has_address("eth0", CIDR));
    fs::write(&go, "").expect("the directory is ours");
    router.wait_state("master", SOON);
    fs::remove_file(&go).expect("it is there");
    lab.port_down(&a);
    router.wait_state("fault", SOON);
    lab.port_up(&a);
    wait_until(SOON, "it is prepared anew", || log.runs().len() == 2);
    assert_eq!(router.state()["state"], "backup");
    lab.port_down(&a);
    router.wait_log(SOON, "preparation ended");
    router.wait_state("fault", SOON);
    fs::write(&go, "").expect("the directory is ours");
    lab.port_up(&a);
    router.wait_state("master", SOON);
    assert_eq!(log.runs().len(), 3, "{:?}", log.runs());
}

#[test]
fn reload_leaves_a_script_running_unless_its_router_leaves_or_restarts() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let (script, pids) = preparation(home.path(), "1000");
    let text = |more: &str| prepared_by(&script, &format!("prepare-timeout = \"60s\"\n{more}"));
    let other = "[[router]]\ninterface = \"eth0\"\nvrid = 99\naddresses = [\"10.0.0.99/24\"]\nprotocol = \"v3\"\n\
                 vmac = \"none\"\n";
    let router = Vrrpd::on(&a).config(&(text("") + other)).start();
    let runs = |count: usize| {
        wait_until(SOON, "the script runs", || pids().len() == 2 * count);
        assert!(pids()[2 * count - 2..].iter().all(|pid| is_alive(*pid)), "run {count}");
    };
    let are_gone = |count: usize| {
        wait_until(SOON, "script and child are gone", || {
            !pids()[..2 * count].iter().any(|pid| is_alive(*pid))
        });
    };
    runs(1);
    // Other values leave it alone, also without a script for the next time.
    router.reload(&(text("priority = 90\n") + other));
    wait_until(SOON, "the reload is in force", || router.state_of(51)["priority"] == 90);
    let without = text("priority = 80\n")
        .lines()
        .filter(|line| !line.starts_with("prepare"))
        .fold(String::new(), |text, line| text + line + "\n");
    router.reload(&(without + other));
    wait_until(SOON, "the reload is in force", || router.state_of(51)["priority"] == 80);
    runs(1);
    assert_eq!(router.state_of(51)["state"], "backup");

    // A router that begins anew, and one that is gone.
    router.reload(&(text("").replace("\"v3\"", "\"v2\"").replace("100ms", "1s") + other));
    are_gone(1);
    runs(2);
    router.reload(other);
    are_gone(2);
    wait_until(SOON, "the router is gone", || router.find(51).is_none());
    assert!(!a.has_address("eth0", CIDR));
    router.reload(&(text("") + other));
    runs(3);
    assert_eq!(router.terminate(), 0);
    are_gone(3);
}

#[test]
fn killed_daemon_leaves_its_script_running_and_the_next_one_prepares_again() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let capture = Capture::on(&client);
    let log = ScriptLog::new(&[]);
    let go = log.path().with_file_name("go");
    let script = format!(
        "{0} begin; until [ -e {1} ]; do sleep 0.01; done; {0} end",
        log.path().display(),
        go.display()
    );
    let begun = || log.runs().iter().filter(|run| *run == "begin").count();
    let text = prepared_by(&script, "prepare-timeout = \"60s\"\n");
    let first = Vrrpd::on(&a).config(&text).start();
    log.wait_run(SOON, "begin");
    first.kill_daemon();
    first.wait_log(SOON, "cleanup complete");
    // The next daemon does not wait for it.
    let second = Vrrpd::on(&a).config(&text).beside(&first).start();
    wait_until(SOON, "it is prepared anew", || begun() == 2);
    assert!(capture.adverts().is_empty() && !a.has_address("eth0", CIDR));
    fs::write(&go, "").expect("the directory is ours");
    second.wait_state("master", SOON);
    wait_until(SOON, "both scripts run to their ends", || {
        log.runs().iter().filter(|run| *run == "end").count() == 2
    });
    assert_eq!((begun(), first.count_in_log("PREPARE")), (2, 0), "the guardian prepares nothing");
}
