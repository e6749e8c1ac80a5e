//! A router that is repeatedly made to take over.

use super::*;
use std::vec;

/// Two forged adverts: of a higher priority every 10 ms, and its resignation.
fn pair() -> [Advert; 2] {
    let interval = Interval::MIN;
    [254, 0].map(|priority| Advert { interval, ..advert(priority, LOWER_ADDRESS) })
}

impl Bench {
    /// The pair arrives now.
    fn provoke(&mut self) {
        for forged in pair() {
            self.event(Event::Advert(forged));
        }
    }

    /// Handles what is due within this time.
    fn run(&mut self, span: Duration) -> Vec<Action> {
        let end = self.now + span;
        let mut actions = Vec::new();
        while let Some(at) = self.router.deadline()
            && at <= end
        {
            assert!(at >= self.now, "a deadline that has been handled comes again");
            self.now = at;
            actions.extend(self.event(Event::Timer));
        }
        self.now = end;
        actions
    }

    /// Number of take-overs while the pair arrives at this interval.
    fn flood(&mut self, every: Duration, during: Duration) -> usize {
        let end = self.now + during;
        let mut take_overs = 0;
        while self.now < end {
            self.provoke();
            take_overs += self.run(every).iter().filter(|action| is_take_over(action)).count();
        }
        take_overs
    }
}

fn is_take_over(action: &Action) -> bool {
    matches!(action, Action::Transition(Transition { to: StateName::Master, .. }))
}

/// Backup after three take-overs; its master has just resigned.
pub(super) fn flapped(config: Config) -> Bench {
    let mut bench = Bench::master(config);
    for _ in 0..2 {
        bench.provoke();
        bench.run_to_deadline();
        assert_eq!(bench.state(), StateName::Master);
    }
    bench.provoke();
    bench
}

/// The same, and its take-over is held.
pub(super) fn held(config: Config) -> Bench {
    let mut bench = flapped(config);
    bench.run_to_deadline();
    assert!(bench.router.held_until().is_some());
    bench
}

/// Skew_Time of 10 ms and priority 100.
const SKEW: Duration = Duration::from_nanos(6_093_750);
const THIRD: Duration = Duration::from_nanos(333_333_334);

/// Whether a duration is a hold, with up to a quarter added.
fn is_hold(span: Duration, hold: Duration) -> bool {
    span >= hold && span.saturating_mul(4) <= hold.saturating_mul(5)
}

#[test]
fn the_first_three_take_overs_come_after_skew_time_and_the_fourth_is_held() {
    let mut bench = Bench::master(config());
    let mut last = bench.now;
    for take_over in 2..=4 {
        bench.after(ms(9));
        bench.provoke();
        assert_eq!(bench.state(), StateName::Backup, "a Master yields at once, always");
        assert_eq!(bench.wait(), SKEW);
        let actions = bench.run_to_deadline();
        if take_over <= 3 {
            assert_eq!(actions, promotion_by(Reason::MasterResigned, pair()[1]));
            last = bench.now;
            continue;
        }
        let end = bench.router.held_until().expect("it is held");
        assert_eq!(actions, [Action::Notice(Notice::TakeOverHeld(end.saturating_since(bench.now)))]);
        assert_eq!(bench.router.deadline(), Some(end));
        assert!(is_hold(end.saturating_since(last), THIRD), "counted from the last take-over");
        assert_eq!(bench.run_to_deadline(), promotion_by(Reason::MasterResigned, pair()[1]));
        assert_eq!(bench.router.held_until(), None);
    }
}

#[test]
fn a_flood_of_ten_seconds_gets_seven_take_overs_and_the_router_is_master_ten_seconds_after_it() {
    for every in [1, 9, 50, 200] {
        let mut bench = Bench::master(config());
        // One more was at the start.
        assert!(bench.flood(ms(every), Duration::from_secs(10)) <= 7, "every {every} ms");
        bench.run(Duration::from_secs(10));
        assert_eq!(bench.state(), StateName::Master);
        bench.run(Duration::from_secs(30));
        assert!(bench.flood(ms(every), Duration::from_secs(60)) <= 7, "every {every} ms");
    }
}

#[test]
fn a_minute_without_a_take_over_makes_the_next_three_come_at_once() {
    let mut bench = Bench::master(config());
    bench.flood(ms(9), Duration::from_secs(10));
    bench.run(Duration::from_secs(70));
    assert_eq!(bench.flood(ms(9), ms(30)), 3);
}

#[test]
fn adverts_during_a_held_take_over_count() {
    // A better master: followed.
    let mut bench = held(config());
    let better = advert(200, LOWER_ADDRESS);
    bench.event(Event::Advert(better));
    assert_eq!(bench.wait(), Duration::from_nanos(360_937_500));
    assert_eq!(bench.router.held_until(), None, "it waits for the master");
    // A lower one: preempted when the hold ends.
    let mut bench = held(config());
    let lower = advert(50, LOWER_ADDRESS);
    let end = bench.router.deadline();
    bench.event(Event::Advert(lower));
    assert_eq!(bench.router.deadline(), end);
    // A repeated resignation changes nothing, and is not reported.
    bench.event(Event::Advert(pair()[1]));
    assert_eq!(bench.router.deadline(), end);
    assert_eq!(bench.event(Event::Timer), []);
    assert_eq!(bench.run_to_deadline().len(), 4);
}

#[test]
fn a_held_router_whose_interface_goes_and_comes_waits_for_silence_and_for_the_rest_of_the_hold() {
    let mut bench = held(Config { interval: Interval::MIN, ..config() });
    let end = bench.router.deadline();
    bench.event(Event::InterfaceDown(Fault::LinkDown.into()));
    assert_eq!(bench.router.deadline(), None);
    bench.event(Event::InterfaceUp(OURS));
    assert_eq!(bench.wait(), Duration::from_nanos(36_093_750));
    bench.run_to_deadline();
    assert_eq!(bench.router.deadline(), end);
}

#[test]
fn a_router_told_to_resume_takes_over_at_once_although_it_is_held() {
    let mut bench = held(config());
    bench.after(ms(10));
    assert_eq!(bench.event(Event::Resume(Origin::Operator)), promotion(Reason::Operator));
    // Earlier take-overs do not count: this is the first one.
    assert_eq!(bench.flood(ms(9), ms(18)), 2);
    // A router that hears a better master does not take over.
    let mut bench = held(config());
    bench.event(Event::Advert(advert(200, LOWER_ADDRESS)));
    assert_eq!(bench.event(Event::Resume(Origin::Operator)), []);
    assert_eq!(bench.wait(), Duration::from_nanos(360_937_500));
}

#[test]
fn a_router_that_gets_a_higher_priority_takes_over_at_once_although_it_is_held() {
    for (priority, at_once) in [(110, true), (100, false), (90, false)] {
        let mut bench = held(config());
        bench.after(ms(10));
        bench.event(Event::Priority(Priority(priority)));
        assert_eq!(bench.event(Event::Timer).len(), if at_once { 4 } else { 0 }, "{priority}");
    }
}

#[test]
fn a_held_router_that_is_late_to_take_over_listens_first_and_one_that_is_not_does_not() {
    let mut bench = held(config());
    bench.now = bench.router.deadline().expect("has one") + ms(50);
    assert_eq!(bench.event(Event::Timer).len(), 4);
    let mut bench = held(config());
    bench.now = bench.router.deadline().expect("has one") + ms(400);
    assert_eq!(bench.event(Event::Timer), [Action::Notice(Notice::ClockGap(ms(400)))]);
    assert_eq!(bench.wait(), Duration::from_nanos(36_093_750), "by the interval of the master that resigned");
    assert_eq!(bench.run_to_deadline(), promotion_by(Reason::MasterDownTimer, pair()[1]));
}

#[test]
fn a_member_of_a_group_is_not_willing_before_the_hold_ends() {
    let mut bench = Bench::member_that_is_master(ms(0));
    let mut take_overs = vec![];
    for _ in 0..5 {
        bench.provoke();
        while !bench.router.is_willing() {
            bench.run_to_deadline();
        }
        bench.event(Event::GroupReady { hold: ms(0) });
        assert_eq!(bench.state(), StateName::Master);
        take_overs.push(bench.now);
    }
    let spans: Vec<_> = take_overs.windows(2).map(|pair| pair[1].saturating_since(pair[0])).collect();
    assert_eq!(spans[0], SKEW);
    for (span, holds) in spans[1..].iter().zip([1, 2, 4]) {
        assert!(is_hold(*span, THIRD.saturating_mul(holds)), "{spans:?}");
    }
}

#[test]
fn an_owner_is_master_at_once_whenever_its_link_comes_up() {
    let mut bench = Bench::new(Config { priority: Priority::OWNER, ..config() });
    bench.event(Event::InterfaceUp(OURS));
    bench.event(Event::Startup);
    for _ in 0..20 {
        bench.event(Event::InterfaceDown(Fault::LinkDown.into()));
        bench.event(Event::InterfaceUp(OURS));
        assert_eq!(bench.state(), StateName::Master);
    }
}
