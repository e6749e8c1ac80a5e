//! Start scripts of Vrrpd users, line by line: each option of its usage texts and each feature of its description, in a
//! test named after it. Groups (`-M`) have their own tests; VLANs are tested in `cargo xtask vm-test`.

use std::time::Duration;

use vrrpd_lab::usual::{ADDRESS, CIDR, SOON};
use vrrpd_lab::{
    Capture, Finished, Host, Lab, Pinger, ScriptLog, Signal, Vrrpd, VrrpdBuilder, atropos, binary, wait_until,
};

/// Version 2 with an advert a second: an election takes up to four.
const ELECTION: Duration = Duration::from_secs(10);
const VMAC: &str = "00:00:5e:00:01:33";

/// `vrrpd -i eth0 -v 51` only, as accepted by Vrrpd.
fn vrrpd(host: &Host) -> VrrpdBuilder {
    Vrrpd::on(host).vrid(51).plain()
}

fn usage(host: &Host, option: &str) -> Finished {
    host.run(binary("vrrpd"), [option])
}

#[test]
fn basic_configuration_as_it_is_written() {
    // vrrpd -i eth0 10.16.1.200 -v 51 -U MASTER.sh -D DOWN.sh
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let (up, down) = (ScriptLog::running("echo up"), ScriptLog::running("echo down"));
    let scripts = ["-U".into(), up.path().into_os_string(), "-D".into(), down.path().into_os_string()];
    let first = vrrpd(&a).args([ADDRESS.to_string()]).args(scripts).start();
    let state = first.wait_state("master", ELECTION);
    up.wait_run(SOON, "up");
    assert_eq!(
        (&state["protocol"], &state["priority"], &state["preempt"]),
        (&2.into(), &100.into(), &true.into())
    );
    assert_eq!(state["interval_ns"], 1_000_000_000);
    assert_eq!((&state["vmac"], &state["vmac_mode"]), (&VMAC.into(), &"interface".into()));
    assert_eq!(state["addresses"], serde_json::json!(["10.0.0.100/32"]));
    let second = vrrpd(&b).args([ADDRESS.to_string()]).start();
    second.wait_state("backup", SOON);
    let pinger = Pinger::start(&client, ADDRESS, Duration::from_millis(10));
    pinger.wait_answers(5, SOON);
    assert_eq!(client.neighbour(ADDRESS.into()).as_deref(), Some(VMAC));

    first.signal(Signal::SIGTERM);
    down.wait_run(SOON, "down");
    second.wait_state("master", ELECTION);
    pinger.wait_answers(5, SOON);
    assert_eq!(client.neighbour(ADDRESS.into()).as_deref(), Some(VMAC));
}

#[test]
fn h_displays_the_inlined_help() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let help = usage(&a, "-h");
    assert!(help.success(), "{help:?}");
    for option in
        ["-n", "-i", "-v", "-s", "-a", "-p", "-d", "-z", "-x", "-V", "-U", "-D", "-M", "-I", "-O", "-f"]
    {
        assert!(help.stdout.contains(&format!("  {option}")), "{option} is not in the help");
    }
}

#[test]
fn long_options_display_help_and_version_of_both_programs() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for program in ["vrrpd", "atropos"] {
        for (option, says) in [("--help", "Usage: "), ("--version", program)] {
            let said = a.run(binary(program), [option]);
            assert!(said.success() && said.stdout.contains(says), "{program} {option}: {said:?}");
            assert_eq!(said.stderr, "", "{program} {option}");
        }
        assert_eq!(a.run(binary(program), ["-h"]).code, 0, "{program}");
    }
    let help = a.run(binary("atropos"), ["--help"]).stdout;
    for option in ["--backup", "--reduce", "--increase", "--help", "--state", "--version"] {
        assert!(
            help.contains(&format!("  {option}")) || help.contains(&format!(", {option}")),
            "{option}: {help}"
        );
    }
}

#[test]
fn upper_case_v_displays_the_version() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let version = usage(&a, "-V");
    assert!(version.success() && version.stdout.starts_with("vrrpd"), "{version:?}");
}

#[test]
fn n_does_not_handle_the_virtual_mac_address() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let own = a.mac("eth0");
    let capture = Capture::on(&client);
    let router = vrrpd(&a).address(CIDR).args(["-n"]).start();
    assert_eq!(router.wait_state("master", ELECTION)["vmac_mode"], "none");
    assert_eq!(a.mac("eth0"), own);
    wait_until(SOON, "the address is announced", || capture.claims(ADDRESS.into()).contains(&own));
}

#[test]
fn i_is_the_interface_to_run_on() {
    let mut lab = Lab::new();
    let [a] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.17.1.1/24");
    let router = Vrrpd::on(&a).interface("eth1").vrid(52).plain().address("10.17.1.200/24").start();
    assert_eq!(router.wait_state("master", ELECTION)["interface"], "eth1");
    assert!(a.has_address("eth1", "10.17.1.200/24"));
}

#[test]
fn v_is_the_id_of_the_virtual_server() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let capture = Capture::on(&client);
    let router = Vrrpd::on(&a).vrid(255).plain().address(CIDR).start();
    router.wait_state("master", ELECTION);
    let (_, advert) = capture.wait_advert(SOON, "it advertises", |_| true);
    assert_eq!((advert.vrid, advert.version), (255, 2));
    assert_eq!(advert.source_mac, [0, 0, 0x5e, 0, 1, 255]);
}

#[test]
fn s_switches_the_preemption_mode() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let lower = vrrpd(&a).address(CIDR).priority(90).start();
    lower.wait_state("master", ELECTION);
    let higher = vrrpd(&b).address(CIDR).priority(200).args(["-s"]).start();
    let received = higher.counter("adverts_received");
    wait_until(ELECTION, "it has heard five", || higher.counter("adverts_received") >= received + 5);
    assert_eq!(higher.state()["state"], "backup");
    assert!(lower.is_master());
}

#[test]
fn a_none_and_pw_authenticate() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let capture = Capture::on(&client);
    let with = |host, auth: &str| vrrpd(host).address(CIDR).args(["-a", auth]).start();
    let first = with(&a, "pw/0x31");
    first.wait_state("master", ELECTION);
    let (_, advert) = capture.wait_advert(SOON, "it advertises", |_| true);
    assert_eq!((advert.auth_type, advert.auth_data), (1, Some(*b"0x31\0\0\0\0")), "as it stands");
    let second = with(&b, "none");
    wait_until(ELECTION, "it discards the other's adverts", || second.counter("rejected/auth") > 0);
    assert!(first.is_running(), "and nobody ends");
}

#[test]
fn a_ah_authenticates_with_a_key_in_hexadecimal() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let capture = Capture::on(&client);
    let with = |host, priority: u8, auth: &str| {
        let router = vrrpd(host).address(CIDR).priority(priority).args(["-a", auth]);
        router.in_user_space().start()
    };
    let master = with(&a, 150, "ah/0x6b6579");
    master.wait_state("master", ELECTION);
    // Protocol 51 in the header of an IPv4 packet to 224.0.0.18.
    let is_authenticated =
        |frame: &[u8]| frame.get(23) == Some(&51) && frame.get(30..34) == Some(&[224, 0, 0, 18]);
    wait_until(SOON, "an advert with an Authentication Header", || {
        capture.frames().iter().any(|seen| is_authenticated(&seen.frame))
    });
    let same = with(&b, 100, "ah/0x6b6579");
    wait_until(ELECTION, "it hears the master", || same.counter("adverts_received") >= 2);
    assert_eq!(same.state()["state"], "backup");
    drop(same);
    let other = with(&b, 100, "ah/0x6f74686572");
    wait_until(ELECTION, "it discards what another key has made", || other.counter("rejected/auth") > 0);
    assert!(master.is_running() && other.is_running(), "and nobody ends");
}

#[test]
fn p_is_the_priority_of_this_host() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let lower = vrrpd(&a).address(CIDR).args(["-p", "50"]).start();
    let higher = vrrpd(&b).address(CIDR).args(["-p", "51"]).start();
    higher.wait_state("master", ELECTION);
    lower.wait_state("backup", ELECTION);
}

#[test]
fn d_is_the_advertisement_interval_in_seconds() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let capture = Capture::on(&client);
    let router = vrrpd(&a).address(CIDR).args(["-d", "2"]).start();
    router.wait_state("master", ELECTION);
    wait_until(ELECTION, "two adverts", || capture.adverts().len() >= 2);
    let adverts = capture.adverts();
    assert_eq!(adverts[0].1.interval, Duration::from_secs(2));
    assert!(adverts[1].0 - adverts[0].0 > Duration::from_millis(1900));
}

#[test]
fn z_is_the_priority_after_sigttin_and_x_the_one_after_sigttou() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = vrrpd(&a).address(CIDR).args(["-z", "20", "-x", "220"]).start();
    let priority = || router.state()["effective_priority"].clone();
    router.signal(Signal::SIGTTIN);
    wait_until(SOON, "it is lower", || priority() == 20);
    router.signal(Signal::SIGTTOU);
    wait_until(SOON, "it is higher", || priority() == 220);
}

#[test]
fn ip_address_may_have_the_length_of_the_subnet_mask() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = vrrpd(&a).args(["10.0.0.100/24", "10.0.0.101"]).start();
    router.wait_state("master", ELECTION);
    assert!(a.has_address("eth0", "10.0.0.100/24") && a.has_address("eth0", "10.0.0.101/32"));
}

#[test]
fn upper_case_u_and_d_run_a_file_on_becoming_master_and_backup() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let (up, down) = (ScriptLog::running("echo up"), ScriptLog::running("echo down"));
    let scripts = ["-U".into(), up.path().into_os_string(), "-D".into(), down.path().into_os_string()];
    let first = vrrpd(&a).address(CIDR).args(scripts).start();
    down.wait_run(SOON, "down");
    first.wait_state("master", ELECTION);
    up.wait_run(SOON, "up");
    let second = vrrpd(&b).address(CIDR).priority(200).start();
    second.wait_state("master", ELECTION);
    wait_until(ELECTION, "the script for a backup has run again", || down.runs().len() == 2);
}

#[test]
fn upper_case_i_and_o_send_a_magic_packet_to_the_gateway() {
    let lab = Lab::new();
    let [a, gateway] = lab.hosts();
    let capture = Capture::on(&gateway);
    let router = vrrpd(&a).address(CIDR).args(["-n", "-I", "10.0.0.100", "-O", "10.0.0.2"]).start();
    router.wait_state("master", ELECTION);
    let is_magic = |frame: &[u8]| frame.get(23) == Some(&6) && frame.get(36..38) == Some(&[0x04, 0x4c]);
    wait_until(SOON, "a packet to port 1100", || capture.frames().iter().any(|seen| is_magic(&seen.frame)));
}

#[test]
fn ethtool_supervision_sees_the_link_go_down_and_up() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let first = vrrpd(&a).address(CIDR).priority(150).start();
    first.wait_state("master", ELECTION);
    let second = vrrpd(&b).address(CIDR).start();
    second.wait_state("backup", SOON);
    lab.port_down(&a);
    assert_eq!(first.wait_state("fault", SOON)["reason"], "link-down");
    second.wait_state("master", ELECTION);
    lab.port_up(&a);
    first.wait_state("master", ELECTION);
    second.wait_state("backup", ELECTION);
}

#[test]
fn atropos_knows_and_changes_the_state() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let first = vrrpd(&a).address(CIDR).start();
    first.wait_state("master", ELECTION);
    let second = vrrpd(&b).address(CIDR).priority(90).start();
    second.wait_state("backup", SOON);
    let run = |option: &str| atropos(&a, &first.directory(), &[option]);
    assert!(run("--state").stdout.contains("MASTER"));
    assert!(run("--reduce").success() && first.state()["effective_priority"] == 90);
    assert!(run("--increase").success() && first.state()["effective_priority"] == 100);
    assert!(run("--backup").success());
    second.wait_state("master", ELECTION);
    for (option, what) in [("--help", "--backup"), ("--version", "atropos")] {
        let said = run(option);
        assert!(said.success() && said.stdout.contains(what), "{said:?}");
    }
}

#[test]
fn starting_goes_to_the_background_and_leaves_a_pid_file() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let builder = vrrpd(&a).address(CIDR);
    let pid_file = builder.directory().join("vrrpd_eth0.pid");
    let (started, _background) = builder.start_in_background();
    assert!(started.success(), "{started:?}");
    assert!(std::fs::read_to_string(pid_file).expect("it is there").trim().parse::<i32>().is_ok());
}
