//! File descriptors that the runtime polls for readiness.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use std::sync::Arc;

use nix::sys::inotify::Inotify;
use nix::sys::timerfd::TimerFd;
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::packet::{PacketSocket, RingSocket};

/// An owner of a file descriptor.
#[derive(Debug)]
pub struct Watched<T>(pub T);

/// Watches an inotify instance.
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

/// Watches the owner of a descriptor for these kinds of readiness.
pub fn register_for<T: Owner>(inner: T, interest: Interest) -> io::Result<AsyncFd<Watched<T>>> {
    // SAFETY: an `Owner` returns the same open descriptor until it is dropped, and `AsyncFd` drops it after
    // deregistering that descriptor.
    unsafe { AsyncFd::register_with_interest(Watched(inner), interest) }.map_err(io::Error::from)
}

/// The owner of a descriptor.
///
/// # Safety
/// `raw` returns the same open descriptor for the lifetime of the value.
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
unsafe impl Owner for RingSocket {
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
