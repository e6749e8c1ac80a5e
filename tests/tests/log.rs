//! The log of a daemon in the background: its destination and its content.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;

use vrrpd_lab::needs::UNSHARE;
use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Lab, Vrrpd, wait_for};

/// Runs a command with a `/dev` that consists of the directory `$1` and a null device.
const WITH_DEV: &str = r#"dev=$1; shift; : >"$dev/null"; mount --bind /dev/null "$dev/null" && mount --rbind "$dev" /dev && exec "$@""#;

#[test]
fn transition_is_a_line_in_syslog_of_facility_local1() {
    const LOCAL1_INFO: &str = "<142>vrrpd[";
    let lab = Lab::new();
    let [a] = lab.hosts();
    let dev = tempfile::tempdir().expect("a temporary directory can be made");
    let log = UnixDatagram::bind(dev.path().join("log")).expect("a socket can be made");
    log.set_nonblocking(true).expect("it can");
    let through = ["--mount", "sh", "-c", WITH_DEV, "sh"].map(Into::into);
    let program =
        [vec![UNSHARE.require().into_os_string()], through.to_vec(), vec![dev.path().into()]].concat();
    let builder = Vrrpd::on(&a).vrid(51).priority(100).address(CIDR).args(["-a", "pw/sesame"]);
    let (finished, daemon) = builder.through(program).start_in_background();
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""));
    let mut lines = Vec::new();
    let line = wait_for(SOON, "the transition is logged", || {
        let mut buffer = [0; 2048];
        while let Ok(length) = log.recv(&mut buffer) {
            lines.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        lines.iter().find(|line| line.contains("transition") && line.contains(r#"to="master""#)).cloned()
    });
    assert!(line.starts_with(LOCAL1_INFO), "{line}");
    for part in ["router=eth0/51", r#"from="backup""#, r#"reason="master-down-timer""#, "master="] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    daemon.terminate("vrrpd_eth0.pid");
    assert!(!lines.concat().contains("sesame"), "no password is logged: {lines:?}");
}

/// Output of a script: a line that looks like one of the daemon, and control characters.
const FORGED: &[u8] = b"#!/bin/sh\nprintf 'one\\rtwo\\000\\033[2J\\302\\205\\342\\200\\250three\\n'\n";

#[test]
fn script_output_is_logged_as_one_line_without_control_characters() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let script = home.path().join("up");
    fs::write(&script, FORGED).expect("it can be written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    for format in ["text", "json"] {
        let up = script.display().to_string();
        let router = Vrrpd::usual(&a, 100).args(["-U", &up, "--log-format", format]).start();
        let line = router.wait_log(SOON, "three");
        assert!(line.contains(r"one\rtwo\u0000\u001b[2J\u0085\u2028three"), "{format}: {line}");
        assert!(!line.contains(char::is_control) && line.contains("router"), "{format}: {line}");
        assert_eq!(router.terminate(), 0);
    }
}
