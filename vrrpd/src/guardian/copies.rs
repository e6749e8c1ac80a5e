//! Descriptors whose closing takes the kernel time: packet sockets and programs on interfaces wait for every processor to
//! have passed by, some ten milliseconds each, one after the other when a process dies. The end of the daemon's socket to
//! its guardian, by which the guardian hears of the death, would come behind all of them. So the guardian holds a copy of
//! each, and what a dying daemon closes is never the last one.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use super::GuardianMessage;
use crate::sys::pass;

/// Has the guardian hold copies. Handles are cheap, and may be used from any thread.
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
    /// What the guardian has not been told yet, in order: its socket was full.
    waiting: VecDeque<Wish>,
}

#[derive(Debug)]
enum Wish {
    Hold(u64, OwnedFd),
    LetGo(u64),
}

/// Something of which the guardian holds a copy for as long as this lives. It is closed first, while that copy is there,
/// so that closing it takes no time.
pub struct Kept<T> {
    inner: T,
    copy: Option<Copy>,
}

/// A copy, by its number.
#[derive(Debug)]
struct Copy {
    keeper: Arc<Inner>,
    number: u64,
}

impl Keeper {
    pub(super) fn new(socket: Arc<OwnedFd>) -> Self {
        Self(Some(Arc::new(Inner { socket, state: Mutex::default() })))
    }

    /// Has the guardian hold a copy of the descriptor of `inner`. Without a guardian there is none, and all else is the
    /// same.
    pub fn keep<T: AsFd>(&self, inner: T) -> Kept<T> {
        let copy = self.0.as_ref().and_then(|keeper| keeper.hold(&inner));
        Kept { inner, copy }
    }

    /// Tells the guardian what it had no room for before.
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
        // Nothing here is left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(self: &Arc<Self>, what: &impl AsFd) -> Option<Copy> {
        // Of one that waits, there has to be something to send later.
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
                // As many are on their way as may be; it has heard more by the next turn.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(libc::ETOOMANYREFS) =>
                {
                    return;
                }
                // That it has ended is said when its socket says so.
                Ok(()) | Err(_) => drop(state.waiting.pop_front()),
            }
        }
    }
}

impl GuardianMessage {
    /// Sends it; `WouldBlock` when the guardian has not yet listened to what came before.
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
    /// Something else of the same descriptor.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Kept<U> {
        Kept { inner: change(self.inner), copy: self.copy }
    }
}
