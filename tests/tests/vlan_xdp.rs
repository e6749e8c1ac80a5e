//! XDP and VLANs: a VLAN interface has a classifier, or generic XDP, after the tag was removed.

use vrrpd_lab::needs::kernel_is_at_least;
use vrrpd_lab::usual::{INTERVAL, SOON, assert_on_time};
use vrrpd_lab::{Capture, Datapath, Lab, Vrrpd, timers, wait_until};

const VLAN: &str = "eth0.190";

/// Asserts that `--xdp` has led to a classifier, with this reason against XDP; or, on kernels without tcx, to `otherwise`.
#[track_caller]
fn assert_has_a_classifier_else(router: &Vrrpd, otherwise: &str, no_xdp: &str) {
    let state = router.state();
    let reason = state["datapath_reason"].as_str().expect("it is not the best one");
    assert!(reason.contains(no_xdp), "{reason}");
    let wanted = if kernel_is_at_least((6, 6)) { "tcx" } else { otherwise };
    assert_eq!(state["datapath"], wanted, "{reason}");
}

#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn program_is_generic_on_a_vlan_interface_and_handles_its_adverts() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    for (number, host) in [(1, &a), (2, &b), (3, &client)] {
        host.add_vlan("eth0", 190, &format!("10.190.0.{number}/24"));
    }
    let on_the_wire = Capture::on_interface(&client, VLAN);
    let router = |host, priority| Vrrpd::usual(host, priority).interface(VLAN);
    let master = router(&a, 150).datapath(Datapath::Raw).start();
    master.wait_state("master", SOON);

    let backup = router(&b, 100).datapath(Datapath::Auto).start();
    assert_has_a_classifier_else(&backup, "xdp-generic", "native: the driver does not support it");
    assert_eq!(backup.terminate(), 0);

    let backup = router(&b, 100).datapath(Datapath::Generic).start();
    assert!(b.xdp_program(VLAN).is_some());
    assert_eq!(b.xdp_program("eth0"), None, "the port is not touched");

    let above = Capture::on_interface(&b, VLAN);
    let received = backup.counter("adverts_received");
    wait_until(SOON, "it has heard ten", || backup.counter("adverts_received") >= received + 10);
    let state = backup.state();
    assert_eq!((&state["state"], &state["kernel"]["role"]), (&"backup".into(), &"backup".into()));
    assert!(state["kernel"]["adverts"].as_u64() >= Some(10), "{}", state["kernel"]);
    assert_eq!(state["kernel"]["master"]["address"], "10.190.0.1");
    assert_eq!(above.adverts().len(), 0, "nothing above sees them");

    master.kill();
    let (taken, _) = on_the_wire.wait_advert(SOON, "it takes over", |advert| advert.priority == 100);
    let adverts = on_the_wire.adverts();
    let (last, _) = adverts.iter().rfind(|(_, advert)| advert.priority == 150).expect("it was heard");
    assert_on_time(taken - *last, timers::master_down_interval(INTERVAL, 100));
    assert_eq!(backup.terminate(), 0);
    assert_eq!(b.xdp_program(VLAN), None);
    assert!(!b.namespace().pins("eth0,190").exists());
}

/// The program could not distinguish the adverts of the VLAN from those of the port.
#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn port_with_vlans_gets_no_xdp_program_and_the_reason_is_given() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    for (number, host) in [(1, &a), (2, &b)] {
        host.add_vlan("eth0", 190, &format!("10.190.0.{number}/24"));
    }
    let [plain, tagged] = ["eth0", VLAN].map(|interface| {
        let router = |host, priority| Vrrpd::usual(host, priority).interface(interface);
        (router(&a, 150).datapath(Datapath::Raw).start(), router(&b, 100).datapath(Datapath::Auto).start())
    });
    assert_has_a_classifier_else(&plain.1, "raw", "the interface has VLANs");
    assert_eq!(b.xdp_program("eth0"), None);
    assert_has_a_classifier_else(&tagged.1, "xdp-generic", "native: the driver does not support it");

    for ((_, backup), source) in [(&plain, "10.0.0.1"), (&tagged, "10.190.0.1")] {
        let received = backup.counter("adverts_received");
        wait_until(SOON, "it hears its master", || backup.counter("adverts_received") >= received + 10);
        let state = backup.state();
        assert_eq!(
            (&state["state"], &state["master"]["address"]),
            (&"backup".into(), &source.into()),
            "{state}"
        );
    }
}

#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn native_mode_is_refused_on_a_vlan_interface() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.add_vlan("eth0", 190, "10.190.0.1/24");
    let refused = Vrrpd::usual(&a, 100).interface(VLAN).datapath(Datapath::Native).run_in_foreground();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("--xdp=native"), "{}", refused.stderr);
    assert!(refused.stderr.contains("the driver does not support it"), "{}", refused.stderr);
}

#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn vlan_interface_that_is_made_again_gets_the_program_again() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.add_vlan("eth0", 190, "10.190.0.1/24");
    let router = Vrrpd::usual(&a, 100).interface(VLAN).datapath(Datapath::Generic).start();
    router.wait_state("master", SOON);
    a.ip(&format!("link del {VLAN}"));
    router.wait_state("fault", SOON);
    a.add_vlan("eth0", 190, "10.190.0.1/24");
    let state = router.wait_state("master", SOON);
    assert_eq!(state["datapath"], "xdp-generic", "reason: {}", state["datapath_reason"]);
    assert!(a.xdp_program(VLAN).is_some());
}

#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn vlan_that_is_added_later_makes_its_port_go_on_with_raw_sockets() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).datapath(Datapath::Raw).start();
    master.wait_state("master", SOON);
    let backup = Vrrpd::usual(&b, 100).datapath(Datapath::Auto).start();
    assert_eq!(backup.state()["datapath"], "xdp-native");
    // No adverts for longer than it would wait for an unknown master.
    std::thread::sleep(20 * INTERVAL);
    b.add_vlan("eth0", 190, "10.190.0.2/24");
    backup.wait_log(SOON, "falling back to raw sockets");
    assert_eq!(backup.state()["datapath"], "raw");
    assert_eq!(backup.count_in_log("timer late"), 0, "{:?}", backup.log());
    let received = backup.counter("adverts_received");
    wait_until(SOON, "it hears its master", || backup.counter("adverts_received") >= received + 10);
    assert_eq!(backup.state()["counters"]["transitions"], 1);
}
