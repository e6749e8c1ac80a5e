//! A process that dies of a fault says so before its core is written: that can take a slow disk or a slow program minutes,
//! in which the process keeps all that it has open.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The signals that end a process with a core file.
const FATAL: [Signal; 9] = [
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGTRAP,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
];
/// No socket.
const NONE: i32 = -1;

/// Where it is said.
static SOCKET: AtomicI32 = AtomicI32::new(NONE);
/// The process that says it: not a child of it that has not executed its program yet.
static PROCESS: AtomicI32 = AtomicI32::new(0);
/// What is said.
static WORDS: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// From now on a fault of this process sends these words over the socket, which stays open until [`say_nothing`].
pub fn say(words: &'static [u8], socket: BorrowedFd<'_>) -> io::Result<()> {
    WORDS.store(words.as_ptr().cast_mut(), Ordering::Relaxed);
    LENGTH.store(words.len(), Ordering::Relaxed);
    PROCESS.store(nix::unistd::getpid().as_raw(), Ordering::Relaxed);
    SOCKET.store(socket.as_raw_fd(), Ordering::Release);
    // Once: the second time the signal does what it does by itself. On the stack that threads have for it, since theirs
    // may be what has run out.
    let flags = SaFlags::SA_RESETHAND | SaFlags::SA_ONSTACK;
    let action = SigAction::new(SigHandler::Handler(dying), flags, SigSet::empty());
    for signal in FATAL {
        // SAFETY: the handler makes system calls only that may be made in one, and touches nothing but atomics.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// The socket is about to be closed.
pub fn say_nothing() {
    SOCKET.store(NONE, Ordering::Release);
}

extern "C" fn dying(signal: libc::c_int) {
    let socket = SOCKET.load(Ordering::Acquire);
    // SAFETY: takes nothing.
    let process = unsafe { libc::getpid() };
    if socket != NONE && process == PROCESS.load(Ordering::Relaxed) {
        let words = WORDS.load(Ordering::Relaxed).cast_const().cast();
        // SAFETY: the words are static, of this length; a socket that takes nothing is not waited for.
        unsafe {
            libc::send(
                socket,
                words,
                LENGTH.load(Ordering::Relaxed),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            );
        }
    }
    // SAFETY: sends this thread a signal that is blocked until this returns; it has its default effect then.
    unsafe { libc::raise(signal) };
}
