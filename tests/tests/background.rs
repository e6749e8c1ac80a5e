//! The daemon in the background, as started by a shell or init script.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{
    Lab, ScriptLog, Signal, Snapshot, Vrrpd, VrrpdBuilder, atropos, children_of, is_alive, wait_until,
};

#[test]
fn command_returns_0_when_the_daemon_is_up_and_the_pid_file_names_it() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let (finished, daemon) = Vrrpd::usual(&a, 100).start_in_background();
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{finished:?}");
    // Everything is ready by now, without waiting.
    let pid = daemon.pid("vrrpd_eth0.pid").expect("the pid file names a process");
    assert!(is_alive(pid));
    let shown = atropos(&a, daemon.directory(), &["--state", "--json"]);
    let state: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!((&state[0]["pid"], &state[0]["vrid"]), (&pid.into(), &51.into()));

    let mode =
        fs::metadata(daemon.directory().join("vrrpd_eth0.pid")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o022, 0, "nobody else can write it: {mode:o}");
}

#[test]
fn sigterm_removes_pid_file_socket_and_address() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let before = a.addresses("eth0");
    let (finished, daemon) = Vrrpd::usual(&a, 100).start_in_background();
    assert_eq!(finished.code, 0, "{finished:?}");
    wait_until(SOON, "it becomes master", || a.has_address("eth0", CIDR));
    daemon.terminate("vrrpd_eth0.pid");
    assert_eq!(daemon.files(), Vec::<String>::new());
    assert_eq!(a.addresses("eth0"), before);
}

#[test]
fn daemon_has_no_terminal_and_nothing_of_its_caller() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let (finished, daemon) = Vrrpd::usual(&a, 100).start_in_background();
    assert_eq!(finished.code, 0, "{finished:?}");
    let pid = daemon.pid("vrrpd_eth0.pid").expect("the pid file names a process");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("it runs").to_str(), Some("/"));
    for fd in 0..3 {
        let file = fs::read_link(format!("/proc/{pid}/fd/{fd}")).expect("it runs");
        assert_eq!(file.to_str(), Some("/dev/null"), "file descriptor {fd}");
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    assert_eq!(fields[4], "0", "no terminal: {stat}");
}

#[test]
fn daemon_lets_go_of_files_that_its_caller_has_open() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let lock = directory.path().join("lock");
    // As in `( flock 9; vrrpd … ) 9>lock`.
    let through =
        ["/bin/sh".into(), "-c".into(), format!("exec 9>{}; exec \"$@\"", lock.display()), "sh".into()];
    let (finished, daemon) = Vrrpd::usual(&a, 100).through(through).start_in_background();
    assert_eq!(finished.code, 0, "{finished:?}");
    let pid = daemon.pid("vrrpd_eth0.pid").expect("the pid file names a process");
    for process in [pid].into_iter().chain(children_of(pid)) {
        let files = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
        let inherited = files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|file| file == lock));
        assert!(!inherited, "process {process} has the file of its caller");
    }
}

#[test]
fn taken_name_is_an_error_of_the_command() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let builder = Vrrpd::usual(&a, 100);
    let (first, daemon) = builder.clone().start_in_background();
    assert_eq!(first.code, 0, "{first:?}");
    let pid = daemon.pid("vrrpd_eth0.pid");
    let second = builder.run();
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("eth0"), "{}", second.stderr);
    assert!(daemon.pid("vrrpd_eth0.pid") == pid && pid.is_some_and(is_alive), "the first one goes on");
}

#[test]
fn routers_that_share_an_interface_have_pid_files_of_their_own() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let first = Vrrpd::usual(&a, 100);
    let (finished, daemon) = first.clone().start_in_background();
    assert_eq!(finished.code, 0, "{finished:?}");
    let second = Vrrpd::on(&a).vrid(52).address("10.0.0.101/24").v3("100ms").in_directory_of(&first);
    let finished = second.run();
    assert_eq!(finished.code, 0, "{finished:?}");
    let (one, other) = (daemon.pid("vrrpd_eth0.pid"), daemon.pid("vrrpd_eth0_52.pid"));
    assert!(one.is_some() && other.is_some() && one != other, "{:?}", daemon.files());
    daemon.terminate("vrrpd_eth0_52.pid");
    assert!(one.is_some_and(is_alive));
}

#[test]
fn relative_paths_start_where_the_command_was_typed() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let before = Snapshot::of(&a);
    let router = Vrrpd::usual(&a, 150).vmac("interface");
    let directory = router.directory();
    let home = directory.parent().expect("it is in one").to_owned();
    let script = ScriptLog::new(&["VRRP_REASON"]);
    for name in ["up.sh", "down.sh"] {
        fs::copy(script.path(), home.join(name)).expect("it can be copied");
    }
    let router = router.through(["/usr/bin/env".into(), "--chdir".into(), home.into_os_string()]);
    let (command, daemon) =
        router.args(["-f", "run", "-U", "./up.sh", "-D", "down.sh"]).start_in_background();
    assert!(command.success(), "{command:?}");
    script.wait_run(SOON, "|master-down-timer");
    daemon.signal("vrrpd_eth0.pid", Signal::SIGUSR1);
    wait_until(SOON, "the state is written", || directory.join("vrrpd_eth0_51.state").exists());
    daemon.signal("vrrpd_eth0.pid", Signal::SIGKILL);
    script.wait_run(SOON, "|crash");
    let pins = |line: &String| line.starts_with("+ pin: ");
    wait_until(SOON, "the guardian has given everything back", || {
        before.differences(&Snapshot::of(&a)).iter().all(pins)
    });
    assert!(!directory.join("vrrpd_eth0_51.journal").exists());
}

#[test]
fn directory_that_is_gone_is_no_hindrance_where_no_path_is_relative() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let from_nowhere = |builder: VrrpdBuilder| {
        let commands = "gone=$(mktemp -d) && cd \"$gone\" && rmdir \"$gone\" && exec \"$0\" \"$@\"";
        builder.through(["sh", "-c", commands])
    };
    let usual = || Vrrpd::usual(&a, 150).args(["-U", "/bin/true"]);
    let (command, _daemon) = from_nowhere(usual()).start_in_background();
    assert!(command.success(), "{command:?}");
    let refused = from_nowhere(usual().args(["-D", "down.sh"])).run();
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("down.sh: the current directory: "), "{}", refused.stderr);
}
