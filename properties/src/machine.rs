//! Events of one virtual router, in any order and at any time.
//!
//! * The addresses are held if and only if it is Master, and are neither taken nor given up twice.
//! * Each transition leaves the state that the one before entered.
//! * Only a Master sends adverts, except for a final resignation; two per interval at most, and a few for each change
//!   of state or priority.
//! * After a deadline was handled, the next one is in the future, and no further away than the longest interval allows.
//! * A deadline that is handled too early changes nothing.
//! * A Master outside a group yields at once to a higher priority, and never to a lower one; the transition names the
//!   cause.
//! * After three take-overs a router waits for a third of a second before the next one, unless it has started anew, was
//!   told to resume or given a higher priority, or the last one was a minute ago.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arbitrary::{Arbitrary, Unstructured};
use vrrpd_common::router::{
    Action, AnnounceTimes, Cause, Config, Event, Fault, Faults, Origin, Reason, State, StateName, Transition,
    VirtualRouter,
};
use vrrpd_common::{
    AddressDigest, Advert, Duration, Family, Instant, Interval, MacAddr, Priority, Version, Vrid,
};

/// Maximum number of events of a run.
const MAX_STEPS: usize = 500;
/// Maximum number of actions that one event causes.
const MAX_ACTIONS: usize = 12;
/// Adverts that are always allowed, and for each change of state or priority.
const ADVERTS_AT_ONCE: u64 = 4;
/// Take-overs without a pause, and the shortest pause before another one.
const TAKE_OVERS_AT_ONCE: u32 = 3;
const MIN_HOLD: Duration = Duration::from_millis(333);
/// After this time without a take-over, earlier ones do not count.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The router.
#[derive(Arbitrary, Debug)]
struct Plan {
    version: PlannedVersion,
    priority: u8,
    preempts: bool,
    centis: u16,
    learned_centis: u16,
    own: u8,
    again_after_ms: Option<u16>,
    refresh_every_ms: Option<u16>,
    down_multiplier: u8,
    after_lower_ms: Option<u16>,
    elsewhere_every_ms: Option<u16>,
    grouped: bool,
    prepares: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum PlannedVersion {
    V2,
    V3Ipv4,
    V3Ipv6,
}

/// An event and its time.
#[derive(Arbitrary, Debug)]
struct Step {
    when: When,
    what: What,
}

#[derive(Arbitrary, Debug)]
enum When {
    /// At the time of the previous event.
    Now,
    /// Some time before the deadline.
    Before { micros: u16 },
    /// At the deadline.
    Due,
    /// After the deadline.
    Late { micros: u32 },
    /// Some time after the previous event.
    After { micros: u32 },
}

#[derive(Arbitrary, Debug)]
enum What {
    Startup,
    Shutdown,
    Timer,
    Advert { priority: u8, centis: u16, source: u8, other_addresses: bool },
    InterfaceUp { source: u8 },
    InterfaceDown(PlannedFault),
    StandBack { signal: bool },
    Resume { signal: bool },
    Priority(u8),
    AddressesRefused,
    AddressesLost,
    StoodStill,
    GroupReady { hold_ms: u16 },
    GroupYields,
    Grouped(bool),
    Prepared,
}

#[derive(Arbitrary, Debug)]
enum PlannedFault {
    LinkDown,
    AdminDown,
    InterfaceRemoved,
    NoAddress,
    AdvertUnsendable,
    TrackFailed,
}

/// Runs the events that the octets encode.
pub fn check(octets: &[u8]) {
    let mut source = Unstructured::new(octets);
    let Ok(plan) = Plan::arbitrary(&mut source) else { return };
    let mut run = Run::new(&plan);
    for _ in 0..MAX_STEPS {
        if source.is_empty() {
            return;
        }
        let Ok(step) = Step::arbitrary(&mut source) else { return };
        run.step(&step);
    }
}

/// Initial inputs; the encoding is used only here.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![vec![0; 64], (0..=255).collect()]
}

/// A router, and its observed behaviour.
struct Run {
    router: VirtualRouter,
    family: Family,
    now: Instant,
    has_addresses: bool,
    is_preparing: bool,
    /// When the allowed adverts were counted last, in nanoseconds, and their number, in intervals.
    credit_at: u64,
    credit: u64,
    /// Take-overs that count, and the last one.
    take_overs: (u32, Instant),
}

impl Run {
    fn new(plan: &Plan) -> Self {
        let interval = |centis: u16| match plan.version {
            PlannedVersion::V2 => Interval::from_seconds(u8::try_from(centis % 255).unwrap_or_default() + 1),
            PlannedVersion::V3Ipv4 | PlannedVersion::V3Ipv6 => Interval::from_centis(centis % 4095 + 1),
        };
        let millis = |span: u16| Duration::from_millis(u64::from(span) + 1);
        let config = Config {
            vrid: Vrid::new(51).expect("a VRID"),
            version: match plan.version {
                PlannedVersion::V2 => Version::V2,
                PlannedVersion::V3Ipv4 | PlannedVersion::V3Ipv6 => Version::V3,
            },
            priority: Priority(plan.priority.max(1)),
            preempt_mode: plan.preempts,
            preempt_below: None,
            preempt_delay: Duration::ZERO,
            start_delay: Duration::ZERO,
            interval: interval(plan.centis).expect("within the limits"),
            max_learned_interval: interval(plan.learned_centis).expect("within the limits"),
            down_multiplier: plan.down_multiplier.clamp(1, 100),
            addresses: AddressDigest::of([address(plan.family(), 100)]),
            announce: AnnounceTimes {
                again_after: plan.again_after_ms.map(millis),
                refresh_every: plan.refresh_every_ms.map(millis),
                elsewhere_every: plan.elsewhere_every_ms.map(millis),
                after_lower: plan.after_lower_ms.map(millis),
            },
            grouped: plan.grouped,
            prepares: plan.prepares,
        };
        let mut router = VirtualRouter::new(config);
        let now = Instant::from_nanos(1_000_000_000);
        // Most events happen to a router that has started.
        router.handle(now, Event::InterfaceUp(address(plan.family(), plan.own)), &mut |_| ());
        Self {
            router,
            family: plan.family(),
            now,
            has_addresses: false,
            is_preparing: false,
            credit_at: now.as_nanos(),
            credit: ADVERTS_AT_ONCE * interval_of(&router),
            take_overs: (0, now),
        }
    }

    fn step(&mut self, step: &Step) {
        self.now = self.time_of(&step.when);
        match self.event(&step.what) {
            Some(event) => self.handle(event),
            None => self.router.set_grouped(matches!(step.what, What::Grouped(true))),
        }
    }

    fn time_of(&self, when: &When) -> Instant {
        let due = self.router.deadline().unwrap_or(self.now).max(self.now);
        match *when {
            When::Now => self.now,
            When::Before { micros } => {
                let nanos = due.as_nanos().saturating_sub(u64::from(micros) * 1_000 + 1);
                Instant::from_nanos(nanos).max(self.now)
            }
            When::Due => due,
            When::Late { micros } => due + Duration::from_micros(micros.into()),
            When::After { micros } => self.now + Duration::from_micros(micros.into()),
        }
    }

    /// `None`: not a valid event.
    fn event(&self, what: &What) -> Option<Event> {
        let origin = |signal: bool| if signal { Origin::Signal } else { Origin::Operator };
        Some(match *what {
            What::Startup => Event::Startup,
            What::Shutdown => Event::Shutdown,
            What::Timer => Event::Timer,
            What::Advert { priority, centis, source, other_addresses } => Event::Advert(Advert {
                vrid: self.router.config().vrid,
                priority: Priority(priority),
                interval: self.interval_heard(centis),
                source: self.address(source),
                mac: MacAddr([2, 0, 0, 0, 0, source]),
                address_count: 1,
                addresses: if other_addresses {
                    AddressDigest::of([self.address(101)])
                } else {
                    self.router.config().addresses
                },
            }),
            What::InterfaceUp { source } => Event::InterfaceUp(self.address(source)),
            What::InterfaceDown(ref fault) => Event::InterfaceDown(Faults::of(match fault {
                PlannedFault::LinkDown => Fault::LinkDown,
                PlannedFault::AdminDown => Fault::AdminDown,
                PlannedFault::InterfaceRemoved => Fault::InterfaceRemoved,
                PlannedFault::NoAddress => Fault::NoAddress,
                PlannedFault::AdvertUnsendable => Fault::AdvertUnsendable,
                PlannedFault::TrackFailed => Fault::TrackFailed,
            })),
            What::StandBack { signal } => Event::StandBack(origin(signal)),
            What::Resume { signal } => Event::Resume(origin(signal)),
            What::Priority(priority) => Event::Priority(Priority(priority.max(1))),
            What::AddressesRefused => Event::AddressesRefused,
            What::AddressesLost => Event::AddressesLost,
            What::StoodStill => Event::StoodStill,
            What::GroupReady { hold_ms } => Event::GroupReady { hold: Duration::from_millis(hold_ms.into()) },
            What::GroupYields => Event::GroupYields,
            What::Prepared => Event::Prepared,
            What::Grouped(_) => return None,
        })
    }

    /// An interval that the parser can return.
    fn interval_heard(&self, centis: u16) -> Interval {
        let interval = match self.router.config().version {
            Version::V2 => Interval::from_seconds(u8::try_from(centis % 255).unwrap_or_default() + 1),
            Version::V3 => Interval::from_centis(centis % 4095 + 1),
        };
        interval.expect("within the limits")
    }

    fn address(&self, number: u8) -> IpAddr {
        address(self.family, number)
    }

    fn handle(&mut self, event: Event) {
        let before = self.router;
        let mut actions = Vec::new();
        self.router.handle(self.now, event, &mut |action| actions.push(action));
        assert!(actions.len() <= MAX_ACTIONS, "{event:?}: {actions:?}");
        self.follow(before.state().name(), event, &actions);
        self.limit_adverts(&before, &actions);
        self.limit_take_overs(&before, event, &actions);
        if let Event::Advert(advert) = event {
            self.yields_rightly(&before, &advert);
        }
        self.deadline_is_sane(event);
    }

    /// Executes the actions, each of which must be possible.
    fn follow(&mut self, mut state: StateName, event: Event, actions: &[Action]) {
        let mut resigned = false;
        for action in actions {
            match *action {
                Action::Prepare => {
                    assert!(!self.is_preparing, "{event:?}: prepared twice: {actions:?}");
                    self.is_preparing = true;
                }
                Action::EndPreparation => {
                    assert!(self.is_preparing, "{event:?}: nothing is being prepared: {actions:?}");
                    self.is_preparing = false;
                }
                Action::TakeAddresses => {
                    assert!(!self.has_addresses, "{event:?}: addresses taken twice: {actions:?}");
                    self.has_addresses = true;
                }
                Action::GiveUpAddresses => {
                    assert!(self.has_addresses, "{event:?}: addresses given up twice: {actions:?}");
                    self.has_addresses = false;
                }
                Action::SendAdvert(priority) => {
                    assert!(self.has_addresses, "{event:?}: an advert without the addresses: {actions:?}");
                    assert!(!resigned, "{event:?}: an advert after a resignation: {actions:?}");
                    resigned = priority == Priority::RESIGN;
                    assert!(resigned || priority == self.router.priority(), "{event:?}: {actions:?}");
                }
                Action::AnnounceAddresses(_) => {
                    assert!(self.has_addresses, "{event:?}: announced without the addresses: {actions:?}");
                }
                Action::Transition(transition) => {
                    assert_eq!(transition.from, state, "{event:?}: {actions:?}");
                    state = transition.to;
                    resigned = false;
                }
                Action::Notice(_) => {}
            }
        }
        assert_eq!(state, self.router.state().name(), "{event:?}: {actions:?}");
        if event == Event::Prepared {
            self.is_preparing = false;
        }
        assert_eq!(self.is_preparing, self.router.is_preparing(), "{event:?}: {actions:?}");
        assert_eq!(self.has_addresses, state == StateName::Master, "{event:?}: {actions:?}");
    }

    /// Two adverts per interval, and some for each change.
    fn limit_adverts(&mut self, before: &VirtualRouter, actions: &[Action]) {
        let interval = interval_of(&self.router);
        let now = self.now.as_nanos();
        self.credit = (self.credit + 2 * (now - self.credit_at)).min(ADVERTS_AT_ONCE * interval);
        self.credit_at = now;
        let changes = actions.iter().any(|action| matches!(action, Action::Transition(_)));
        if changes || before.priority() != self.router.priority() {
            self.credit = ADVERTS_AT_ONCE * interval;
        }
        let adverts = actions.iter().filter(|action| matches!(action, Action::SendAdvert(_))).count();
        let spent = adverts as u64 * interval;
        assert!(spent <= self.credit, "too many adverts: {actions:?}");
        self.credit -= spent;
    }

    fn limit_take_overs(&mut self, before: &VirtualRouter, event: Event, actions: &[Action]) {
        // A router that starts anew is not held: an owner in a group is ready at once.
        let begins = matches!(before.state(), State::Initialize | State::Fault(_));
        if begins || matches!(event, Event::Resume(_)) || self.router.priority() > before.priority() {
            self.take_overs = (0, self.now);
        }
        for action in actions {
            let Action::Transition(Transition { from, to, cause, reason }) = action else { continue };
            // An owner in a group only passes through Backup.
            let passes = reason.is_beginning();
            if (*from, *to) == (StateName::Backup, StateName::Master) && !passes {
                let (count, last) = self.take_overs;
                let waited = self.now.saturating_since(last);
                let count = if waited >= FORGOTTEN { 0 } else { count };
                assert!(count < TAKE_OVERS_AT_ONCE || waited >= MIN_HOLD, "{event:?}: after {waited}");
                self.take_overs = (count + 1, self.now);
            }
            if let (Reason::HigherPriorityAdvert, Event::Advert(advert)) = (reason, event) {
                assert_eq!(*cause, Some(Cause::from(&advert)), "{event:?}");
            }
        }
    }

    fn yields_rightly(&self, before: &VirtualRouter, advert: &Advert) {
        let State::Master(master) = before.state() else { return };
        let is_master = matches!(self.router.state(), State::Master(_));
        // A Master in a group may tolerate a better one for some time.
        if advert.priority > before.priority() && master.hold == Duration::ZERO {
            assert!(!is_master, "it goes on beside a higher priority");
        }
        let in_time = self.router.state().name() == StateName::Master
            || self.now <= master.advert_at + Duration::from_secs(1);
        if advert.priority < before.priority() && in_time {
            assert!(is_master, "it yields to a lower priority");
        }
    }

    fn deadline_is_sane(&self, event: Event) {
        let mut timed = self.router;
        let mut actions = Vec::new();
        timed.handle(self.now, Event::Timer, &mut |action| actions.push(action));
        if let Some(deadline) = timed.deadline() {
            assert!(deadline > self.now, "{event:?}: the deadline is over after it was handled");
        }
        let Some(deadline) = self.router.deadline().filter(|deadline| *deadline > self.now) else {
            return;
        };
        assert_eq!(actions, [], "{event:?}: a deadline that has not come");
        assert_eq!(timed, self.router, "{event:?}: a deadline that has not come");
        // Master_Down_Interval of the longest interval, plus the second after which refused addresses are tried again.
        let intervals = u64::from(self.router.config().down_multiplier) + 1;
        let longest = Duration::from_secs(intervals * 255 + 1);
        assert!(deadline.saturating_since(self.now) <= longest, "{event:?}: {deadline:?}");
    }
}

impl Plan {
    const fn family(&self) -> Family {
        match self.version {
            PlannedVersion::V2 | PlannedVersion::V3Ipv4 => Family::Ipv4,
            PlannedVersion::V3Ipv6 => Family::Ipv6,
        }
    }
}

/// Nanoseconds.
fn interval_of(router: &VirtualRouter) -> u64 {
    router.config().interval.as_duration().as_nanos()
}

fn address(family: Family, number: u8) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::new(192, 0, 2, number).into(),
        Family::Ipv6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number.into()).into(),
    }
}
