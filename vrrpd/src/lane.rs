//! Work that may block on a disk, a file server or a kernel lock, outside the event loop.
//!
//! Each kind of work has its own [`Lane`], so that no kind waits for another. Each job has its own thread, so an idle
//! daemon has none. A job that takes longer than [`SLOW`] is logged by name and gives up its turn, so that the jobs
//! after it continue; a job that never ends costs one thread, and with [`MAX_STUCK`] of them the lane accepts no more.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout};
use tracing::warn;

/// Time after which a job is logged as slow.
pub const SLOW: Duration = Duration::from_secs(1);
/// Maximum number of slow jobs of a lane.
const MAX_STUCK: usize = 64;

/// One kind of work.
#[derive(Clone, Debug)]
pub struct Lane {
    /// The name of its threads, at most 15 octets.
    name: &'static str,
    turns: Rc<Semaphore>,
    stuck: Rc<Cell<usize>>,
}

/// The lanes of the daemon.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// Checks and starts scripts.
    pub scripts: Lane,
    /// Runs checks.
    pub checks: Lane,
    /// Reads the configuration.
    pub configuration: Lane,
    /// Writes the journal and the state file.
    pub files: Lane,
    /// Loads BPF programs.
    pub programs: Lane,
    /// Makes interfaces accept frames to their own MAC address.
    pub macs: Lane,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            scripts: Lane::scripts(),
            checks: Lane::new("checks", 16),
            configuration: Lane::new("configuration", 1),
            files: Lane::new("files", 1),
            programs: Lane::new("programs", 1),
            macs: Lane::new("macs", 1),
        }
    }
}

impl Lane {
    /// A lane that runs this many jobs concurrently, not counting slow ones.
    pub fn new(name: &'static str, at_once: usize) -> Self {
        Self { name, turns: Rc::new(Semaphore::new(at_once)), stuck: Rc::default() }
    }

    /// The lane that starts scripts. Scripts of several routers may be on a file system that hangs.
    pub fn scripts() -> Self {
        Self::new("scripts", 16)
    }

    /// Runs a job in a thread, in the context of the current runtime. `what` names it in messages: "reading FILE". If
    /// the future is dropped the job goes on, and its result is dropped.
    ///
    /// # Errors
    /// No thread can be created, too many jobs of this lane are slow, or the job panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        what: String,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let ended = |_| io::Error::other(format!("{what} has failed"));
        let turn = self.turns.acquire().await.map_err(io::Error::other)?;
        if self.stuck.get() >= MAX_STUCK {
            return Err(io::Error::other(format!("{MAX_STUCK} {} are slow already", self.name)));
        }
        let begun = Instant::now();
        let (done, mut result) = oneshot::channel();
        let runtime = Handle::current();
        thread::Builder::new().name(self.name.to_owned()).spawn(move || {
            let _context = runtime.enter();
            // The receiver may have given up.
            drop(done.send(job()));
        })?;
        if let Ok(result) = timeout(SLOW, &mut result).await {
            return result.map_err(ended);
        }
        drop(turn);
        let _stuck = Stuck::count(&self.stuck);
        warn!(what, limit = ?SLOW, "operation slow");
        let result = result.await;
        warn!(what, took = %format_args!("{:.1?}", begun.elapsed()), "slow operation finished");
        result.map_err(ended)
    }
}

/// A job that is slow.
struct Stuck(Rc<Cell<usize>>);

impl Stuck {
    fn count(stuck: &Rc<Cell<usize>>) -> Self {
        stuck.set(stuck.get() + 1);
        Self(Rc::clone(stuck))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test(flavor = "current_thread")]
    async fn a_job_that_hangs_loses_its_turn_after_a_second() {
        let lane = Lane::new("test", 1);
        let (release, hangs) = mpsc::channel::<()>();
        let hanging = lane.run("waiting".to_owned(), move || hangs.recv().is_ok());
        let behind = async {
            let before = Instant::now();
            let result = lane.run("working".to_owned(), || 7).await;
            (result.expect("is done"), before.elapsed(), release.send(()))
        };
        let (hung, (result, waited, _)) = tokio::join!(hanging, behind);
        assert!(hung.expect("is done in the end"));
        assert_eq!(result, 7);
        assert!(waited >= SLOW, "{waited:?}");
        assert_eq!(lane.stuck.get(), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_job_that_is_given_up_ends_by_itself() {
        let lane = Lane::new("test", 1);
        let (release, hangs) = mpsc::channel::<()>();
        let (told, ended) = mpsc::channel();
        let job = move || {
            let _ = hangs.recv();
            told.send(())
        };
        let given_up = timeout(Duration::from_millis(10), lane.run("waiting".to_owned(), job)).await;
        assert!(given_up.is_err());
        assert_eq!(lane.run("working".to_owned(), || 7).await.expect("has its turn"), 7);
        drop(release);
        assert!(ended.recv_timeout(Duration::from_secs(5)).is_ok());
    }
}
