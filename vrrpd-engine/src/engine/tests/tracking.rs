//! Results of checks, and the routers that use them.

use super::*;
use crate::priority::{Outcome as Checked, TrackId, Weight};
use crate::track::{CheckConfig, CheckKind, Finding, ProcessName, Rules, Tracked};

const CHECK: TrackId = TrackId(0);

/// A router that tracks a process with this weight and rules.
fn tracking(weight: Weight, rules: Rules) -> Bench {
    let tracked = Tracked { name: "dns".to_owned(), weight, is_ignored: false };
    let config = RouterConfig { track: vec![tracked], ..config("192.0.2.100") };
    let mut bench = Bench::of(config.clone());
    let kind = CheckKind::Process(ProcessName::new("named").expect("is legal"));
    let check = CheckConfig { name: "dns".to_owned(), kind, rules };
    let plan = bench.engine.configure_checks(&[check], [&config]);
    assert_eq!((plan.start[0].0, plan.stop), (CHECK, vec![]));
    bench.input(Input::Track(bench.id));
    bench.not_in_kernel();
    assert!(bench.router().policy.awaits_first_results() == (weight == Weight::NONE));
    bench
}

fn found(bench: &mut Bench, finding: Finding) -> Vec<Output> {
    bench.input(Input::Found { check: CHECK, finding, detail: "seen".into() })
}

fn changed(from: Checked, to: Checked) -> CheckChanged {
    CheckChanged { name: "dns".to_owned(), kind: "process".to_owned(), from, to, detail: "seen".to_owned() }
}

#[test]
fn a_router_starts_when_its_checks_have_first_results() {
    let mut bench = tracking(Weight::NONE, Rules::default());
    let id = bench.id;
    assert_eq!(bench.input(Input::StartUp(id)), [], "it waits");
    let first = changed(Checked::Unknown, Checked::Holds);
    let outputs = found(&mut bench, Finding::Count(1));
    assert_eq!(outputs[0], Output::CheckChanged(first.clone()));
    assert_eq!(outputs[2..], [Output::Expect(id, Some(OURS.into())), Output::ReadRecord(id)]);
    bench.not_in_kernel();
    let outputs = bench.not_in_kernel();
    assert_eq!(bench.router().state_told(), StateName::Backup);
    assert_eq!(outputs.last(), Some(&Output::Log(id, Line::CheckChanged(first))), "clients hear of it last");
    assert_eq!(found(&mut bench, Finding::Count(1)), [], "nothing has changed");
}

#[test]
fn a_router_without_pending_checks_starts_at_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.input(Input::StartUp(bench.id)), [Output::ReadRecord(bench.id)]);
}

#[test]
fn a_check_without_weight_that_fails_is_a_fault() {
    let mut bench = tracking(Weight::NONE, Rules::default());
    let id = bench.id;
    bench.input(Input::StartUp(id));
    found(&mut bench, Finding::Count(1));
    bench.not_in_kernel();
    bench.not_in_kernel();
    let outputs = found(&mut bench, Finding::Count(0));
    assert_eq!(
        outputs[..2],
        [Output::CheckChanged(changed(Checked::Holds, Checked::Fails)), Output::Expect(id, None),]
    );
    bench.not_in_kernel();
    assert_eq!(bench.router().state_told(), StateName::Fault);
}

#[test]
fn a_check_with_weight_that_fails_changes_the_priority_until_its_delay_is_over() {
    let weight = Weight::new(-30).expect("a weight");
    let up_delay = Duration::from_secs(5);
    let mut bench = tracking(weight, Rules { up_delay, ..Rules::default() });
    let id = bench.id;
    bench.input(Input::StartUp(id));
    found(&mut bench, Finding::Count(1));
    bench.not_in_kernel();
    bench.not_in_kernel();
    let full = bench.router().machine.priority();
    let reduced = Priority(full.0 - 30);
    let outputs = found(&mut bench, Finding::Count(0));
    assert_eq!(outputs[1], Output::Log(id, Line::PriorityChanged(full, reduced)));
    bench.not_in_kernel();
    assert_eq!(bench.router().machine.priority(), reduced);
    assert_eq!(found(&mut bench, Finding::Count(1)), [], "that does not count yet");
    let over = bench.now + up_delay;
    assert!(bench.engine.deadline().is_some_and(|at| at <= over));
    bench.now = over;
    let outputs = bench.expire();
    let detail = "for longer than the delay".to_owned();
    let change = CheckChanged { detail, ..changed(Checked::Fails, Checked::Holds) };
    assert_eq!(outputs[0], Output::CheckChanged(change));
    bench.not_in_kernel();
    assert_eq!(bench.router().machine.priority(), full);
}

#[test]
fn an_unused_check_has_no_effect() {
    let mut bench = tracking(Weight::NONE, Rules::default());
    bench.input(Input::StartUp(bench.id));
    assert_eq!(bench.engine.configure_checks(&[], []).stop, [CHECK]);
    assert!(bench.engine.checks().iter().next().is_none());
    assert_eq!(found(&mut bench, Finding::Count(1)), []);
}
