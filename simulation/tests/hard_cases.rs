//! Two machines and two LANs, in cases that are difficult for groups. Each case runs with both kinds of group and many
//! seeds, so that it does not depend on microseconds.
#![expect(clippy::panic, reason = "the story of what failed is longer than an assertion's message")]

use vrrpd_common::router::{Event, Origin};
use vrrpd_common::timers::master_down_interval;
use vrrpd_common::{Duration, Interval, Priority};
use vrrpd_simulation::cases::{CROSSED, EQUAL, RANKED, Ranks, two_machines};
use vrrpd_simulation::fault::{Fault, Weather};
use vrrpd_simulation::plan::{Grouping, Plan};
use vrrpd_simulation::random::Random;
use vrrpd_simulation::run::{Settled, bound, settle, stay};
use vrrpd_simulation::world::World;

const A: usize = 0;
const B: usize = 1;
const SEEDS: u64 = 10;
/// Allowance for latencies: netlink, kernel, wire, timer.
const LATE: Duration = Duration::from_millis(20);

fn interval() -> Interval {
    Interval::from_centis(10).expect("100 ms is legal")
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs a case with each kind of group and many seeds, in a world of two machines with groups.
fn each(ranks: Ranks, preempt_mode: bool, story: impl Fn(&mut Story)) {
    for grouping in [Grouping::OneProcess, Grouping::Processes] {
        for seed in 0..SEEDS {
            let plan = two_machines([grouping; 2], ranks, interval(), preempt_mode);
            story(&mut Story::new(plan, seed));
        }
    }
}

/// A has the higher priority on both LANs.
fn ranked(story: impl Fn(&mut Story)) {
    each(RANKED, true, story);
}

/// A has the higher priority on the first LAN, B on the second.
fn crossed(story: impl Fn(&mut Story)) {
    each(CROSSED, true, story);
}

struct Story {
    world: World,
    seed: u64,
}

impl Story {
    fn new(plan: Plan, seed: u64) -> Self {
        Self { world: World::new(plan, Random::from_seed(seed), true), seed }
    }

    fn start(&mut self, host: usize) -> &mut Self {
        for slot in 0..self.world.hosts[host].slots.len() {
            self.fault(Fault::Start(host, slot));
        }
        self
    }

    /// A is Master of everything, B of nothing.
    fn settled(&mut self) -> &mut Self {
        self.start(A).wait(ms(600));
        self.start(B).wait(ms(2_000));
        self.is_master(A);
        self
    }

    fn fault(&mut self, fault: Fault) -> &mut Self {
        let result = self.world.fault(fault);
        self.check(result);
        self
    }

    fn link(&mut self, host: usize, lan: usize, up: bool) -> &mut Self {
        self.fault(Fault::Link { host, lan, up })
    }

    /// Divides a LAN so that no machine hears another, or ends that.
    fn divide(&mut self, lan: usize, on: bool) -> &mut Self {
        self.fault(Fault::Block { lan, from: A, to: B, on }).fault(Fault::Block { lan, from: B, to: A, on })
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        let result = self.world.run_until(self.world.now + time.as_nanos());
        self.check(result);
        self
    }

    /// The state is correct within the time, and stays so.
    fn settles_within(&mut self, time: Duration) -> Settled {
        let result = settle(&mut self.world, time);
        let settled = self.check(result);
        let result = stay(&mut self.world, 5_000_000_000);
        self.check(result);
        settled
    }

    fn settles(&mut self) -> Settled {
        let time = bound(&self.world.plan);
        self.settles_within(time)
    }

    fn is_master(&mut self, host: usize) {
        let masters = self.masters();
        let wanted = [0, 1].map(|lan| (host, lan));
        let result = if masters == wanted { Ok(()) } else { Err(format!("masters are {masters:?}")) };
        self.check(result);
    }

    fn masters(&self) -> Vec<(usize, usize)> {
        let all = (0..self.world.hosts.len()).flat_map(|host| [(host, 0), (host, 1)]);
        all.filter(|(host, lan)| self.world.is_master(*host, *lan)).collect()
    }

    fn check<T>(&mut self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|what| {
            let transcript = self.world.watch.take_transcript().unwrap_or_default();
            let grouping = self.world.plan.machines[A].grouping;
            panic!("{transcript}seed {}, {grouping:?}: {what}", self.seed)
        })
    }
}

/// The longest time that B waits for a silent master.
fn wait_of_b(story: &Story) -> Duration {
    let config = &story.world.plan.machines[B].routers[0];
    master_down_interval(config.version, config.priority, config.interval, config.down_multiplier)
}

#[test]
fn the_better_machine_is_master_of_everything_in_any_order_of_starts() {
    for first in [A, B] {
        ranked(|story| {
            story.start(first).wait(ms(1_000));
            story.start(1 - first).settles();
            story.is_master(A);
        });
    }
}

#[test]
fn machines_that_start_together_end_with_one_master_of_everything() {
    ranked(|story| {
        story.start(A).start(B).settles();
        story.is_master(A);
    });
}

#[test]
fn crossed_priorities_end_with_one_master_of_everything_that_stays() {
    crossed(|story| {
        story.start(A).start(B).settles();
    });
    for first in [A, B] {
        crossed(|story| {
            story.start(first).wait(ms(1_000));
            story.start(1 - first).settles();
            story.is_master(first);
        });
    }
}

#[test]
fn equal_priorities_with_crossed_addresses_end_with_one_master_of_everything() {
    for gap in [0, 1, 20, 1_000] {
        each(EQUAL, true, |story| {
            story.start(A).wait(ms(gap));
            story.start(B).settles();
        });
    }
}

#[test]
fn without_preemption_the_first_master_stays() {
    for first in [A, B] {
        each(RANKED, false, |story| {
            story.start(first).wait(ms(1_000));
            story.start(1 - first).settles();
            story.is_master(first);
        });
    }
}

#[test]
fn a_pulled_link_moves_everything_to_the_other_machine_and_back() {
    for lan in [0, 1] {
        ranked(|story| {
            story.settled().link(A, lan, false);
            let within = wait_of_b(story) + LATE;
            story.settles_within(within);
            story.is_master(B);
            story.link(A, lan, true).settles();
            story.is_master(A);
        });
    }
}

#[test]
fn a_process_killed_moves_everything_to_the_other_machine() {
    for lan in [0, 1] {
        ranked(|story| {
            story.settled();
            let slot = story.world.hosts[A].slots.len().min(lan + 1) - 1;
            story.fault(Fault::Kill(A, slot));
            let within = wait_of_b(story) + LATE;
            story.settles_within(within);
            story.is_master(B);
            story.fault(Fault::Start(A, slot)).settles();
            story.is_master(A);
        });
    }
}

#[test]
fn a_member_restarted_on_the_backup_machine_changes_nothing() {
    ranked(|story| {
        story.settled().fault(Fault::Kill(B, 0)).wait(ms(50)).fault(Fault::Start(B, 0));
        let settled = story.settles();
        assert_eq!(settled.took, Duration::ZERO);
    });
}

#[test]
fn a_process_that_is_stopped_counts_as_gone_after_a_lease() {
    each(RANKED, true, |story| {
        if story.world.plan.machines[A].grouping == Grouping::OneProcess {
            return;
        }
        story.settled().fault(Fault::Pause(A, 1));
        story.wait(ms(2_000));
        let masters = story.masters();
        assert!(masters.contains(&(B, 0)) && masters.contains(&(B, 1)), "{masters:?}");
        story.fault(Fault::Continue(A, 1)).settles();
        story.is_master(A);
    });
}

#[test]
fn two_machines_with_a_bad_side_each_serve_nothing_until_one_is_whole_again() {
    ranked(|story| {
        story.settled().link(A, 1, false).link(B, 0, false).settles();
        assert_eq!(story.masters(), []);
        story.link(B, 0, true).settles();
        story.is_master(B);
    });
}

#[test]
fn a_peer_that_has_lost_one_side_does_not_disturb() {
    for lan in [0, 1] {
        ranked(|story| {
            story.settled().link(B, lan, false);
            let settled = story.settles();
            assert_eq!(settled.took, Duration::ZERO);
            story.is_master(A);
        });
    }
}

#[test]
fn a_priority_changed_on_one_member_moves_nothing_and_on_all_it_moves_everything() {
    for lan in [0, 1] {
        ranked(|story| {
            story.settled().fault(Fault::Operate(A, lan, Event::Priority(Priority(90))));
            story.settles();
            story.is_master(A);
            story.fault(Fault::Operate(A, 1 - lan, Event::Priority(Priority(90)))).settles();
            story.is_master(B);
        });
    }
}

#[test]
fn backup_command_to_one_member_makes_its_machine_backup() {
    for lan in [0, 1] {
        ranked(|story| {
            story.settled().fault(Fault::Operate(A, lan, Event::StandBack(Origin::Operator)));
            story.settles();
            story.is_master(B);
            story.fault(Fault::Operate(A, lan, Event::Resume(Origin::Operator))).settles();
            story.is_master(A);
        });
    }
}

#[test]
fn after_a_partition_the_better_one_on_the_first_lan_goes_on_and_only_the_other_gives_up() {
    crossed(|story| {
        story.start(A).start(B).settles();
        story.divide(0, true).divide(1, true).wait(ms(3_000));
        assert_eq!(story.masters().len(), 4);
        story.divide(0, false).divide(1, false);
        let settled = story.settles_within(ms(110));
        story.is_master(A);
        assert_eq!(settled.no_master, Duration::ZERO);
    });
}

#[test]
fn a_group_leaves_everything_to_a_peer_without_groups_that_is_better_on_any_lan() {
    for lan in [0, 1] {
        let mut priorities = [[100, 100], [50, 50]];
        priorities[B][lan] = 150;
        for grouping in [Grouping::OneProcess, Grouping::Processes] {
            for seed in 0..SEEDS {
                let ranks = Ranks { priorities, ..RANKED };
                let plan = two_machines([grouping, Grouping::None], ranks, interval(), true);
                let mut story = Story::new(plan, seed);
                story.start(A).wait(ms(1_000)).start(B).settles();
                story.is_master(B);
            }
        }
    }
}

#[test]
fn a_group_with_refused_addresses_retries_with_backoff() {
    ranked(|story| {
        story.start(B).wait(ms(1_000)).is_master(B);
        story.fault(Fault::Refuse { host: A, lan: 1, on: true }).start(A);
        story.wait(ms(60_000));
        let tries = story.world.watch.figures.promotions / 3;
        assert!((5..60).contains(&tries), "{tries} in a minute");
        story.fault(Fault::Refuse { host: A, lan: 1, on: false }).settles();
        story.is_master(A);
    });
}

#[test]
fn a_network_that_loses_every_third_frame_does_not_keep_crossed_machines_from_settling() {
    crossed(|story| {
        story.fault(Fault::Weather(Weather { loss: 33, duplicates: 10, ..Weather::FAIR }));
        story.start(A).start(B).wait(ms(10_000));
        story.fault(Fault::Weather(Weather::FAIR)).settles();
    });
}
