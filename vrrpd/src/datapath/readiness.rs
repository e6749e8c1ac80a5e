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

    /// Also says of a socket in the set, or does not any more, when there is room to write.
    pub fn also_room(&self, socket: impl AsFd, number: u64, also: bool) -> io::Result<()> {
        let room = if also { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        Ok(self.0.get_ref().0.modify(socket, &mut EpollEvent::new(EpollFlags::EPOLLIN | room, number))?)
    }

    /// Takes a socket out of the set that stays open.
    pub fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(self.0.get_ref().0.delete(socket)?)
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
