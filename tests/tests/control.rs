//! The client `atropos` and its output.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};
use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Datapath, Host, Lab, Process, Signal, Vrrpd, atropos, schema, stretched, wait_until};

/// Another router on the same interface. It uses raw sockets, since the first one may use the interface's XDP hook.
fn beside(host: &Host, first: &Vrrpd) -> Vrrpd {
    let router = Vrrpd::on(host).vrid(52).address("10.0.0.101/24").v3("100ms");
    router.datapath(Datapath::Raw).beside(first).start()
}

/// Checks a router's JSON against the schema, and the format of times, which the schema does not describe.
#[track_caller]
fn assert_fits_the_schema(router: &Value) {
    let schema = serde_json::from_str(include_str!("../schema/router.json")).expect("the schema is JSON");
    let violations = schema::violations(&schema, router);
    assert!(violations.is_empty(), "{violations:#?}");
    let since = router["since"].as_str().expect("a time");
    assert!(
        since.len() >= 20 && since.as_bytes()[10] == b'T' && since.ends_with('Z'),
        "RFC 3339, UTC: {since}"
    );
}

#[test]
fn json_of_a_master_and_of_a_backup_fits_the_schema_and_the_facts() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).start();
    let state = master.wait_state("master", SOON);
    assert_fits_the_schema(&state);
    assert_eq!(
        (&state["interface"], &state["vrid"], &state["pid"]),
        (&"eth0".into(), &51.into(), &master.pid().into())
    );
    assert_eq!(
        (&state["family"], &state["protocol"], &state["auth"]),
        (&"ipv4".into(), &3.into(), &"none".into())
    );
    assert_eq!((&state["priority"], &state["effective_priority"]), (&150.into(), &150.into()));
    assert_eq!((&state["interval_ns"], &state["addresses"][0]), (&100_000_000.into(), &CIDR.into()));
    let datapath = Datapath::usual().name().expect("it is one of three");
    assert_eq!((&state["datapath"], &state["vmac_mode"]), (&datapath.into(), &"none".into()));
    assert_eq!(state["reason"], "master-down-timer");

    let backup = Vrrpd::on(&b).vrid(51).address(CIDR).v3("200ms").start();
    wait_until(SOON, "it has heard the master", || backup.counter("adverts_received") > 2);
    let state = backup.state();
    assert_fits_the_schema(&state);
    assert_eq!((&state["state"], &state["reason"]), (&"backup".into(), &"start-up".into()));
    let heard = &state["master"];
    assert_eq!((&heard["address"], &heard["priority"]), (&"10.0.0.1".into(), &150.into()));
    assert!(heard["last_advert_age_ns"].as_u64() < Some(1_000_000_000), "{heard}");
    // RFC 9568 §6.1: the master's interval is learned, the router's own stays.
    assert_eq!(
        (&state["interval_ns"], &state["master_interval_ns"]),
        (&200_000_000.into(), &100_000_000.into())
    );
}

#[test]
fn json_of_a_router_without_a_link_fits_the_schema() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::on(&a).vrid(7).address("fe80::7/64").v3("100ms").start();
    router.wait_state("master", SOON);
    lab.port_down(&a);
    assert_fits_the_schema(&router.wait_state("fault", SOON));
}

#[test]
fn state_is_a_block_a_router_for_a_person() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 150).start();
    router.wait_state("master", SOON);
    let shown = router.atropos(&["--state"]);
    assert_eq!(shown.code, 0);
    for word in ["eth0", "51", "master", "150", "10.0.0.100"] {
        assert!(shown.stdout.to_lowercase().contains(word), "{word:?} is not in:\n{}", shown.stdout);
    }
}

#[test]
fn counters_count_adverts_and_transitions() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    wait_until(SOON, "adverts are sent", || router.counter("adverts_sent") >= 5);
    assert!(router.counter("garp_sent") >= 1);
    let transitions = router.counter("transitions");

    let higher = Vrrpd::usual(&b, 150).start();
    router.wait_state("backup", SOON);
    assert_eq!(router.counter("transitions"), transitions + 1);
    wait_until(SOON, "adverts are received", || router.counter("adverts_received") >= 5);
    drop(higher);

    let stats = router.atropos(&["--stats"]);
    assert_eq!(stats.code, 0);
    assert!(stats.stdout.contains("ttl"), "each reason to reject is shown: {}", stats.stdout);
}

#[test]
fn without_any_daemon_the_exit_code_is_3() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let nothing = tempfile::tempdir().expect("a temporary directory can be made");
    assert_eq!(atropos(&a, nothing.path(), &["--state"]).code, 3);
    assert_eq!(atropos(&a, Path::new("/nonexistent/vrrpd"), &["--state", "--json"]).code, 3);
}

#[test]
fn interface_and_vrid_choose_and_without_them_all_are_meant() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let one = Vrrpd::usual(&a, 100).start();
    let other = beside(&a, &one);
    other.wait_state("master", SOON);
    let vrids = |arguments: &[&str]| -> Vec<u64> {
        let shown = one.atropos(&[&["--state", "--json"], arguments].concat());
        let states: Value = serde_json::from_str(&shown.stdout).unwrap_or_default();
        let mut vrids: Vec<_> =
            states.as_array().into_iter().flatten().filter_map(|state| state["vrid"].as_u64()).collect();
        vrids.sort_unstable();
        vrids
    };
    assert_eq!(vrids(&[]), [51, 52]);
    assert_eq!(vrids(&["-v", "52"]), [52]);
    assert_eq!(vrids(&["-i", "eth0"]), [51, 52]);
    assert_eq!(vrids(&["-i", "eth0", "-v", "51"]), [51]);
    assert_eq!(one.atropos(&["--state", "-v", "53"]).code, 3);
    assert_eq!(one.atropos(&["--state", "-i", "eth9"]).code, 3);

    assert_eq!(one.atropos(&["--reduce", "-v", "52"]).code, 0);
    assert_eq!(
        (&one.state()["effective_priority"], &other.state()["effective_priority"]),
        (&100.into(), &90.into())
    );
}

#[test]
fn daemon_that_does_not_answer_makes_the_exit_code_1() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let one = Vrrpd::usual(&a, 100).start();
    let other = beside(&a, &one);
    other.pause();
    let shown = one.atropos(&["--state", "--json"]);
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(shown.stderr.contains("52"), "it says which one: {}", shown.stderr);
    let states: Value = serde_json::from_str(&shown.stdout).expect("the others are shown");
    assert_eq!(states[0]["vrid"], 51);
    assert!(shown.took < Duration::from_secs(10), "it does not wait for ever: {:?}", shown.took);
    other.resume();
}

#[test]
fn left_over_socket_of_a_killed_daemon_is_one_that_does_not_answer() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.kill();
    let finished = router.atropos(&["--state"]);
    assert_eq!(finished.code, 1);
    assert!(finished.stderr.contains("left its socket behind"), "{}", finished.stderr);
    let again = Vrrpd::usual(&a, 100).beside(&router).start();
    again.wait_state("master", SOON);
}

#[test]
fn stuck_client_does_not_hold_the_daemon_up() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let socket = router.directory().join("vrrpd_eth0_51.sock");
    // They connect and send nothing.
    let stuck: Vec<_> = (0..40).map(|_| UnixStream::connect(&socket)).collect();
    assert!(stuck.iter().any(Result::is_ok));
    let sent = router.counter("adverts_sent");
    wait_until(SOON, "it goes on advertising", || router.counter("adverts_sent") > sent + 5);
    assert!(router.is_master());
}

#[test]
fn thousand_clients_that_say_nothing_do_not_make_another_one_wait() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("it may be raised that far");
    let files = || std::fs::read_dir(format!("/proc/{}/fd", router.pid())).expect("it runs").count();
    let before = files();
    let socket = router.directory().join("vrrpd_eth0_51.sock");
    let mut silent = Vec::new();
    for number in 0..1000 {
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        // Every second one starts to send. It may have been disconnected by then.
        if number % 2 == 0 {
            drop(std::io::Write::write_all(&mut stream, b"{\"request\":"));
        }
        silent.push(stream);
    }
    let shown = router.atropos(&["--state"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.took < stretched(Duration::from_secs(1)), "{:?}", shown.took);
    assert!(files() <= before + 70, "{} files were open, {} are now", before, files());
    wait_until(SOON, "they are let go", || files() <= before);
    assert!(router.is_master());
}

#[test]
fn client_does_not_wait_for_a_daemon_that_accepts_no_connections() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.pause();
    let address = SockAddr::unix(router.directory().join("vrrpd_eth0_51.sock")).expect("it is short");
    // As many as the kernel queues.
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("sockets can be made");
        client.set_nonblocking(true).expect("it can");
        if client.connect(&address).is_err() {
            break;
        }
        waiting.push(client);
    }
    let shown = router.atropos(&["--state"]);
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(shown.stderr.contains("the daemon does not answer"), "{shown:?}");
    router.resume();
}

#[test]
fn clients_that_follow_events_do_not_shut_out_others() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let socket = router.directory().join("vrrpd_eth0_51.sock");
    let request = b"{\"request\":\"events\",\"interface\":null,\"vrid\":null}\n";
    let following: Vec<_> = (0..80)
        .map(|_| {
            let mut stream = UnixStream::connect(&socket).expect("it listens");
            std::io::Write::write_all(&mut stream, request).expect("it reads");
            stream
        })
        .collect();
    let shown = router.atropos(&["--state"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let refused = router.atropos(&["--events"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("too many clients follow events"), "{}", refused.stderr);
    drop(following);
}

#[test]
fn garbage_on_the_control_socket_is_survived() {
    use std::io::Write as _;
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let long = vec![0xff; 100_000];
    for garbage in [&b"\0\0\0\0"[..], &long, b"{\"", b"\n\n\n", b"[[[[[[[[[[[[[[[[[[[[\n"] {
        let socket = router.directory().join("vrrpd_eth0_51.sock");
        let mut stream = UnixStream::connect(socket).expect("it listens");
        stream.set_write_timeout(Some(SOON)).expect("sockets have time limits");
        // It may have disconnected.
        drop(stream.write_all(garbage));
    }
    assert!(router.is_master());
}

#[test]
fn control_socket_is_for_root_alone() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!(mode(&router.directory()), 0o700);
    assert_eq!(mode(&router.directory().join("vrrpd_eth0_51.sock")), 0o600);
}

#[test]
fn events_are_one_json_object_a_line_as_they_happen() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let events: Process = router.start_atropos(&["--events"]);
    let higher = Vrrpd::usual(&b, 150).start();
    let to_backup: Value =
        serde_json::from_str(&events.wait_log(SOON, "higher-priority-advert")).expect("JSON");
    assert_eq!((&to_backup["interface"], &to_backup["vrid"]), (&"eth0".into(), &51.into()));
    let words = |event: &Value| event.to_string().to_lowercase();
    assert!(words(&to_backup).contains("master") && words(&to_backup).contains("backup"), "{to_backup}");

    higher.signal(Signal::SIGTERM);
    let to_master: Value = serde_json::from_str(&events.wait_log(SOON, "master-resigned")).expect("JSON");
    assert_eq!(to_master["vrid"], 51);
}

#[test]
fn answer_comes_in_under_50_ms_with_a_hundred_addresses() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let builder = Vrrpd::on(&a).vrid(51).v3("100ms");
    let router = (1..=100).fold(builder, |router, host| router.address(&format!("10.0.1.{host}/24"))).start();
    router.wait_state("master", SOON);
    // The best of several, since the time of the daemon is measured, not the load of the machine.
    let ask = || {
        let start = Instant::now();
        let shown = router.atropos(&["--state", "--json"]);
        assert_eq!(shown.code, 0);
        start.elapsed()
    };
    let best = (0..10).map(|_| ask()).min().expect("ten");
    assert!(best < stretched(Duration::from_millis(50)), "{best:?}");
    assert_eq!(router.state()["addresses"].as_array().map(Vec::len), Some(100));
}

#[test]
fn answer_to_a_change_is_its_result() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    for mode in ["none", "interface", "macvlan"] {
        let master = Vrrpd::usual(&a, 150).vmac(mode).start();
        master.wait_state("master", SOON);
        let other = Vrrpd::usual(&b, 100).start();
        wait_until(SOON, "it hears the master", || other.counter("adverts_received") > 0);
        for (change, state) in [("--backup", "backup"), ("--reduce", "backup")] {
            let answer = master.atropos(&[change]);
            assert!(answer.success() && answer.stdout.contains(&format!(": {state}")), "{mode}: {answer:?}");
            assert!(!a.ip("addr show").contains("10.0.0.100"), "{mode}: the address is gone by then");
        }
        master.terminate();
        other.terminate();
    }
}
