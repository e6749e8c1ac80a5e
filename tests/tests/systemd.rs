//! The units, started by a real systemd.

use std::path::Path;
use std::time::Duration;

use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Content, Host, Lab, System, binary, wait_until};

/// systemd has other things to do as well.
const PATIENCE: Duration = Duration::from_secs(20);

const FILE: &str = "\
[defaults]
protocol = \"v3\"
interval = \"100ms\"
xdp = \"native\"
[[router]]
interface = \"eth0\"
vrid = 51
addresses = [\"10.0.0.100/24\"]
";
const OPTIONS: &str = "VRRPD_OPTIONS=-i eth0 -v 52 10.0.0.101/24 --protocol v3 -d 100ms -n\n";

fn booted(host: &Host) -> System {
    let unit = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/systemd").join(name);
        std::fs::read_to_string(path).expect("it is shipped")
    };
    let (all, one) = (unit("vrrpd.service"), unit("vrrpd@.service"));
    System::boot(
        host,
        &[
            ("usr/sbin/vrrpd", Content::Program(&binary("vrrpd"))),
            ("usr/sbin/atropos", Content::Program(&binary("atropos"))),
            ("etc/systemd/system/vrrpd.service", Content::Text(&all)),
            ("etc/systemd/system/vrrpd@.service", Content::Text(&one)),
            ("etc/vrrpd/vrrpd.toml", Content::Text(FILE)),
            ("etc/default/vrrpd-eth0-52", Content::Text(OPTIONS)),
        ],
    )
}

#[track_caller]
fn systemctl(system: &System, arguments: &[&str]) {
    let finished = system.run(&[&["systemctl"], arguments].concat());
    let log = || system.run(&["journalctl", "--no-pager", "--lines", "50"]).stdout;
    assert!(finished.success(), "systemctl {arguments:?}: {}\n{}", finished.stderr, log());
}

#[test]
fn units_start_reload_restart_and_stop_the_daemon() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let system = booted(&a);
    let of_vrrpd = |name: &str| system.property("vrrpd", name);

    // Type=notify: it is running when this returns.
    systemctl(&system, &["start", "vrrpd"]);
    wait_until(PATIENCE, "it is master", || a.has_address("eth0", CIDR));
    wait_until(SOON, "systemd knows", || of_vrrpd("StatusText") == "eth0/51: master");
    assert!(
        a.xdp_program("eth0").is_some(),
        "what the unit forbids does not keep the program from the kernel"
    );
    let state = system.run(&["atropos", "--state"]);
    assert!(state.success() && state.stdout.contains("eth0/51: MASTER"), "{state:?}");
    let pid = of_vrrpd("MainPID");
    systemctl(&system, &["reload", "vrrpd"]);
    wait_until(SOON, "the file was read again", || {
        system.run(&["journalctl", "--unit", "vrrpd"]).stdout.contains("configuration reloaded")
    });
    assert_eq!(of_vrrpd("MainPID"), pid);

    // Killed: its guardian removes the address, and systemd starts it again.
    systemctl(&system, &["kill", "--signal", "KILL", "--kill-who", "main", "vrrpd"]);
    wait_until(SOON, "the address is given back", || !a.has_address("eth0", CIDR));
    wait_until(PATIENCE, "it is started again", || a.has_address("eth0", CIDR));
    assert_ne!(of_vrrpd("MainPID"), pid);
    assert_eq!(of_vrrpd("NRestarts"), "1");

    // One process for a router, with its own options.
    systemctl(&system, &["start", "vrrpd@eth0-52"]);
    wait_until(PATIENCE, "it is master", || a.has_address("eth0", "10.0.0.101/24"));
    systemctl(&system, &["stop", "vrrpd@eth0-52"]);
    assert!(!a.has_address("eth0", "10.0.0.101/24"));

    systemctl(&system, &["stop", "vrrpd"]);
    assert!(!a.has_address("eth0", CIDR));
    assert_eq!(of_vrrpd("Result"), "success");
}
