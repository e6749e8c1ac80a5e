//! From results of one check to its outcome: `rise` and `fall` count results, delays debounce changes.

use serde::{Deserialize, Serialize};
use vrrpd_common::{Duration, Instant};

use super::Rules;
use crate::priority::Outcome;

/// The result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// Good.
    Holds,
    /// Bad.
    Fails,
    /// This number of processes was found.
    Count(u32),
    /// A number, which is itself the outcome.
    Number(i32),
}

/// The state of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judge {
    rules: Rules,
    outcome: Outcome,
    /// The verdict after `rise` and `fall`; `None`: no result yet.
    verdict: Option<bool>,
    /// Consecutive results against the verdict.
    against: u32,
    /// When the verdict becomes the outcome.
    takes_effect_at: Option<Instant>,
}

impl Judge {
    /// A check without results.
    pub fn new(rules: Rules) -> Self {
        let outcome = rules.initially.map_or(Outcome::Unknown, outcome_of);
        Self { rules, outcome, verdict: None, against: 0, takes_effect_at: None }
    }

    /// The present outcome.
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// When [`Judge::expire`] is due.
    pub const fn deadline(&self) -> Option<Instant> {
        self.takes_effect_at
    }

    /// Sets other rules. The outcome is kept until the next results.
    pub const fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        self.against = 0;
    }

    /// Handles a result; returns whether the outcome has changed.
    pub fn result(&mut self, now: Instant, finding: Finding) -> bool {
        let (least, most) = self.rules.quorum;
        let holds = match finding {
            Finding::Number(number) => return self.set(Outcome::Number(number)),
            Finding::Holds => true,
            Finding::Fails => false,
            Finding::Count(count) => (least..=most).contains(&count),
        };
        let holds = holds != self.rules.is_inverted;
        match self.verdict {
            None => {
                self.verdict = Some(holds);
                return self.set(outcome_of(holds));
            }
            Some(verdict) if verdict == holds => self.against = 0,
            Some(_) => {
                self.against = self.against.saturating_add(1);
                let needed = if holds { self.rules.rise } else { self.rules.fall };
                if self.against >= needed {
                    self.against = 0;
                    self.verdict = Some(holds);
                    return self.decide(now, holds);
                }
            }
        }
        false
    }

    /// Handles delays that have ended at `now`; returns whether the outcome has changed.
    pub fn expire(&mut self, now: Instant) -> bool {
        match (self.takes_effect_at, self.verdict) {
            (Some(at), Some(verdict)) if at <= now => self.set(outcome_of(verdict)),
            (Some(_) | None, Some(_) | None) => false,
        }
    }

    /// Handles a change of the verdict.
    fn decide(&mut self, now: Instant, holds: bool) -> bool {
        let delay = if holds { self.rules.up_delay } else { self.rules.down_delay };
        if outcome_of(holds) == self.outcome || delay == Duration::ZERO {
            // The verdict may have returned to the outcome before the delay ended.
            return self.set(outcome_of(holds));
        }
        self.takes_effect_at = Some(now + delay);
        false
    }

    fn set(&mut self, outcome: Outcome) -> bool {
        self.takes_effect_at = None;
        let is_another = self.outcome != outcome;
        self.outcome = outcome;
        is_another
    }
}

const fn outcome_of(holds: bool) -> Outcome {
    if holds { Outcome::Holds } else { Outcome::Fails }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn rules() -> Rules {
        Rules { rise: 3, fall: 2, ..Rules::default() }
    }

    /// The outcomes after each result, `+` good and `-` bad.
    fn told(judge: &mut Judge, results: &str) -> String {
        let mut told = String::new();
        for result in results.chars() {
            let before = judge.outcome();
            let changed =
                judge.result(Instant::ZERO, if result == '+' { Finding::Holds } else { Finding::Fails });
            assert_eq!(changed, before != judge.outcome());
            told.push(match judge.outcome() {
                Outcome::Unknown => '?',
                Outcome::Holds => '+',
                Outcome::Fails => '-',
                Outcome::Number(_) => '#',
            });
        }
        told
    }

    #[test]
    fn the_first_result_counts_alone_and_then_rise_and_fall_count_results_in_a_row() {
        for (results, outcomes) in
            [("+-+--+", "++++--"), ("-++-+++", "------+"), ("--", "--"), ("+---", "++--")]
        {
            assert_eq!(told(&mut Judge::new(rules()), results), outcomes, "{results}");
        }
    }

    #[test]
    fn the_initial_outcome_counts_until_the_first_result_which_counts_alone() {
        let failing = Judge::new(Rules { initially: Some(false), ..rules() });
        assert_eq!(failing.outcome(), Outcome::Fails);
        assert_eq!(told(&mut failing.clone(), "+--+++"), "++---+");
        let holding = Judge::new(Rules { initially: Some(true), ..rules() });
        assert_eq!(told(&mut holding.clone(), "-+++-"), "---++");
    }

    #[test]
    fn an_inverted_check_fails_where_it_would_hold() {
        let mut judge = Judge::new(Rules { is_inverted: true, ..Rules::default() });
        assert_eq!(told(&mut judge, "+-"), "-+");
    }

    #[test]
    fn a_quorum_is_a_range_of_counts() {
        let mut judge = Judge::new(Rules { quorum: (2, 3), ..Rules::default() });
        for (count, outcome) in
            [(2, Outcome::Holds), (1, Outcome::Fails), (3, Outcome::Holds), (4, Outcome::Fails)]
        {
            judge.result(Instant::ZERO, Finding::Count(count));
            assert_eq!(judge.outcome(), outcome, "{count}");
        }
    }

    #[test]
    fn a_failure_that_ends_within_the_delay_never_counted() {
        let mut judge = Judge::new(Rules { down_delay: Duration::from_secs(2), fall: 1, rise: 1, ..rules() });
        assert!(judge.result(at(0), Finding::Holds));
        assert!(!judge.result(at(1000), Finding::Fails));
        assert_eq!((judge.outcome(), judge.deadline()), (Outcome::Holds, Some(at(3000))));
        assert!(!judge.result(at(2000), Finding::Fails), "further results do not start the delay anew");
        assert_eq!(judge.deadline(), Some(at(3000)));
        assert!(!judge.result(at(2500), Finding::Holds));
        assert_eq!(judge.deadline(), None);
        assert!(!judge.expire(at(3000)));
        assert!(!judge.result(at(4000), Finding::Fails));
        assert!(!judge.expire(at(5999)));
        assert!(judge.expire(at(6000)));
        assert_eq!((judge.outcome(), judge.deadline()), (Outcome::Fails, None));
        assert!(judge.result(at(6001), Finding::Holds), "holding again counts at once");
    }

    #[test]
    fn the_first_result_is_not_delayed() {
        let mut judge = Judge::new(Rules { down_delay: Duration::from_secs(2), ..Rules::default() });
        assert!(judge.result(at(0), Finding::Fails));
        assert_eq!(judge.outcome(), Outcome::Fails);
    }

    #[test]
    fn other_rules_keep_the_outcome() {
        let mut judge = Judge::new(rules());
        judge.result(at(0), Finding::Holds);
        judge.result(at(0), Finding::Fails);
        judge.set_rules(Rules { fall: 3, ..rules() });
        assert_eq!(told(&mut judge, "---"), "++-");
    }

    #[test]
    fn a_number_is_the_outcome() {
        let mut judge = Judge::new(Rules::default());
        assert!(judge.result(at(0), Finding::Number(-7)));
        assert!(!judge.result(at(0), Finding::Number(-7)));
        assert_eq!(judge.outcome(), Outcome::Number(-7));
    }

    proptest! {
        #[test]
        fn an_outcome_changes_only_after_as_many_results_in_a_row(
            rise in 1_u32..5, fall in 1_u32..5, results in vec(any::<bool>(), 1..60),
        ) {
            let mut judge = Judge::new(Rules { rise, fall, ..Rules::default() });
            for (index, holds) in results.iter().enumerate() {
                let finding = if *holds { Finding::Holds } else { Finding::Fails };
                if judge.result(Instant::ZERO, finding) && index > 0 {
                    let needed = usize::try_from(if *holds { rise } else { fall }).expect("is small");
                    prop_assert!(index + 1 >= needed);
                    prop_assert!(results[index + 1 - needed..=index].iter().all(|result| result == holds));
                }
            }
        }

        #[test]
        fn after_the_delay_the_last_result_counts(
            down in 0_u64..100, up in 0_u64..100, results in vec((any::<bool>(), 0_u64..50), 1..40),
        ) {
            let delays = (Duration::from_millis(down), Duration::from_millis(up));
            let mut judge = Judge::new(Rules { down_delay: delays.0, up_delay: delays.1, ..Rules::default() });
            let mut now = 0;
            for (holds, wait) in &results {
                now += wait;
                judge.expire(at(now));
                judge.result(at(now), if *holds { Finding::Holds } else { Finding::Fails });
                if let Some(deadline) = judge.deadline() {
                    prop_assert!(deadline > at(now));
                }
            }
            judge.expire(at(now + 100));
            prop_assert_eq!(judge.deadline(), None);
            let last = results.last().map(|(holds, _)| outcome_of(*holds));
            prop_assert_eq!(Some(judge.outcome()), last);
        }
    }
}
