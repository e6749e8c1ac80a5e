//! Before Linux 5.15 BPF programs have no timers: raw sockets are used, even with `--xdp`, and the reason is given.

use vrrpd_lab::usual::SOON;
use vrrpd_lab::{Datapath, Lab, Vrrpd, wait_until};

#[test]
#[ignore = "needs a kernel before 5.15: cargo xtask vm-test"]
fn without_bpf_timers_raw_sockets_are_used_and_the_reason_is_given() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).start();
    master.wait_state("master", SOON);
    let backup = Vrrpd::usual(&b, 100).datapath(Datapath::Auto).start();
    let state = backup.state();
    assert_eq!(state["datapath"], "raw");
    let reason = state["datapath_reason"].as_str().expect("it is told");
    assert!(reason.contains("the program needs Linux 5.15 for its timers, and this is 5.10"), "{reason}");
    backup.wait_log(SOON, reason);
    backup.assert_in_log(reason, 1);
    assert_eq!(b.xdp_program("eth0"), None);

    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 5);
    master.kill();
    backup.wait_state("master", SOON);
}

#[test]
#[ignore = "needs a kernel before 5.15: cargo xtask vm-test"]
fn without_bpf_timers_an_explicit_data_path_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for (datapath, option) in [(Datapath::Native, "--xdp=native"), (Datapath::Generic, "--xdp=generic")] {
        let refused = Vrrpd::usual(&a, 100).datapath(datapath).run_in_foreground();
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains(option) && refused.stderr.contains("5.15"), "{}", refused.stderr);
    }
}
