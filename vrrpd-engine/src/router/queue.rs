//! The queued actions of a router.
//!
//! While the kernel works on the addresses, actions wait, and outsiders can cause any number of state changes. The
//! queue stays short, because an action that a later one makes pointless is dropped.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use vrrpd_common::Priority;
use vrrpd_common::router::{Action, Occasion, StateName, Transition};

/// Number of transitions kept in the history.
pub(super) const HISTORY: usize = 16;
/// Initial capacity for actions and transitions, enough for a Backup in most cases.
pub(super) const FEW: usize = 2;

/// The queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ActionQueue(VecDeque<Action>);

impl ActionQueue {
    /// Maximum length: one action of each kind (a resignation and another advert, an announcement for each of four
    /// occasions), and the transitions of a history.
    pub(super) const MAX: usize = 6 + 4 + HISTORY;

    pub(super) fn new() -> Self {
        Self(VecDeque::with_capacity(FEW))
    }

    /// Appends an action.
    pub(super) fn push(&mut self, action: Action) {
        match action {
            // The first take takes everything that is missing. A give-up drops earlier takes, so a queued take comes
            // after it.
            Action::Prepare | Action::TakeAddresses | Action::AnnounceAddresses(_)
                if self.0.contains(&action) =>
            {
                return;
            }
            // A script that was not started need not be ended.
            Action::EndPreparation => {
                self.0.retain(|waiting| *waiting != Action::Prepare);
                if self.0.contains(&action) {
                    return;
                }
            }
            Action::GiveUpAddresses => {
                self.0.retain(|waiting| match waiting {
                    // Addresses that were not taken need not be given back, and an obsolete promotion must not be
                    // reported.
                    Action::TakeAddresses | Action::AnnounceAddresses(_) => false,
                    Action::SendAdvert(priority) => *priority == Priority::RESIGN,
                    Action::Transition(transition) => transition.to != StateName::Master,
                    Action::Prepare
                    | Action::EndPreparation
                    | Action::GiveUpAddresses
                    | Action::Notice(_) => true,
                });
                if self.0.contains(&action) {
                    return;
                }
            }
            // The newest advert replaces a queued one.
            Action::SendAdvert(priority) => {
                let resigns = |priority: Priority| priority == Priority::RESIGN;
                let same = |waiting: &&mut Action| match waiting {
                    Action::SendAdvert(before) => resigns(*before) == resigns(priority),
                    _ => false,
                };
                if let Some(waiting) = self.0.iter_mut().find(same) {
                    *waiting = action;
                    return;
                }
            }
            Action::Transition(transition) => {
                let mut waiting = self.0.iter().enumerate().filter_map(|(place, waiting)| match waiting {
                    Action::Transition(before) => Some((place, before.to)),
                    _ => None,
                });
                let first = waiting.next();
                let last = waiting.clone().next_back().or(first);
                // The router would be in that state already.
                if last.is_some_and(|(_, to)| to == transition.to) {
                    return;
                }
                // The next transition then starts from the state reported before.
                if let Some((place, _)) = first
                    && waiting.count() + 1 >= HISTORY
                {
                    self.0.remove(place);
                }
            }
            Action::Prepare | Action::TakeAddresses | Action::AnnounceAddresses(_) | Action::Notice(_) => {}
        }
        self.0.push_back(action);
    }

    /// Number of queued actions.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn next(&mut self) -> Option<Action> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Queues taking everything that a Master holds, then announcing it. A queued announcement is dropped, since it
    /// would come too early.
    pub(super) fn take_again(&mut self) {
        self.0.retain(|action| !matches!(action, Action::AnnounceAddresses(_)));
        self.push(Action::TakeAddresses);
        self.push(Action::AnnounceAddresses(Occasion::TakeOver));
    }

    /// Drops the queued promotion, if any, with all actions before it.
    pub(super) fn drop_promotion(&mut self) -> bool {
        let is_promotion =
            |action: &Action| matches!(action, Action::Transition(Transition { to: StateName::Master, .. }));
        let end = self.0.iter().position(is_promotion);
        if let Some(end) = end {
            self.0.drain(..=end);
        }
        end.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vrrpd_common::router::{Cause, Reason};

    use super::*;

    fn transition(from: StateName, to: StateName) -> Transition {
        Transition { from, to, reason: Reason::MasterDownTimer, cause: None::<Cause> }
    }

    fn with(actions: impl IntoIterator<Item = Action>) -> ActionQueue {
        let mut queue = ActionQueue::new();
        actions.into_iter().for_each(|action| queue.push(action));
        queue
    }

    fn waiting(queue: &mut ActionQueue) -> Vec<Action> {
        std::iter::from_fn(|| queue.next()).collect()
    }

    #[test]
    fn an_obsolete_promotion_is_not_announced() {
        let to_master = Action::Transition(transition(StateName::Backup, StateName::Master));
        let to_backup = Action::Transition(transition(StateName::Master, StateName::Backup));
        let mut queue = with([
            Action::TakeAddresses,
            Action::SendAdvert(Priority(100)),
            Action::AnnounceAddresses(Occasion::TakeOver),
            to_master,
            Action::SendAdvert(Priority::RESIGN),
            Action::GiveUpAddresses,
            to_backup,
        ]);
        let wanted = [Action::SendAdvert(Priority::RESIGN), Action::GiveUpAddresses, to_backup];
        assert_eq!(waiting(&mut queue), wanted);
    }

    #[test]
    fn actions_not_started_and_their_reversal_cancel_out() {
        let mut queue = with([]);
        for reason in [Reason::Preempted, Reason::MasterDownTimer] {
            let transition =
                |to| Action::Transition(Transition { reason, ..transition(StateName::Init, to) });
            let promotion = [
                Action::Prepare,
                Action::EndPreparation,
                Action::TakeAddresses,
                Action::SendAdvert(Priority(100)),
                Action::AnnounceAddresses(Occasion::TakeOver),
                transition(StateName::Master),
            ];
            let demotion = [Action::GiveUpAddresses, transition(StateName::Backup)];
            promotion.into_iter().chain(demotion).for_each(|action| queue.push(action));
        }
        queue.push(Action::TakeAddresses);
        let wanted = [
            Action::EndPreparation,
            Action::GiveUpAddresses,
            Action::Transition(Transition {
                reason: Reason::Preempted,
                ..transition(StateName::Init, StateName::Backup)
            }),
            Action::TakeAddresses,
        ];
        assert_eq!(waiting(&mut queue), wanted);
    }

    #[test]
    fn the_newest_priority_is_sent_in_the_place_of_the_first_advert() {
        let [low, high] = [100, 150].map(|priority| Action::SendAdvert(Priority(priority)));
        let announcement = Action::AnnounceAddresses(Occasion::TakeOver);
        let mut queue = with([Action::SendAdvert(Priority::RESIGN), low, announcement, high]);
        assert_eq!(waiting(&mut queue), [Action::SendAdvert(Priority::RESIGN), high, announcement]);
    }

    #[test]
    fn the_oldest_transitions_that_wait_are_forgotten() {
        let (fault, backup) = (StateName::Fault, StateName::Backup);
        let states = [fault, backup].into_iter().cycle().take(2 * HISTORY + 1);
        let mut queue = with(states.map(|to| Action::Transition(transition(StateName::Init, to))));
        let waiting = waiting(&mut queue);
        assert_eq!(waiting.len(), HISTORY);
        assert_eq!(waiting.last(), Some(&Action::Transition(transition(StateName::Init, fault))));
    }

    #[test]
    fn adverts_and_announcements_that_wait_are_not_repeated() {
        let (advert, announcement) =
            (Action::SendAdvert(Priority(100)), Action::AnnounceAddresses(Occasion::TakeOver));
        let mut queue =
            with([advert, announcement, advert, announcement, Action::TakeAddresses, Action::TakeAddresses]);
        assert_eq!(waiting(&mut queue), [advert, announcement, Action::TakeAddresses]);
        let mut queue = with([announcement, Action::TakeAddresses]);
        queue.take_again();
        assert_eq!(waiting(&mut queue), [Action::TakeAddresses, announcement]);
    }

    #[test]
    fn a_promotion_is_dropped_with_what_came_before_it() {
        let mut queue = with([]);
        assert!(!queue.drop_promotion());
        queue.push(Action::SendAdvert(Priority(100)));
        queue.push(Action::Transition(transition(StateName::Backup, StateName::Master)));
        queue.push(Action::AnnounceAddresses(Occasion::TakeOver));
        assert!(queue.drop_promotion());
        assert_eq!(waiting(&mut queue), [Action::AnnounceAddresses(Occasion::TakeOver)]);
    }

    /// The effect of actions on a router.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Effects {
        holds: bool,
        is_preparing: bool,
        told: StateName,
        /// The last advert sent while holding the addresses, since the last give-up.
        advertised: Option<Priority>,
        has_announced: bool,
    }

    fn effects(mut effects: Effects, actions: &[Action]) -> Effects {
        for action in actions {
            match action {
                Action::Prepare => effects.is_preparing = true,
                Action::EndPreparation => effects.is_preparing = false,
                Action::TakeAddresses => effects.holds = true,
                Action::GiveUpAddresses => {
                    effects = Effects { holds: false, advertised: None, has_announced: false, ..effects };
                }
                Action::SendAdvert(Priority::RESIGN) | Action::Notice(_) => {}
                Action::SendAdvert(priority) => {
                    assert!(effects.holds, "an advert claims what is not there: {actions:?}");
                    effects.advertised = Some(*priority);
                }
                Action::AnnounceAddresses(_) => {
                    assert!(effects.holds, "what is not there is announced: {actions:?}");
                    effects.has_announced = true;
                }
                Action::Transition(transition) => effects.told = transition.to,
            }
        }
        effects
    }

    /// Something that happens to a state machine.
    #[derive(Clone, Copy, Debug)]
    enum Happening {
        /// It becomes Master: an election is won, or the script that prepared it has ended.
        Promotion,
        /// It ceases to be Master.
        Demotion(StateName),
        /// An election is won, and a script prepares it.
        Prepares,
        /// A better router is there: the script prepares it for nothing.
        EndsPreparation,
        /// It changes from Backup to Fault or back.
        Change(StateName),
        /// Others have removed its addresses.
        AddressesLost,
        /// It advertises as Master.
        Advert(Priority),
        /// It announces its addresses as Master.
        Announcement(Occasion),
    }

    /// What a state machine does at one go.
    #[derive(Clone, Debug)]
    struct Turn {
        /// The script that prepared it has ended by itself before that.
        is_prepared: bool,
        actions: Vec<Action>,
    }

    fn turns() -> impl Strategy<Value = Vec<Turn>> {
        let states = [StateName::Backup, StateName::Fault, StateName::Init];
        let occasions = [Occasion::Elsewhere, Occasion::Refresh, Occasion::LowerMaster, Occasion::TakeOver];
        let happening = prop_oneof![
            4 => Just(Happening::Promotion),
            2 => proptest::sample::select(states.to_vec()).prop_map(Happening::Demotion),
            2 => Just(Happening::Prepares),
            1 => Just(Happening::EndsPreparation),
            2 => proptest::sample::select(states[..2].to_vec()).prop_map(Happening::Change),
            1 => Just(Happening::AddressesLost),
            2 => (1..=255_u8).prop_map(|priority| Happening::Advert(Priority(priority))),
            2 => proptest::sample::select(occasions.to_vec()).prop_map(Happening::Announcement),
        ];
        proptest::collection::vec(happening, 0..60).prop_map(as_a_machine_does)
    }

    /// What a state machine does when this happens, without what cannot happen to it then.
    fn as_a_machine_does(happenings: Vec<Happening>) -> Vec<Turn> {
        let to = |to| Action::Transition(transition(StateName::Init, to));
        let (mut is_master, mut is_preparing) = (false, false);
        let turn = |happening| {
            let was_preparing = is_preparing;
            let actions = match (happening, is_master) {
                (Happening::Promotion, false) => {
                    (is_master, is_preparing) = (true, false);
                    let (advert, announcement) =
                        (Action::SendAdvert(Priority(100)), Action::AnnounceAddresses(Occasion::TakeOver));
                    vec![Action::TakeAddresses, advert, announcement, to(StateName::Master)]
                }
                (Happening::Demotion(state), true) => {
                    is_master = false;
                    vec![Action::SendAdvert(Priority::RESIGN), Action::GiveUpAddresses, to(state)]
                }
                (Happening::Prepares, false) if !is_preparing => {
                    is_preparing = true;
                    vec![Action::Prepare]
                }
                (Happening::EndsPreparation, false) if is_preparing => {
                    is_preparing = false;
                    vec![Action::EndPreparation]
                }
                // The end of a preparation comes last.
                (Happening::Change(state), false) if std::mem::take(&mut is_preparing) => {
                    vec![to(state), Action::EndPreparation]
                }
                (Happening::Change(state), false) => vec![to(state)],
                (Happening::AddressesLost, true) => vec![Action::TakeAddresses],
                (Happening::Advert(priority), true) => vec![Action::SendAdvert(priority)],
                (Happening::Announcement(occasion), true) => vec![Action::AnnounceAddresses(occasion)],
                _ => return None,
            };
            Some(Turn { is_prepared: was_preparing && is_master, actions })
        };
        happenings.into_iter().filter_map(turn).collect()
    }

    proptest! {
        #[test]
        fn dropping_queued_actions_does_not_change_the_effect(
            turns in turns(),
            holds in any::<bool>(),
            begun in 0..3_usize,
        ) {
            let told = StateName::Init;
            let before = Effects { holds, is_preparing: false, told, advertised: None, has_announced: false };
            let mut queue = with([]);
            let (mut all, mut done) = (Vec::new(), Vec::new());
            for (number, Turn { is_prepared, actions }) in turns.iter().enumerate() {
                if *is_prepared {
                    // The script has been started, and has ended.
                    while queue.0.contains(&Action::Prepare) {
                        done.extend(queue.next());
                    }
                    all.push(Action::EndPreparation);
                    done.push(Action::EndPreparation);
                }
                for action in actions {
                    queue.push(*action);
                    all.push(*action);
                    prop_assert!(queue.len() <= ActionQueue::MAX, "{queue:?}");
                }
                // Some actions are executed, as when the kernel answers.
                if number % 7 == 6 {
                    done.extend((0..begun).filter_map(|_| queue.next()));
                }
            }
            done.extend(waiting(&mut queue));
            prop_assert_eq!(effects(before, &done), effects(before, &all), "{:?}", all);
        }
    }

    #[test]
    fn queue_is_full_with_every_kind_of_action_and_as_many_transitions_as_are_remembered() {
        let states = [StateName::Fault, StateName::Backup].into_iter().cycle().take(HISTORY - 1);
        let to = |to| Action::Transition(transition(StateName::Init, to));
        let mut queue = with([
            Action::EndPreparation,
            Action::Prepare,
            Action::SendAdvert(Priority::RESIGN),
            Action::GiveUpAddresses,
        ]);
        states.for_each(|state| queue.push(to(state)));
        queue.push(Action::TakeAddresses);
        queue.push(Action::SendAdvert(Priority(100)));
        for occasion in [Occasion::TakeOver, Occasion::LowerMaster, Occasion::Refresh, Occasion::Elsewhere] {
            queue.push(Action::AnnounceAddresses(occasion));
        }
        queue.push(to(StateName::Master));
        assert_eq!(queue.len(), ActionQueue::MAX);
    }
}
