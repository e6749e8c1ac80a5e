//! Each option of the client, for all routers of the machine and for one of them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use vrrpd_lab::usual::{CIDR, SOON, TOLERANCE, two_masters};
use vrrpd_lab::{Capture, Lab, Vrrpd, binary, needs, timers, wait_until};

/// Runs the client with an option, first for VRID 52 only, then for all; `value` reads what it changes.
#[track_caller]
fn assert_changes_one_then_all<T: PartialEq + std::fmt::Debug>(
    option: &str,
    value: impl Fn(&Vrrpd) -> T,
    [before, once, twice]: [T; 3],
) {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let (first, second) = two_masters(&a);
    let one = first.atropos(&[option, "-i", "eth0", "-v", "52"]);
    assert_eq!(one.code, 0, "{one:?}");
    assert!(one.stdout.contains("eth0/52: ") && !one.stdout.contains("eth0/51: "), "{}", one.stdout);
    assert_eq!([value(&first), value(&second)], [before, once], "only the one is changed");
    let all = first.atropos(&[option]);
    assert_eq!(all.code, 0, "{all:?}");
    assert!(all.stdout.contains("eth0/52: ") && all.stdout.contains("eth0/51: "), "{}", all.stdout);
    assert_eq!(value(&second), twice);
}

fn priority(router: &Vrrpd) -> u64 {
    router.state()["effective_priority"].as_u64().expect("it has one")
}

fn stands_back(router: &Vrrpd) -> bool {
    router.state()["forced_backup"] == true
}

#[test]
fn reduce_lowers_the_priority_of_one_router_or_of_all() {
    assert_changes_one_then_all("--reduce", priority, [100, 90, 80]);
}

#[test]
fn increase_raises_the_priority_of_one_router_or_of_all() {
    assert_changes_one_then_all("--increase", priority, [100, 110, 120]);
}

#[test]
fn backup_makes_one_router_or_all_stand_back() {
    assert_changes_one_then_all("--backup", stands_back, [false, true, true]);
}

#[test]
fn master_ends_that_for_one_router_or_for_all() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let (first, second) = two_masters(&a);
    assert_eq!(first.atropos(&["--backup"]).code, 0);
    assert!(stands_back(&first) && stands_back(&second));
    assert_eq!(first.atropos(&["--master", "-v", "52"]).code, 0);
    assert!(stands_back(&first) && !stands_back(&second));
    assert_eq!(first.atropos(&["--master"]).code, 0);
    assert!(!stands_back(&first));
}

#[test]
fn state_and_stats_show_one_router_or_all() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let (first, _second) = two_masters(&a);
    for option in ["--state", "--stats"] {
        let all = first.atropos(&[option]).stdout;
        assert!(all.contains("eth0/51: ") && all.contains("eth0/52: "), "{all}");
        let one = first.atropos(&[option, "-v", "52"]).stdout;
        assert!(!one.contains("eth0/51: ") && one.contains("eth0/52: "), "{one}");
    }
}

/// One VRID in each family.
const TWINS: &str = r#"
[defaults]
interface = "eth0"
vrid = 51
vmac = "none"
protocol = "v3"
interval = "100ms"
[[router]]
addresses = ["10.0.0.100/24"]
[[router]]
addresses = ["fe80::100/64"]
"#;

#[test]
fn router_is_chosen_by_the_name_that_it_has_in_the_state() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let daemon = Vrrpd::on(&a).config(TWINS).start();
    let priorities = || -> Vec<u64> {
        daemon.states().iter().filter_map(|state| state["effective_priority"].as_u64()).collect()
    };
    let shown = daemon.atropos(&["--state", "eth0/51-ipv6"]);
    assert!(shown.success() && shown.stdout.starts_with("eth0/51-ipv6: "), "{shown:?}");
    assert!(!shown.stdout.contains("eth0/51: "), "{shown:?}");
    let one = daemon.atropos(&["--reduce", "eth0/51-ipv6"]);
    assert!(one.success() && one.stdout.starts_with("eth0/51-ipv6: "), "{one:?}");
    assert_eq!(priorities(), [100, 90]);
    assert_eq!(daemon.atropos(&["eth0/51", "--reduce", "eth0/51-ipv6"]).code, 0);
    assert_eq!(priorities(), [90, 80]);
    let events = daemon.start_atropos(&["--events", "eth0/51-ipv6"]);
    wait_until(SOON, "its transitions are printed", || {
        assert_eq!(daemon.atropos(&["--backup"]).code, 0);
        assert_eq!(daemon.atropos(&["--master"]).code, 0);
        events.count_in_log("\"ipv6\"") > 0
    });
    assert_eq!(events.count_in_log("\"ipv4\""), 0);
}

#[test]
fn unknown_router_is_reported_with_the_nearest_name_and_all_names() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let daemon = Vrrpd::on(&a).config(TWINS).start();
    for option in ["--state", "--reduce", "--events"] {
        let finished = daemon.atropos(&[option, "eth0/52"]);
        assert_eq!(finished.code, 3, "{finished:?}");
        let said = "no router \"eth0/52\"; did you mean eth0/51? routers: eth0/51, eth0/51-ipv6";
        assert!(finished.stderr.contains(said), "{finished:?}");
    }
    let half = daemon.atropos(&["--reduce", "eth0/51", "eth9/51"]);
    assert_eq!((half.code, half.stdout.lines().count()), (1, 1), "{half:?}");
    let name = daemon.atropos(&["--state", "VI_1"]);
    assert_eq!(name.code, 3, "{name:?}");
    assert!(name.stderr.contains("no router \"VI_1\"; routers: eth0/51, eth0/51-ipv6"), "{name:?}");
    for arguments in [&["--state", "eth0/0"][..], &["--state", "eth0/51", "-i", "eth0"]] {
        let finished = daemon.atropos(arguments);
        assert_eq!(finished.code, 2, "{finished:?}");
    }
}

#[test]
fn state_without_a_reader_does_not_wait_for_a_hanging_daemon_and_a_change_does() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.pause();
    for option in ["--state", "--stats"] {
        assert_eq!(router.atropos_without_reader(option), "0", "{option}");
    }
    let said = router.atropos_without_reader("--backup");
    assert!(said.contains("the daemon does not answer") && said.ends_with('1'), "{said}");
    router.resume();
}

#[test]
fn backup_hands_over_within_skew_time_of_the_command() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    // The default interval of a second; with Vrrpd the command takes 24 seconds.
    let router = |host, priority| Vrrpd::on(host).vrid(51).priority(priority).address(CIDR);
    let first = router(&a, 255).start();
    first.wait_state("master", SOON);
    let second = router(&b, 100).start();
    wait_until(SOON, "the backup hears the master", || !second.state()["master"].is_null());
    let capture = Capture::on(&client);
    let asked = Instant::now();
    let finished = first.atropos(&["--backup"]);
    assert_eq!(finished.code, 0);
    assert!(finished.took < Duration::from_millis(500), "the command does not wait: {:?}", finished.took);
    let (taken, _) =
        capture.wait_advert(SOON, "the other router takes over", |advert| advert.source == b.ipv4());
    let allowed = timers::skew_time_v2(100) + TOLERANCE;
    assert!(taken - asked <= allowed, "{:?}, {allowed:?} allowed", taken - asked);
    assert!(b.has_address("eth0", CIDR) && !a.has_address("eth0", CIDR));
}

#[test]
fn conflicting_options_are_a_usage_error() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for arguments in [&["--stats", "--json"][..], &["--backup", "--json"], &["--events", "--json"]] {
        let finished = a.run(binary("atropos"), arguments);
        assert_eq!(finished.code, 2, "{arguments:?}: {finished:?}");
    }
    let finished = a.run(binary("atropos"), ["--state", "--json", "--watch"]);
    assert_eq!(finished.code, 2, "{finished:?}");
    assert!(finished.stderr.contains("cannot be combined with --watch"), "{}", finished.stderr);
}

#[test]
fn an_empty_selection_is_distinguished_from_no_routers() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    for arguments in [&["--state", "-v", "9"][..], &["--backup", "-v", "9"]] {
        let finished = router.atropos(arguments);
        assert_eq!(finished.code, 3, "{finished:?}");
        assert!(finished.stderr.contains("no virtual router chosen"), "{}", finished.stderr);
    }
    let directory = router.directory();
    assert_eq!(router.terminate(), 0);
    let finished = vrrpd_lab::atropos(&a, &directory, &["--state"]);
    assert!(finished.stderr.contains("no virtual router in"), "{}", finished.stderr);
}

#[test]
fn without_a_run_directory_no_daemon_is_found_for_any_var_run() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for var_run in ["ln -s /run /var/run", "mkdir /var/run", "true"] {
        for option in ["--state", "--backup", "--stats", "--events"] {
            let commands = format!(
                "mount -t tmpfs none /run && mount -t tmpfs none /var && {var_run} && exec \"$0\" {option}"
            );
            let atropos = binary("atropos").display().to_string();
            let finished = a.run(needs::UNSHARE.require(), ["--mount", "sh", "-c", &commands, &atropos]);
            assert_eq!(finished.code, 3, "{var_run}, {option}: {finished:?}");
            assert!(finished.stderr.contains("no virtual router in /run/vrrpd"), "{}", finished.stderr);
        }
    }
}

/// A directory without a daemon, with a socket that answers each request with this line.
fn impostor(line: &'static str) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    let listener = UnixListener::bind(home.path().join("vrrpd_eth0_51.sock")).expect("it can be made");
    // It ends with the test process.
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("a client");
            let mut request = String::new();
            BufReader::new(&client).read_line(&mut request).expect("a request");
            client.write_all(line.as_bytes()).expect("it reads");
        }
    });
    home
}

#[test]
fn directory_that_another_user_could_have_made_is_not_read() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = impostor("{\"reply\":\"state\",\"routers\":[]}\n");
    let refused = |said: &str| {
        for option in ["--state", "--backup", "--events", "--stats"] {
            let finished = vrrpd_lab::atropos(&a, home.path(), &[option]);
            assert_eq!(finished.code, 1, "{option}: {finished:?}");
            assert!(finished.stderr.contains(said), "{option}: {}", finished.stderr);
        }
    };
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o1777)).expect("it is ours");
    refused("writable by users other than its owner");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    chown(home.path(), Some(65534), None).expect("root can");
    refused("belongs to uid 65534");
    chown(home.path(), Some(0), None).expect("root can");
    assert_eq!(vrrpd_lab::atropos(&a, home.path(), &["--state"]).code, 3, "it is asked");
}

#[test]
fn text_of_a_daemon_has_no_effect_on_the_terminal() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = impostor("{\"reply\":\"error\",\"message\":\"\\u001b[2J\\rall is well \u{9b}2J\"}\n");
    let link = home.path().join("vrrpd_\u{1b}[2J_52.sock");
    fs::hard_link(home.path().join("vrrpd_eth0_51.sock"), link).expect("it can be made");
    for options in [&["--state"][..], &["--state", "--json"], &["--backup"], &["--events"]] {
        let finished = vrrpd_lab::atropos(&a, home.path(), options);
        let printed = finished.stdout + &finished.stderr;
        assert!(printed.contains("\\u001b[2J\\rall is well \\u009b2J"), "{options:?}: {printed:?}");
        let is_harmful = |character: char| character.is_control() && character != '\n';
        assert!(!printed.contains(is_harmful), "{options:?}: {printed:?}");
    }
}

/// The output of a program with `--replay`.
fn replay(program: &str, file: &Path) -> Output {
    Command::new(binary(program)).arg("--replay").arg(file).output().expect("runs")
}

#[test]
fn a_recorded_failover_is_replayed_identically_with_its_reason() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).start();
    master.wait_state("master", SOON);
    let backup = Vrrpd::usual(&b, 100).start();
    backup.wait_state("backup", SOON);
    wait_until(SOON, "the master is heard", || !backup.state()["master"].is_null());
    master.kill();
    backup.wait_state("master", SOON);
    let file = backup.directory().join("failover.jsonl");
    fs::write(&file, "an older one").expect("can be written");
    let name = file.to_str().expect("is text");
    let recorded = backup.atropos(&["--record", name, "eth0/51"]);
    assert!(recorded.success() && recorded.stdout.is_empty(), "{recorded:?}");
    let mode = fs::metadata(&file).expect("was written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&file).expect("is text");
    assert!(text.starts_with("{\"recording\":{\"format\":1,"), "{text}");
    let [first, second] = ["vrrpd", "atropos"].map(|program| replay(program, &file));
    assert!(first.status.success() && first.stderr.is_empty(), "{first:?}");
    assert_eq!(first.stdout, second.stdout);
    let transcript = String::from_utf8(first.stdout).expect("is text");
    let expected = [
        "eth0/51, recorded by vrrpd ",
        "backup, master 10.0.0.1 with priority 150, last heard ",
        " < timer\n",
        " > ask the system: add 10.0.0.100/24\n",
        " < the system has executed the request\n",
        " > TRANSITION backup -> master: master-down-timer, caused by 10.0.0.1 (",
        ") with priority 150; own priority 100\n",
    ];
    let mut rest = transcript.as_str();
    for words in expected {
        let found = rest.split_once(words);
        assert!(found.is_some(), "{words} is missing behind what comes before it in {transcript}");
        rest = found.map_or("", |(_, behind)| behind);
    }
    let unknown = backup.atropos(&["--record", name, "eth0/52"]);
    assert_eq!(unknown.code, 3, "{unknown:?}");
    let nowhere = backup.atropos(&["--record", "/nowhere/failover.jsonl"]);
    assert_eq!(nowhere.code, 1, "{nowhere:?}");
    assert!(nowhere.stderr.contains("/nowhere/failover.jsonl: No such file or directory"), "{nowhere:?}");
    assert_eq!(fs::read_to_string(&file).expect("is text"), text, "the file is as it was");
}

#[test]
fn a_recording_that_is_damaged_or_of_another_format_is_refused_with_its_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("recording.jsonl");
    let head = r#"{"recording":{"format":1,"program":"vrrpd","router":"eth0/51"}}"#;
    for (text, error) in [
        (String::new(), "line 1: the file is empty"),
        ("hello".to_owned(), "line 1: not a recording"),
        (head.replace(":1,", ":99,"), "line 1: written by vrrpd in format 99, this program reads format 1"),
        (format!("{head}\n{{\"snapshot\":"), "line 2: damaged: column 12"),
        (format!("{head}\n{{\"snapshot\":{{}}}}"), "line 2: damaged: missing field"),
    ] {
        fs::write(&file, text).expect("can be written");
        let refused = replay("vrrpd", &file);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(
            said.starts_with("atropos: ") && said.contains(&format!("recording.jsonl: {error}")),
            "{said}"
        );
    }
    let missing = replay("vrrpd", Path::new("/nowhere"));
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nowhere: No such file"), "{missing:?}");
}
