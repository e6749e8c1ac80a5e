//! Which interfaces can have a virtual MAC address, and how a router behaves on others.

use std::fs;

use vrrpd_lab::usual::{CIDR, SOON, VMAC, VMAC_MODES};
use vrrpd_lab::{Datapath, Host, Lab, Snapshot, Vrrpd, wait_until};

#[test]
fn start_that_fails_after_a_link_was_made_takes_it_away_again() {
    let mut lab = Lab::new();
    let [a] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    // A port of a bridge cannot have macvlan links.
    a.ip("link add br0 type bridge");
    a.ip("link set eth1 master br0");
    let router = |interface: &str, address: &str| {
        format!("[[router]]\ninterface = \"{interface}\"\nvrid = 51\naddresses = [\"{address}\"]\n")
    };
    let defaults = "[defaults]\nprotocol = \"v3\"\nvmac = \"macvlan\"\nvmac-fallback = \"refuse\"\n";
    let file = [defaults, &router("eth0", CIDR), &router("eth1", "10.1.0.100/24")].concat();
    let builder = Vrrpd::on(&a).config(&file);
    fs::create_dir(builder.directory()).expect("it can be made");
    let before = Snapshot::with_files(&a, &builder.directory());
    let refused = builder.run_in_foreground();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("eth1/51") && refused.stderr.contains("--vmac macvlan"), "{refused:?}");
    before.assert_as_before(&a);
}

#[test]
fn macvlan_that_cannot_be_made_is_done_without_or_refused() {
    let lab = Lab::new();
    let [a, _b] = lab.hosts();
    // A port of a bridge cannot have macvlan links.
    a.ip("link add br0 type bridge");
    a.ip("link set eth0 master br0");
    let before = Snapshot::of(&a);
    let refused =
        Vrrpd::usual_with_vmac(&a, 100, "macvlan").args(["--vmac-fallback", "refuse"]).run_in_foreground();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("--vmac macvlan") && refused.stderr.contains("-n"), "{refused:?}");
    before.assert_as_before(&a);

    let without = Vrrpd::usual_with_vmac(&a, 100, "macvlan").start();
    let state = without.wait_state("master", SOON);
    assert_eq!((&state["vmac"], &state["vmac_mode"]), (&serde_json::Value::Null, &"none".into()));
    without.wait_log(SOON, "continuing without it");
    without.assert_in_log("continuing without it", 1);
    assert!(a.has_address("eth0", CIDR));
    assert_eq!(without.terminate(), 0);
    before.assert_as_before(&a);
}

#[test]
fn macvlan_link_has_the_name_that_is_configured_and_a_number_where_that_is_in_use() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let before = Snapshot::of(&a);
    let text = |name: &str| {
        format!(
            "[[router]]\ninterface = \"eth0\"\nvrid = 51\nprotocol = \"v3\"\ninterval = \"100ms\"\naddresses = [\"{CIDR}\"]\n\
             vmac = \"macvlan\"\n{name}"
        )
    };
    let router = Vrrpd::of_file(&a, &text("vmac-name = \"gateway\"\n"));
    router.wait_state("master", SOON);
    assert!(a.has_address("gateway", CIDR));
    a.ip("link add office type bridge");
    router.reload(&text("vmac-name = \"office\"\n"));
    wait_until(SOON, "the link has another name", || {
        a.ip("-oneline link show").contains(" office.1@") && a.has_address("office.1", CIDR)
    });
    assert!(!a.ip("-oneline link show").contains(" gateway@"));
    a.ip("link add fifteen-letters type bridge");
    router.reload(&text("vmac-name = \"fifteen-letters\"\n"));
    router.wait_log(SOON, "continuing without it");
    wait_until(SOON, "it is master without", || a.has_address("eth0", CIDR));
    router.reload(&text(""));
    wait_until(SOON, "the link has the usual name", || {
        a.ip("-oneline link show").contains(" vrrp4.51@") && a.has_address("vrrp4.51", CIDR)
    });
    assert_eq!(router.terminate(), 0);
    a.ip("link del office");
    a.ip("link del fifteen-letters");
    before.assert_as_before(&a);
}

#[test]
fn interface_with_a_fixed_mac_is_served_without_a_virtual_mac_or_not_at_all() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    // Its driver cannot change the MAC address.
    a.ip("link add ifb9 type ifb");
    a.ip("link set ifb9 up");
    a.ip("addr add 10.9.0.1/24 dev ifb9");
    let router = || {
        let router = Vrrpd::on(&a).interface("ifb9").vrid(51).address("10.9.0.100/24").v3("100ms");
        router.datapath(Datapath::Raw).vmac("interface")
    };
    let without = router().start();
    let state = without.wait_state("master", SOON);
    assert_eq!((&state["vmac"], &state["vmac_mode"]), (&serde_json::Value::Null, &"none".into()));
    without.wait_log(SOON, "continuing without it");
    without.assert_in_log("continuing without it", 1);
    assert!(a.has_address("ifb9", "10.9.0.100/24"));
    assert_eq!(without.terminate(), 0);

    let refusing = router().args(["--vmac-fallback", "refuse"]).start();
    refusing.wait_log(SOON, "-n or --vmac-fallback none to continue without it");
    assert_eq!(refusing.state()["state"], "backup");
    assert!(!a.has_address("ifb9", "10.9.0.100/24"));
}

#[test]
fn second_virtual_mac_on_an_interface_is_refused_with_a_way_out() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let first = Vrrpd::usual_with_vmac(&a, 150, "interface").start();
    first.wait_state("master", SOON);
    // The first process uses the kernel data path of the interface.
    let other = || Vrrpd::on(&a).vrid(52).address("10.0.0.101/24").v3("100ms").datapath(Datapath::Raw);
    // In the same directory the name is taken; in another one the MAC address is found on the interface.
    for second in [other().vmac("interface").beside(&first), other().vmac("interface")] {
        let refused = second.run_in_foreground();
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("-i eth0") && refused.stderr.contains("macvlan"), "{refused:?}");
    }
    let with_macvlan = other().vmac("macvlan").beside(&first).start();
    with_macvlan.wait_state("master", SOON);
    assert!(a.has_address("vrrp4.52", "10.0.0.101/24"));
    assert!(a.has_address("eth0", CIDR), "the first one still serves");
}

#[test]
fn routers_on_macvlan_links_go_without_a_virtual_mac_and_heal_a_split() {
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let start = |host: &Host, address: &str, priority: u8| {
            host.add_macvlan("bridge", address);
            // A macvlan link does not support native mode.
            Vrrpd::usual_with_vmac(host, priority, mode).interface("mv0").datapath(Datapath::Raw).start()
        };
        let first = start(&a, "10.0.0.1/24", 150);
        let state = first.wait_state("master", SOON);
        assert_eq!((&state["vmac"], &state["vmac_mode"]), (&serde_json::Value::Null, &"none".into()));
        let reason = state["vmac_reason"].as_str().expect("it is told");
        assert!(reason.contains("macvlan link"), "{reason}");
        first.assert_in_log("continuing without it", 1);
        assert!(a.has_address("mv0", CIDR));
        let second = start(&b, "10.0.0.2/24", 100);
        second.wait_state("backup", SOON);
        lab.split(&[&a, &b]);
        second.wait_state("master", SOON);
        lab.heal(&[&a, &b]);
        second.wait_state("backup", SOON);
        assert!(first.is_master(), "{mode}");
    }
}

#[test]
fn routers_on_passthru_macvlan_links_have_a_virtual_mac_and_heal_a_split() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let start = |host: &Host, address: &str, priority: u8| {
        host.add_macvlan("passthru", address);
        Vrrpd::usual_with_vmac(host, priority, "interface").interface("mv0").datapath(Datapath::Raw).start()
    };
    let first = start(&a, "10.0.0.1/24", 150);
    let state = first.wait_state("master", SOON);
    assert_eq!((&state["vmac"], &state["vmac_reason"]), (&VMAC.into(), &serde_json::Value::Null));
    let second = start(&b, "10.0.0.2/24", 100);
    second.wait_state("backup", SOON);
    lab.split(&[&a, &b]);
    second.wait_state("master", SOON);
    lab.heal(&[&a, &b]);
    second.wait_state("backup", SOON);
    assert!(first.is_master());
}

#[test]
fn router_that_must_have_a_virtual_mac_does_not_become_master_on_a_macvlan_link() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    a.add_macvlan("bridge", "10.0.0.1/24");
    let refusing = |mode: &str| {
        let router = Vrrpd::usual_with_vmac(&a, 150, mode).interface("mv0").datapath(Datapath::Raw);
        router.args(["--vmac-fallback", "refuse"])
    };
    let refused = refusing("macvlan").run_in_foreground();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("--vmac macvlan") && refused.stderr.contains("passthru"), "{refused:?}");

    let backup = refusing("interface").start();
    let master = Vrrpd::usual(&b, 100).start();
    master.wait_state("master", SOON);
    // It would preempt: its timer has expired more than once by then.
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 20);
    let state = backup.state();
    assert_eq!(state["state"], "backup");
    assert!(state["vmac_reason"].as_str().is_some_and(|reason| reason.contains("macvlan link")));
    assert!(!a.has_address("mv0", CIDR));
    backup.assert_in_log("not becoming master", 1);
}

#[test]
fn interface_that_returns_as_another_kind_is_evaluated_again() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.add_macvlan("bridge", "10.0.0.1/24");
    let router =
        Vrrpd::usual_with_vmac(&a, 150, "interface").interface("mv0").datapath(Datapath::Raw).start();
    router.wait_state("master", SOON);
    assert_eq!(router.state()["vmac"], serde_json::Value::Null);
    a.ip("link del mv0");
    wait_until(SOON, "it knows that the interface is gone", || router.state()["ifindex"].is_null());
    lab.join(&a, 0, "mv0", "10.0.0.1/24");
    router.wait_state("master", SOON);
    assert_eq!(router.state()["vmac"], VMAC);
    assert_eq!(router.state()["vmac_reason"], serde_json::Value::Null);
}
