//! Waits for many sockets at once, with one system call.
//!
//! Each [`Source`] is registered with the runtime's epoll set. When data arrives, the runtime wakes the waker of that
//! source, which records its number; so the loop reads only the sockets with data, regardless of their number.
//!
//! The kernel reports each arrival once (edge-triggered). After reading a source, call [`Source::was_read`]: it is not
//! ready again before. Data that arrives after the last read is not lost: the runtime polls only while the loop waits,
//! it has one thread, and there is no await between a read and `was_read`. A source may be ready without data.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys::watch::{self, Owner, Watched};

/// The sources that are ready.
#[derive(Debug, Default)]
pub struct Readiness(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared(Mutex<Woken>);

#[derive(Debug, Default)]
struct Woken {
    /// The ready sources, in order; one may occur twice.
    numbers: Vec<u64>,
    /// Waker of the loop, while it waits.
    waiting: Option<Waker>,
}

/// A descriptor, watched until this is dropped.
#[derive(Debug)]
pub struct Source<T: Owner> {
    watched: AsyncFd<Watched<T>>,
    bell: Arc<Bell>,
}

/// Records that a source is ready.
#[derive(Debug)]
struct Bell {
    number: u64,
    shared: Arc<Shared>,
}

impl Readiness {
    /// Watches a descriptor for reading under this number.
    ///
    /// # Errors
    /// The descriptor cannot be watched, or is already watched.
    pub fn watch<T: Owner>(&self, inner: T, number: u64) -> io::Result<Source<T>> {
        self.watch_for(inner, number, Interest::READABLE)
    }

    /// Watches a descriptor for reading and, on [`Source::wants_room`], for writing.
    ///
    /// # Errors
    /// As for [`Readiness::watch`].
    pub fn watch_both_ways<T: Owner>(&self, inner: T, number: u64) -> io::Result<Source<T>> {
        self.watch_for(inner, number, Interest::READABLE | Interest::WRITABLE)
    }

    fn watch_for<T: Owner>(&self, inner: T, number: u64, interest: Interest) -> io::Result<Source<T>> {
        let watched = watch::register_for(inner, interest)?;
        let source = Source { watched, bell: Arc::new(Bell { number, shared: Arc::clone(&self.0) }) };
        source.wait_to_read();
        Ok(source)
    }

    /// A waker that makes this number ready, for events without a descriptor.
    pub fn waker(&self, number: u64) -> Waker {
        Waker::from(Arc::new(Bell { number, shared: Arc::clone(&self.0) }))
    }

    /// Waits until a source is ready, and adds the numbers of the ready sources to `numbers`. A number may belong to a
    /// source that was dropped.
    pub async fn ready(&self, numbers: &mut Vec<u64>) {
        poll_fn(|context| {
            let mut woken = self.0.woken();
            if woken.numbers.is_empty() {
                woken.waiting = Some(context.waker().clone());
                return Poll::Pending;
            }
            numbers.append(&mut woken.numbers);
            Poll::Ready(())
        })
        .await;
    }

    /// Adds the numbers of the sources that are ready now to `numbers`.
    pub fn take_ready(&self, numbers: &mut Vec<u64>) {
        numbers.append(&mut self.0.woken().numbers);
    }
}

impl<T: Owner> Source<T> {
    /// Records that the source was read, and whether all data was read. If not, the source is ready again.
    pub fn was_read(&self, all: bool) {
        let waker = self.waker();
        if all
            && let Poll::Ready(Ok(mut ready)) = self.watched.poll_read_ready(&mut Context::from_waker(&waker))
        {
            ready.clear_ready();
        }
        self.wait_to_read();
    }

    /// Makes the source ready when it can be written again; call it after a write that would have blocked.
    pub fn wants_room(&self) {
        let waker = self.waker();
        let mut context = Context::from_waker(&waker);
        if let Poll::Ready(Ok(mut ready)) = self.watched.poll_write_ready(&mut context) {
            ready.clear_ready();
        }
        if self.watched.poll_write_ready(&mut context).is_ready() {
            self.bell.ring();
        }
    }

    /// Wakes the bell when the source is readable, which may be at once.
    fn wait_to_read(&self) {
        if self.watched.poll_read_ready(&mut Context::from_waker(&self.waker())).is_ready() {
            self.bell.ring();
        }
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.bell))
    }
}

impl<T: Owner> Deref for Source<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.watched.get_ref().0
    }
}

impl Bell {
    fn ring(&self) {
        let mut woken = self.shared.woken();
        woken.numbers.push(self.number);
        let waiting = mem::take(&mut woken.waiting);
        drop(woken);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

impl Shared {
    fn woken(&self) -> MutexGuard<'_, Woken> {
        // A panic leaves no partial change here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    use socket2::{Domain, Socket, Type};
    use tokio::time::{Duration, timeout};

    fn pair() -> [Socket; 2] {
        let (one, other) = Socket::pair(Domain::UNIX, Type::DGRAM.nonblocking(), None).expect("sockets");
        [one, other]
    }

    /// The sources that are ready now. The runtime polls its descriptors while this waits.
    async fn ready_now(readiness: &Readiness) -> Vec<u64> {
        let mut numbers = Vec::new();
        let _ = timeout(Duration::from_millis(20), readiness.ready(&mut numbers)).await;
        numbers
    }

    #[tokio::test(flavor = "current_thread")]
    async fn only_sources_with_something_to_read_are_ready() {
        let readiness = Readiness::default();
        let [watched, mut sender] = pair();
        let [silent, _kept] = pair();
        let source = readiness.watch(watched, 1).expect("is watched");
        let _silent = readiness.watch(silent, 2).expect("is watched");
        assert!(ready_now(&readiness).await.is_empty());
        for _ in 0..2 {
            sender.write_all(b"one").expect("writes");
            assert_eq!(ready_now(&readiness).await, [1]);
            assert_eq!((&*source).read(&mut [0; 8]).expect("reads"), 3);
            source.was_read(true);
            assert!(ready_now(&readiness).await.is_empty());
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn source_that_was_not_read_to_its_end_is_ready_again() {
        let readiness = Readiness::default();
        let [watched, mut sender] = pair();
        sender.write_all(b"before it is watched").expect("writes");
        let source = readiness.watch(watched, 1).expect("is watched");
        sender.write_all(b"two").expect("writes");
        assert_eq!(ready_now(&readiness).await, [1]);
        assert!((&*source).read(&mut [0; 32]).is_ok());
        source.was_read(false);
        assert_eq!(ready_now(&readiness).await, [1]);
        assert!((&*source).read(&mut [0; 32]).is_ok());
        source.was_read(true);
        assert!(ready_now(&readiness).await.is_empty());
        drop(source);
        sender.write_all(b"nobody reads").expect_err("the other end is closed");
        assert!(ready_now(&readiness).await.is_empty());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn number_of_a_waker_is_ready_after_each_time_that_it_wakes() {
        let readiness = Readiness::default();
        let waker = readiness.waker(7);
        assert!(ready_now(&readiness).await.is_empty());
        for _ in 0..2 {
            waker.wake_by_ref();
            assert_eq!(ready_now(&readiness).await, [7]);
            assert!(ready_now(&readiness).await.is_empty());
        }
        waker.wake();
        let mut numbers = vec![1];
        readiness.take_ready(&mut numbers);
        assert_eq!(numbers, [1, 7]);
        readiness.take_ready(&mut numbers);
        assert_eq!(numbers, [1, 7]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn source_that_wants_room_is_ready_when_the_other_side_has_read() {
        let readiness = Readiness::default();
        let [watched, mut reader] = pair();
        let source = readiness.watch_both_ways(watched, 1).expect("is watched");
        assert!(ready_now(&readiness).await.is_empty(), "room is not asked for");
        while (&*source).write(&[0; 1024]).is_ok() {}
        source.wants_room();
        assert!(ready_now(&readiness).await.is_empty());
        while reader.read(&mut [0; 1024]).is_ok() {}
        assert_eq!(ready_now(&readiness).await, [1]);
    }
}
