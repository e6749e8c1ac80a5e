//! File descriptors that the runtime watches for readiness.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use std::sync::Arc;

use nix::sys::inotify::Inotify;
use nix::sys::timerfd::TimerFd;
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::packet::PacketSocket;

/// Something with a file descriptor of its own.
#[derive(Debug)]
pub struct Watched<T>(pub T);

/// Watches a timer.
pub fn timer(timer: TimerFd) -> io::Result<AsyncFd<Watched<TimerFd>>> {
    register(timer)
}

/// Watches the changes of files.
pub fn files(files: Inotify) -> io::Result<AsyncFd<Watched<Inotify>>> {
    register(files)
}

/// Watches a socket.
pub fn socket(socket: Socket) -> io::Result<AsyncFd<Watched<Socket>>> {
    register(socket)
}

/// Watches any other descriptor.
pub fn descriptor(descriptor: OwnedFd) -> io::Result<AsyncFd<Watched<OwnedFd>>> {
    register(descriptor)
}

fn register<T: Owner>(inner: T) -> io::Result<AsyncFd<Watched<T>>> {
    register_for(inner, Interest::READABLE | Interest::WRITABLE)
}

/// Watches an owner of a descriptor for these kinds of readiness.
pub fn register_for<T: Owner>(inner: T, interest: Interest) -> io::Result<AsyncFd<Watched<T>>> {
    // SAFETY: an `Owner` gives out the same open descriptor until it is dropped, and `AsyncFd` drops it only after it has let
    // go of that descriptor.
    unsafe { AsyncFd::register_with_interest(Watched(inner), interest) }.map_err(io::Error::from)
}

/// A type that owns a descriptor.
///
/// # Safety
/// `raw` returns the same descriptor for as long as the value lives, and that descriptor stays open.
pub unsafe trait Owner {
    /// The descriptor.
    fn raw(&self) -> RawFd;
}

// SAFETY: owns the descriptor and never replaces it.
unsafe impl Owner for TimerFd {
    fn raw(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

// SAFETY: owns the descriptor and never replaces it.
unsafe impl Owner for Inotify {
    fn raw(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

// SAFETY: owns the descriptor and never replaces it.
unsafe impl Owner for Socket {
    fn raw(&self) -> RawFd {
        self.as_raw_fd()
    }
}

// SAFETY: owns the descriptor and never replaces it.
unsafe impl Owner for PacketSocket {
    fn raw(&self) -> RawFd {
        self.as_raw_fd()
    }
}

// SAFETY: owns the descriptor and never replaces it.
unsafe impl Owner for OwnedFd {
    fn raw(&self) -> RawFd {
        self.as_raw_fd()
    }
}

// SAFETY: a share in an owner keeps its descriptor open.
unsafe impl<T: Owner> Owner for Arc<T> {
    fn raw(&self) -> RawFd {
        T::raw(self)
    }
}

impl<T: Owner> AsRawFd for Watched<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.raw()
    }
}
