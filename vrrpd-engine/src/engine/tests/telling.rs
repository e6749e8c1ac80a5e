//! Commands to the kernel data path, and adverts that it heard or discarded.

use vrrpd_common::abi::{KernelCommand, slot};
use vrrpd_common::{Auth, Reject, Version};

use super::*;
use crate::config::AuthKind;

/// A Backup with a kernel data path.
fn in_kernel() -> Bench {
    let mut bench = Bench::backup();
    bench.input(Input::InKernel { link: LinkId::FIRST, in_kernel: true, sees_tags: false });
    bench
}

/// The same, after the kernel was told everything.
fn told() -> Bench {
    let mut bench = in_kernel();
    let id = bench.id;
    command(&bench.input(Input::TellKernel(id))[0]);
    assert_eq!(bench.record(&RouterRecord::default()), []);
    bench
}

/// The command in an output.
fn command(output: &Output) -> KernelCommand {
    let found = match output {
        Output::CommandKernel { command, .. } => Some(**command),
        _ => None,
    };
    found.expect("a command")
}

fn role(output: &Output) -> KernelRole {
    KernelRole::from_number(command(output).config.role)
}

#[test]
fn the_kernel_is_told_of_a_router_and_then_of_what_changes() {
    let mut bench = in_kernel();
    let id = bench.id;
    let outputs = bench.input(Input::TellKernel(id));
    assert_eq!(outputs.len(), 1, "nothing happens before the answer: {outputs:?}");
    let first = command(&outputs[0]);
    let config = config("192.0.2.100");
    assert_eq!(first.slot, slot(config.family, config.vrid));
    assert_eq!(Some(first.deadline), bench.router().machine.deadline().map(Instant::as_nanos));
    bench.record(&RouterRecord::default());
    bench.now += Duration::from_millis(10);
    assert_eq!(bench.event(Event::StandBack(Origin::Operator)), [Output::ReadRecord(id)]);
    let outputs = bench.record(&RouterRecord::default());
    let second = command(&outputs[0]);
    assert_eq!(second.config.lowest_followed, 1);
    assert_eq!(second.config.generation, first.config.generation, "adverts have to look as before");
    assert_eq!(second.known_until, bench.now.as_nanos(), "the record was read before");
    bench.record(&RouterRecord::default());
    // Everything is sent again, even what the kernel knows.
    let outputs = bench.input(Input::TellKernel(id));
    assert_eq!(command(&outputs[0]), second);
    bench.record(&RouterRecord::default());
    // The kernel has lost everything.
    bench.input(Input::KernelForgot(LinkId::FIRST));
    assert_eq!(command(&bench.input(Input::TellKernel(id))[0]).config.generation, 1);
}

#[test]
fn the_kernel_is_not_told_of_a_router_without_a_kernel_data_path() {
    let mut bench = Bench::backup();
    let id = bench.id;
    assert_eq!(bench.input(Input::TellKernel(id)), []);
    assert_eq!(bench.event(Event::StandBack(Origin::Operator)), [Output::ReadRecord(id)]);
    assert_eq!(bench.not_in_kernel(), []);
    // If the kernel refuses a command, the data path is given up: there is no record then.
    let mut bench = in_kernel();
    command(&bench.input(Input::TellKernel(id))[0]);
    bench
        .engine
        .handle(bench.time(), Input::InKernel { link: LinkId::FIRST, in_kernel: false, sees_tags: false });
    bench.engine.handle(bench.time(), Input::Schedule(id));
    assert_eq!(bench.engine.next_output(), None, "it waits for the answer");
    assert_eq!(bench.not_in_kernel(), []);
    assert!(bench.engine.deadline().is_some(), "its deadline is ours again");
}

#[test]
fn no_command_holds_a_secret_and_one_without_authentication_is_not_taken_for_one() {
    let mut bench = in_kernel();
    let id = bench.id;
    bench.router().config.version = Version::V2;
    bench.router().config.auth = AuthKind::Simple;
    let simple = command(&bench.input(Input::TellKernel(id))[0]);
    assert_eq!(simple.config.auth_kind, Auth::Simple([0; Auth::DATA_LEN]).kind());
    assert_eq!(simple.config.auth_data, [0; Auth::DATA_LEN]);
    bench.record(&RouterRecord::default());
    bench.router().config.auth = AuthKind::Ah;
    let verified = command(&bench.input(Input::TellKernel(id))[0]);
    assert_eq!(KernelRole::from_number(verified.config.role), KernelRole::Init, "it cannot verify them");
    assert_eq!(verified.config.auth_kind, Auth::Ah.kind());
}

#[test]
fn adverts_heard_by_the_kernel_come_before_an_operator_s_command() {
    let mut bench = told();
    let id = bench.id;
    let heard_at = bench.now + Duration::from_millis(200);
    bench.now += Duration::from_millis(500);
    assert_eq!(bench.event(Event::StandBack(Origin::Operator)), [Output::ReadRecord(id)]);
    let deadline = bench.router().machine.deadline();
    let record = record_of(heard_at, &advert(200), KernelRole::Backup, heard_at);
    let outputs = bench.record(&record);
    assert_eq!(outputs.len(), 1, "{outputs:?}");
    let corrected = command(&outputs[0]);
    assert!(Some(corrected.deadline) > deadline.map(Instant::as_nanos), "the advert has moved it");
    assert_eq!(corrected.config.lowest_followed, 100, "the operator's word waits");
    let outputs = bench.record(&record);
    assert_eq!((outputs.len(), command(&outputs[0]).config.lowest_followed), (1, 1), "{outputs:?}");
    assert_eq!(bench.record(&record), []);
    assert_eq!(bench.event(Event::StoodStill), [Output::ReadRecord(id)]);
    let outputs = bench.record(&record);
    assert_eq!(outputs.len(), 1, "it is not heard twice: {outputs:?}");
}

#[test]
fn the_kernel_gets_no_command_after_an_advert_it_reported() {
    let mut bench = told();
    bench.now += Duration::from_millis(500);
    bench.input(Input::Hear(bench.id));
    let mut ahead = bench.router().machine;
    ahead.handle(bench.now, Event::Advert(advert(200)), &mut |_| {});
    let deadline = ahead.deadline().expect("a Backup waits");
    let record = record_of(bench.now, &advert(200), KernelRole::Backup, deadline);
    assert_eq!(bench.record(&record), []);
    assert_eq!(bench.router().machine.deadline(), Some(deadline));
}

#[test]
fn adverts_heard_before_a_command_took_effect_come_before_the_next_action() {
    let mut bench = told();
    bench.now = bench.router().machine.deadline().expect("a Backup waits");
    let outputs = bench.event(Event::Timer);
    assert_eq!(outputs.len(), 1, "nothing happens before the answer: {outputs:?}");
    assert_eq!(role(&outputs[0]), KernelRole::Master);
    let record = record_of(bench.now, &advert(200), KernelRole::Master, Instant::ZERO);
    let outputs = bench.record(&record);
    assert_eq!(outputs.len(), 1, "{outputs:?}");
    assert_eq!(role(&outputs[0]), KernelRole::Backup, "a better master is there by now");
    let id = bench.id;
    assert_eq!(bench.record(&record), [Output::Withdraw(id)], "nothing was taken");
}

#[test]
fn adverts_discarded_by_the_kernel_are_logged_once_a_second() {
    let mut bench = told();
    let id = bench.id;
    let counted = |count| {
        let mut record = RouterRecord::default();
        record.rejected[Reject::Ttl as usize] = count;
        record
    };
    let line = |count| [Output::Log(id, Line::RejectedByKernel(Reject::Ttl, count))];
    bench.input(Input::Hear(id));
    assert_eq!(bench.record(&counted(3)), line(3));
    assert_eq!(bench.input(Input::Counted(id, Box::new(counted(3)))), []);
    assert_eq!(bench.input(Input::Counted(id, Box::new(counted(5)))), [], "it was said just now");
    // A reject is logged once, whether packet sockets or the kernel found it.
    let why = Reject::Ttl.because(1, 255);
    let outputs =
        bench.input(Input::Rejected { link: LinkId::FIRST, router: Some((id, THEIRS.into())), why });
    assert!(!outputs.contains(&Output::Log(id, Line::Rejected(why, 0))), "{outputs:?}");
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.input(Input::Counted(id, Box::new(counted(5)))), line(2));
}

#[test]
fn adverts_heard_before_the_program_was_given_up_count() {
    let mut bench = told();
    bench.input(Input::InKernel { link: LinkId::FIRST, in_kernel: false, sees_tags: false });
    bench.now += Duration::from_secs(1);
    let record = record_of(bench.now, &advert(200), KernelRole::Backup, bench.now);
    let deadline = bench.engine.deadline();
    assert_eq!(bench.input(Input::LastRecord(bench.id, Box::new(record))), []);
    assert!(bench.engine.deadline() > deadline, "what it heard up to then counts");
}

#[test]
fn master_ignores_an_advert_whose_sender_has_been_silent_for_master_down_interval_since() {
    for (age, state) in
        [(Duration::from_secs(1), StateName::Backup), (Duration::from_secs(9), StateName::Master)]
    {
        let mut bench = Bench::master();
        let heard_at = bench.now + Duration::from_millis(100);
        bench.now = heard_at + age;
        let record = record_of(heard_at, &advert(200), KernelRole::Master, Instant::ZERO);
        bench.input(Input::LastRecord(bench.id, Box::new(record)));
        assert_eq!(bench.router().machine.state().name(), state, "after {age}");
    }
}

#[test]
fn a_new_configuration_is_sent_to_the_kernel_without_an_event() {
    let mut bench = told();
    let id = bench.id;
    let config = RouterConfig { require_equal_addresses: true, ..config("192.0.2.100") };
    let outputs = bench.input(Input::Exchange(id, Box::new(config)));
    assert_eq!(outputs, [Output::Expect(id, Some(OURS.into())), Output::ReadRecord(id)]);
    let told = command(&bench.record(&RouterRecord::default())[0]);
    assert_eq!(told.config.generation, 2, "adverts have to look otherwise");
}

#[test]
fn expiry_in_the_kernel_counts_after_what_it_has_heard_and_if_the_program_is_in_place() {
    let mut bench = told();
    let id = bench.id;
    bench.now = bench.router().machine.deadline().expect("a Backup waits");
    assert_eq!(bench.input(Input::KernelExpired(id)), [Output::ReadRecord(id)]);
    // An advert came meanwhile: the deadline has moved.
    let record = record_of(bench.now, &advert(200), KernelRole::Backup, Instant::ZERO);
    let outputs = bench.record(&record);
    command(&outputs[0]);
    assert_eq!(bench.record(&record), [Output::CheckProgram(id)]);
    assert_eq!(bench.event(Event::Timer), []);
    // None came.
    bench.now = bench.router().machine.deadline().expect("a Backup waits");
    assert_eq!(bench.input(Input::KernelExpired(id)), [Output::ReadRecord(id)]);
    assert_eq!(bench.record(&record), [Output::CheckProgram(id)]);
    assert_eq!(role(&bench.event(Event::Timer)[0]), KernelRole::Master);
}

#[test]
fn router_that_the_kernel_does_not_watch_gets_its_timer_and_one_that_it_watches_is_looked_after_once() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.now = bench.router().machine.deadline().expect("a Backup waits");
    let due = bench.engine.due(bench.now);
    assert_eq!(due, [id]);
    assert_eq!(bench.engine.hears_before(&due), [LinkId::FIRST].into(), "a Backup hears all first");
    assert!(matches!(bench.input(Input::Due(id))[..], [Output::Ask(..)]));
    bench.done();
    assert_eq!(bench.engine.hears_before(&[id]), [].into(), "a Master has nothing to wait for");
    let mut bench = told();
    let deadline = bench.router().machine.deadline();
    let Engine { agenda, routers, .. } = &mut bench.engine;
    agenda.file(routers.get_mut(id).expect("it is there"), id, deadline);
    bench.now = deadline.expect("a Backup waits");
    assert_eq!(bench.engine.due(bench.now), [id]);
    assert_eq!(bench.input(Input::Due(id)), [Output::ReadRecord(id)]);
    assert_eq!(bench.record(&RouterRecord::default()), [Output::CheckProgram(id)]);
    assert_eq!(bench.engine.due(bench.now), [], "whatever comes of it");
}
