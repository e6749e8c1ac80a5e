//! A process that crashes reports it before its core is written: writing may take minutes with a slow disk or program,
//! and the process keeps everything open meanwhile.

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

/// The socket for the report.
static SOCKET: AtomicI32 = AtomicI32::new(NONE);
/// The process that reports; a child that has not executed its program yet must not.
static PROCESS: AtomicI32 = AtomicI32::new(0);
/// The message.
static WORDS: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// From now on a crash of this process sends this message over the socket, which must stay open until [`say_nothing`].
pub fn say(words: &'static [u8], socket: BorrowedFd<'_>) -> io::Result<()> {
    WORDS.store(words.as_ptr().cast_mut(), Ordering::Relaxed);
    LENGTH.store(words.len(), Ordering::Relaxed);
    PROCESS.store(nix::unistd::getpid().as_raw(), Ordering::Relaxed);
    SOCKET.store(socket.as_raw_fd(), Ordering::Release);
    // The handler runs once; then the signal has its default action. On the threads' alternate signal stack, since a
    // stack overflow may be the cause.
    let flags = SaFlags::SA_RESETHAND | SaFlags::SA_ONSTACK;
    let action = SigAction::new(SigHandler::Handler(dying), flags, SigSet::empty());
    for signal in FATAL {
        // SAFETY: the handler makes only async-signal-safe system calls, and accesses only atomics.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// Stops reporting, before the socket is closed.
pub fn say_nothing() {
    SOCKET.store(NONE, Ordering::Release);
}

extern "C" fn dying(signal: libc::c_int) {
    let socket = SOCKET.load(Ordering::Acquire);
    // SAFETY: no arguments.
    let process = unsafe { libc::getpid() };
    if socket != NONE && process == PROCESS.load(Ordering::Relaxed) {
        let words = WORDS.load(Ordering::Relaxed).cast_const().cast();
        // SAFETY: the message is static and has this length; sending does not block.
        unsafe {
            libc::send(
                socket,
                words,
                LENGTH.load(Ordering::Relaxed),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            );
        }
    }
    // SAFETY: sends this thread a signal that is blocked until this returns; it has its default action then.
    unsafe { libc::raise(signal) };
}
