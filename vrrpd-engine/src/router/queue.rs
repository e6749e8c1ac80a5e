//! The actions of a router that are not carried out yet, in order.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use vrrpd_common::Priority;
use vrrpd_common::router::{Action, Occasion, StateName, Transition};

use super::FEW;

/// What waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ActionQueue(VecDeque<Action>);

impl ActionQueue {
    pub(super) fn new() -> Self {
        Self(VecDeque::with_capacity(FEW))
    }

    /// Takes in an action, behind those that wait.
    pub(super) fn push(&mut self, action: Action) {
        match action {
            // A promotion that has been overtaken must not be announced any more.
            Action::GiveUpAddresses => self.0.retain(|waiting| match waiting {
                Action::SendAdvert(priority) => *priority == Priority::RESIGN,
                Action::AnnounceAddresses(_) => false,
                Action::Transition(transition) => transition.to != StateName::Master,
                Action::Prepare
                | Action::EndPreparation
                | Action::TakeAddresses
                | Action::GiveUpAddresses
                | Action::Notice(_) => true,
            }),
            // What is missing is found when its turn comes.
            Action::TakeAddresses if self.0.back() == Some(&action) => return,
            // One advert says all that several in a row would.
            Action::SendAdvert(_) | Action::AnnounceAddresses(_) if self.0.contains(&action) => return,
            Action::Prepare
            | Action::EndPreparation
            | Action::TakeAddresses
            | Action::SendAdvert(_)
            | Action::AnnounceAddresses(_)
            | Action::Transition(_)
            | Action::Notice(_) => {}
        }
        self.0.push_back(action);
    }

    pub(super) fn next(&mut self) -> Option<Action> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a Master has to have is taken again, and then announced. An announcement that waits already would come before
    /// that.
    pub(super) fn take_again(&mut self) {
        self.0.retain(|action| !matches!(action, Action::AnnounceAddresses(_)));
        self.push(Action::TakeAddresses);
        self.push(Action::AnnounceAddresses(Occasion::TakeOver));
    }

    /// Forgets the promotion that waits, if one does, with what comes before it.
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
    fn a_promotion_that_was_overtaken_is_not_announced_any_more() {
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
        let wanted =
            [Action::TakeAddresses, Action::SendAdvert(Priority::RESIGN), Action::GiveUpAddresses, to_backup];
        assert_eq!(waiting(&mut queue), wanted);
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
}
