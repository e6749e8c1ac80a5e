//! A router that is a member of a group.

use super::*;

fn member() -> Config {
    Config { grouped: true, ..config() }
}

#[test]
fn a_member_that_has_won_its_election_waits_for_its_group_without_a_word() {
    let mut bench = Bench::willing(member());
    assert_eq!(bench.state(), StateName::Backup);
    assert_eq!(bench.router.deadline(), None);
    bench.after(Duration::from_secs(60));
    assert_eq!(bench.event(Event::Timer), [], "and time means nothing to it");
    assert_eq!(bench.event(Event::GroupReady { hold: ms(0) }), promotion(Reason::MasterDownTimer));
}

#[test]
fn a_member_that_owns_the_addresses_waits_for_its_group_too() {
    let mut bench = Bench::started(Config { priority: Priority::OWNER, ..member() });
    assert!(bench.router.is_willing());
    let actions = bench.event(Event::GroupReady { hold: ms(0) });
    assert!(actions.contains(&transition(StateName::Backup, StateName::Master, Reason::StartUp)));
}

#[test]
fn a_willing_member_that_hears_a_master_follows_it_and_waits_again() {
    let mut bench = Bench::willing(member());
    bench.event(Event::Advert(advert(100, LOWER_ADDRESS)));
    assert!(!bench.router.is_willing());
    assert_eq!(bench.wait(), Duration::from_nanos(360_937_500));
    assert_eq!(bench.event(Event::GroupReady { hold: ms(0) }), [], "the group did not know of it yet");
}

#[test]
fn a_willing_member_that_hears_a_lower_master_stays_so_only_if_it_preempts() {
    for preempt_mode in [true, false] {
        let mut bench = Bench::willing(Config { preempt_mode, ..member() });
        bench.event(Event::Advert(advert(50, LOWER_ADDRESS)));
        assert_eq!(bench.router.is_willing(), preempt_mode);
    }
}

#[test]
fn a_willing_member_follows_the_master_when_its_priority_falls_below_it() {
    let mut bench = Bench::willing(member());
    bench.event(Event::Advert(advert(95, LOWER_ADDRESS)));
    bench.after(ms(100));
    bench.event(Event::Priority(Priority(96)));
    assert!(bench.router.is_willing());
    bench.event(Event::Priority(Priority(95)));
    assert!(!bench.router.is_willing());
}

#[test]
fn a_willing_member_does_not_follow_a_master_that_has_been_silent() {
    let mut bench = Bench::willing(member());
    bench.event(Event::Advert(advert(95, LOWER_ADDRESS)));
    bench.after(Duration::from_secs(5));
    bench.event(Event::Priority(Priority(90)));
    bench.event(Event::StandBack(Origin::Operator));
    assert!(bench.router.is_willing());
}

#[test]
fn a_member_resigns_when_its_group_yields() {
    let mut bench = Bench::member_that_is_master(ms(0));
    assert_eq!(
        bench.event(Event::GroupYields),
        [
            Action::SendAdvert(Priority::RESIGN),
            Action::GiveUpAddresses,
            transition(StateName::Master, StateName::Backup, Reason::Group),
        ]
    );
    assert_eq!(bench.event(Event::GroupYields), [], "once");
}

#[test]
fn a_member_bears_a_better_master_for_a_while_and_yields_if_that_one_stays() {
    let mut bench = Bench::member_that_is_master(ms(360));
    for _ in 0..4 {
        assert_eq!(bench.event(Event::Advert(advert(150, LOWER_ADDRESS))), []);
        assert_eq!(bench.state(), StateName::Master);
        bench.after(ms(100));
    }
    bench.event(Event::Advert(advert(150, LOWER_ADDRESS)));
    assert_eq!(bench.state(), StateName::Backup);
}

#[test]
fn a_better_master_that_left_and_returns_is_tolerated_for_the_full_time_again() {
    let mut bench = Bench::member_that_is_master(ms(360));
    bench.event(Event::Advert(advert(150, LOWER_ADDRESS)));
    bench.after(ms(301));
    bench.event(Event::Timer);
    bench.event(Event::Advert(advert(150, LOWER_ADDRESS)));
    bench.after(ms(200));
    bench.event(Event::Advert(advert(150, LOWER_ADDRESS)));
    assert_eq!(bench.state(), StateName::Master, "501 ms after the first, 200 ms after it came again");
}
