//! `-M N`: errors of processes that do not agree about the group, before they do any harm.

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
fn a_surplus_process_is_refused_without_an_effect_on_the_members() {
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
    // There is room again when one has ended.
    assert_eq!(second.terminate(), 0);
    let third = member(&a, 53, "2").beside(&first).start();
    third.wait_state("master", SOON);
    first.wait_state("master", SOON);
}

#[test]
fn a_surplus_process_is_refused_even_while_a_member_is_stopped() {
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
fn a_tenth_process_of_nine_is_refused_and_counts_when_one_has_gone() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let first = member(&a, 51, "9").start();
    let mut others: Vec<_> = (52..=59).map(|vrid| member(&a, vrid, "9").beside(&first).start()).collect();
    first.wait_state("master", SOON);
    for (size, said) in [("9", "the group is complete"), ("3", "was started with -M 9")] {
        // First and last by name.
        for vrid in [5, 60] {
            let refused = member(&a, vrid, size).beside(&first).run_in_foreground();
            assert_eq!(refused.code, 1, "{refused:?}");
            assert!(refused.stderr.contains(said), "{}", refused.stderr);
        }
    }
    let state = first.state();
    assert_eq!((&state["state"], &state["counters"]["transitions"]), (&"master".into(), &2.into()));
    assert_eq!(state["group"]["present"].as_array().map(Vec::len), Some(9), "{state}");

    assert_eq!(others.pop().map(|last| last.terminate()), Some(0));
    let again = member(&a, 60, "9").beside(&first).start();
    again.wait_state("master", SOON);
    first.wait_state("master", SOON);
}

#[test]
fn a_process_with_another_group_size_is_refused_with_both_sizes() {
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
