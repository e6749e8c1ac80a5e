//! Programs that are being detached from interfaces, each in a thread of its own.
//!
//! Detaching waits for a kernel lock that others may hold for long, then for a grace period of ten milliseconds. Until it is
//! done the hook is occupied, so the next program of the interface waits for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use vrrpd_common::Duration;

use super::closing;

/// The interfaces that programs are being detached from. Cheap to clone, and usable from any thread.
#[derive(Clone, Debug, Default)]
pub struct Detaching(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Indexes of the interfaces, one entry for each program.
    interfaces: Mutex<Vec<u32>>,
    has_ended: Condvar,
}

/// A program that is being detached by dropping it. The entry is removed after that.
struct Leaving<T> {
    #[expect(dead_code, reason = "held for what dropping it does")]
    link: T,
    #[expect(dead_code, reason = "held for what dropping it does")]
    entry: Entry,
}

/// One entry of [`State::interfaces`].
struct Entry {
    detaching: Detaching,
    interface: u32,
}

impl Detaching {
    /// Drops the link of a program to the interface with this index, in another thread.
    pub(super) fn detach(&self, interface: u32, link: impl Send + 'static) {
        self.interfaces().push(interface);
        closing::let_go(Leaving { link, entry: Entry { detaching: self.clone(), interface } });
    }

    /// Waits until no program is being detached from the interface with this index, for at most `patience`.
    pub(super) fn wait_for(&self, interface: u32, patience: Duration) {
        self.wait_until(patience, |interfaces| !interfaces.contains(&interface));
    }

    /// Waits until no program is being detached from any interface, for at most `patience`.
    pub fn wait_for_all(&self, patience: Duration) {
        self.wait_until(patience, <[u32]>::is_empty);
    }

    fn wait_until(&self, patience: Duration, is_over: impl Fn(&[u32]) -> bool) {
        let goes_on = |interfaces: &mut Vec<u32>| !is_over(interfaces);
        // A lock is poisoned only by a panic of its holder, and the list is consistent after every statement.
        drop(self.0.has_ended.wait_timeout_while(self.interfaces(), patience.into(), goes_on));
    }

    fn interfaces(&self) -> MutexGuard<'_, Vec<u32>> {
        self.0.interfaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut interfaces = self.detaching.interfaces();
        if let Some(place) = interfaces.iter().position(|interface| *interface == self.interface) {
            interfaces.swap_remove(place);
        }
        self.detaching.0.has_ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A link that is detached when it is told to.
    struct Slow(mpsc::Receiver<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    #[test]
    fn next_program_waits_until_the_last_one_is_detached_and_other_interfaces_do_not() {
        let detaching = Detaching::default();
        let (ends, waits) = mpsc::channel();
        detaching.detach(3, Slow(waits));
        detaching.wait_for(4, LONG);
        detaching.wait_for(3, Duration::from_millis(1));
        assert_eq!(*detaching.interfaces(), [3]);
        drop(ends);
        detaching.wait_for(3, LONG);
        assert!(detaching.interfaces().is_empty());
    }

    #[test]
    fn end_waits_for_every_interface() {
        let detaching = Detaching::default();
        let (ends, waits): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::channel::<()>()).unzip();
        for (interface, waits) in (3..).zip(waits) {
            detaching.detach(interface, Slow(waits));
        }
        drop(ends);
        detaching.wait_for_all(LONG);
        assert!(detaching.interfaces().is_empty());
    }
}
