use std::net::IpAddr;

use vrrpd_common::abi::{KernelAdvert, KernelRole, RouterRecord};
use vrrpd_common::router::{Fault, Notice, Origin};
use vrrpd_common::{AddressDigest, Advert, Duration, MacAddr, Priority};

use super::*;
use crate::config::tests::router as config;
use crate::ids::LinkId;
use crate::pace::Announced;
use crate::router::Noticed;

const OURS: [u8; 4] = [192, 0, 2, 1];
const THEIRS: [u8; 4] = [192, 0, 2, 2];

/// An engine with one router, whose interface can be used.
struct Bench {
    engine: Engine,
    id: RouterId,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let mut engine = Engine::default();
        let id = engine.add(Router::new(config("192.0.2.100"), LinkId::FIRST, TimeOfDay::default()));
        let mut bench = Self { engine, id, now: Instant::ZERO + Duration::from_secs(1000) };
        assert_eq!(bench.event(Event::InterfaceUp(OURS.into())), [Output::ReadRecord(id)]);
        bench.not_in_kernel();
        bench
    }

    /// A router that is Backup.
    fn backup() -> Self {
        let mut bench = Self::new();
        bench.event(Event::Startup);
        let outputs = bench.not_in_kernel();
        assert!(matches!(outputs[..], [Output::Transition { .. }]), "{outputs:?}");
        bench
    }

    /// A router that is Master, with all done that belongs to it.
    fn master() -> Self {
        let mut bench = Self::backup();
        bench.miss_master();
        bench.input(Input::Done(bench.id));
        bench
    }

    fn router(&mut self) -> &mut Router {
        self.engine.router_mut(self.id).expect("it is there")
    }

    fn input(&mut self, input: Input<'_>) -> Vec<Output> {
        let now = self.time();
        self.engine.handle(now, input);
        std::iter::from_fn(|| self.engine.next_output(now)).collect()
    }

    fn time(&self) -> Now {
        Now { at: self.now, time_of_day: TimeOfDay(Duration::from_nanos(self.now.as_nanos())) }
    }

    fn event(&mut self, event: Event) -> Vec<Output> {
        self.input(Input::Event(self.id, event, None))
    }

    fn not_in_kernel(&mut self) -> Vec<Output> {
        self.input(Input::Record(self.id, None, None))
    }

    fn record(&mut self, record: &RouterRecord) -> Vec<Output> {
        self.input(Input::Record(self.id, Some(record), None))
    }

    fn miss_master(&mut self) -> Vec<Output> {
        self.now = self.engine.deadline().expect("a Backup waits for its master");
        assert_eq!(self.engine.due(self.now), [self.id]);
        self.event(Event::Timer)
    }

    fn expire(&mut self) -> Vec<Output> {
        let now = self.time();
        self.engine.expire(now);
        std::iter::from_fn(|| self.engine.next_output(now)).collect()
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

/// A record of the kernel that holds an advert which came at this time.
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

fn transition_of(output: &Output) -> Option<(StateName, StateName)> {
    match output {
        Output::Transition { past, .. } => Some((past.transition.from, past.transition.to)),
        _ => None,
    }
}

#[test]
fn nothing_is_sent_or_told_before_the_addresses_are_there() {
    let mut bench = Bench::backup();
    let id = bench.id;
    assert_eq!(bench.miss_master(), [Output::Take(id)]);
    assert!(bench.router().is_busy());
    let outputs = bench.input(Input::Done(id));
    assert_eq!(outputs[..2], [Output::SendAdvert(id, Priority(100)), Output::Announce(id, Announced::All)]);
    assert_eq!(transition_of(&outputs[2]), Some((StateName::Backup, StateName::Master)));
    assert_eq!(outputs.len(), 3);
    assert!(!bench.router().is_busy());
    assert_eq!(bench.router().history().last().map(|past| past.at), Some(bench.time().time_of_day));
}

#[test]
fn a_promotion_that_is_overtaken_while_the_system_works_is_given_up_without_a_word() {
    let mut bench = Bench::backup();
    let id = bench.id;
    assert_eq!(bench.miss_master(), [Output::Take(id)]);
    assert_eq!(bench.event(Event::Advert(advert(200))), [], "the system is still at it");
    assert_eq!(bench.input(Input::Done(id)), [Output::Release(id)]);
    assert_eq!(bench.input(Input::Done(id)), []);
    assert_eq!(bench.router().state_told(), StateName::Backup);
}

#[test]
fn an_advert_that_says_nothing_new_gives_a_backup_nothing_to_do() {
    let mut bench = Bench::backup();
    for _ in 0..10 {
        bench.now += Duration::from_secs(1);
        let before = bench.engine.deadline();
        assert_eq!(bench.event(Event::Advert(advert(200))), []);
        assert!(bench.engine.deadline() > before, "the deadline moves");
    }
}

#[test]
fn what_the_kernel_has_heard_comes_before_an_operator_s_word() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.router().in_kernel = true;
    let heard_at = bench.now;
    bench.now += Duration::from_millis(500);
    assert_eq!(bench.event(Event::Resume(Origin::Operator)), [Output::ReadRecord(id)]);
    let record = record_of(heard_at, &advert(200), KernelRole::Backup, heard_at);
    let outputs = bench.record(&record);
    let wanted = [
        Output::TellKernel(id, Event::Advert(advert(200))),
        Output::CorrectKernel(id, Box::new(record)),
        Output::TellKernel(id, Event::Resume(Origin::Operator)),
    ];
    assert_eq!(outputs, wanted);
    assert_eq!(bench.event(Event::StoodStill), [Output::ReadRecord(id)]);
    let told_again = bench.record(&record);
    assert_eq!(told_again, [Output::TellKernel(id, Event::StoodStill)], "it is not heard twice");
}

#[test]
fn what_the_kernel_heard_before_a_command_took_effect_comes_before_the_next_action() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.router().in_kernel = true;
    bench.now = bench.engine.deadline().expect("a Backup waits");
    let now = bench.time();
    bench.engine.handle(now, Input::Event(id, Event::Timer, None));
    let first = bench.engine.next_output(now);
    assert_eq!(first, Some(Output::TellKernel(id, Event::Timer)));
    // The command has been given; the record is read again.
    bench.engine.handle(now, Input::Hear(id));
    let second = bench.engine.next_output(now);
    assert_eq!(second, Some(Output::ReadRecord(id)));
    assert_eq!(bench.engine.next_output(now), None, "nothing happens before the answer");
    let record = record_of(bench.now, &advert(200), KernelRole::Master, Instant::ZERO);
    let outputs = bench.record(&record);
    let wanted = [
        Output::TellKernel(id, Event::Advert(advert(200))),
        Output::Take(id),
        Output::CorrectKernel(id, Box::new(record)),
    ];
    assert_eq!(outputs, wanted);
    assert_eq!(bench.input(Input::Done(id)), [Output::Release(id)], "a better master is there by now");
}

#[test]
fn adverts_of_another_subnet_are_not_believed() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.router().in_kernel = true;
    let mut interface = crate::interface::tests::eth0(vec![crate::interface::tests::address("10.0.0.1/24")]);
    let foreign = Advert { source: [198, 51, 100, 7].into(), ..advert(200) };
    let record = record_of(bench.now, &foreign, KernelRole::Backup, bench.now);
    bench.event(Event::Resume(Origin::Operator));
    let outputs = bench.input(Input::Record(id, Some(&record), Some(&interface)));
    assert_eq!(outputs[0], Output::HearsOtherSubnet(id, foreign.source));
    // The program is given up; the last that it heard is believed no more than that.
    interface.addresses.clear();
    bench.router().in_kernel = false;
    bench.now += Duration::from_secs(1);
    let record = record_of(bench.now, &advert(200), KernelRole::Backup, bench.now);
    let deadline = bench.engine.deadline();
    bench.input(Input::LastRecord(id, &record, Some(&interface)));
    assert!(bench.engine.deadline() > deadline, "what it heard up to then counts");
}

#[test]
fn a_master_whose_trial_advert_does_not_go_out_is_none_and_tries_again_later() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.router().sending.give_up();
    bench.router().sending.try_again();
    assert_eq!(bench.miss_master(), [Output::Take(id)]);
    let outputs = bench.input(Input::Done(id));
    assert_eq!(outputs, [Output::SendAdvert(id, Priority(100)), Output::TrySending(id)]);
    let pause = Duration::from_secs(2);
    let outputs = bench.input(Input::Tried(id));
    assert_eq!(outputs, [Output::Log(id, Line::CannotSend(pause)), Output::CheckUsable(id)]);
    assert_eq!(bench.router().state_told(), StateName::Backup, "nobody was told that it was Master");
    bench.event(Event::InterfaceDown(Fault::AdvertUnsendable.into()));
    bench.not_in_kernel();
    bench.now += pause;
    assert_eq!(bench.expire(), [Output::CheckUsable(id)]);
    assert!(!bench.router().sending.is_pausing());
}

#[test]
fn a_trial_advert_that_goes_out_is_followed_by_the_rest() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.router().sending.give_up();
    bench.router().sending.try_again();
    bench.miss_master();
    bench.input(Input::Done(id));
    bench.router().sending.succeeded();
    let outputs = bench.input(Input::Tried(id));
    assert_eq!(outputs[0], Output::Announce(id, Announced::All));
    assert_eq!(transition_of(&outputs[1]), Some((StateName::Backup, StateName::Master)));
}

#[test]
fn announcements_beyond_the_limit_come_when_there_is_room_again() {
    let mut bench = Bench::master();
    let id = bench.id;
    let announced = (0..10).filter(|_| !bench.input(Input::Announce(id, Announced::Own)).is_empty()).count();
    assert!(announced < 10);
    let due = bench.engine.deadline().expect("one was put off");
    bench.now = bench.now.max(due) + Duration::from_secs(1);
    assert_eq!(bench.expire(), [Output::Announce(id, Announced::All)]);
}

#[test]
fn what_comes_for_a_router_that_has_left_is_harmless() {
    let mut bench = Bench::master();
    let id = bench.id;
    bench.engine.remove(id);
    assert_eq!(bench.engine.deadline(), None);
    for input in [
        Input::Event(id, Event::Timer, None),
        Input::Event(id, Event::Shutdown, None),
        Input::Event(id, Event::Advert(advert(200)), None),
        Input::Record(id, None, None),
        Input::Done(id),
        Input::Tried(id),
        Input::CannotSend(id),
        Input::MaySendAgain(id),
        Input::Announce(id, Announced::All),
        Input::Act(id),
        Input::Hear(id),
        Input::ListenAgain(id),
        Input::Schedule(id),
        Input::Unschedule(id),
    ] {
        assert_eq!(bench.input(input), [], "{input:?}");
    }
    let next = bench.engine.add(Router::new(config("192.0.2.100"), LinkId::FIRST, TimeOfDay::default()));
    assert_eq!(bench.input(Input::Event(id, Event::Advert(advert(0)), None)), []);
    assert_ne!(next, id);
}

#[test]
fn a_master_that_announces_other_addresses_is_told_of() {
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
