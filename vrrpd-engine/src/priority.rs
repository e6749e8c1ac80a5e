//! Priority policy: the priority of a router, and the faults that do not come from its interface.
//!
//! The configured priority, changed by the operator's steps and the weights of checks, gives the effective priority, 1
//! to 254. Weights work as in keepalived:
//!
//! * A weight below 0 is added while the check fails, one above 0 while it holds.
//! * A check without a weight is a fault while it fails, and before its first result.
//! * The number of a tracked file is multiplied by the weight; a result below −253 is a fault. Without a weight, any
//!   number but 0 is a failure.
//! * An owner of its addresses (priority 255) ignores weights.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vrrpd_common::Priority;
use vrrpd_common::router::{Fault, Faults};

/// Default change of the priority by one step.
const STEP: u8 = 10;
/// Maximum change of the priority by one check.
const MOST: i32 = 253;

/// A change of the priority by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Lower the priority.
    Reduce,
    /// Raise the priority.
    Increase,
}

/// The priorities after steps of the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// After [`Step::Reduce`]; `None`: 10 lower than before.
    pub reduced: Option<Priority>,
    /// After [`Step::Increase`]; `None`: 10 higher than before.
    pub increased: Option<Priority>,
}

/// Identifier of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackId(pub u32);

/// Change of the priority by a check, −254 to 254; 0: the check decides whether the router can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i16", into = "i16")]
pub struct Weight(i16);

/// The last result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// No result yet.
    Unknown,
    /// The check fails.
    Fails,
    /// The check holds.
    Holds,
    /// A number, for example from a file.
    Number(i32),
}

/// Everything that determines a router's priority, and its faults from checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The configured priority.
    base: Priority,
    steps: Steps,
    /// The priority after steps of the operator.
    stepped: Priority,
    tracked: BTreeMap<TrackId, (Weight, Outcome)>,
}

impl Weight {
    /// No weight: the router cannot serve while the check fails.
    pub const NONE: Self = Self(0);

    /// The value; 0 for [`Weight::NONE`].
    pub const fn get(self) -> i16 {
        self.0
    }

    /// `None` outside −254 to 254.
    pub const fn new(weight: i16) -> Option<Self> {
        if weight.unsigned_abs() <= 254 { Some(Self(weight)) } else { None }
    }
}

impl From<Weight> for i16 {
    fn from(weight: Weight) -> Self {
        weight.get()
    }
}

impl TryFrom<i16> for Weight {
    type Error = &'static str;

    fn try_from(weight: i16) -> Result<Self, Self::Error> {
        Self::new(weight).ok_or("a weight is -254 to 254")
    }
}

impl Policy {
    /// A router with this priority and no checks.
    pub const fn new(base: Priority, steps: Steps) -> Self {
        Self { base, steps, stepped: base, tracked: BTreeMap::new() }
    }

    /// Applies a new configuration. If the priority changes, the operator's steps are undone.
    pub fn configure(&mut self, base: Priority, steps: Steps) {
        if base != self.base {
            self.stepped = base;
        }
        self.base = base;
        self.steps = steps;
    }

    /// Applies a step of the operator.
    pub fn step(&mut self, step: Step) {
        let Priority(now) = self.stepped;
        // A reduced owner can become owner again.
        let is_owner = self.is_owner() || self.stepped == Priority::OWNER;
        let highest = if is_owner { Priority::OWNER } else { Priority::HIGHEST };
        self.stepped = match step {
            Step::Reduce => {
                self.steps.reduced.unwrap_or(Priority(now.saturating_sub(STEP)).max(Priority::LOWEST))
            }
            Step::Increase => self.steps.increased.unwrap_or(Priority(now.saturating_add(STEP)).min(highest)),
        };
    }

    /// Adds a check, or changes its weight. A new check has no result yet.
    pub fn track(&mut self, id: TrackId, weight: Weight) {
        self.tracked.entry(id).or_insert((weight, Outcome::Unknown)).0 = weight;
    }

    /// Removes a check.
    pub fn untrack(&mut self, id: TrackId) {
        self.tracked.remove(&id);
    }

    /// Handles a result; unknown checks are ignored.
    pub fn observe(&mut self, id: TrackId, outcome: Outcome) {
        if let Some((_, last)) = self.tracked.get_mut(&id) {
            *last = outcome;
        }
    }

    /// The effective priority.
    pub fn priority(&self) -> Priority {
        if self.is_owner() || self.stepped == Priority::OWNER {
            return self.stepped;
        }
        let weights: i32 = self.tracked.values().map(|(weight, outcome)| outcome.adds(*weight)).sum();
        let sum = i32::from(self.stepped.0).saturating_add(weights);
        let within = sum.clamp(Priority::LOWEST.0.into(), Priority::HIGHEST.0.into());
        u8::try_from(within).map_or(self.stepped, Priority)
    }

    /// The checks that keep the router from serving.
    pub fn failed(&self) -> impl Iterator<Item = TrackId> {
        self.tracked.iter().filter(|(_, (weight, outcome))| outcome.is_fault(*weight)).map(|(id, _)| *id)
    }

    /// The checks with their weights.
    pub fn tracked(&self) -> impl Iterator<Item = (TrackId, Weight)> {
        self.tracked.iter().map(|(id, (weight, _))| (*id, *weight))
    }

    /// Whether a check without a weight has no result yet.
    pub fn awaits_first_results(&self) -> bool {
        self.tracked.values().any(|(weight, outcome)| *weight == Weight::NONE && *outcome == Outcome::Unknown)
    }

    /// Whether the router can serve: all faults of the interface and of the checks.
    pub fn usable<T>(&self, interface: Result<T, Faults>) -> Result<T, Faults> {
        if self.failed().next().is_none() {
            return interface;
        }
        Err(interface.map_or_else(|faults| faults.and(Fault::TrackFailed), |_| Fault::TrackFailed.into()))
    }

    fn is_owner(&self) -> bool {
        self.base == Priority::OWNER
    }
}

impl Outcome {
    /// `unknown`, `fails`, `holds` or `number`, as in JSON and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Fails => "fails",
            Self::Holds => "holds",
            Self::Number(_) => "number",
        }
    }

    /// The change of the priority.
    fn adds(self, Weight(weight): Weight) -> i32 {
        let weight = i32::from(weight);
        match self {
            Self::Fails if weight < 0 => weight.max(-MOST),
            Self::Holds if weight > 0 => weight.min(MOST),
            Self::Number(number) => number.saturating_mul(weight).clamp(-MOST, MOST),
            Self::Fails | Self::Holds | Self::Unknown => 0,
        }
    }

    /// Whether it keeps the router from serving.
    fn is_fault(self, Weight(weight): Weight) -> bool {
        match self {
            Self::Unknown | Self::Fails => weight == 0,
            Self::Holds => false,
            Self::Number(number) if weight == 0 => number != 0,
            Self::Number(number) => number.saturating_mul(weight.into()) < -MOST,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const A: TrackId = TrackId(1);
    const B: TrackId = TrackId(2);

    fn weight(weight: i16) -> Weight {
        Weight::new(weight).expect("in range")
    }

    fn policy(base: u8) -> Policy {
        Policy::new(Priority(base), Steps::default())
    }

    /// Priority and faults of a router of priority 100 with one check.
    fn with(weight: Weight, outcome: Outcome) -> (u8, Option<Faults>) {
        let mut policy = policy(100);
        policy.track(A, weight);
        policy.observe(A, outcome);
        (policy.priority().0, policy.usable(Ok(())).err())
    }

    #[test]
    fn steps_change_the_priority_by_ten_within_1_to_254_and_an_owner_owns_again() {
        for (base, step, wanted) in [
            (100, Step::Reduce, 90),
            (5, Step::Reduce, 1),
            (1, Step::Reduce, 1),
            (100, Step::Increase, 110),
            (250, Step::Increase, 254),
            (254, Step::Increase, 254),
            (255, Step::Reduce, 245),
            (255, Step::Increase, 255),
        ] {
            let mut policy = policy(base);
            policy.step(step);
            assert_eq!(policy.priority(), Priority(wanted), "{base} {step:?}");
        }
        let mut owner = policy(255);
        owner.step(Step::Reduce);
        owner.step(Step::Increase);
        assert_eq!(owner.priority(), Priority::OWNER);
    }

    #[test]
    fn steps_lead_to_the_configured_priorities() {
        let steps = Steps { reduced: Some(Priority(42)), increased: Some(Priority(210)) };
        let mut policy = Policy::new(Priority(100), steps);
        for (step, wanted) in [(Step::Reduce, 42), (Step::Reduce, 42), (Step::Increase, 210)] {
            policy.step(step);
            assert_eq!(policy.priority(), Priority(wanted), "{step:?}");
        }
    }

    #[test]
    fn another_configured_priority_ends_the_steps_and_the_same_one_does_not() {
        let mut policy = policy(100);
        policy.step(Step::Reduce);
        policy.configure(Priority(100), Steps { reduced: Some(Priority(7)), increased: None });
        assert_eq!(policy.priority(), Priority(90));
        policy.configure(Priority(120), Steps::default());
        assert_eq!(policy.priority(), Priority(120));
    }

    #[test]
    fn a_weight_counts_while_it_is_meant_to() {
        for (of, outcome, wanted) in [
            (-20, Outcome::Fails, 80),
            (-20, Outcome::Holds, 100),
            (-20, Outcome::Unknown, 100),
            (20, Outcome::Holds, 120),
            (20, Outcome::Fails, 100),
            (20, Outcome::Unknown, 100),
            (-254, Outcome::Fails, 1),
            (254, Outcome::Holds, 254),
            (2, Outcome::Number(-5), 90),
            (-1, Outcome::Number(-30), 130),
            (1, Outcome::Number(1000), 254),
        ] {
            assert_eq!(with(weight(of), outcome), (wanted, None), "{of} {outcome:?}");
        }
    }

    #[test]
    fn without_a_weight_a_router_serves_only_while_the_thing_holds() {
        let failed = Some(Faults::of(Fault::TrackFailed));
        for (outcome, faults) in [
            (Outcome::Unknown, failed),
            (Outcome::Fails, failed),
            (Outcome::Holds, None),
            (Outcome::Number(0), None),
            (Outcome::Number(-1), failed),
        ] {
            assert_eq!(with(Weight::NONE, outcome), (100, faults), "{outcome:?}");
        }
        assert_eq!(with(weight(1), Outcome::Number(-253)), (1, None));
        assert_eq!(with(weight(1), Outcome::Number(-254)), (1, failed));
        assert_eq!(with(weight(2), Outcome::Number(i32::MIN)), (1, failed));
    }

    #[test]
    fn faults_of_the_interface_and_of_checks_are_listed_together() {
        let mut policy = policy(100);
        let down = Faults::of(Fault::LinkDown);
        assert_eq!(policy.usable(Ok(7)), Ok(7));
        assert_eq!(policy.usable::<()>(Err(down)), Err(down));
        policy.track(A, Weight::NONE);
        policy.track(B, Weight::NONE);
        policy.observe(B, Outcome::Holds);
        assert_eq!(policy.failed().collect::<Vec<_>>(), [A]);
        assert!(policy.awaits_first_results());
        assert_eq!(policy.usable::<()>(Err(down)), Err(down.and(Fault::TrackFailed)));
        policy.untrack(A);
        assert_eq!(policy.usable(Ok(7)), Ok(7));
    }

    #[test]
    fn a_result_of_an_unknown_check_changes_nothing_and_a_new_weight_keeps_the_result() {
        let fresh = policy(100);
        let mut policy = fresh.clone();
        policy.observe(A, Outcome::Fails);
        assert_eq!(policy, fresh);
        policy.track(A, weight(-10));
        policy.observe(A, Outcome::Fails);
        policy.track(A, weight(-30));
        assert_eq!(policy.priority(), Priority(70));
    }

    #[test]
    fn weights_are_within_254() {
        assert_eq!((Weight::new(255), Weight::new(-255), Weight::new(i16::MIN)), (None, None, None));
        assert!(Weight::new(254).is_some() && Weight::new(-254).is_some());
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Unknown),
            Just(Outcome::Fails),
            Just(Outcome::Holds),
            any::<i32>().prop_map(Outcome::Number),
        ]
    }

    fn things() -> impl Strategy<Value = Vec<(i16, Outcome)>> {
        vec((-254_i16..=254, outcomes()), 0..8)
    }

    fn tracking(base: u8, steps: &[bool], things: &[(i16, Outcome)]) -> Policy {
        let mut policy = policy(base);
        for (number, (of, outcome)) in (0..).zip(things) {
            policy.track(TrackId(number), weight(*of));
            policy.observe(TrackId(number), *outcome);
        }
        for up in steps {
            policy.step(if *up { Step::Increase } else { Step::Reduce });
        }
        policy
    }

    proptest! {
        #[test]
        fn priority_is_1_to_254_and_only_an_owner_has_255(
            base in 1_u8..=255, steps in vec(any::<bool>(), 0..30), things in things(),
        ) {
            let policy = tracking(base, &steps, &things);
            let Priority(now) = policy.priority();
            prop_assert!(now >= 1);
            prop_assert!(now < 255 || base == 255);
            if base == 255 {
                prop_assert_eq!(policy.priority(), tracking(base, &steps, &[]).priority());
            }
        }

        #[test]
        fn the_order_of_steps_and_results_does_not_matter(
            base in 1_u8..=254, steps in vec(any::<bool>(), 0..5), things in things(),
        ) {
            let policy = tracking(base, &steps, &things);
            let mut other = tracking(base, &steps, &[]);
            for (number, (of, outcome)) in (0..).zip(&things).collect::<Vec<_>>().into_iter().rev() {
                other.track(TrackId(number), weight(*of));
                other.observe(TrackId(number), *outcome);
            }
            prop_assert_eq!(policy, other);
        }

        #[test]
        fn a_failing_check_never_raises_the_priority_and_a_holding_one_never_lowers_it(
            base in 1_u8..=255, of in -254_i16..=254, things in things(),
        ) {
            let mut policy = tracking(base, &[], &things);
            policy.track(TrackId(100), weight(of));
            let before = policy.priority();
            policy.observe(TrackId(100), Outcome::Fails);
            prop_assert!(policy.priority() <= before);
            policy.observe(TrackId(100), Outcome::Holds);
            prop_assert!(policy.priority() >= before);
            prop_assert!(policy.failed().all(|id| id != TrackId(100)));
        }

        #[test]
        fn removing_checks_restores_priority_and_faults(
            base in 1_u8..=255, steps in vec(any::<bool>(), 0..5), things in things(),
        ) {
            let mut policy = tracking(base, &steps, &things);
            for (number, _) in (0..).zip(&things) {
                policy.untrack(TrackId(number));
            }
            prop_assert_eq!(policy, tracking(base, &steps, &[]));
        }
    }
}
