//! Limits the number of concurrent clients: when all places are taken, the client that has been waited for longest is
//! disconnected.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};

/// Maximum number of concurrent clients, not counting followers of events.
const MAX_CLIENTS: usize = 64;

/// All clients.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// By number, in order of connection.
    served: RefCell<BTreeMap<u64, Client>>,
    next: Cell<u64>,
    left: Notify,
}

#[derive(Debug)]
struct Client {
    /// The daemon waits for this client.
    is_awaited: bool,
    task: Option<AbortHandle>,
}

/// The place of one client, released on drop.
#[derive(Debug)]
pub(super) struct ClientSlot {
    clients: Clients,
    number: u64,
}

impl Clients {
    /// Waits for a place for another client. If none is free, the client that has been waited for longest is
    /// disconnected.
    pub(super) async fn place(&self) -> ClientSlot {
        while self.0.served.borrow().len() >= MAX_CLIENTS && !self.let_one_go() {
            self.0.left.notified().await;
        }
        let number = self.0.next.get();
        self.0.next.set(number + 1);
        self.0.served.borrow_mut().insert(number, Client { is_awaited: true, task: None });
        ClientSlot { clients: self.clone(), number }
    }

    /// Sets the task that serves the client at a place, so that it can be aborted.
    pub(super) fn serve(&self, number: u64, task: &JoinHandle<()>) {
        if let Some(served) = self.0.served.borrow_mut().get_mut(&number) {
            served.task = Some(task.abort_handle());
        }
    }

    fn let_one_go(&self) -> bool {
        let mut served = self.0.served.borrow_mut();
        let oldest = served.iter().find(|(_, served)| served.is_awaited && served.task.is_some());
        let Some(gone) = oldest.map(|(number, _)| *number).and_then(|number| served.remove(&number)) else {
            return false;
        };
        // The task ends at its next turn, not within this one.
        gone.task.inspect(AbortHandle::abort);
        true
    }
}

impl ClientSlot {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Notes whether the daemon waits for the client, for its request or for it to read its answer.
    pub(super) fn is_awaited(&self, is_awaited: bool) {
        if let Some(served) = self.clients.0.served.borrow_mut().get_mut(&self.number) {
            served.is_awaited = is_awaited;
        }
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        self.clients.0.served.borrow_mut().remove(&self.number);
        self.clients.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Adds a client that never sends anything.
    async fn serve(clients: &Clients, is_awaited: bool) -> (u64, JoinHandle<()>) {
        let place = clients.place().await;
        let number = place.number();
        place.is_awaited(is_awaited);
        let task = tokio::task::spawn_local(async move {
            let _place = place;
            std::future::pending::<()>().await;
        });
        clients.serve(number, &task);
        (number, task)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn client_that_has_been_waited_for_longest_makes_room_and_one_that_waits_for_us_does_not() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let clients = Clients::default();
                let mut tasks = Vec::new();
                for number in 0..MAX_CLIENTS {
                    tasks.push(serve(&clients, number > 1).await.1);
                }
                serve(&clients, false).await;
                let gone = (&mut tasks[2]).await.expect_err("it was let go");
                assert!(gone.is_cancelled());
                assert_eq!(clients.0.served.borrow().len(), MAX_CLIENTS);
                assert!(!tasks[0].is_finished() && !tasks[1].is_finished() && !tasks[3].is_finished());
            })
            .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn where_all_wait_for_us_the_next_one_has_the_place_of_the_first_that_is_done() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let clients = Clients::default();
                let mut places = Vec::new();
                for _ in 0..MAX_CLIENTS {
                    let place = clients.place().await;
                    place.is_awaited(false);
                    places.push(place);
                }
                let place = clients.place();
                tokio::pin!(place);
                assert!(tokio::time::timeout(Duration::from_millis(10), &mut place).await.is_err());
                places.pop();
                place.await;
            })
            .await;
    }
}
