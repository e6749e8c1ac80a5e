//! Ends the client when its output is no longer read: the pipe is closed or the terminal gone. A separate thread waits
//! for that, since other threads wait for daemons or block while writing to a terminal.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// Time that a view has to restore its terminal after a signal.
const GRACE: Duration = Duration::from_secs(1);

/// Exit status when the reader of the output has gone.
const READ_ENOUGH: i32 = 0;

/// Ends this process as soon as the reader of its standard output is gone, even while there is nothing to write.
pub(crate) fn end_with_reader() -> io::Result<()> {
    start(|| {
        while !has_hung_up(&mut [silent(&io::stdout())], PollTimeout::NONE) {}
        process::exit(READ_ENOUGH)
    })
}

/// Ends this process as soon as its terminal is gone. The returned flag becomes true on a terminating signal; the
/// process then has a second to restore its terminal and exit.
pub(crate) fn end_with_terminal() -> io::Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    let (signals, signalled) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        pipe::register(signal, signals.try_clone()?)?;
    }
    let leave = Arc::clone(&asked);
    start(move || {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let mut deadline: Option<Instant> = None;
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.map_or(PollTimeout::NONE, |left| left.try_into().unwrap_or(PollTimeout::MAX));
            // A pending signal remains readable and need not be polled again.
            let wanted = if deadline.is_none() { PollFlags::POLLIN } else { PollFlags::empty() };
            let mut watched = [silent(&stdin), silent(&stdout), PollFd::new(signalled.as_fd(), wanted)];
            if has_hung_up(&mut watched, timeout) || left.is_some_and(|left| left.is_zero()) {
                process::exit(READ_ENOUGH);
            }
            if deadline.is_none() && watched[2].any() == Some(true) {
                leave.store(true, Ordering::Relaxed);
                deadline = Some(Instant::now() + GRACE);
            }
        }
    })?;
    Ok(asked)
}

fn start(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("hangup".into()).spawn(work).map(drop)
}

/// A descriptor polled for hang-up and errors only.
fn silent(descriptor: &impl AsFd) -> PollFd<'_> {
    PollFd::new(descriptor.as_fd(), PollFlags::empty())
}

/// Waits for an event; returns whether one of the descriptors has hung up.
fn has_hung_up(watched: &mut [PollFd<'_>], timeout: PollTimeout) -> bool {
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    match poll(watched, timeout) {
        Ok(_) => watched.iter().any(|one| one.revents().is_some_and(|events| events.intersects(gone))),
        Err(error) => error != Errno::EINTR,
    }
}
