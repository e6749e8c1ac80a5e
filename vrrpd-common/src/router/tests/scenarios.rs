//! Requirements of the RFC and of this project, each as a short scenario.

use super::*;
use std::vec;

#[test]
fn a_router_starts_as_backup_and_is_master_after_silence() {
    // RFC 9568 §6.4.1, §6.4.2
    let mut bench = Bench::started(config());
    assert_eq!(bench.state(), StateName::Backup);
    assert_eq!(bench.wait(), Duration::from_nanos(360_937_500));
    assert_eq!(bench.run_to_deadline(), promotion(Reason::MasterDownTimer));
    assert_eq!(bench.wait(), ms(100));
}

#[test]
fn the_owner_is_master_at_once() {
    // RFC 9568 §6.4.1
    let mut bench = Bench::new(Config { priority: Priority::OWNER, ..config() });
    bench.event(Event::InterfaceUp(OURS));
    let actions = bench.event(Event::Startup);
    assert_eq!(
        actions,
        [
            Action::TakeAddresses,
            Action::SendAdvert(Priority::OWNER),
            Action::AnnounceAddresses(Occasion::TakeOver),
            transition(StateName::Init, StateName::Master, Reason::StartUp),
        ]
    );
}

#[test]
fn backup_restarts_its_timer_with_each_advert_of_its_master() {
    // RFC 9568 §6.4.2
    let mut bench = Bench::started(config());
    for _ in 0..10 {
        bench.after(ms(300));
        assert_eq!(bench.event(Event::Advert(advert(100, LOWER_ADDRESS))), []);
        assert_eq!(bench.wait(), Duration::from_nanos(360_937_500));
    }
}

#[test]
fn backup_waits_for_down_multiplier_intervals_and_after_a_resignation_for_skew_time() {
    for (down_multiplier, wait) in [(1, 160_937_500), (3, 360_937_500), (100, 10_060_937_500)] {
        let mut bench = Bench::started(Config { down_multiplier, ..config() });
        assert_eq!(bench.wait(), Duration::from_nanos(wait));
        bench.after(ms(50));
        bench.event(Event::Advert(advert(100, HIGHER_ADDRESS)));
        assert_eq!(bench.wait(), Duration::from_nanos(wait));
        bench.event(Event::Advert(advert(0, HIGHER_ADDRESS)));
        assert_eq!(bench.wait(), Duration::from_nanos(60_937_500));
    }
}

#[test]
fn backup_ignores_lower_priority_while_preempting() {
    // RFC 9568 §6.4.2
    let mut bench = Bench::started(config());
    bench.after(ms(300));
    let lower = advert(99, HIGHER_ADDRESS);
    assert_eq!(bench.event(Event::Advert(lower)), []);
    assert_eq!(bench.wait(), Duration::from_nanos(60_937_500));
    assert_eq!(bench.run_to_deadline(), promotion_by(Reason::Preempted, lower));
}

#[test]
fn backup_follows_lower_priority_without_preemption() {
    // RFC 9568 §6.4.2
    let mut bench = Bench::started(Config { preempt_mode: false, ..config() });
    bench.after(ms(300));
    bench.event(Event::Advert(advert(1, LOWER_ADDRESS)));
    assert_eq!(bench.wait(), Duration::from_nanos(360_937_500));
}

#[test]
fn backup_takes_over_after_skew_time_when_the_master_resigns() {
    // RFC 9568 §6.4.2
    let mut bench = Bench::started(config());
    bench.event(Event::Advert(advert(200, LOWER_ADDRESS)));
    bench.after(ms(50));
    let resigns = advert(0, LOWER_ADDRESS);
    bench.event(Event::Advert(resigns));
    assert_eq!(bench.wait(), Duration::from_nanos(60_937_500));
    assert_eq!(bench.run_to_deadline(), promotion_by(Reason::MasterResigned, resigns));
}

#[test]
fn repeated_resignations_do_not_delay_the_take_over() {
    let mut bench = Bench::started(config());
    bench.event(Event::Advert(advert(0, LOWER_ADDRESS)));
    for _ in 0..6 {
        bench.after(ms(10));
        bench.event(Event::Advert(advert(0, LOWER_ADDRESS)));
    }
    assert_eq!(bench.wait(), Duration::from_nanos(937_500));
}

#[test]
fn backup_waits_by_the_interval_that_its_master_advertises() {
    // RFC 9568 §6.4.2; erratum to §6.1 on Master_Adver_Interval
    let mut bench = Bench::started(config());
    let second = Interval::from_centis(100).expect("1 s is legal");
    let slow = Advert { interval: second, ..advert(200, LOWER_ADDRESS) };
    assert_eq!(bench.event(Event::Advert(slow)), [Action::Notice(Notice::IntervalDiffers(slow))]);
    assert_eq!(bench.wait(), Duration::from_nanos(3_609_375_000));
    assert_eq!(bench.router.master_adver_interval(), second);
    assert_eq!(bench.event(Event::Advert(slow)), [], "said once");
    bench.event(Event::Advert(Advert { priority: Priority::RESIGN, ..slow }));
    assert_eq!(bench.wait(), Duration::from_nanos(609_375_000), "skew of the master that left");
    bench.run_to_deadline();
    assert_eq!(bench.router.master_adver_interval(), config().interval);
}

#[test]
fn backup_limits_the_learned_interval_and_logs_that() {
    let mut bench = Bench::started(config());
    let longest = Interval::from_centis(4095).expect("40.95 s is legal");
    let forged = Advert { interval: longest, ..advert(254, LOWER_ADDRESS) };
    let limit = config().max_learned_interval;
    let notice = Action::Notice(Notice::IntervalExceedsLimit { advert: forged, limit });
    assert_eq!(bench.event(Event::Advert(forged)), [notice]);
    assert_eq!(bench.router.master_adver_interval(), limit);
    // 3 × 5 s, and Skew_Time of 5 s
    assert_eq!(bench.wait(), Duration::from_nanos(15_000_000_000 + 156 * 5_000_000_000 / 256));
    assert_eq!(bench.event(Event::Advert(forged)), [], "said once");
    assert_eq!(bench.run_to_deadline(), promotion_by(Reason::MasterDownTimer, forged));
}

#[test]
fn a_master_that_advertises_more_slowly_than_the_limit_is_followed_while_it_is_heard_within_it() {
    let mut bench = Bench::started(config());
    let slow = Advert {
        interval: Interval::from_centis(1800).expect("18 s is legal"),
        ..advert(150, LOWER_ADDRESS)
    };
    for _ in 0..5 {
        bench.event(Event::Advert(slow));
        bench.after(Duration::from_secs(18));
        assert_eq!(bench.event(Event::Timer), []);
    }
}

#[test]
fn version_2_waits_by_its_own_interval() {
    // RFC 3768 §6.1
    let second = Interval::DEFAULT;
    let bench = Bench::started(Config { version: Version::V2, interval: second, ..config() });
    assert_eq!(bench.wait(), Duration::from_nanos(3_609_375_000));
}

#[test]
fn other_addresses_are_noticed_once_per_change() {
    let mut bench = Bench::started(config());
    let other = Advert { addresses: AddressDigest::from_bits(2), ..advert(200, LOWER_ADDRESS) };
    assert_eq!(bench.event(Event::Advert(other)), [Action::Notice(Notice::AddressesDiffer(other))]);
    assert_eq!(bench.event(Event::Advert(other)), []);
    assert_eq!(bench.event(Event::Advert(advert(200, LOWER_ADDRESS))), []);
    assert_eq!(bench.event(Event::Advert(other)), [Action::Notice(Notice::AddressesDiffer(other))]);
}

#[test]
fn master_advertises_at_its_interval_without_drift() {
    // RFC 9568 §6.4.3
    let mut bench = Bench::master(config());
    let first = bench.router.deadline().expect("has one");
    for count in 0..20_u64 {
        bench.now = bench.router.deadline().expect("has one") + ms(7);
        assert_eq!(bench.event(Event::Timer), [Action::SendAdvert(Priority(100))]);
        assert_eq!(bench.router.deadline(), Some(first + ms(100).saturating_mul(count + 1)));
    }
}

#[test]
fn a_timer_that_comes_early_or_twice_does_nothing() {
    for mut bench in [Bench::started(config()), Bench::master(config())] {
        bench.after(ms(10));
        let before = *bench.router.state();
        assert_eq!(bench.event(Event::Timer), []);
        assert_eq!(*bench.router.state(), before);
    }
}

#[test]
fn master_yields_to_higher_priority_and_waits_by_its_interval() {
    // RFC 9568 §6.4.3
    let mut bench = Bench::master(config());
    let slow = Advert { interval: Interval::DEFAULT, ..advert(101, LOWER_ADDRESS) };
    assert_eq!(
        bench.event(Event::Advert(slow)),
        [
            Action::Notice(Notice::IntervalDiffers(slow)),
            Action::GiveUpAddresses,
            caused(StateName::Master, StateName::Backup, Reason::HigherPriorityAdvert, slow),
        ]
    );
    assert_eq!(bench.wait(), Duration::from_nanos(3_609_375_000));
}

#[test]
fn master_yields_to_equal_priority_and_a_greater_address_only() {
    // RFC 9568 §6.4.3
    let mut bench = Bench::master(config());
    bench.event(Event::Advert(advert(100, LOWER_ADDRESS)));
    assert_eq!(bench.state(), StateName::Master);
    let greater = advert(100, HIGHER_ADDRESS);
    let actions = bench.event(Event::Advert(greater));
    let reason = Reason::EqualPriorityHigherAddress;
    assert!(actions.contains(&caused(StateName::Master, StateName::Backup, reason, greater)));
}

#[test]
fn master_answers_a_lower_advert_at_once_and_a_flood_of_them_at_its_own_pace() {
    // RFC 9568 §6.4.3
    let mut bench = Bench::master(config());
    bench.after(Duration::from_millis(1_050));
    bench.event(Event::Timer);
    let lower = advert(50, LOWER_ADDRESS);
    assert_eq!(
        bench.event(Event::Advert(lower)),
        [
            Action::SendAdvert(Priority(100)),
            Action::Notice(Notice::LowerMaster(lower)),
            Action::AnnounceAddresses(Occasion::LowerMaster),
        ]
    );
    let mut adverts = 0;
    let mut announcements = 0;
    for _ in 0..2_000 {
        bench.after(Duration::from_micros(500));
        for action in bench.event(Event::Advert(lower)) {
            match action {
                Action::SendAdvert(_) => adverts += 1,
                Action::AnnounceAddresses(_) => announcements += 1,
                _ => {}
            }
        }
    }
    assert_eq!((adverts, announcements), (10, 1), "in a second of 2,000 lower adverts");
    assert_eq!(bench.state(), StateName::Master);
}

#[test]
fn master_advertises_at_once_when_another_router_resigns() {
    // RFC 9568 §6.4.3
    let mut bench = Bench::master(config());
    bench.after(ms(60));
    assert_eq!(bench.event(Event::Advert(advert(0, LOWER_ADDRESS))), [Action::SendAdvert(Priority(100))]);
    assert_eq!(bench.wait(), ms(100));
}

#[test]
fn master_resigns_before_it_gives_up() {
    // RFC 9568 §6.4.3
    let mut bench = Bench::master(config());
    assert_eq!(
        bench.event(Event::Shutdown),
        [
            Action::SendAdvert(Priority::RESIGN),
            Action::GiveUpAddresses,
            transition(StateName::Master, StateName::Init, Reason::Shutdown),
        ]
    );
    assert_eq!(bench.router.deadline(), None);
}

/// The announcements of a master in its first three seconds, with times.
fn announced(announce: AnnounceTimes, lower_after: Option<Duration>) -> Vec<(Duration, Occasion)> {
    let mut bench = Bench::master(Config { announce, ..config() });
    let since = bench.now;
    let mut announced = vec![];
    let mut note = |now: Instant, actions: &[Action]| {
        announced.extend(actions.iter().filter_map(|action| match action {
            Action::AnnounceAddresses(occasion) => Some((now.saturating_since(since), *occasion)),
            _ => None,
        }));
    };
    let mut lower_at = lower_after.map(|after| since + after);
    while bench.now.saturating_since(since) < ms(3_000) {
        let deadline = bench.router.deadline().expect("a master has one");
        let actions = match lower_at.take_if(|at| *at <= deadline) {
            Some(at) => {
                bench.now = at;
                bench.event(Event::Advert(advert(50, LOWER_ADDRESS)))
            }
            None => bench.run_to_deadline(),
        };
        note(bench.now, &actions);
    }
    announced
}

#[test]
fn master_announces_a_second_time_and_from_the_first_time_on_at_its_interval() {
    use Occasion::{Refresh, TakeOver};
    let times = |again: Option<u64>, every: Option<u64>| AnnounceTimes {
        again_after: again.map(ms),
        refresh_every: every.map(ms),
        elsewhere_every: None,
        after_lower: Some(ms(1_000)),
    };
    for (times, wanted) in [
        (times(None, None), &[][..]),
        (times(Some(250), None), &[(ms(250), TakeOver)]),
        (times(None, Some(1_100)), &[(ms(1_100), Refresh), (ms(2_200), Refresh)]),
        (
            times(Some(250), Some(1_000)),
            &[(ms(250), TakeOver), (ms(1_000), Refresh), (ms(2_000), Refresh), (ms(3_000), Refresh)],
        ),
        // Announcements due at the same time are merged.
        (times(Some(2_000), Some(2_000)), &[(ms(2_000), TakeOver)]),
    ] {
        assert_eq!(announced(times, None), wanted, "{times:?}");
    }
}

#[test]
fn master_announces_addresses_on_other_interfaces_at_an_interval_of_their_own() {
    use Occasion::{Elsewhere, Refresh, TakeOver};
    let times = AnnounceTimes {
        again_after: Some(ms(700)),
        refresh_every: Some(ms(2_100)),
        elsewhere_every: Some(ms(700)),
        after_lower: None,
    };
    // An announcement of all addresses includes other interfaces.
    let wanted = [(ms(700), TakeOver), (ms(1_400), Elsewhere), (ms(2_100), Refresh), (ms(2_800), Elsewhere)];
    assert_eq!(announced(times, None), wanted);
}

#[test]
fn master_announces_upon_a_lower_advert_and_once_more_beside_other_announcements() {
    use Occasion::{LowerMaster, Refresh, TakeOver};
    let times = |after_lower: Option<u64>| AnnounceTimes {
        again_after: Some(ms(600)),
        refresh_every: Some(ms(1_000)),
        elsewhere_every: None,
        after_lower: after_lower.map(ms),
    };
    let others = [(ms(600), TakeOver), (ms(1_000), Refresh), (ms(2_000), Refresh), (ms(3_000), Refresh)];
    for (after_lower, lower) in [
        (None, &[(ms(1_050), LowerMaster)][..]),
        (Some(300), &[(ms(1_050), LowerMaster), (ms(1_350), LowerMaster)]),
    ] {
        let mut wanted: Vec<_> = others.iter().chain(lower).copied().collect();
        wanted.sort();
        assert_eq!(announced(times(after_lower), Some(ms(1_050))), wanted, "{after_lower:?}");
    }
}

#[test]
fn a_router_after_a_backup_command_follows_any_master_and_takes_over_without_one() {
    let mut bench = Bench::master(config());
    let actions = bench.event(Event::StandBack(Origin::Operator));
    assert_eq!(
        actions,
        [
            Action::SendAdvert(Priority::RESIGN),
            Action::GiveUpAddresses,
            transition(StateName::Master, StateName::Backup, Reason::Operator),
        ]
    );
    let lower = advert(1, LOWER_ADDRESS);
    for _ in 0..10 {
        bench.after(ms(100));
        bench.event(Event::Advert(lower));
    }
    assert_eq!(bench.wait(), Duration::from_nanos(360_937_500));
    assert_eq!(bench.run_to_deadline(), promotion_by(Reason::MasterDownTimer, lower));
    assert!(bench.router.forced_backup());
}

#[test]
fn a_backup_about_to_preempt_does_not_after_a_backup_command() {
    let mut bench = Bench::started(config());
    bench.after(ms(300));
    bench.event(Event::Advert(advert(50, LOWER_ADDRESS)));
    bench.after(ms(10));
    bench.event(Event::StandBack(Origin::Signal));
    assert_eq!(bench.wait(), Duration::from_nanos(350_937_500), "as if the master had been followed");
}

#[test]
fn a_router_told_to_resume_preempts_at_once_if_its_priority_allows() {
    for (priority, source, state) in [
        (99, HIGHER_ADDRESS, StateName::Master),
        (100, LOWER_ADDRESS, StateName::Master),
        (100, HIGHER_ADDRESS, StateName::Backup),
        (101, LOWER_ADDRESS, StateName::Backup),
    ] {
        let mut bench = Bench::started(config());
        bench.event(Event::StandBack(Origin::Operator));
        bench.event(Event::Advert(advert(priority, source)));
        bench.event(Event::Resume(Origin::Operator));
        assert_eq!(bench.state(), state, "against {priority} from {source}");
        assert!(!bench.router.forced_backup());
    }
}

#[test]
fn a_new_priority_is_advertised_at_once() {
    let mut bench = Bench::master(config());
    bench.after(ms(30));
    assert_eq!(bench.event(Event::Priority(Priority(90))), [Action::SendAdvert(Priority(90))]);
    assert_eq!(bench.event(Event::Priority(Priority(90))), [], "nothing new");
    assert_eq!(bench.wait(), ms(100));
}

#[test]
fn a_new_priority_changes_the_wait_that_is_under_way() {
    // RFC 9568 §6.1: Skew_Time follows the priority
    let mut bench = Bench::started(config());
    bench.after(ms(100));
    bench.event(Event::Priority(Priority(200)));
    assert_eq!(bench.wait(), Duration::from_nanos(300_000_000 + 56 * 100_000_000 / 256 - 100_000_000));
}

#[test]
fn a_backup_whose_priority_falls_below_its_master_s_follows_it() {
    let mut bench = Bench::started(config());
    bench.after(ms(300));
    let lower = advert(95, LOWER_ADDRESS);
    bench.event(Event::Advert(lower));
    assert_eq!(bench.wait(), Duration::from_nanos(60_937_500), "it is about to preempt");
    bench.after(ms(50));
    bench.event(Event::Priority(Priority(90)));
    // The master was heard 50 ms ago, and need not be heard again for that.
    assert_eq!(bench.wait(), Duration::from_nanos(250_000_000 + 166 * 100_000_000 / 256));
    assert_eq!(
        bench.run_to_deadline()[3],
        caused(StateName::Backup, StateName::Master, Reason::MasterDownTimer, lower)
    );
}

#[test]
fn a_lower_priority_that_is_above_its_master_s_still_preempts_in_time() {
    let mut bench = Bench::started(config());
    bench.after(ms(300));
    let lower = advert(50, LOWER_ADDRESS);
    bench.event(Event::Advert(lower));
    bench.event(Event::Priority(Priority(90)));
    assert_eq!(bench.wait(), Duration::from_nanos(166 * 100_000_000 / 256), "what was waited counts");
    assert_eq!(
        bench.run_to_deadline()[3],
        caused(StateName::Backup, StateName::Master, Reason::Preempted, lower)
    );
}

#[test]
fn a_backup_follows_a_router_heard_after_a_resignation_when_its_priority_falls_below_it() {
    let mut bench = Bench::started(config());
    bench.event(Event::Advert(advert(0, LOWER_ADDRESS)));
    bench.after(ms(10));
    bench.event(Event::Advert(advert(50, HIGHER_ADDRESS)));
    bench.after(ms(10));
    bench.event(Event::Priority(Priority(40)));
    assert_eq!(bench.wait(), Duration::from_nanos(290_000_000 + 216 * 100_000_000 / 256));
}

#[test]
fn a_master_gives_up_on_link_failure_and_comes_back_as_backup() {
    let mut bench = Bench::master(config());
    assert_eq!(
        bench.event(Event::InterfaceDown(Fault::LinkDown.into())),
        [Action::GiveUpAddresses, transition(StateName::Master, StateName::Fault, Reason::LinkDown)]
    );
    assert_eq!(bench.router.deadline(), None);
    assert_eq!(
        bench.event(Event::InterfaceUp(OURS)),
        [transition(StateName::Fault, StateName::Backup, Reason::LinkUp)]
    );
}

#[test]
fn a_master_resigns_when_its_check_fails_and_reports_when_it_holds_again() {
    let mut bench = Bench::master(config());
    assert_eq!(
        bench.event(Event::InterfaceDown(Fault::TrackFailed.into())),
        [
            Action::SendAdvert(Priority::RESIGN),
            Action::GiveUpAddresses,
            transition(StateName::Master, StateName::Fault, Reason::TrackFailed),
        ]
    );
    assert_eq!(
        bench.event(Event::InterfaceUp(OURS)),
        [transition(StateName::Fault, StateName::Backup, Reason::TrackRecovered)]
    );
}

#[test]
fn a_router_without_a_usable_interface_starts_in_fault() {
    let mut bench = Bench::new(config());
    bench.event(Event::InterfaceDown(Fault::AdminDown.into()));
    assert_eq!(
        bench.event(Event::Startup),
        [transition(StateName::Init, StateName::Fault, Reason::AdminDown)]
    );
}

#[test]
fn a_master_with_refused_addresses_is_backup_for_a_while_and_sends_nothing() {
    let mut bench = Bench::master(config());
    assert_eq!(
        bench.event(Event::AddressesRefused),
        [Action::GiveUpAddresses, transition(StateName::Master, StateName::Backup, Reason::AddressRefused)]
    );
    assert_eq!(bench.wait(), Duration::from_nanos(1_360_937_500));
}

#[test]
fn a_master_that_cannot_put_a_lost_address_back_resigns() {
    let mut bench = Bench::master(config());
    assert_eq!(
        bench.event(Event::AddressesLost),
        [
            Action::SendAdvert(Priority::RESIGN),
            Action::GiveUpAddresses,
            transition(StateName::Master, StateName::Backup, Reason::AddressRefused)
        ]
    );
    assert_eq!(bench.wait(), Duration::from_nanos(1_360_937_500));
}

#[test]
fn a_new_priority_does_not_cut_short_the_time_after_addresses_were_refused() {
    let mut bench = Bench::master(config());
    bench.event(Event::AddressesRefused);
    bench.event(Event::Priority(Priority(100)));
    assert_eq!(bench.wait(), Duration::from_nanos(1_360_937_500));
}

#[test]
fn a_master_that_was_stopped_listens_before_it_acts() {
    for event in [Event::Timer, Event::Advert(advert(50, LOWER_ADDRESS))] {
        let mut bench = Bench::master(config());
        bench.after(Duration::from_secs(2));
        assert_eq!(
            bench.event(event),
            [Action::GiveUpAddresses, transition(StateName::Master, StateName::Backup, Reason::ClockGap)]
        );
        assert_eq!(bench.wait(), Duration::from_nanos(360_937_500));
    }
}

#[test]
fn a_backup_that_was_stopped_listens_before_it_acts() {
    let mut bench = Bench::started(config());
    let master = advert(200, LOWER_ADDRESS);
    bench.event(Event::Advert(master));
    bench.after(Duration::from_secs(5));
    let late = Duration::from_nanos(5_000_000_000 - 360_937_500);
    assert_eq!(bench.event(Event::Timer), [Action::Notice(Notice::ClockGap(late))]);
    assert_eq!(bench.state(), StateName::Backup);
    assert_eq!(bench.run_to_deadline(), promotion_by(Reason::MasterDownTimer, master));
}

/// Version 3, 10 ms: Master_Down_Interval 36.09375 ms.
fn fast() -> Config {
    Config { interval: Interval::from_centis(1).expect("10 ms is legal"), ..config() }
}

#[test]
fn a_backup_that_notices_its_deadline_much_too_late_listens_once_more_and_once_only() {
    // Adverts may have been lost: the master sends ten in that time.
    let mut bench = Bench::started(fast());
    bench.now = bench.router.deadline().expect("has one") + ms(101);
    assert_eq!(bench.event(Event::Timer), [Action::Notice(Notice::ClockGap(ms(101)))]);
    assert_eq!(bench.wait(), Duration::from_nanos(36_093_750));
    // A machine that is always that late still takes over.
    bench.now = bench.router.deadline().expect("has one") + ms(900);
    assert_eq!(bench.event(Event::Timer), promotion(Reason::MasterDownTimer));
}

#[test]
fn a_backup_that_is_a_little_late_takes_over() {
    let mut bench = Bench::started(fast());
    bench.now = bench.router.deadline().expect("has one") + ms(100);
    assert_eq!(bench.event(Event::Timer), promotion(Reason::MasterDownTimer));
}

#[test]
fn after_a_suspension_a_router_listens_before_it_acts() {
    // CLOCK_BOOTTIME shows the suspension; the monotonic clock has not moved.
    let mut bench = Bench::started(config());
    bench.after(ms(300));
    assert_eq!(bench.event(Event::StoodStill), []);
    assert_eq!(bench.wait(), Duration::from_nanos(360_937_500));
    assert_eq!(bench.run_to_deadline(), promotion(Reason::MasterDownTimer));
    assert_eq!(
        bench.event(Event::StoodStill),
        [Action::GiveUpAddresses, transition(StateName::Master, StateName::Backup, Reason::ClockGap)]
    );
}

#[test]
fn no_event_in_any_state_needs_more_than_six_actions() {
    for (_, bench) in golden::states() {
        for (_, event) in golden::events() {
            let mut bench = Bench { router: bench.router, now: bench.now };
            assert!(bench.event(event).len() <= 6);
        }
    }
}
