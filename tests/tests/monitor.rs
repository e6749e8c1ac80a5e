//! `-M N`: what is said of processes that do not agree about the group, before they do any harm.

use vrrpd_lab::usual::SOON;
use vrrpd_lab::{Host, Lab, Vrrpd, VrrpdBuilder};

/// A router of its own virtual router, with `-M`.
fn member(host: &Host, vrid: u8, size: &str) -> VrrpdBuilder {
    let router = Vrrpd::on(host).vrid(vrid).priority(100).address(&format!("10.0.0.{vrid}/24"));
    router.v3("100ms").args(["-M", size])
}

/// A machine with two processes of a group of two.
fn pair(host: &Host) -> [Vrrpd; 2] {
    let first = member(host, 51, "2").start();
    let second = member(host, 52, "2").beside(&first).start();
    first.wait_state("master", SOON);
    second.wait_state("master", SOON);
    [first, second]
}

#[test]
fn a_process_more_than_the_group_has_is_refused_and_the_others_notice_nothing() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let [first, second] = pair(&a);
    let third = member(&a, 53, "2").beside(&first).run_in_foreground();
    assert_eq!(third.code, 1, "{third:?}");
    for said in ["-M 2", "eth0/51", "eth0/52"] {
        assert!(third.stderr.contains(said), "{said} is not in: {}", third.stderr);
    }
    assert!(!third.stderr.contains("died"), "{}", third.stderr);
    for router in [&first, &second] {
        let state = router.wait_state("master", SOON);
        assert_eq!(state["counters"]["transitions"], 2);
        assert_eq!((&state["group"]["members"], &state["group"]["ready"]), (&2.into(), &true.into()));
    }
    // There is room again when one has gone.
    assert_eq!(second.terminate(), 0);
    let third = member(&a, 53, "2").beside(&first).start();
    third.wait_state("master", SOON);
    first.wait_state("master", SOON);
}

#[test]
fn a_process_more_than_the_group_has_is_refused_also_while_a_member_stands_still() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let [first, second] = pair(&a);
    second.pause();
    let third = member(&a, 53, "2").beside(&first).run_in_foreground();
    assert_eq!(third.code, 1, "{third:?}");
    for said in ["-M 2", "eth0/51", &format!("process {}", second.pid())] {
        assert!(third.stderr.contains(said), "{said} is not in: {}", third.stderr);
    }
    second.resume();
    for router in [&first, &second] {
        let state = router.wait_state("master", SOON);
        assert_eq!((&state["group"]["members"], &state["group"]["ready"]), (&2.into(), &true.into()));
    }
}

#[test]
fn a_process_that_was_told_another_number_is_refused_with_both_numbers() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let [first, _second] = pair(&a);
    for size in ["1", "3"] {
        let other = member(&a, 53, size).beside(&first).run_in_foreground();
        if size == "1" && other.code == 2 {
            continue;
        }
        assert_eq!(other.code, 1, "{other:?}");
        for said in [&format!("-M {size}"), "-M 2"] {
            assert!(other.stderr.contains(said), "{said} is not in: {}", other.stderr);
        }
    }
    assert!(first.is_master());
}
