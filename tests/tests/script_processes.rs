//! Scripts as processes: they neither delay the protocol nor use more descriptors than reserved.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use vrrpd_lab::usual::SOON;
use vrrpd_lab::{
    Capture, Datapath, Lab, ScriptLog, Signal, Vrrpd, is_alive, needs, stretched, wait_for, wait_until,
};

#[test]
fn script_that_hangs_does_not_hold_the_protocol_up_and_is_ended() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let script = ScriptLog::running("sleep 1000 & echo $!; echo $$; echo started; sleep 1000");
    let arguments = ["--script-timeout".into(), "1s".into(), "-U".into(), script.path()];
    let router = Vrrpd::usual(&a, 100).args(arguments).start();
    router.wait_state("master", SOON);
    script.wait_run(SOON, "started");
    let sent = router.counter("adverts_sent");
    wait_until(SOON, "it goes on advertising", || router.counter("adverts_sent") > sent + 5);
    // The script and its child have printed their pids.
    let pids = || script.runs().iter().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>();
    assert_eq!(pids().len(), 2);
    wait_until(SOON, "the script and what it started are gone", || !pids().into_iter().any(is_alive));
    assert_eq!(router.terminate(), 0);
}

#[test]
fn processes_left_by_a_script_continue_and_may_write() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    // Output after a longer time than anything waits for it.
    let script = ScriptLog::talking("(sleep 0.5; echo here I am; sleep 0.5; echo and still >&2) &");
    let router = Vrrpd::usual(&a, 100).args(["-U".into(), script.path()]).start();
    router.wait_log(SOON, "script succeeded");
    router.wait_log(SOON, "here I am");
    router.wait_log(SOON, "and still");
}

#[test]
fn script_that_prints_without_end_does_not_hold_the_protocol_up() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    // Short lines are the slowest; they continue when the script has ended.
    let script = ScriptLog::talking("yes & sleep 0.5");
    let capture = Capture::on(&client);
    let router = Vrrpd::usual(&a, 100).args(["-U".into(), script.path()]).start();
    router.wait_log(SOON, "script succeeded");
    wait_until(SOON, "it goes on advertising", || capture.adverts().len() >= 30);
    let adverts = capture.adverts();
    let slowest = adverts.windows(2).map(|pair| pair[1].0 - pair[0].0).max().expect("several");
    assert!(slowest < stretched(Duration::from_millis(300)), "{slowest:?} between two adverts");
    assert!(router.is_master());
}

#[test]
fn scripts_run_one_after_the_other_and_a_newer_state_waits() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let script = ScriptLog::running("echo begin $3; sleep 0.5; echo end $3");
    let scripts = ["-U".into(), script.path(), "-D".into(), script.path()];
    let router = Vrrpd::usual(&a, 100).args(scripts).start();
    script.wait_run(SOON, "end MASTER");
    // Three states while the first script still runs.
    lab.port_down(&a);
    router.wait_state("fault", SOON);
    lab.port_up(&a);
    router.wait_state("master", SOON);
    wait_until(SOON, "every script has run", || {
        script.runs().iter().filter(|run| *run == "end MASTER").count() == 2
    });
    let states = ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER"];
    let wanted: Vec<_> =
        states.iter().flat_map(|state| [format!("begin {state}"), format!("end {state}")]).collect();
    assert_eq!(script.runs(), wanted);
}

#[test]
fn last_script_is_run_to_its_end_when_the_daemon_leaves() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let script = ScriptLog::running("sleep 0.3; echo $3 $VRRP_REASON");
    let router = Vrrpd::usual(&a, 100).args(["-D".into(), script.path()]).start();
    script.wait_run(SOON, "BACKUP start-up");
    router.wait_state("master", SOON);
    assert_eq!(router.terminate(), 0);
    assert_eq!(script.runs().last().map(String::as_str), Some("BACKUP shutdown"));
}

/// A script that records its start and its end; when its router leaves it does not end before the file exists.
fn lingering(end: &Path) -> ScriptLog {
    let wait = format!("until test -e {} -o $VRRP_REASON != shutdown; do sleep 0.05; done", end.display());
    ScriptLog::running(&format!("echo begin $VRRP_REASON; {wait}; echo end $VRRP_REASON"))
}

#[test]
fn next_daemon_can_start_while_the_script_of_the_last_one_runs() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let end = home.path().join("end");
    let script = lingering(&end);
    // The kernel's hook must be free for it as well.
    let builder = Vrrpd::usual(&a, 100).datapath(Datapath::Native).args(["-D".into(), script.path()]);
    let first = builder.clone().start();
    first.wait_state("master", SOON);
    first.signal(Signal::SIGTERM);
    script.wait_run(SOON, "begin shutdown");
    wait_until(SOON, "it has given everything back", || {
        !first.directory().join("vrrpd_eth0_51.pid").exists()
    });
    let second = builder.beside(&first).start();
    second.wait_state("master", SOON);
    assert!(first.is_running(), "it waits for its script");
    let until_then = ["begin start-up", "end start-up", "begin shutdown"];
    assert_eq!(script.runs(), until_then, "the scripts of the second one wait for it");
    fs::write(end, "").expect("it can be written");
    assert_eq!(first.wait(), 0);
    wait_until(SOON, "the second one has run its script", || script.runs().len() == 6);
    assert_eq!(script.runs()[3..], ["end shutdown", "begin start-up", "end start-up"]);
}

#[test]
fn daemon_that_is_asked_to_leave_again_does_not_wait_for_its_scripts() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let end = home.path().join("end");
    let script = lingering(&end);
    let router = Vrrpd::usual(&a, 100).args(["-D".into(), script.path()]).start();
    router.wait_state("master", SOON);
    router.signal(Signal::SIGTERM);
    script.wait_run(SOON, "begin shutdown");
    router.signal(Signal::SIGTERM);
    assert_eq!(router.wait(), 0);
    router.wait_log(SOON, "not waiting for running scripts");
    // It is left running.
    fs::write(end, "").expect("it can be written");
    script.wait_run(SOON, "end shutdown");
}

#[test]
fn script_inherits_only_documented_things_from_daemon_and_guardian() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let script = ScriptLog::running(
        "printf '%s files ' $VRRP_REASON; ls -m /proc/$$/fd
        echo $VRRP_REASON umask $(umask) in $(pwd)
        echo $VRRP_REASON signals $(grep -E 'Sig(Blk|Ign)' /proc/$$/status)
        echo $VRRP_REASON variables $(tr '\\0' '\\n' </proc/$$/environ | cut -d= -f1)
        echo $VRRP_REASON path $PATH; echo $VRRP_REASON input $(readlink /proc/$$/fd/0)",
    );
    let caller = "umask 0; trap '' HUP TERM CHLD USR1; exec 7</dev/null 9>/dev/null; SECRET=x exec \"$@\"";
    let router = Vrrpd::usual(&a, 100).through(["/bin/sh", "-c", caller, "sh"]);
    let router = router.args(["-D".into(), script.path()]).start();
    router.wait_state("master", SOON);
    script.wait_run(SOON, "start-up input");
    router.kill_daemon();
    script.wait_run(SOON, "crash input");
    for reason in ["start-up", "crash"] {
        let run = script.runs();
        let said = |what: &str| {
            let line = run.iter().find_map(|line| line.strip_prefix(&format!("{reason} {what} ")));
            line.expect(what).to_owned()
        };
        // The shell has the script itself open, and the test's file as standard output.
        assert_eq!(said("files"), "0, 1, 10, 2", "{reason}");
        assert_eq!(said("umask"), "0022 in /", "{reason}");
        // The C library reserves signals 32 and 33, and ignores them in children.
        let signals = said("signals").replace("180000000", "000000000");
        assert_eq!(signals, "SigBlk: 0000000000000000 SigIgn: 0000000000000000", "{reason}");
        let documented = |name: &&str| *name == "PATH" || name.starts_with("VRRP_");
        let variables = said("variables");
        let others: Vec<_> = variables.split(' ').filter(|name| !documented(name)).collect();
        assert!(others.is_empty(), "{reason}: {others:?}");
        assert_eq!(said("path"), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "{reason}");
        assert_eq!(said("input"), "/dev/null", "{reason}");
    }
}

/// Ends the processes that a script has recorded by pid.
struct LeftBehind<'a>(&'a ScriptLog);

impl Drop for LeftBehind<'_> {
    fn drop(&mut self) {
        for pid in self.0.runs().iter().filter_map(|line| line.parse().ok()) {
            // It may have ended.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[test]
fn processes_left_by_scripts_cost_the_daemon_one_descriptor_per_script() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    // Standard error stays with the daemon.
    let script = ScriptLog::running("sleep 1000 & echo $!");
    let left = LeftBehind(&script);
    let router = Vrrpd::usual(&a, 100).args(["-U".into(), script.path()]).start();
    router.wait_state("master", SOON);
    let runs = |count: usize| {
        wait_until(SOON, "the script has run", || script.runs().len() == count);
        wait_until(SOON, "its end is noticed", || router.count_in_log("script succeeded") == count);
    };
    runs(1);
    let after_the_first = router.descriptors();
    for count in 2..=10 {
        router.atropos(&["--backup"]);
        router.atropos(&["--master"]);
        runs(count);
    }
    wait_until(SOON, "all but what is held is closed", || router.descriptors() <= after_the_first);
    let pids: Vec<i32> = script.runs().iter().filter_map(|line| line.parse().ok()).collect();
    assert!(pids.len() == 10 && pids.into_iter().all(is_alive), "they go on");
    drop(left);
    wait_until(SOON, "the pipe is closed", || router.descriptors() < after_the_first);
}

#[test]
fn last_descriptors_are_kept_for_an_interface_that_comes_back() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let prlimit = needs::PRLIMIT.require().display().to_string();
    let router = Vrrpd::usual(&a, 100).through([&prlimit, "--nofile=64:64", "--"]).start();
    router.wait_state("master", SOON);
    let socket = router.directory().join("vrrpd_eth0_51.sock");
    // More clients than there are descriptors; they send nothing.
    let clients: Vec<_> = (0..64).map(|_| UnixStream::connect(&socket).expect("it listens")).collect();
    router.wait_log(SOON, "file descriptors reserved for the protocol");
    lab.port_down(&a);
    router.wait_log(SOON, "link-down");
    lab.port_up(&a);
    wait_until(SOON, "it is master again", || {
        router.count_in_log("to=\"master\"") + router.count_in_log("to=master") >= 2
    });
    assert_eq!(router.count_in_log("os error 24"), 0);
    drop(clients);
    wait_for(SOON, "clients are answered again", || {
        Some(router.state()).filter(|state| state["state"] == "master")
    });
}
