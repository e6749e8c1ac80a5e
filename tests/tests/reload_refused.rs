//! SIGHUP with a file that cannot be applied: nothing changes, and the log has the reason.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use vrrpd_lab::usual::{SOON, routers_file};
use vrrpd_lab::{Datapath, Lab, ScriptLog, Signal, Vrrpd, wait_until};

#[test]
fn broken_file_changes_nothing_and_is_complained_of_with_its_place() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", "")]));
    daemon.wait_state_of(51, "master", SOON);
    daemon.reload(&routers_file(&[(51, "10.0.0.51", ""), (52, "10.0.0.52", "priority = 0")]));
    daemon.wait_log(SOON, "invalid priority");
    daemon.assert_in_log("vrrpd.toml:1", 1);
    assert_eq!(daemon.state_of(51)["state"], "master");
    assert!(daemon.find(52).is_none());
    daemon.reload(&routers_file(&[(51, "10.0.0.51", ""), (52, "10.0.0.52", "")]));
    daemon.wait_state_of(52, "master", SOON);
}

/// The log event of a refused reload.
const STAYS: &str = "reload refused";

#[test]
fn router_that_another_process_has_changes_nothing() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", "")]));
    daemon.wait_state_of(51, "master", SOON);
    let other = Vrrpd::on(&a).vrid(52).address("10.0.0.52/24").v3("100ms").datapath(Datapath::Raw);
    let other = other.beside(&daemon).start();
    other.wait_state("master", SOON);
    daemon.reload(&routers_file(&[(51, "10.0.0.61", ""), (52, "10.0.0.52", "")]));
    daemon.wait_log(SOON, "is already served by another vrrpd");
    daemon.assert_in_log(STAYS, 1);
    assert!(other.is_master() && a.has_address("eth0", "10.0.0.51/24"));
    assert_eq!(daemon.state_of(51)["counters"]["transitions"], 2);
}

#[test]
fn more_addresses_than_the_interface_takes_in_an_advert_change_nothing() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.ip("link set eth0 mtu 576");
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", "")]));
    daemon.wait_state_of(51, "master", SOON);
    let many: Vec<String> = (1..=200).map(|host| format!("\"10.1.1.{host}\"")).collect();
    let text = "[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\n";
    daemon.reload(&format!(
        "{text}[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [{}]\n",
        many.join(",")
    ));
    daemon.wait_log(SOON, STAYS);
    daemon.assert_in_log("an advert with 200 addresses", 1);
    assert!(daemon.log().iter().any(|line| line.contains("vrrpd.toml") && line.contains("eth0/51")));
    assert_eq!(daemon.state_of(51)["counters"]["transitions"], 2);
    assert!(a.has_address("eth0", "10.0.0.51/24"));
}

#[test]
fn interface_with_the_virtual_mac_of_another_process_changes_nothing() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", "")]));
    daemon.wait_state_of(51, "master", SOON);
    let other = Vrrpd::on(&a).vrid(52).address("10.0.0.52/24").v3("100ms").vmac("interface");
    let other = other.datapath(Datapath::Raw).beside(&daemon).start();
    other.wait_state("master", SOON);
    daemon.reload(&routers_file(&[(51, "10.0.0.51", "vmac = \"interface\"")]));
    daemon.wait_log(SOON, STAYS);
    daemon.assert_in_log("--vmac macvlan", 1);
    assert_eq!(daemon.state_of(51)["counters"]["transitions"], 2);
    assert!(a.has_address("eth0", "10.0.0.51/24") && other.is_master());
}

#[test]
fn data_path_that_is_not_possible_changes_nothing() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.add_bridge("10.2.0.1/24");
    let on_bridge = "interface = \"br0\"\nxdp = \"off\"";
    let config = routers_file(&[(51, "10.2.0.51", on_bridge)]);
    let daemon = Vrrpd::on(&a).config(&config).datapath(Datapath::Default).start();
    daemon.wait_state_of(51, "master", SOON);
    daemon.reload(&routers_file(&[(51, "10.2.0.51", "interface = \"br0\"\nxdp = \"native\"")]));
    daemon.wait_log(SOON, STAYS);
    daemon.assert_in_log("xdp=native", 1);
    assert_eq!(daemon.state_of(51)["counters"]["transitions"], 2);
}

#[test]
fn interface_that_is_not_there_changes_nothing() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", "")]));
    daemon.wait_state_of(51, "master", SOON);
    daemon.reload(&routers_file(&[(51, "10.0.0.61", ""), (52, "10.0.0.52", "interface = \"eth9\"")]));
    daemon.wait_log(SOON, STAYS);
    daemon.assert_in_log("interface not found", 1);
    assert!(daemon.find(52).is_none() && a.has_address("eth0", "10.0.0.51/24"));
    daemon.reload(&routers_file(&[(51, "10.0.0.61", "")]));
    wait_until(SOON, "the other address is there", || a.has_address("eth0", "10.0.0.61/24"));
}

#[test]
fn router_of_the_command_line_logs_that_there_is_no_file_to_reload() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.signal(Signal::SIGHUP);
    router.wait_log(SOON, "no configuration file");
    router.wait_state("master", SOON);
}

#[test]
fn router_that_is_refused_is_free_for_another_process() {
    let mut lab = Lab::new();
    let [a] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    a.ip("link set eth1 mtu 576");
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", "")]));
    daemon.wait_state_of(51, "master", SOON);
    let many: Vec<String> = (1..=200).map(|host| format!("\"10.1.1.{host}\"")).collect();
    let text = format!(
        "{}[[router]]\ninterface = \"eth1\"\nvrid = 54\naddresses = [{}]\n",
        routers_file(&[(51, "10.0.0.51", "")]),
        many.join(",")
    );
    daemon.reload(&text);
    daemon.wait_log(SOON, STAYS);
    assert!(daemon.find(54).is_none());
    let other = Vrrpd::on(&a).interface("eth1").vrid(54).address("10.1.0.54/24").v3("100ms");
    let other = other.beside(&daemon).start();
    other.wait_state("master", SOON);
}

#[test]
fn file_that_another_user_could_have_written_is_not_applied_until_corrected() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", "")]));
    daemon.wait_state_of(51, "master", SOON);
    let config = daemon.config_file();
    let set_mode = |mode| fs::set_permissions(&config, fs::Permissions::from_mode(mode)).expect("it is ours");
    fs::write(&config, routers_file(&[(51, "10.0.0.51", ""), (52, "10.0.0.52", "")]))
        .expect("it can be written");
    let path = config.display();

    chown(&config, Some(65534), None).expect("root can");
    daemon.signal(Signal::SIGHUP);
    let line = daemon.wait_log(SOON, "uid 65534");
    assert!(line.contains(&format!("chown root {path}")), "{line}");
    chown(&config, Some(0), None).expect("root can");
    set_mode(0o666);
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log(SOON, &format!("chmod go-w {path}"));
    assert_eq!(daemon.states().len(), 1);

    set_mode(0o600);
    daemon.signal(Signal::SIGHUP);
    daemon.wait_state_of(52, "master", SOON);
}

#[test]
fn file_with_a_secret_that_others_can_read_is_warned_of() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let secret = "protocol = \"v2\"\ninterval = 1\nauth = \"pw/hush1234\"";
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", secret)]));
    let config = daemon.config_file();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let home = config.parent().expect("it is in a directory");
    fs::set_permissions(home, fs::Permissions::from_mode(0o755)).expect("it is ours");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log(SOON, &format!("chmod go-r {}", config.display()));
    assert_eq!(daemon.count_in_log("hush1234"), 0);
}

#[test]
fn file_that_is_no_regular_file_is_refused_and_holds_up_nothing() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let script = ScriptLog::new(&[]);
    let up = format!("up = {:?}", script.path());
    let daemon = Vrrpd::of_file(&a, &routers_file(&[(51, "10.0.0.51", &up)]));
    script.wait_run(SOON, "MASTER");
    let config = daemon.config_file();
    fs::remove_file(&config).expect("it is there");
    nix::unistd::mkfifo(&config, nix::sys::stat::Mode::S_IRWXU).expect("it can be made");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log(SOON, "is not a regular file");
    daemon.signal(Signal::SIGHUP);
    daemon.atropos(&["--backup"]);
    daemon.atropos(&["--master"]);
    wait_until(SOON, "the script runs again", || script.runs().len() == 2);
    assert_eq!(daemon.terminate(), 0);
}
