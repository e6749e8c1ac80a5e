mod beginning;
mod groups;
mod interfaces;
mod other_interfaces;
mod pending_reply;
mod recorder;
mod returning;
mod sent;
mod snapshot;
mod speaking;
mod telling;
mod tracking;

use std::net::IpAddr;

use vrrpd_common::abi::{KernelAdvert, KernelRole, RouterRecord};
use vrrpd_common::router::{Action, Fault, Notice, Occasion, Origin, StateName};
use vrrpd_common::{AddressDigest, Advert, Duration, MacAddr, Priority};

use super::*;
use crate::config::tests::router as config;
use crate::config::{RouterConfig, VirtualAddress, VmacFallback, VmacMode};
use crate::held_address::AddressOptions;
use crate::interface::Remover;
use crate::interface::tests::{address, eth0};
use crate::ledger::{Cause, Made, Order, Outcome, Place, PlacedAddress, Resource, SystemError};
use crate::pace::Announced;
use crate::priority::Step;
use crate::router::{Noticed, TimeOfDay};
use crate::routing::Route;
use crate::vmac::WithoutVmac;

const OURS: [u8; 4] = [192, 0, 2, 1];
const THEIRS: [u8; 4] = [192, 0, 2, 2];

/// An engine with one router on a usable interface.
struct Bench {
    engine: Engine,
    id: RouterId,
    now: Instant,
    /// The last request to the system.
    asked: Option<(Ticket, Order)>,
}

impl Bench {
    fn new() -> Self {
        Self::of(config("192.0.2.100"))
    }

    fn of(config: RouterConfig) -> Self {
        let mut engine = Engine::new(true);
        let mut link = Link::new("eth0".to_owned());
        link.interface = Some(eth0(vec![address("192.0.2.1/24")]));
        let link = engine.add_link(link);
        let id = engine.add(Router::new(config, link, TimeOfDay::default()));
        let mut bench = Self { engine, id, now: Instant::ZERO + Duration::from_secs(1000), asked: None };
        assert_eq!(bench.event(Event::InterfaceUp(OURS.into())), [Output::ReadRecord(id)]);
        bench.not_in_kernel();
        bench
    }

    /// A router in state Backup.
    fn backup() -> Self {
        Self::new().begun()
    }

    fn begun(self) -> Self {
        let mut bench = self;
        bench.event(Event::Startup);
        let outputs = bench.not_in_kernel();
        assert!(matches!(outputs[..], [Output::Transition { .. }]), "{outputs:?}");
        bench
    }

    /// A router in state Master whose actions are all done.
    fn master() -> Self {
        let mut bench = Self::backup();
        bench.miss_master();
        bench.done();
        bench
    }

    fn router(&mut self) -> &mut Router {
        self.engine.routers.get_mut(self.id).expect("it is there")
    }

    /// The outputs of a task of the router.
    fn work_on(&mut self, task: Task) -> Vec<Output> {
        self.engine.agenda.incoming.push_back(Work::Task(self.id, task));
        self.outputs()
    }

    fn check_usable(&mut self) -> Vec<Output> {
        self.engine.agenda.incoming.push_back(Work::CheckUsable(self.id));
        self.outputs()
    }

    fn input(&mut self, input: Input<'_>) -> Vec<Output> {
        let now = self.time();
        self.engine.handle(now, input);
        self.outputs()
    }

    /// All outputs; a request to the system is noted.
    fn outputs(&mut self) -> Vec<Output> {
        let outputs: Vec<_> = std::iter::from_fn(|| self.engine.next_output()).collect();
        for output in &outputs {
            if let Output::Ask(ticket, order) = output {
                self.asked = Some((*ticket, order.clone()));
            }
        }
        outputs
    }

    /// The system grants the whole request.
    fn done(&mut self) -> Vec<Output> {
        self.answer(|_| Ok(()))
    }

    /// The system answers for each resource of the request.
    fn answer(&mut self, answer: impl Fn(&Resource) -> Result<(), SystemError>) -> Vec<Output> {
        let (ticket, order) = self.asked.take().expect("the system was asked");
        let results = match &order {
            Order::Take { resources, .. } | Order::Release(resources) => {
                resources.iter().map(answer).collect()
            }
            Order::Prepare(_) | Order::Discard(_) => vec![Ok(())],
        };
        self.input(Input::Answered(ticket, Outcome { results, ..Outcome::default() }))
    }

    fn link(&mut self) -> &mut Link {
        self.engine.links.get_mut(LinkId::FIRST).expect("it is there")
    }

    fn time(&self) -> Now {
        Now { at: self.now, time_of_day: TimeOfDay(Duration::from_nanos(self.now.as_nanos())) }
    }

    fn event(&mut self, event: Event) -> Vec<Output> {
        self.input(Input::Event(self.id, event, None))
    }

    fn not_in_kernel(&mut self) -> Vec<Output> {
        self.input(Input::Record(self.id, None))
    }

    fn record(&mut self, record: &RouterRecord) -> Vec<Output> {
        self.input(Input::Record(self.id, Some(Box::new(*record))))
    }

    fn miss_master(&mut self) -> Vec<Output> {
        self.now = self.engine.deadline().expect("a Backup waits for its master");
        assert_eq!(self.engine.due(self.now), [self.id]);
        self.event(Event::Timer)
    }

    fn expire(&mut self) -> Vec<Output> {
        let now = self.time();
        self.engine.expire(now);
        self.outputs()
    }
}

fn advert(priority: u8) -> Advert {
    let config = config("192.0.2.100");
    Advert {
        vrid: config.vrid,
        priority: Priority(priority),
        interval: config.interval,
        source: THEIRS.into(),
        mac: MacAddr([2, 0, 0, 0, 0, 2]),
        address_count: 1,
        addresses: config.digest(),
    }
}

/// A kernel record with an advert that was received at this time.
fn record_of(at: Instant, advert: &Advert, role: KernelRole, deadline: Instant) -> RouterRecord {
    let octets_of = |source: IpAddr| match source {
        IpAddr::V4(source) => Some(source.octets()),
        IpAddr::V6(_) => None,
    };
    let mut octets = [0; 16];
    octets[..4].copy_from_slice(&octets_of(advert.source).expect("IPv4"));
    let heard = KernelAdvert {
        at: at.as_nanos(),
        addresses: advert.addresses.to_bits(),
        source: octets,
        interval: advert.interval.as_centis(),
        priority: advert.priority.0,
        address_count: advert.address_count,
        mac: advert.mac.0,
        ..KernelAdvert::default()
    };
    RouterRecord {
        heard,
        followed: heard,
        role: role as u8,
        deadline: deadline.as_nanos(),
        ..RouterRecord::default()
    }
}

fn virtual_address() -> VirtualAddress {
    config("192.0.2.100").addresses[0]
}

/// The virtual address on the interface of [`Bench`].
fn resource() -> Resource {
    let on = Place::Interface(2);
    let options = AddressOptions::default();
    Resource::Address(PlacedAddress { on, address: virtual_address(), route: true, options })
}

fn take(ticket: u64) -> Output {
    Output::Ask(Ticket(ticket), Order::Take { resources: vec![resource()], or_without: true })
}

fn release(ticket: u64) -> Output {
    Output::Ask(Ticket(ticket), Order::Release(vec![resource()]))
}

fn refused(cause: Cause) -> SystemError {
    SystemError { cause, text: "refused".to_owned() }
}

fn transition_of(output: &Output) -> Option<(StateName, StateName)> {
    match output {
        Output::Transition { past, .. } => Some((past.transition.from, past.transition.to)),
        _ => None,
    }
}

#[test]
fn nothing_is_sent_or_reported_before_the_addresses_are_held() {
    let mut bench = Bench::backup();
    let id = bench.id;
    assert_eq!(bench.miss_master(), [take(1)]);
    assert!(bench.router().is_busy());
    let outputs = bench.done();
    assert_eq!(
        outputs[..2],
        [Output::SendAdvert(id, Priority(100)), Output::Announce(id, Announced::All(Occasion::TakeOver))]
    );
    assert_eq!(transition_of(&outputs[2]), Some((StateName::Backup, StateName::Master)));
    assert_eq!(outputs.len(), 3);
    assert!(!bench.router().is_busy());
    assert_eq!(bench.router().history().last().map(|past| past.at), Some(bench.time().time_of_day));
}

#[test]
fn a_promotion_that_becomes_obsolete_during_a_request_is_dropped_silently() {
    let mut bench = Bench::backup();
    let id = bench.id;
    assert_eq!(bench.miss_master(), [take(1)]);
    assert_eq!(bench.event(Event::Advert(advert(200))), [], "the system is still at it");
    assert_eq!(bench.done(), [Output::Withdraw(id), release(2)]);
    assert_eq!(bench.done(), []);
    assert_eq!(bench.router().state_told(), StateName::Backup);
}

#[test]
fn an_unchanged_advert_causes_no_action_of_a_backup() {
    let mut bench = Bench::backup();
    for _ in 0..10 {
        bench.now += Duration::from_secs(1);
        let before = bench.engine.deadline();
        assert_eq!(bench.event(Event::Advert(advert(200))), []);
        assert!(bench.engine.deadline() > before, "the deadline moves");
    }
}

#[test]
fn a_router_whose_probe_advert_fails_does_not_become_master_and_retries() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.router().sending.give_up();
    bench.router().sending.try_again();
    assert_eq!(bench.miss_master(), [take(1)]);
    let outputs = bench.done();
    assert_eq!(outputs, [Output::SendAdvert(id, Priority(100)), Output::TrySending(id)]);
    let pause = Duration::from_secs(2);
    let outputs = bench.input(Input::Tried(id));
    let wanted = [Output::Log(id, Line::CannotSend(pause)), Output::Expect(id, None), Output::ReadRecord(id)];
    assert_eq!(outputs, wanted);
    assert_eq!(bench.router().state_told(), StateName::Backup, "nobody was told that it was Master");
    let outputs = bench.not_in_kernel();
    let resigns = Output::SendAdvert(id, Priority::RESIGN);
    assert_eq!(outputs[..3], [resigns, Output::Withdraw(id), release(2)], "{outputs:?}");
    bench.done();
    assert_eq!(bench.router().faults().collect::<Vec<_>>(), [Fault::AdvertUnsendable]);
    bench.now += pause;
    let outputs = bench.expire();
    let family = vrrpd_common::Family::Ipv4;
    let wanted = [
        Output::Rejoin(LinkId::FIRST, family),
        Output::Expect(id, Some(OURS.into())),
        Output::ReadRecord(id),
    ];
    assert_eq!(outputs, wanted);
    assert!(!bench.router().sending.is_pausing());
}

#[test]
fn a_successful_probe_advert_is_followed_by_the_promotion() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.router().sending.give_up();
    bench.router().sending.try_again();
    bench.miss_master();
    bench.done();
    bench.router().sending.succeeded();
    let outputs = bench.input(Input::Tried(id));
    assert_eq!(outputs[0], Output::Announce(id, Announced::All(Occasion::TakeOver)));
    assert_eq!(transition_of(&outputs[1]), Some((StateName::Backup, StateName::Master)));
}

#[test]
fn announcements_beyond_the_limit_come_when_there_is_room_again() {
    let mut bench = Bench::master();
    let id = bench.id;
    let mut announce = |_: &i32| {
        bench.router().enqueue(Action::AnnounceAddresses(Occasion::TakeOver));
        !bench.work_on(Task::Act).is_empty()
    };
    let announced = (0..10).filter(&mut announce).count();
    assert!(announced < 10);
    let due = bench.engine.deadline().expect("one was put off");
    bench.now = bench.now.max(due) + Duration::from_secs(1);
    assert_eq!(bench.expire(), [Output::Announce(id, Announced::All(Occasion::TakeOver))]);
}

#[test]
fn inputs_for_a_router_that_has_left_are_harmless() {
    let mut bench = Bench::master();
    let id = bench.id;
    bench.engine.remove(id);
    assert_eq!(bench.engine.deadline(), None);
    for input in [
        Input::Event(id, Event::Timer, None),
        Input::Event(id, Event::Shutdown, None),
        Input::Event(id, Event::Advert(advert(200)), None),
        Input::Record(id, None),
        Input::Answered(Ticket(1), Outcome::default()),
        Input::Answered(Ticket(7), Outcome::default()),
        Input::Tried(id),
        Input::CannotSend(id),
        Input::Hear(id),
        Input::ListenAgain(id),
        Input::Schedule(id),
        Input::Due(id),
        Input::KernelExpired(id),
        Input::AddressLost(id, OURS.into(), Remover::Other),
        Input::MacvlanIs(id, Box::new(eth0(Vec::new()))),
        Input::MacvlanGone(id),
        Input::Exchange(id, Box::new(config("192.0.2.100"))),
        Input::Track(id),
        Input::StartUp(id),
        Input::Step(id, Step::Reduce),
        Input::Leave(id),
        Input::SeeOff { router: id, is_spoken: true },
        Input::Prepare(id),
        Input::Discard(id),
    ] {
        assert_eq!(bench.input(input.clone()), [], "{input:?}");
    }
    let next = bench.engine.add(Router::new(config("192.0.2.100"), LinkId::FIRST, TimeOfDay::default()));
    assert_eq!(bench.input(Input::Event(id, Event::Advert(advert(0)), None)), []);
    assert_ne!(next, id);
}

#[test]
fn a_master_with_other_addresses_is_logged() {
    let mut bench = Bench::backup();
    let id = bench.id;
    let other = Advert { addresses: AddressDigest::of([IpAddr::from(OURS)]), ..advert(200) };
    let outputs = bench.event(Event::Advert(other));
    let noticed = Noticed { notice: Notice::AddressesDiffer(other), more: 0 };
    assert!(
        matches!(&outputs[..], [Output::Log(_, Line::Mismatch(warning)), Output::Log(of, line)]
            if warning.words.check == "addresses" && (*of, line) == (id, &Line::Notice(noticed, Vec::new()))),
        "{outputs:?}"
    );
    assert_eq!(bench.event(Event::Advert(other)), [], "once a second at most");
}

#[test]
fn an_answer_that_is_late_or_comes_twice_is_harmless() {
    let mut bench = Bench::backup();
    bench.miss_master();
    let (ticket, _) = bench.asked.clone().expect("the system was asked");
    assert!(bench.engine.waits_for(ticket).is_some() && bench.engine.answers() == 0);
    bench.done();
    assert!(bench.router().is_settled_master());
    assert!(bench.engine.waits_for(ticket).is_none() && bench.engine.answers() == 1);
    assert_eq!(bench.input(Input::Answered(ticket, Outcome::of(Err(refused(Cause::Other))))), []);
    bench.event(Event::Shutdown);
    let outputs = bench.not_in_kernel();
    assert_eq!(outputs.last(), Some(&release(2)), "{outputs:?}");
    assert_eq!(bench.input(Input::Answered(ticket, Outcome::default())), [], "it is another one's");
    assert!(bench.router().is_busy());
    let outputs = bench.done();
    assert_eq!(transition_of(&outputs[0]), Some((StateName::Master, StateName::Init)));
    assert!(bench.router().holds_nothing());
}

#[test]
fn a_refused_address_ends_a_promotion_before_it_is_reported() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.miss_master();
    let outputs = bench.answer(|_| Err(refused(Cause::Other)));
    let line = Line::AddressRefused(virtual_address(), refused(Cause::Other));
    assert_eq!(outputs, [Output::Log(id, line), Output::ReadRecord(id)]);
    let outputs = bench.not_in_kernel();
    assert_eq!(outputs, [Output::Withdraw(id)], "it has nothing to give back");
    assert_eq!(bench.router().state_told(), StateName::Backup);
    assert!(!bench.router().is_busy());
}

#[test]
fn an_address_that_cannot_be_removed_is_logged_and_still_held() {
    let mut bench = Bench::master();
    let id = bench.id;
    bench.event(Event::Shutdown);
    bench.not_in_kernel();
    let outputs = bench.answer(|_| Err(refused(Cause::Other)));
    let line = Line::AddressNotRemoved(virtual_address(), refused(Cause::Other));
    assert_eq!(outputs[0], Output::Log(id, line));
    assert!(!bench.router().holds_nothing());
}

#[test]
fn an_address_removed_by_others_is_restored_and_announced_with_backoff() {
    let mut bench = Bench::master();
    let id = bench.id;
    let lost =
        |bench: &mut Bench| bench.input(Input::AddressLost(id, [192, 0, 2, 100].into(), Remover::Other));
    let outputs = lost(&mut bench);
    let line = Line::AddressLost(virtual_address(), 0);
    assert_eq!(outputs, [Output::Log(id, line), take(2)]);
    let outputs = bench.done();
    assert_eq!(outputs, [Output::TellGuardian(id), Output::Announce(id, Announced::All(Occasion::TakeOver))]);
    let mut put_off = 0;
    for _ in 0..40 {
        lost(&mut bench);
        if bench.asked.is_none() {
            put_off += 1;
            bench.now += Duration::from_secs(1);
            bench.expire();
        }
        bench.done();
    }
    assert!((1..40).contains(&put_off), "{put_off} of 40 were put off");
    let known = [10, 0, 0, 1].into();
    assert_eq!(bench.input(Input::AddressLost(id, known, Remover::Other)), [], "none of ours");
}

#[test]
fn an_address_that_is_lost_while_it_is_put_there_is_put_there_again() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.miss_master();
    let lost = Input::AddressLost(id, [192, 0, 2, 100].into(), Remover::Other);
    assert_eq!(bench.input(lost), [Output::WriteJournal], "until then it was another's");
    let outputs = bench.done();
    assert!(outputs.contains(&take(2)), "{outputs:?}");
    assert_eq!(bench.input(Input::AddressLost(id, [192, 0, 2, 100].into(), Remover::Us)), []);
}

#[test]
fn a_backup_puts_nothing_back() {
    let mut bench = Bench::backup();
    let id = bench.id;
    assert_eq!(bench.work_on(Task::TakeAgain), []);
    let lost = Input::AddressLost(id, [192, 0, 2, 100].into(), Remover::Other);
    assert_eq!(bench.input(lost), [Output::WriteJournal], "it was another's, and will be ours");
}

fn with_macvlan(vmac_fallback: VmacFallback) -> Bench {
    Bench::of(RouterConfig { vmac: VmacMode::Macvlan, vmac_fallback, ..config("192.0.2.100") })
}

#[test]
fn a_macvlan_link_is_made_before_the_router_begins_and_removed_when_it_is_above_another_interface() {
    let mut bench = with_macvlan(VmacFallback::None);
    let id = bench.id;
    let outputs = bench.input(Input::Prepare(id));
    assert!(matches!(&outputs[..], [Output::Ask(Ticket(1), Order::Prepare(_))]), "{outputs:?}");
    let made = Some(Made { index: 9, name: "vrrp4.51".to_owned(), settings: String::new() });
    let outcome = Outcome { made, ..Outcome::of(Ok(())) };
    assert_eq!(bench.input(Input::Answered(Ticket(1), outcome)), []);
    assert_eq!(bench.router().ledger.link(), Some(9));
    assert_eq!(bench.input(Input::Prepare(id)), [], "it is there");
    assert_eq!(bench.work_on(Task::DiscardStranded), []);
    bench.link().interface.as_mut().expect("it is there").index += 1;
    let outputs = bench.work_on(Task::DiscardStranded);
    assert_eq!(outputs, [Output::Ask(Ticket(2), Order::Discard(9))]);
    let outcome = Outcome::of(Err(refused(Cause::Other)));
    let outputs = bench.input(Input::Answered(Ticket(2), outcome));
    assert_eq!(outputs[0], Output::Log(id, Line::LinkNotRemoved(refused(Cause::Other))));
    assert_eq!(bench.input(Input::Discard(id)), [], "it is not looked at again");
}

#[test]
fn a_failed_macvlan_link_is_logged_unless_its_interface_is_gone() {
    for (cause, fallback, lines) in [
        (Cause::Other, VmacFallback::None, Some(WithoutVmac::GoesOn)),
        (Cause::Other, VmacFallback::Refuse, Some(WithoutVmac::StaysBackup)),
        (Cause::NoInterface, VmacFallback::None, None),
    ] {
        let mut bench = with_macvlan(fallback);
        let id = bench.id;
        bench.input(Input::Prepare(id));
        let outputs = bench.input(Input::Answered(Ticket(1), Outcome::of(Err(refused(cause)))));
        let line = lines.map(|what| Output::Log(id, Line::VmacRefused(what, refused(cause))));
        assert_eq!(outputs, line.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_router_hears_of_its_interface_only_when_something_has_changed_for_it() {
    let mut bench = Bench::backup();
    let id = bench.id;
    assert_eq!(bench.check_usable(), []);
    bench.link().interface = Some(eth0(vec![address("192.0.2.7/24")]));
    let outputs = bench.check_usable();
    assert_eq!(outputs, [Output::Expect(id, Some([192, 0, 2, 7].into())), Output::ReadRecord(id)]);
    bench.not_in_kernel();
    bench.link().interface = None;
    assert_eq!(bench.check_usable(), [Output::Expect(id, None), Output::ReadRecord(id)]);
    let outputs = bench.not_in_kernel();
    assert_eq!(transition_of(&outputs[0]), Some((StateName::Backup, StateName::Fault)));
}

#[test]
fn counters_of_a_router_continue_when_it_comes_back() {
    let mut bench = Bench::master();
    let id = bench.id;
    let router = bench.engine.remove(id).expect("it was there");
    assert!(router.done.transitions > 0 && bench.link().routers.is_empty());
    let again = bench.engine.add(Router::new(config("192.0.2.100"), LinkId::FIRST, TimeOfDay::default()));
    assert_eq!(bench.engine.router(again).map(|router| router.done), Some(router.done));
    assert_eq!(bench.engine.routers_on(LinkId::FIRST), [again]);
    assert_eq!(
        (bench.engine.link_named("eth0"), bench.engine.link_named("eth1")),
        (Some(LinkId::FIRST), None)
    );
}

#[test]
fn refused_routes_are_logged_once_and_retried_and_lost_ones_restored() {
    let route: Route = "198.51.100.0/24 via 192.0.2.254".parse().expect("right");
    let mut bench = Bench::of(RouterConfig { routes: vec![route.clone()], ..config("192.0.2.100") }).begun();
    let id = bench.id;
    let route = Resource::Route(Box::new(route));
    bench.miss_master();
    let refuse = |resource: &Resource| {
        if resource.is_routing() { Err(refused(Cause::Other)) } else { Ok(()) }
    };
    let outputs = bench.answer(refuse);
    let line = Line::RoutingRefused(route.clone(), refused(Cause::Other));
    assert_eq!(outputs[0], Output::Log(id, line), "{outputs:?}");
    assert_eq!(bench.router().state_told(), StateName::Master, "it does without");
    bench.link().interface = Some(eth0(vec![address("192.0.2.1/24"), address("192.0.2.100/24")]));
    bench.now += Duration::from_secs(1);
    let again = |ticket| {
        let resources = vec![route.clone()];
        Output::Ask(Ticket(ticket), Order::Take { resources, or_without: true })
    };
    assert_eq!(bench.expire(), [again(2)]);
    assert_eq!(bench.answer(refuse), [Output::TellGuardian(id)], "that was said");
    assert_eq!(bench.input(Input::RoutingLost), [], "it has none that could be lost");
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.expire(), [again(3)]);
    assert_eq!(bench.done(), [Output::TellGuardian(id)], "nobody else has to be told of a route");
    assert_eq!(bench.input(Input::RoutingLost), [again(4)]);
    let outputs = bench.done();
    assert!(outputs.contains(&Output::Log(id, Line::RoutingRestored(route.clone()))), "{outputs:?}");
    bench.event(Event::Shutdown);
    bench.not_in_kernel();
    let outputs = bench.answer(|_| Err(refused(Cause::Other)));
    assert!(outputs.contains(&Output::Log(id, Line::RoutingNotRemoved(route, refused(Cause::Other)))));
}

fn preparing() -> Bench {
    let mut config = config("192.0.2.100");
    config.scripts.prepare = Some(crate::script::Script::new("/bin/true".into()));
    let mut bench = Bench::of(config);
    bench.event(Event::Startup);
    bench.not_in_kernel();
    let id = bench.id;
    assert_eq!(bench.miss_master(), [Output::StartPreparation(id)]);
    bench
}

#[test]
fn addresses_are_taken_when_the_script_that_prepares_the_router_is_over() {
    let mut bench = preparing();
    assert_eq!(bench.engine.deadline(), None, "it waits for nothing else");
    let run = bench.router().preparation().expect("has a script");
    assert_eq!(run.arguments, ["INSTANCE", "eth0/51", "PREPARE", "100"]);
    assert!(run.environment.contains(&("VRRP_REASON".into(), "master-down-timer".to_owned())));
    bench.event(Event::Prepared);
    assert!(matches!(bench.not_in_kernel()[..], [Output::Ask(_, Order::Take { .. })]));
    assert_eq!(bench.router().preparation(), None);
}

#[test]
fn script_that_prepares_a_router_is_ended_when_that_stays_backup() {
    let mut bench = preparing();
    let id = bench.id;
    assert_eq!(bench.event(Event::Advert(advert(50))), [], "a lower one is preempted");
    assert_eq!(bench.event(Event::Advert(advert(200))), [Output::EndPreparation(id)]);
    bench.event(Event::Prepared);
    assert_eq!(bench.not_in_kernel(), [], "it was over just then");
    assert_eq!(bench.miss_master(), [Output::StartPreparation(id)], "it runs anew the next time");
}
