//! File descriptors that the runtime watches for readiness.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::sys::epoll::Epoll;
use nix::sys::inotify::Inotify;
use nix::sys::timerfd::TimerFd;
use socket2::Socket;
use tokio::io::unix::AsyncFd;

/// Something with a file descriptor of its own.
#[derive(Debug)]
pub struct Watched<T>(pub T);

/// Watches a timer.
pub fn timer(timer: TimerFd) -> io::Result<AsyncFd<Watched<TimerFd>>> {
    register(timer)
}

/// Watches a set of other descriptors.
pub fn set(set: Epoll) -> io::Result<AsyncFd<Watched<Epoll>>> {
    register(set)
}

/// Watches the changes of files.
pub fn files(files: Inotify) -> io::Result<AsyncFd<Watched<Inotify>>> {
    register(files)
}

/// Watches a socket.
pub fn socket(socket: Socket) -> io::Result<AsyncFd<Watched<Socket>>> {
    register(socket)
}

/// Watches what is nothing but a descriptor.
pub fn descriptor(descriptor: OwnedFd) -> io::Result<AsyncFd<Watched<OwnedFd>>> {
    register(descriptor)
}

fn register<T: AsRaw>(inner: T) -> io::Result<AsyncFd<Watched<T>>> {
    // SAFETY: the callers hand over types that own one descriptor, give out the same one until they are dropped, and
    // are dropped by `AsyncFd` only after it has let go of that descriptor.
    unsafe { AsyncFd::register(Watched(inner)) }.map_err(io::Error::from)
}

/// The descriptor that a type owns.
pub trait AsRaw {
    /// The descriptor.
    fn raw(&self) -> RawFd;
}

impl AsRaw for TimerFd {
    fn raw(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsRaw for Epoll {
    fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsRaw for Inotify {
    fn raw(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsRaw for Socket {
    fn raw(&self) -> RawFd {
        self.as_raw_fd()
    }
}

impl AsRaw for OwnedFd {
    fn raw(&self) -> RawFd {
        self.as_raw_fd()
    }
}

impl<T: AsRaw> AsRawFd for Watched<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.raw()
    }
}
