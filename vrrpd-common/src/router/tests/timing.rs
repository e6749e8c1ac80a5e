//! Delays of preemption and of the start, and preemption of masters below a priority.

use super::*;

const DELAY: Duration = Duration::from_secs(10);
/// Master_Down_Interval of [`config`].
const MASTER_DOWN: Duration = Duration::from_nanos(360_937_500);

fn delayed() -> Config {
    Config { preempt_delay: DELAY, ..config() }
}

fn starting_late(priority: u8) -> Config {
    Config { priority: Priority(priority), start_delay: Duration::from_secs(30), ..config() }
}

impl Bench {
    /// A master of this priority advertises every 100 ms for this long, with timers in between.
    fn hears(&mut self, priority: u8, during: Duration) -> Vec<Action> {
        let (mut actions, end) = (Vec::new(), self.now + during);
        while self.now < end {
            let next = self.now + ms(100);
            while let Some(at) = self.router.deadline().filter(|at| *at < next) {
                self.now = at;
                actions.extend(self.event(Event::Timer));
            }
            self.now = next;
            actions.extend(self.event(Event::Advert(advert(priority, LOWER_ADDRESS))));
        }
        actions
    }

    fn takes_over(&mut self, within: Duration) -> Option<Duration> {
        let begin = self.now;
        while self.state() != StateName::Master && self.now < begin + within {
            self.hears(50, ms(100));
        }
        (self.state() == StateName::Master).then(|| self.now.saturating_since(begin))
    }
}

#[test]
fn a_lower_master_is_followed_for_the_delay_and_taken_over_from_master_down_interval_later() {
    let mut bench = Bench::started(delayed());
    assert_eq!(bench.router.lowest_followed(), Priority(1));
    bench.hears(50, ms(100));
    assert_eq!(bench.router.preempts_at(), Some(bench.now + DELAY), "counted from its first advert");
    assert_eq!(bench.hears(50, DELAY), [], "the advert at its end is discarded already");
    assert_eq!((bench.router.preempts_at(), bench.router.lowest_followed()), (None, Priority(100)));
    assert_eq!(
        bench.wait(),
        Duration::from_nanos(MASTER_DOWN.as_nanos() - 100_000_000),
        "after the last advert that was followed"
    );
    assert_eq!(bench.hears(50, ms(200)), []);
    let by = advert(50, LOWER_ADDRESS);
    assert_eq!(bench.run_to_deadline(), promotion_by(Reason::Preempted, by));
}

#[test]
fn a_delay_wakes_the_router_once_at_its_end() {
    let mut bench = Bench::started(delayed());
    bench.hears(50, ms(9_950));
    let end = bench.router.preempts_at().expect("it is delayed");
    assert_eq!(bench.router.deadline(), Some(end));
    assert_eq!(bench.run_to_deadline(), []);
    assert!(bench.router.deadline() > Some(end));
}

#[test]
fn an_advert_that_is_not_lower_resets_the_delay() {
    for priority in [100, 150] {
        let mut bench = Bench::started(delayed());
        bench.hears(50, ms(9_000));
        bench.hears(priority, ms(100));
        assert_eq!(bench.router.preempts_at(), None);
        let waited = bench.takes_over(Duration::from_secs(20)).expect("it preempts");
        assert!(waited >= DELAY + ms(200), "{waited}");
    }
    // Also after it has ended.
    let mut bench = Bench::started(delayed());
    bench.hears(50, DELAY + ms(100));
    bench.hears(150, ms(100));
    assert!(bench.takes_over(Duration::from_secs(20)).expect("it preempts") >= DELAY);
}

#[test]
fn a_lower_master_that_resigns_or_falls_silent_is_replaced_at_once() {
    let mut bench = Bench::started(delayed());
    bench.hears(50, ms(1_000));
    bench.event(Event::Advert(advert(0, LOWER_ADDRESS)));
    assert_eq!(bench.wait(), Duration::from_nanos(60_937_500), "Skew_Time");
    assert_eq!(bench.run_to_deadline(), promotion_by(Reason::MasterResigned, advert(0, LOWER_ADDRESS)));
    let mut bench = Bench::started(delayed());
    bench.hears(50, ms(1_000));
    assert_eq!(bench.wait(), MASTER_DOWN);
    assert_eq!(bench.run_to_deadline(), promotion_by(Reason::MasterDownTimer, advert(50, LOWER_ADDRESS)));
}

#[test]
fn a_link_that_comes_up_restarts_the_delay() {
    let mut bench = Bench::started(delayed());
    bench.hears(50, ms(9_000));
    bench.event(Event::InterfaceDown(Fault::LinkDown.into()));
    bench.event(Event::InterfaceUp(OURS));
    assert!(bench.takes_over(Duration::from_secs(20)).expect("it preempts") >= DELAY);
}

#[test]
fn a_priority_that_rises_above_the_master_s_begins_the_delay_and_one_that_falls_below_ends_it() {
    let mut bench = Bench::started(delayed());
    bench.hears(150, ms(100));
    bench.event(Event::Priority(Priority(200)));
    assert_eq!(bench.router.preempts_at(), Some(bench.now + DELAY));
    bench.event(Event::Priority(Priority(120)));
    assert_eq!(bench.router.preempts_at(), None);
    assert_eq!(bench.hears(150, DELAY + DELAY), [], "it is followed");
}

#[test]
fn an_operator_s_resumption_ends_both_delays() {
    let mut bench = Bench::started(delayed());
    bench.hears(50, ms(1_000));
    bench.event(Event::Resume(Origin::Operator));
    assert_eq!(bench.state(), StateName::Master);
    let mut bench = Bench::started(starting_late(100));
    bench.run_to_deadline();
    bench.event(Event::Resume(Origin::Operator));
    assert_eq!(bench.state(), StateName::Master);
}

#[test]
fn an_owner_preempts_without_delay() {
    let mut bench = Bench::started(Config { priority: Priority::OWNER, start_delay: ms(200), ..delayed() });
    assert_eq!(bench.router.lowest_followed(), Priority::OWNER);
    assert!(bench.takes_over(Duration::from_secs(1)).is_some());
}

#[test]
fn a_master_below_the_limit_is_preempted_and_one_at_it_is_followed() {
    let selective = Config { preempt_mode: false, preempt_below: Some(Priority(50)), ..config() };
    let mut bench = Bench::started(selective);
    assert_eq!(bench.hears(50, Duration::from_secs(5)), []);
    assert_eq!(bench.hears(49, ms(300)), []);
    assert_eq!(bench.run_to_deadline(), promotion_by(Reason::Preempted, advert(49, LOWER_ADDRESS)));
    // A limit above its own priority does not make it preempt higher masters.
    let mut bench = Bench::started(Config { preempt_below: Some(Priority(200)), ..selective });
    assert_eq!(bench.hears(100, Duration::from_secs(5)), []);
    assert_eq!(bench.router.lowest_followed(), Priority(100));
    bench.event(Event::StandBack(Origin::Operator));
    assert_eq!(bench.router.lowest_followed(), Priority(1));
}

#[test]
fn a_router_listens_for_the_start_delay_an_owner_too() {
    for priority in [100, 255] {
        let mut bench = Bench::new(starting_late(priority));
        bench.event(Event::InterfaceUp(OURS));
        let actions = bench.event(Event::Startup);
        assert_eq!(actions[0], Action::Notice(Notice::StartDelay(Duration::from_secs(30))));
        assert_eq!(bench.state(), StateName::Backup);
        assert_eq!(bench.run_to_deadline(), [], "it would take over now");
        assert_eq!(bench.router.held_until(), Some(START + Duration::from_secs(30)));
        assert!(bench.router.is_in_start_delay());
        bench.run_to_deadline();
        assert_eq!((bench.state(), bench.now), (StateName::Master, START + Duration::from_secs(30)));
        // The link goes down and up: the delay is not restarted.
        bench.event(Event::InterfaceDown(Fault::LinkDown.into()));
        bench.event(Event::InterfaceUp(OURS));
        if priority == 100 {
            bench.run_to_deadline();
        }
        assert_eq!(bench.state(), StateName::Master);
    }
}

#[test]
fn a_start_delay_counts_from_the_start_also_without_a_link_and_is_left_out_of_a_reload() {
    let mut bench = Bench::new(starting_late(255));
    bench.event(Event::Startup);
    assert_eq!(bench.state(), StateName::Fault);
    bench.after(Duration::from_secs(29)).event(Event::InterfaceUp(OURS));
    assert_eq!(bench.state(), StateName::Backup);
    bench.run_to_deadline();
    bench.run_to_deadline();
    assert_eq!((bench.state(), bench.now), (StateName::Master, START + Duration::from_secs(30)));
    let mut bench = Bench::new(starting_late(255));
    bench.router.skip_start_delay();
    bench.event(Event::InterfaceUp(OURS));
    bench.event(Event::Startup);
    assert_eq!(bench.state(), StateName::Master);
}

#[test]
fn a_better_master_that_is_heard_during_the_start_delay_is_followed() {
    let mut bench = Bench::started(starting_late(100));
    assert_eq!(bench.hears(150, Duration::from_secs(60)), []);
    assert_eq!(bench.router.held_until(), None);
}

#[test]
fn a_higher_priority_does_not_end_the_start_delay() {
    let mut bench = Bench::started(starting_late(100));
    bench.event(Event::Priority(Priority(200)));
    bench.run_to_deadline();
    assert_eq!(bench.router.held_until(), Some(START + Duration::from_secs(30)));
}
