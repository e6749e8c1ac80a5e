//! Clients that follow events. Each has a queue of unread events; without such clients, events cost nothing.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::mpsc;

use crate::report::EventReport;

/// Maximum number of unread events of a client: enough for thousands of routers that change twice at once.
const MAX_WAITING: usize = 16 << 10;

/// All followers.
#[derive(Clone, Debug, Default)]
pub struct Followers(Rc<RefCell<Vec<mpsc::Sender<Rc<EventReport>>>>>);

impl Followers {
    /// Adds a follower, which gets all further events. Its channel closes when its queue overflows.
    pub fn follow(&self) -> mpsc::Receiver<Rc<EventReport>> {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        self.0.borrow_mut().push(sender);
        receiver
    }

    /// Sends an event to all followers. A follower that has left or missed an event is removed.
    pub fn tell(&self, event: impl FnOnce() -> EventReport) {
        let mut followers = self.0.borrow_mut();
        if followers.is_empty() {
            return;
        }
        let event = Rc::new(event());
        followers.retain(|follower| follower.try_send(Rc::clone(&event)).is_ok());
    }

    /// Whether all queues are empty.
    pub fn have_heard_all(&self) -> bool {
        let followers = self.0.borrow();
        followers
            .iter()
            .all(|follower| follower.is_closed() || follower.capacity() == follower.max_capacity())
    }
}
