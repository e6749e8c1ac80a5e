//! The kernel's part compared with the state machine: with any adverts both have the same deadline, even if the machine
//! gets only the adverts that the record holds when it is read.

use core::net::Ipv4Addr;

use proptest::prelude::*;

use crate::abi::flag;
use crate::router::{self, AnnounceTimes, Event as RouterEvent, Origin, State, VirtualRouter};
use crate::watch::*;
use crate::{AddressDigest, Advert, Version, Vrid};

const START: u64 = 1_000_000_000_000;
const OWN: u8 = 100;
/// Some adverts have an interval above the limit.
const LIMIT: u16 = 100;
/// Different from the RFC's, so that both must use it.
const MULTIPLIER: u8 = 4;
const SPACING: u64 = 500_000_000;

fn source(last: u8) -> std::net::IpAddr {
    std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

fn interval(centis: u16) -> Interval {
    Interval::from_centis(centis).expect("is legal")
}

fn advert(priority: u8, centis: u16, from: u8) -> Advert {
    Advert {
        vrid: Vrid::new(51).expect("is legal"),
        priority: Priority(priority),
        interval: interval(centis),
        source: source(from),
        mac: crate::MacAddr([2, 0, 0, 0, 0, from]),
        address_count: 1,
        addresses: AddressDigest::from_bits(1),
    }
}

fn config(role: KernelRole, preempt: bool) -> KernelConfig {
    let mut config = KernelConfig {
        report_spacing: SPACING,
        source: crate::abi::octets(source(10)),
        interval: 10,
        role: role as u8,
        version: 3,
        priority: OWN,
        max_learned_interval: LIMIT,
        down_multiplier: MULTIPLIER,
        lowest_followed: if preempt { OWN } else { 1 },
        ..KernelConfig::default()
    };
    config.set(flag::SOURCE, true);
    config
}

fn machine(preempt_mode: bool) -> VirtualRouter {
    started(preempt_mode, false)
}

fn started(preempt_mode: bool, grouped: bool) -> VirtualRouter {
    let mut machine = VirtualRouter::new(router::Config {
        vrid: Vrid::new(51).expect("is legal"),
        version: Version::V3,
        priority: Priority(OWN),
        preempt_mode,
        preempt_below: None,
        preempt_delay: Duration::ZERO,
        start_delay: Duration::ZERO,
        interval: interval(10),
        max_learned_interval: interval(LIMIT),
        down_multiplier: MULTIPLIER,
        addresses: AddressDigest::from_bits(1),
        announce: AnnounceTimes {
            again_after: None,
            refresh_every: None,
            elsewhere_every: None,
            after_lower: None,
        },
        grouped,
        prepares: false,
    });
    let now = Instant::from_nanos(START);
    machine.handle(now, RouterEvent::InterfaceUp(source(10)), &mut |_| {});
    machine.handle(now, RouterEvent::Startup, &mut |_| {});
    machine
}

/// The command that the daemon would give for the machine's state.
fn command(machine: &VirtualRouter, known_until: u64, preempt: bool) -> KernelCommand {
    let (role, deadline) = match machine.state() {
        State::Initialize | State::Fault(_) => (KernelRole::Init, 0),
        // It must get each advert that makes it unwilling, even an unchanged one.
        State::Backup(_) if machine.has_won() => (KernelRole::Master, 0),
        State::Backup(backup) => (KernelRole::Backup, backup.master_down_at.as_nanos()),
        State::Master(_) => (KernelRole::Master, 0),
    };
    KernelCommand {
        deadline,
        known_until,
        master_interval: machine.master_adver_interval().as_centis(),
        config: config(role, preempt),
        ..KernelCommand::default()
    }
}

fn deadline(machine: &VirtualRouter) -> u64 {
    match machine.state() {
        State::Backup(backup) => backup.master_down_at.as_nanos(),
        State::Initialize | State::Fault(_) | State::Master(_) => 0,
    }
}

/// A Backup in the kernel with the machine's deadline.
fn backup(preempt: bool) -> (RouterRecord, VirtualRouter) {
    let machine = machine(preempt);
    let mut record = RouterRecord::default();
    let deferred = record.obey(&command(&machine, 0, preempt));
    assert!(deferred.arm && record.timer_at == record.deadline && record.deadline == deadline(&machine));
    (record, machine)
}

proptest! {
    #[test]
    fn the_kernel_and_the_state_machine_have_the_same_deadline(
        preempt: bool,
        adverts in prop::collection::vec((0..200_u64, 0..=255_u8, 1..200_u16, 1..20_u8), 1..50),
    ) {
        let (mut record, mut machine) = backup(preempt);
        let mut now = START;
        for (millis, priority, centis, from) in adverts {
            now += millis * 1_000_000;
            if now >= record.deadline {
                break;
            }
            let advert = advert(priority, centis, from);
            let at = Instant::from_nanos(now);
            record.take(&config(KernelRole::Backup, preempt), Family::Ipv4, KernelAdvert::new(&advert, at));
            machine.handle(at, RouterEvent::Advert(advert), &mut |_| {});
            prop_assert_eq!(record.deadline, deadline(&machine));
            prop_assert!(record.timer_at <= record.deadline, "the timer may be early, never late");
        }
    }

    #[test]
    fn a_state_machine_fed_with_the_record_at_any_time_has_the_kernel_s_deadline(
        preempt: bool,
        adverts in prop::collection::vec(
            (0..60_u64, prop_oneof![Just(0_u8), Just(50), Just(OWN), 0..=255_u8], 1..200_u16, 1..20_u8, any::<bool>()),
            1..60,
        ),
    ) {
        let (mut record, mut machine) = backup(preempt);
        let (mut now, mut fed_until) = (START, 0);
        for (millis, priority, centis, from, looks) in adverts {
            now += 1 + millis * 1_000_000;
            if now >= record.deadline {
                break;
            }
            let heard = KernelAdvert::new(&advert(priority, centis, from), Instant::from_nanos(now));
            record.take(&config(KernelRole::Backup, preempt), Family::Ipv4, heard);
            if looks {
                feed(&mut machine, &record, &mut fed_until);
                prop_assert_eq!(record.deadline, deadline(&machine));
            }
        }
        feed(&mut machine, &record, &mut fed_until);
        prop_assert_eq!(record.deadline, deadline(&machine));
    }

    #[test]
    fn adverts_missed_by_the_daemon_count_when_the_router_becomes_backup(
        adverts in prop::collection::vec((1..50_u64, prop_oneof![Just(0_u8), 0..=255_u8], 1..200_u16), 1..20),
    ) {
        // The kernel receives adverts while the daemon still has the router in state init.
        let mut record = RouterRecord::default();
        let mut machine = machine(true);
        record.obey(&KernelCommand { config: config(KernelRole::Init, true), ..KernelCommand::default() });
        let mut now = START;
        for (millis, priority, centis) in adverts {
            now += millis * 1_000_000;
            let heard = KernelAdvert::new(&advert(priority, centis, 1), Instant::from_nanos(now));
            record.take(&config(KernelRole::Init, true), Family::Ipv4, heard);
        }
        record.obey(&command(&machine, 0, true));
        // The daemon reads the record, feeds its machine, and corrects the kernel's deadline if it differs.
        feed(&mut machine, &record, &mut 0);
        // A heard master postpones an expiry and never brings one forward; that requires a command.
        prop_assert!(record.deadline >= deadline(&machine));
        if record.resigned == record.heard {
            prop_assert_eq!(record.deadline, deadline(&machine));
        }
        record.obey(&command(&machine, record.heard.at, true));
        prop_assert_eq!(record.deadline, deadline(&machine));
    }
}

/// Hands the machine the adverts of the record that it has not handled.
fn feed(machine: &mut VirtualRouter, record: &RouterRecord, fed_until: &mut u64) {
    let slot = crate::abi::slot(Family::Ipv4, Vrid::new(51).expect("is legal"));
    for heard in record.in_order() {
        if heard.at > *fed_until {
            *fed_until = heard.at;
            let (at, advert) = heard.advert(slot).expect("there was one");
            machine.handle(at, RouterEvent::Advert(advert), &mut |_| {});
        }
    }
}

#[test]
fn a_resignation_that_a_lower_advert_follows_at_once_is_heard_of() {
    let (mut record, mut machine) = backup(true);
    let take = |record: &mut RouterRecord, millis: u64, priority, from| {
        let at = Instant::from_nanos(START + millis * 1_000_000);
        record.take(
            &config(KernelRole::Backup, true),
            Family::Ipv4,
            KernelAdvert::new(&advert(priority, 10, from), at),
        )
    };
    take(&mut record, 10, 150, 1);
    take(&mut record, 11, 50, 2);
    assert!(take(&mut record, 12, 0, 1).report, "whatever was reported just before");
    take(&mut record, 13, 50, 2);
    feed(&mut machine, &record, &mut 0);
    assert_eq!(deadline(&machine), START + 12_000_000 + 60_937_500);
    assert_eq!(record.deadline, deadline(&machine));
    assert!(!take(&mut record, 14, 0, 1).report, "said again it is no news");
}

#[test]
fn a_resignation_that_the_daemon_did_not_know_of_counts_though_a_lower_advert_came_after_it() {
    for role in [KernelRole::Init, KernelRole::Master, KernelRole::Backup] {
        let mut record = RouterRecord::default();
        record.obey(&KernelCommand {
            config: config(role, true),
            deadline: START * 2,
            ..KernelCommand::default()
        });
        for (millis, priority) in [(10, 0), (11, 50)] {
            let at = Instant::from_nanos(START + millis * 1_000_000);
            record.take(&config(role, true), Family::Ipv4, KernelAdvert::new(&advert(priority, 10, 1), at));
        }
        let machine = machine(true);
        record.obey(&command(&machine, START, true));
        assert_eq!(record.deadline, START + 10_000_000 + 60_937_500, "{role:?}");
    }
}

#[test]
fn an_advert_moves_the_deadline_and_not_the_timer_which_finds_it_when_it_runs() {
    let (mut record, _) = backup(true);
    let first = record.timer_at;
    let deferred = record.take(
        &config(KernelRole::Backup, true),
        Family::Ipv4,
        KernelAdvert::new(&advert(150, 10, 1), Instant::from_nanos(START + 100_000_000)),
    );
    assert!(!deferred.arm);
    assert_eq!(record.timer_at, first);
    assert_eq!(record.look_at_deadline(Instant::from_nanos(first)), Due::Later);
    assert_eq!(record.timer_at, record.deadline);
    assert_eq!(record.look_at_deadline(Instant::from_nanos(record.deadline)), Due::Expired);
}

#[test]
fn a_shorter_deadline_moves_the_timer_at_once() {
    let (mut record, _) = backup(true);
    let deferred = record.take(
        &config(KernelRole::Backup, true),
        Family::Ipv4,
        KernelAdvert::new(&advert(0, 10, 1), Instant::from_nanos(START + 1_000_000)),
    );
    assert!(deferred.arm && deferred.report);
    assert_eq!(record.timer_at, record.deadline);
}

#[test]
fn an_expiry_is_void_once_a_later_advert_is_in_the_record() {
    // The event is in the ring buffer; before the daemon reads it, an advert arrives.
    let (mut record, mut machine) = backup(true);
    let expired_at = Instant::from_nanos(record.deadline);
    assert_eq!(record.look_at_deadline(expired_at), Due::Expired);
    let at = expired_at + Duration::from_micros(50);
    let late = advert(150, 10, 1);
    record.take(&config(KernelRole::Backup, true), Family::Ipv4, KernelAdvert::new(&late, at));
    // The daemon feeds its machine from the record before it acts.
    machine.handle(at, RouterEvent::Advert(late), &mut |_| {});
    machine.handle(at + Duration::from_micros(50), RouterEvent::Timer, &mut |_| {});
    assert!(matches!(machine.state(), State::Backup(_)), "the master lives");
    assert_eq!(record.deadline, deadline(&machine));
}

#[test]
fn an_advert_between_expiry_and_the_role_change_is_gone_through_by_the_new_master() {
    let (mut record, mut machine) = backup(true);
    let expired_at = Instant::from_nanos(record.deadline);
    assert_eq!(record.look_at_deadline(expired_at), Due::Expired);
    machine.handle(expired_at, RouterEvent::Timer, &mut |_| {});
    assert!(matches!(machine.state(), State::Master(_)));
    // Before the command arrives, the old master is heard again.
    let at = expired_at + Duration::from_micros(10);
    let better = advert(150, 10, 1);
    record.take(&config(KernelRole::Backup, true), Family::Ipv4, KernelAdvert::new(&better, at));
    record.obey(&command(&machine, 0, true));
    assert_eq!(record.deadline, 0, "a Master has no Master_Down_Timer");
    assert_eq!(record.followed.at, at.as_nanos(), "and the record still says what came");
    machine.handle(at, RouterEvent::Advert(better), &mut |_| {});
    assert!(matches!(machine.state(), State::Backup(_)));
    record.obey(&command(&machine, at.as_nanos(), true));
    assert_eq!(record.deadline, deadline(&machine));
}

#[test]
fn the_kernel_reports_the_first_advert_that_makes_a_group_member_unwilling() {
    for (preempt, priority, from) in [(true, 150, 1), (true, OWN, 1), (true, OWN, 200), (false, 50, 1)] {
        let mut machine = started(preempt, true);
        let mut record = RouterRecord::default();
        record.obey(&command(&machine, 0, preempt));
        // The silent master comes back with an unchanged advert.
        let at = Instant::from_nanos(START + 1_000_000);
        record.take(
            &config(KernelRole::Backup, preempt),
            Family::Ipv4,
            KernelAdvert::new(&advert(priority, 10, from), at),
        );
        machine.handle(at, RouterEvent::Advert(advert(priority, 10, from)), &mut |_| {});
        let expired_at = Instant::from_nanos(record.deadline);
        machine.handle(expired_at, RouterEvent::Timer, &mut |_| {});
        assert!(machine.is_willing());
        let command = command(&machine, record.heard.at, preempt);
        record.obey(&command);
        assert_eq!(record.deadline, 0, "there is nothing to wait for");
        let back = KernelAdvert::new(&advert(priority, 10, from), expired_at + Duration::from_millis(1));
        let deferred = record.take(&command.config, Family::Ipv4, back);
        assert!(deferred.report, "{priority} from {from}");
        machine.handle(
            Instant::from_nanos(back.at),
            RouterEvent::Advert(advert(priority, 10, from)),
            &mut |_| {},
        );
        assert!(!machine.is_willing());
    }
}

#[test]
fn a_deadline_of_the_daemon_s_never_overwrites_a_newer_one() {
    let (mut record, mut machine) = backup(true);
    let at = Instant::from_nanos(START + 200_000_000);
    record.take(&config(KernelRole::Backup, true), Family::Ipv4, KernelAdvert::new(&advert(150, 10, 1), at));
    let newer = record.deadline;
    // It did not know that advert when it sent the command, for another reason.
    machine.handle(at, RouterEvent::StandBack(Origin::Operator), &mut |_| {});
    record.obey(&command(&machine, 0, false));
    assert_eq!(record.deadline, newer);
}

#[test]
fn a_flood_of_changing_adverts_is_reported_at_the_spacing() {
    let (mut record, _) = backup(true);
    let mut reports = 0;
    for step in 0..20_000_u64 {
        let priority = if step % 2 == 0 { 150 } else { 151 };
        let at = Instant::from_nanos(START + step * 100_000);
        let deferred = record.take(
            &config(KernelRole::Backup, true),
            Family::Ipv4,
            KernelAdvert::new(&advert(priority, 10, 1), at),
        );
        reports += u32::from(deferred.report);
    }
    assert_eq!(reports, 4, "in two seconds at one in half a second");
}

#[test]
fn a_master_hears_of_a_better_one_at_once_in_a_flood_of_lower_ones() {
    let mut record = RouterRecord::default();
    record.obey(&KernelCommand { config: config(KernelRole::Master, true), ..KernelCommand::default() });
    let mut take = |step: u64, priority| {
        let heard = KernelAdvert::new(&advert(priority, 10, 1), Instant::from_nanos(START + step));
        record.take(&config(KernelRole::Master, true), Family::Ipv4, heard).report
    };
    assert!(take(0, 50));
    assert!((1..1000).all(|step| !take(step, 50)));
    assert!(take(1000, 150));
}

#[test]
fn an_expiry_that_finds_the_ring_full_comes_again_soon_and_less_often_the_longer_it_lasts() {
    let (mut record, _) = backup(true);
    let mut now = Instant::from_nanos(record.deadline);
    let mut waits = std::vec::Vec::new();
    for _ in 0..9 {
        assert_eq!(record.look_at_deadline(now), Due::Expired);
        record.ring_is_full(EventKind::Expired, now);
        waits.push(Instant::from_nanos(record.timer_at).saturating_since(now).as_millis());
        now = Instant::from_nanos(record.timer_at);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 128]);
    assert_eq!(record.look_at_deadline(now), Due::Expired);
    record.ring_takes_it();
    assert_eq!(Instant::from_nanos(record.timer_at).saturating_since(now), EXPIRY_REPEAT);
}

/// The daemon and the kernel for a router with a preemption delay or limit.
struct Both {
    record: RouterRecord,
    machine: VirtualRouter,
    fed_until: u64,
    told: KernelConfig,
}

impl Both {
    fn new(preempt_delay: Duration, preempt_below: Option<Priority>) -> Self {
        let mut machine = VirtualRouter::new(router::Config {
            preempt_mode: preempt_below.is_none(),
            preempt_below,
            preempt_delay,
            ..*machine(true).config()
        });
        let now = Instant::from_nanos(START);
        machine.handle(now, RouterEvent::InterfaceUp(source(10)), &mut |_| {});
        machine.handle(now, RouterEvent::Startup, &mut |_| {});
        let told = KernelConfig::default();
        let mut both = Self { record: RouterRecord::default(), machine, fed_until: 0, told };
        both.tell();
        both
    }

    fn tell(&mut self) {
        let mut command = command(&self.machine, self.fed_until, true);
        command.config.lowest_followed = self.machine.lowest_followed().0;
        if command.config != self.told || command.deadline != self.record.deadline {
            self.told = command.config;
            self.record.obey(&command);
        }
    }

    fn look(&mut self) {
        feed(&mut self.machine, &self.record, &mut self.fed_until);
        self.tell();
    }

    /// Handles the end of a delay that is due at `now`.
    fn run_to(&mut self, now: u64) {
        if let Some(at) = self.machine.preempts_at().filter(|at| at.as_nanos() <= now) {
            feed(&mut self.machine, &self.record, &mut self.fed_until);
            self.machine.handle(at, RouterEvent::Timer, &mut |_| {});
            self.tell();
        }
    }

    fn take(&mut self, heard: KernelAdvert) -> bool {
        self.record.take(&self.told, Family::Ipv4, heard).report
    }
}

proptest! {
    #[test]
    fn with_delays_and_limits_of_preemption_the_kernel_and_the_state_machine_agree(
        delay_ms in 0..400_u64,
        below in prop::option::of(1..=255_u8),
        adverts in prop::collection::vec(
            (0..60_u64, prop_oneof![Just(0_u8), Just(50), Just(50), Just(OWN), 0..=255_u8], 1..20_u8),
            1..60,
        ),
    ) {
        let delay = Duration::from_millis(if below.is_some() { 0 } else { delay_ms });
        let mut both = Both::new(delay, below.map(Priority));
        let mut now = START;
        for (millis, priority, from) in adverts {
            now += 1 + millis * 1_000_000;
            both.run_to(now);
            if now >= both.record.deadline {
                break;
            }
            if both.take(KernelAdvert::new(&advert(priority, 10, from), Instant::from_nanos(now))) {
                both.look();
                prop_assert_eq!(both.record.deadline, deadline(&both.machine));
            }
        }
        both.look();
        prop_assert_eq!(both.record.deadline, deadline(&both.machine));
    }
}

#[test]
fn a_lower_master_that_goes_on_as_before_is_taken_over_from_when_the_delay_ends() {
    for delay_ms in [1, 250, 2_000] {
        let delay = Duration::from_millis(delay_ms);
        let mut both = Both::new(delay, None);
        let (mut reports, mut now) = (0, START);
        while now < both.record.deadline {
            now += 100_000_000;
            both.run_to(now);
            if now < both.record.deadline
                && both.take(KernelAdvert::new(&advert(50, 10, 1), Instant::from_nanos(now)))
            {
                reports += 1;
                both.look();
            }
        }
        let taken_over_at = Instant::from_nanos(both.record.deadline);
        let waited = taken_over_at.saturating_since(Instant::from_nanos(START + 100_000_000));
        // Master_Down_Interval after the last advert within the delay.
        let last = Duration::from_millis((delay_ms - 1) / 100 * 100);
        assert_eq!(waited, last + Duration::from_nanos(460_937_500));
        assert_eq!(reports, 1, "its first advert; the delay needs no further ones");
        assert_eq!(deadline(&both.machine), both.record.deadline);
    }
}

#[test]
fn after_a_change_of_role_the_next_advert_of_the_same_lower_master_begins_the_delay() {
    let mut both = Both::new(Duration::from_secs(10), None);
    let at = |millis: u64| Instant::from_nanos(START + millis * 1_000_000);
    assert!(both.take(KernelAdvert::new(&advert(50, 10, 1), at(100))));
    both.look();
    both.machine.handle(at(150), RouterEvent::InterfaceDown(router::Fault::LinkDown.into()), &mut |_| {});
    both.tell();
    both.machine.handle(at(160), RouterEvent::InterfaceUp(source(10)), &mut |_| {});
    both.tell();
    assert_eq!(both.machine.preempts_at(), None);
    assert!(both.take(KernelAdvert::new(&advert(50, 10, 1), at(200))), "it is not news, and needed");
    both.look();
    assert_eq!(both.machine.preempts_at(), Some(at(200) + Duration::from_secs(10)));
}
