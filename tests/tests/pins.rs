//! The program in the kernel and its pinned maps: made with a daemon, shown without it, gone or replaced after it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use vrrpd_common::abi::{KernelCommand, KernelConfig, KernelRole};
use vrrpd_lab::program::Program;
use vrrpd_lab::usual::{CIDR, SOON, assert_serves, in_mounts_of_its_own, master, router};
use vrrpd_lab::{Datapath, Lab, Vrrpd, needs, wait_until};

/// The pinned maps of an interface.
const PINS: [&str; 2] = ["records", "rejects"];

#[test]
fn kernel_record_is_shown_while_the_daemon_is_stopped() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let _master = master(&a);
    let backup = router(&b, 100, Datapath::Native).start();
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 3);
    assert_eq!(backup.state()["kernel"]["timer_armed"], true);
    let known = backup.state();
    backup.pause();
    let finished = backup.atropos(&["--state", "--json"]);
    backup.resume();
    assert_eq!(finished.code, 1, "{finished:?}");
    let routers: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let router = &routers[0];
    assert!(router["state"].is_null(), "only the daemon knows: {router}");
    let keys = |object: &serde_json::Value| -> Vec<_> {
        object.as_object().expect("it is one").keys().cloned().collect()
    };
    assert_eq!(keys(router), keys(&known));
    let kernel = &router["kernel"];
    assert_eq!((&kernel["role"], &kernel["master"]["priority"]), (&"backup".into(), &150.into()));
    assert!(kernel["master"]["last_advert_age_ns"].as_u64() < Some(1_000_000_000), "{kernel}");
}

#[test]
fn without_a_bpf_file_system_that_can_be_mounted_there_are_no_pins_and_everything_else_works() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let master = master(&a);
    let setpriv = needs::SETPRIV.require().display().to_string();
    let become_poor =
        format!("umount -a -t bpf; exec {setpriv} --inh-caps -all --bounding-set -sys_admin -- \"$@\"");
    let backup = router(&b, 100, Datapath::Native);
    let backup = backup.through(in_mounts_of_its_own(&become_poor)).start();
    backup.wait_log(SOON, "cannot pin maps");
    backup.assert_in_log("cannot pin maps", 1);
    assert!(!b.namespace().pins("eth0").exists());
    assert_serves(&lab, &backup, &master, &client);
}

#[test]
fn bpf_file_system_is_mounted_when_it_is_not_there() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = router(&a, 100, Datapath::Native);
    let router = router.through(in_mounts_of_its_own("umount -a -t bpf; exec \"$@\"")).start();
    router.wait_state("master", SOON);
    assert_eq!(router.count_in_log("cannot pin maps"), 0);
    let there = format!("/proc/{}/root{}", router.pid(), a.namespace().pins("eth0").display());
    assert!(fs::exists(&there).expect("it can be looked at"), "{there}");
    assert!(!a.namespace().pins("eth0").exists(), "in its own mount namespace alone");
    assert_eq!(router.terminate(), 0);
}

#[test]
fn kill_9_leaves_no_program_and_the_next_start_replaces_the_pins() {
    for mode in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        let master = master(&a);
        let builder = router(&b, 100, mode);
        let first = builder.clone().start();
        let pins = b.namespace().pins("eth0");
        assert!(b.xdp_program("eth0").is_some());
        assert_eq!(files(&pins), PINS);
        first.kill();
        wait_until(SOON, "the program is gone", || b.xdp_program("eth0").is_none());
        assert_eq!(files(&pins), PINS, "left behind");
        let left = inode(&pins.join("records"));

        let second = builder.start();
        assert_eq!(files(&pins), PINS);
        assert_ne!(inode(&pins.join("records")), left, "they are new ones");
        assert_serves(&lab, &second, &master, &client);
    }
}

#[test]
fn after_a_kill_the_kernel_runs_no_timer_although_its_record_has_one() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let _master = master(&a);
    let backup = router(&b, 100, Datapath::Native).start();
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 3);
    backup.kill();
    wait_until(SOON, "the program is gone", || b.xdp_program("eth0").is_none());
    let finished = backup.atropos(&["--state"]);
    assert!(finished.stdout.contains("timer not armed: no program"), "{finished:?}");
    let finished = backup.atropos(&["--state", "--json"]);
    let routers: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let kernel = &routers[0]["kernel"];
    assert_eq!((&kernel["program"], &kernel["timer_armed"]), (&false.into(), &false.into()), "{kernel}");
}

#[test]
fn records_of_another_version_are_refused_with_a_message() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let daemon = router(&a, 100, Datapath::Native).start();
    daemon.wait_state("master", SOON);
    assert!(daemon.state()["kernel"].is_object());
    let pins = a.namespace().pins("eth0");
    fs::rename(pins.join("records"), pins.join("rejects_were_here")).expect("it can have another name");
    // A map of counters in its place is like one of another version.
    fs::rename(pins.join("rejects"), pins.join("records")).expect("it can have another name");
    fs::rename(pins.join("rejects_were_here"), pins.join("rejects")).expect("it can have another name");
    let finished = daemon.atropos(&["--state"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(finished.stderr.contains("another version of vrrpd"), "{finished:?}");
    assert!(!finished.stdout.contains("kernel "), "{finished:?}");
}

/// The number of an ended namespace is soon reused, so the pins get a number here that no namespace has.
#[test]
fn pins_of_a_namespace_that_is_not_to_be_seen_stay_with_a_living_daemon_and_go_without_it() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let living = router(&a, 100, Datapath::Native).start();
    let pins = a.namespace().pins("eth0");
    let of_namespace = pins.parent().expect("a directory for the namespace");
    let of_none = of_namespace.with_file_name("1");
    fs::rename(of_namespace, &of_none).expect("it can have another name");

    let next = router(&b, 100, Datapath::Native).start();
    assert_eq!(files(&of_none.join("eth0")), PINS);
    // After its end, the next start of any daemon removes them.
    living.kill();
    assert_eq!(next.terminate(), 0);
    let _next = router(&b, 100, Datapath::Native).start();
    assert!(!of_none.exists());
}

#[test]
fn sigterm_leaves_neither_program_nor_pins() {
    for mode in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let router = router(&a, 100, mode).start();
        router.wait_state("master", SOON);
        let pins = a.namespace().pins("eth0");
        assert!(pins.exists());
        assert_eq!(router.terminate(), 0);
        assert_eq!(a.xdp_program("eth0"), None);
        assert!(!pins.exists());
        let of_namespace = pins.parent().expect("a directory for the namespace");
        assert!(!of_namespace.exists(), "{}", of_namespace.display());
    }
}

#[test]
fn daemon_in_the_background_keeps_the_program_when_its_command_has_ended() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let (finished, daemon) = router(&a, 100, Datapath::Native).start_in_background();
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{finished:?}");
    assert!(a.xdp_program("eth0").is_some());
    wait_until(SOON, "it becomes master", || a.has_address("eth0", CIDR));
    daemon.terminate("vrrpd_eth0.pid");
    assert_eq!(a.xdp_program("eth0"), None);
    assert!(!a.namespace().pins("eth0").exists());
}

#[test]
fn interface_that_is_removed_and_made_again_gets_the_program_again() {
    for mode in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        let master = master(&a);
        let backup = router(&b, 100, mode).start();
        backup.wait_state("backup", SOON);
        b.ip("link del eth0");
        backup.wait_state("fault", SOON);

        lab.join(&b, 0, "eth0", "10.0.0.2/24");
        backup.wait_state("backup", SOON);
        let state = backup.state();
        assert_eq!(state["datapath"].as_str(), mode.name(), "{}", state["datapath_reason"]);
        assert!(b.xdp_program("eth0").is_some());
        assert_eq!(files(&b.namespace().pins("eth0")), PINS);
        assert_serves(&lab, &backup, &master, &client);
    }
}

/// A new interface needs a timer for each router at once, and the kernel has no memory available for them: others have
/// taken what the old one released.
#[test]
fn interface_of_255_routers_that_is_made_again_gets_the_program_again_each_time() {
    let lab = Lab::new();
    let [host] = lab.hosts();
    let mut text = "[defaults]\ninterface = \"eth0\"\nprotocol = \"v3\"\ninterval = \"40s\"\n".to_owned();
    for vrid in 1..=255 {
        writeln!(text, "[[router]]\nvrid = {vrid}\naddresses = [\"10.1.0.{vrid}\"]\nvmac = \"none\"")
            .expect("writing to a string works");
    }
    let daemon = Vrrpd::on(&host).vrid(1).config(&text).datapath(Datapath::Native).start();
    let mut others = Vec::new();
    for round in 0..10 {
        host.ip("link del eth0");
        daemon.wait_state("fault", SOON);
        let (other, ring) = Program::load();
        for slot in 1..=255 {
            let config = KernelConfig { role: KernelRole::Init as u8, ..KernelConfig::default() };
            other.obey(KernelCommand { slot, config, ..KernelCommand::default() });
        }
        others.push((other, ring));
        lab.join(&host, 0, "eth0", "10.0.0.1/24");
        daemon.wait_state("backup", SOON);
        let state = daemon.state();
        assert_eq!(
            state["datapath"].as_str(),
            Some("xdp-native"),
            "round {round}: {}",
            state["datapath_reason"]
        );
    }
    let states = daemon.states();
    assert!(states.iter().all(|state| state["kernel"]["timer_armed"] == true), "each has its timer");
}

/// The names in a directory, sorted.
fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).map(Iterator::flatten).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn inode(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).expect("it is there").ino()
}
