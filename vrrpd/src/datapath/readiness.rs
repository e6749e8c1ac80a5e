//! Waiting for any of many sockets at once.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::unix::AsyncFd;

use crate::sys::watch::{self, Watched};

/// Sockets that answer in one call.
const AT_ONCE: usize = 64;

/// A set of sockets with a number each.
#[derive(Debug)]
pub struct Readiness(AsyncFd<Watched<Epoll>>);

impl Readiness {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        Ok(Self(watch::set(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?)?))
    }

    /// Adds a socket. It leaves the set when it is closed.
    pub fn add(&self, socket: impl AsFd, number: u64) -> io::Result<()> {
        Ok(self.0.get_ref().0.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, number))?)
    }

    /// Waits until something can be read, and says the numbers of the sockets where.
    pub async fn ready(&self, numbers: &mut Vec<u64>) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); AT_ONCE];
        loop {
            let mut guard = self.0.readable().await?;
            let count = match guard.get_inner().0.wait(&mut events, EpollTimeout::ZERO) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if count > 0 {
                numbers.extend(events.iter().take(count).map(EpollEvent::data));
                return Ok(());
            }
            guard.clear_ready();
        }
    }
}
