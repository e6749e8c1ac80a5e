//! A kernel without tcx (before Linux 6.6): by default raw sockets are used, and the reason is given.

use vrrpd_lab::usual::SOON;
use vrrpd_lab::{Datapath, Lab, Vrrpd, wait_until};

const REASON: &str = "Linux 6.6";

#[test]
#[ignore = "needs a kernel before 6.6: cargo xtask vm-test"]
fn without_tcx_raw_sockets_are_used_by_default_and_the_reason_is_logged_once() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).datapath(Datapath::Default).start();
    master.wait_state("master", SOON);
    let backup = Vrrpd::usual(&b, 100).datapath(Datapath::Default).start();
    let state = backup.state();
    assert_eq!(state["datapath"], "raw");
    let reason = state["datapath_reason"].as_str().expect("it is told");
    assert!(reason.contains(REASON), "{reason}");
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 5);
    backup.assert_in_log("INFO data path selected", 1);
    for level in ["WARN", "ERROR"] {
        backup.assert_in_log(level, 0);
    }

    master.kill();
    backup.wait_state("master", SOON);
}

#[test]
#[ignore = "needs a kernel before 6.6: cargo xtask vm-test"]
fn without_tcx_the_classifier_is_refused_by_name() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let refused = Vrrpd::usual(&a, 100).datapath(Datapath::Tcx).run_in_foreground();
    assert_eq!(refused.code, 1, "{refused:?}");
    let said = &refused.stderr;
    assert!(said.contains("--datapath=tcx: not possible: ") && said.contains(REASON), "{said}");
}
