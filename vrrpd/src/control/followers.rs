//! Clients that follow the transitions. Each has a queue of the events that it has not read yet; without clients, events
//! cost nothing.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::mpsc;

use crate::report::EventReport;

/// Events that may wait for one who does not read: those of thousands of routers that change twice at once.
const MAX_WAITING: usize = 16 << 10;

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Followers(Rc<RefCell<Vec<mpsc::Sender<Rc<EventReport>>>>>);

impl Followers {
    /// One more: it gets what comes from now on. Its channel ends when more has come than it has read in time.
    pub fn follow(&self) -> mpsc::Receiver<Rc<EventReport>> {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        self.0.borrow_mut().push(sender);
        receiver
    }

    /// Tells all of them. Who has left, or has missed something, is told nothing more.
    pub fn tell(&self, event: impl FnOnce() -> EventReport) {
        let mut followers = self.0.borrow_mut();
        if followers.is_empty() {
            return;
        }
        let event = Rc::new(event());
        followers.retain(|follower| follower.try_send(Rc::clone(&event)).is_ok());
    }

    /// Whether they have taken all that they were told.
    pub fn have_heard_all(&self) -> bool {
        let followers = self.0.borrow();
        followers
            .iter()
            .all(|follower| follower.is_closed() || follower.capacity() == follower.max_capacity())
    }
}
