//! The configuration file: several routers in one process.

use std::fmt::Write as _;

use vrrpd_lab::usual::SOON;
use vrrpd_lab::{Datapath, Finished, Host, Lab, ScriptLog, Vrrpd, wait_until};

const TWO_ROUTERS: &str = r#"
[defaults]
interface = "eth0"
interval = "100ms"
protocol = "v3"
vmac = "none"

[[router]]
vrid = 51
addresses = ["10.0.0.100/24", "10.0.0.101"]
priority = 150

[[router]]
interface = "eth1"
vrid = 52
addresses = ["10.1.0.100/24"]
preempt = false
"#;

/// The output of `--check` for a file.
fn check(host: &Host, text: &str) -> Finished {
    Vrrpd::on(host).config(text).datapath(Datapath::Default).args(["--check"]).run()
}

#[test]
fn the_example_of_the_documentation_is_right() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let finished = check(&a, include_str!("../../docs/examples/vrrpd.toml"));
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""));
}

#[test]
fn routers_may_have_more_files_open_than_the_system_allows_unless_asked() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let script = ScriptLog::new(&[]);
    let mut text =
        "[defaults]\ninterface = \"eth0\"\ninterval = \"100ms\"\nprotocol = \"v3\"\nvmac = \"none\"\n"
            .to_owned();
    writeln!(text, "up = {:?}", script.path()).expect("writing to a string works");
    let routers = |vrids: std::ops::RangeInclusive<u8>| {
        let line = |vrid| format!("[[router]]\nvrid = {vrid}\naddresses = [\"10.0.1.{vrid}\"]\n");
        text.clone() + &vrids.map(line).collect::<String>()
    };
    let few = ["/bin/sh", "-c", "ulimit -Sn 64; exec \"$@\"", "sh"];
    let daemon = Vrrpd::on(&a).config(&routers(1..=100)).through(few).start();
    wait_until(SOON, "every router runs its script", || script.runs().len() == 100);
    daemon.reload(&routers(1..=200));
    wait_until(SOON, "every new one as well", || script.runs().len() == 200);
    assert_eq!(daemon.count_in_log("Too many open files"), 0, "{:#?}", daemon.log());
}

#[test]
fn one_process_serves_the_routers_of_several_interfaces() {
    let mut lab = Lab::new();
    let [a, b] = lab.hosts();
    let second = lab.add_network();
    lab.join(&a, second, "eth1", "10.1.0.1/24");
    lab.join(&b, second, "eth1", "10.1.0.2/24");
    let daemon = Vrrpd::on(&a).config(TWO_ROUTERS).start();
    wait_until(SOON, "both are master", || daemon.states().iter().all(|state| state["state"] == "master"));
    let states = daemon.states();
    assert_eq!(states.len(), 2);
    let of = |vrid: u8| states.iter().find(|state| state["vrid"] == vrid).expect("it is there");
    assert_eq!((&of(51)["interface"], &of(51)["priority"]), (&"eth0".into(), &150.into()));
    assert_eq!((&of(52)["interface"], &of(52)["preempt"]), (&"eth1".into(), &false.into()));
    assert!(a.has_address("eth0", "10.0.0.100/24") && a.has_address("eth1", "10.1.0.100/24"));
    assert_eq!(of(51)["pid"], of(52)["pid"]);
    assert!(daemon.directory().join("vrrpd.sock").exists() && daemon.directory().join("vrrpd.pid").exists());

    // Each of them has a peer that is a daemon with options on the command line.
    let peer =
        Vrrpd::on(&b).interface("eth1").vrid(52).priority(254).address("10.1.0.100/24").v3("100ms").start();
    peer.wait_state("backup", SOON);
    assert_eq!(daemon.terminate(), 0);
    peer.wait_state("master", SOON);
    assert!(!a.has_address("eth0", "10.0.0.100/24") && !a.has_address("eth1", "10.1.0.100/24"));
}

#[test]
fn check_accepts_a_valid_file_and_starts_nothing() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let finished = check(&a, TWO_ROUTERS);
    assert_eq!(finished.code, 0, "{finished:?}");
}

#[test]
fn check_names_file_line_and_column_of_a_mistake() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.100\"]\n";
    // The appended text, line and column of the mistake, and a word that the message must contain.
    for (mistake, line, column, word) in [
        ("priorty = 150\n", 5, 1, "priorty"),
        ("priority = 300\n", 5, 12, "priority"),
        ("interval = \"0.5\"\n", 5, 12, "interval"),
        ("  protocol = \"v4\"\n", 5, 14, "protocol"),
        ("\npreempt = \"perhaps\"\n", 6, 11, "preempt"),
        ("up = \"a\"\nup = \"b\"\n", 6, 1, "up"),
        ("[[router]\n", 5, 0, ""),
        ("[[rooter]]\n", 5, 0, "rooter"),
    ] {
        let finished = check(&a, &format!("{router}{mistake}"));
        assert!(matches!(finished.code, 1 | 2), "{mistake:?}: {finished:?}");
        let column = if column == 0 { String::new() } else { format!("{column}") };
        let place = format!("vrrpd.toml:{line}:{column}");
        assert!(finished.stderr.contains(&place), "{place} is not in: {}", finished.stderr);
        assert!(finished.stderr.contains(word), "{word} is not in: {}", finished.stderr);
    }
}

#[test]
fn check_reports_every_mistake_with_its_line_and_the_nearest_valid_name() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let finished = check(
        &a,
        "[[router]]\ninterfase = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.100\"]\nvmac = \"mcvlan\"\n\
         auth = \"pw/open-sesame\"\n\n[[router]]\ninterface = \"eth0\"\npriority 150\nvrid = 0\n",
    );
    assert_eq!(finished.code, 2, "{finished:?}");
    let told = finished.stderr.lines().filter(|line| line.contains("vrrpd.toml:"));
    let places: Vec<_> = told
        .filter_map(|line| line.split_once("vrrpd.toml:")?.1.split_once(": ").map(|(at, _)| at))
        .collect();
    assert_eq!(places, ["10:10", "2:1", "5:8", "6:8", "11:8"], "{}", finished.stderr);
    for shown in [
        "2 | interfase = \"eth0\"\n  | ^^^^^^^^^ did you mean interface?\n",
        "5 | vmac = \"mcvlan\"\n  |        ^^^^^^^^\n",
        "did you mean macvlan?",
        "11 | vrid = 0\n   |        ^\n",
    ] {
        assert!(finished.stderr.contains(shown), "{shown} is not in: {}", finished.stderr);
    }
    assert!(
        !finished.stderr.contains("sesame") && !finished.stderr.contains('\u{1b}'),
        "{}",
        finished.stderr
    );
}

#[test]
fn wrong_file_is_refused_at_start_too() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let wrong = Vrrpd::on(&a).config("[[router]]\nvrid = 0\n").datapath(Datapath::Default);
    let (finished, _daemon) = wrong.start_in_background();
    assert!(matches!(finished.code, 1 | 2), "{finished:?}");
    assert!(finished.stderr.contains("vrrpd.toml:2:8"), "{}", finished.stderr);
}

#[test]
fn same_router_twice_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.100\"]\n";
    let finished = check(&a, &format!("{router}{router}"));
    assert!(matches!(finished.code, 1 | 2), "{finished:?}");
    assert!(finished.stderr.contains("vrrpd.toml:5:1"), "{}", finished.stderr);
}

#[test]
fn file_without_routers_or_that_is_missing_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    assert_ne!(check(&a, "").code, 0);
    let missing = a.run(vrrpd_lab::binary("vrrpd"), ["--config", "/nonexistent/vrrpd.toml", "--check"]);
    assert!(matches!(missing.code, 1 | 2), "{missing:?}");
    assert!(missing.stderr.contains("/nonexistent/vrrpd.toml"), "{}", missing.stderr);
}

#[test]
fn daemon_of_a_file_goes_to_the_background_with_a_pid_file_of_its_own() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let text = "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.100\"]\n";
    let (finished, daemon) = Vrrpd::on(&a).config(text).start_in_background();
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(daemon.pid("vrrpd.pid").is_some_and(vrrpd_lab::is_alive), "{:?}", daemon.files());
    daemon.terminate("vrrpd.pid");
}
