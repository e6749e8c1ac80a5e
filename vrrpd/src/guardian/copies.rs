//! Copies of descriptors that are slow to close: for packet sockets and attached programs the kernel waits for an RCU
//! grace period, some ten milliseconds each, one after the other when a process dies. The daemon's socket to its
//! guardian, by which the guardian notices the death, would be closed after all of them. So the guardian holds a copy
//! of each, and a dying daemon never closes the last one.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use super::message::GuardianMessage;
use crate::sys::pass;

/// Makes the guardian hold copies. Cheap to clone, and usable from any thread.
#[derive(Clone, Debug, Default)]
pub struct Keeper(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    socket: Arc<OwnedFd>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// Messages not sent yet, in order, since the socket was full.
    waiting: VecDeque<Wish>,
}

#[derive(Debug)]
enum Wish {
    Hold(u64, OwnedFd),
    LetGo(u64),
}

/// A descriptor of which the guardian holds a copy during its lifetime. It is closed before the copy, so that closing
/// it takes no time.
pub struct Kept<T> {
    inner: T,
    copy: Option<Copy>,
}

/// A copy, by number.
#[derive(Debug)]
struct Copy {
    keeper: Arc<Inner>,
    number: u64,
}

impl Keeper {
    pub(super) fn new(socket: Arc<OwnedFd>) -> Self {
        Self(Some(Arc::new(Inner { socket, state: Mutex::default() })))
    }

    /// Makes the guardian hold a copy of the descriptor of `inner`. Without a guardian there is no copy.
    pub fn keep<T: AsFd>(&self, inner: T) -> Kept<T> {
        let copy = self.0.as_ref().and_then(|keeper| keeper.hold(&inner));
        Kept { inner, copy }
    }

    /// Sends messages that did not fit before.
    pub fn catch_up(&self) {
        if let Some(keeper) = &self.0 {
            let mut state = keeper.state();
            if !state.waiting.is_empty() {
                keeper.send_waiting(&mut state);
            }
        }
    }
}

impl Inner {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is consistent after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(self: &Arc<Self>, what: &impl AsFd) -> Option<Copy> {
        // A queued message needs its own descriptor.
        let descriptor = what.as_fd().try_clone_to_owned().ok()?;
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.waiting.push_back(Wish::Hold(number, descriptor));
        self.send_waiting(&mut state);
        Some(Copy { keeper: Arc::clone(self), number })
    }

    fn let_go(&self, number: u64) {
        let mut state = self.state();
        let told = state.waiting.len();
        state.waiting.retain(|wish| !matches!(wish, Wish::Hold(waiting, _) if *waiting == number));
        if state.waiting.len() == told {
            state.waiting.push_back(Wish::LetGo(number));
            self.send_waiting(&mut state);
        }
    }

    fn send_waiting(&self, state: &mut State) {
        while let Some(wish) = state.waiting.front() {
            let (message, descriptor) = match wish {
                Wish::Hold(number, descriptor) => (GuardianMessage::Hold(*number), Some(descriptor.as_fd())),
                Wish::LetGo(number) => (GuardianMessage::LetGo(*number), None),
            };
            match message.send(&self.socket, descriptor) {
                // The socket is full; it has room again by the next turn.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(libc::ETOOMANYREFS) =>
                {
                    return;
                }
                // The end of the guardian is logged when its socket reports it.
                Ok(()) | Err(_) => drop(state.waiting.pop_front()),
            }
        }
    }
}

impl GuardianMessage {
    /// Sends a message; `WouldBlock` if the guardian's socket is full.
    pub(super) fn send(
        &self,
        socket: &OwnedFd,
        descriptor: Option<std::os::fd::BorrowedFd<'_>>,
    ) -> io::Result<()> {
        pass::send(socket.as_fd(), &serde_json::to_vec(self)?, descriptor)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.keeper.let_go(self.number);
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: fmt::Debug> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T> Kept<T> {
    /// Converts the value, keeping the copy of its descriptor.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Kept<U> {
        Kept { inner: change(self.inner), copy: self.copy }
    }
}
