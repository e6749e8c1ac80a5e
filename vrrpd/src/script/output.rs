//! Copies the output of scripts to the log, line by line.
//!
//! A script and everything that it leaves running share one pipe for standard output and standard error. While a
//! process holds the pipe of a script, the next run of that script gets the same one; so the daemon has at most one
//! descriptor for each script of each router. The pipe is read as long as the daemon lives, since closing it would kill
//! its writers (SIGPIPE).

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::unix::pipe::{self, Receiver};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::limits;

/// How long the next script waits for the last output of one that has ended.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Maximum length of a log line in octets; a longer line is split.
const MAX_LINE: usize = 1024;
/// Burst of logged lines of a pipe, and lines per second after that, so that endless output does not fill the log.
const BURST: u32 = 1000;
const LINES_A_SECOND: u32 = 100;
/// Octets read at once, followed by a pause, so that endless output does not block the event loop.
const AT_ONCE: usize = 32 << 10;
const PAUSE: Duration = Duration::from_millis(5);
const CHUNK: usize = 8 << 10;
/// Interval of log lines about omitted lines.
const SUMMARY: Duration = Duration::from_secs(1);

/// The pipes that are still held, by router and script.
#[derive(Clone, Debug, Default)]
pub(super) struct Outputs(Rc<RefCell<HashMap<(String, PathBuf), Output>>>);

#[derive(Clone, Debug)]
pub(super) struct Output {
    /// The reader holds the pipe until the last writer is gone.
    pipe: Weak<Receiver>,
    ended: Rc<Notify>,
}

impl Outputs {
    /// The pipe of a script, and a writing end.
    ///
    /// # Errors
    /// `EMFILE` also if only the descriptors reserved for the protocol are left.
    pub(super) fn open(&self, router: &str, script: &Path) -> io::Result<(Output, OwnedFd)> {
        let mut outputs = self.0.borrow_mut();
        outputs.retain(|_, output| output.is_open());
        let key = (router.to_owned(), script.to_owned());
        if let Some(output) = outputs.get(&key)
            && let Some(writer) = output.writer()
        {
            return Ok((output.clone(), keep_reserve(writer)?));
        }
        let (writer, reader) = pipe::pipe()?;
        let writer = keep_reserve(writer.into_blocking_fd()?)?;
        let reader = Rc::new(reader);
        let output = Output { pipe: Rc::downgrade(&reader), ended: Rc::default() };
        let ended = Rc::clone(&output.ended);
        let (router, script) = (router.to_owned(), script.display().to_string());
        tokio::task::spawn_local(async move {
            copy(&reader, &router, &script).await;
            drop(reader);
            ended.notify_waiters();
        });
        outputs.insert(key, output.clone());
        Ok((output, writer))
    }
}

impl Output {
    fn is_open(&self) -> bool {
        self.pipe.strong_count() > 0
    }

    /// Another writing end.
    fn writer(&self) -> Option<OwnedFd> {
        let pipe = self.pipe.upgrade()?;
        let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
        OpenOptions::new().write(true).open(path).ok().map(OwnedFd::from)
    }

    /// Waits a short time until the output of an ended script was read.
    pub(super) async fn last_words(&self) {
        if self.is_open() {
            // A process that it left running may hold the pipe forever.
            let _ = timeout(LAST_WORDS, self.ended.notified()).await;
        }
    }
}

fn keep_reserve(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if limits::is_reserved(&descriptor) { Err(Errno::EMFILE.into()) } else { Ok(descriptor) }
}

/// Reads until the last writer has closed the pipe.
async fn copy(pipe: &Receiver, router: &str, script: &str) {
    let mut lines = Lines::new(Instant::now());
    let mut chunk = vec![0; CHUNK];
    let mut read = 0;
    let log = |line: &str| info!(router, script, %line, "script output");
    let summary = |lines: &mut Lines| {
        if let Some(count) = lines.take_left_out() {
            warn!(router, script, lines = count, "script output limited");
        }
    };
    let mut told = Instant::now();
    loop {
        if lines.has_left_out() && told.elapsed() >= SUMMARY {
            summary(&mut lines);
            told = Instant::now();
        }
        let ready = if lines.has_left_out() {
            let Ok(ready) = timeout(SUMMARY, pipe.readable()).await else { continue };
            ready
        } else {
            pipe.readable().await
        };
        match ready.and_then(|()| pipe.try_read(&mut chunk)) {
            Ok(0) => break,
            Ok(length) => {
                lines.feed(chunk.get(..length).unwrap_or_default(), Instant::now(), log);
                read += length;
                if read >= AT_ONCE {
                    read = 0;
                    sleep(PAUSE).await;
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    lines.end(log);
    summary(&mut lines);
}

/// Splits output into lines, within the rate limit.
#[derive(Debug)]
struct Lines {
    begun: Vec<u8>,
    /// The rest of the line is omitted.
    leaves_out: bool,
    allowed: u32,
    /// When the rate limit was last updated.
    at: Instant,
    left_out: u64,
}

impl Lines {
    const fn new(now: Instant) -> Self {
        Self { begun: Vec::new(), leaves_out: false, allowed: BURST, at: now, left_out: 0 }
    }

    fn feed(&mut self, mut octets: &[u8], now: Instant, mut log: impl FnMut(&str)) {
        self.refill(now);
        if self.allowed == 0 {
            self.left_out += octets.split(|octet| *octet == b'\n').skip(1).count() as u64;
            self.leaves_out = !octets.ends_with(b"\n");
            self.begun.clear();
            return;
        }
        if self.leaves_out {
            let Some(newline) = octets.iter().position(|octet| *octet == b'\n') else { return };
            self.left_out += 1;
            self.leaves_out = false;
            octets = octets.get(newline + 1..).unwrap_or_default();
        }
        for mut rest in octets.split_inclusive(|octet| *octet == b'\n') {
            while !rest.is_empty() {
                let room = MAX_LINE - self.begun.len();
                let (taken, later) = rest.split_at(room.min(rest.len()));
                self.begun.extend_from_slice(taken);
                rest = later;
                if self.begun.ends_with(b"\n") || self.begun.len() == MAX_LINE {
                    self.end(&mut log);
                }
            }
        }
    }

    fn refill(&mut self, now: Instant) {
        if self.allowed == 0 {
            let passed = now.saturating_duration_since(self.at).as_millis();
            let more = u32::try_from(passed * u128::from(LINES_A_SECOND) / 1000).unwrap_or(BURST).min(BURST);
            if more > 0 {
                (self.allowed, self.at) = (more, now);
            }
        }
    }

    /// Ends the current line.
    fn end(&mut self, mut log: impl FnMut(&str)) {
        if self.begun.is_empty() {
            return;
        }
        if let Some(fewer) = self.allowed.checked_sub(1) {
            self.allowed = fewer;
            log(String::from_utf8_lossy(&self.begun).trim_end());
        } else {
            self.left_out += 1;
        }
        self.begun.clear();
    }

    const fn has_left_out(&self) -> bool {
        self.left_out > 0
    }

    fn take_left_out(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.left_out)).filter(|count| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(lines: &mut Lines, text: &str, now: Instant) -> Vec<String> {
        let mut logged = Vec::new();
        lines.feed(text.as_bytes(), now, |line| logged.push(line.to_owned()));
        logged
    }

    #[test]
    fn lines_are_put_together_from_pieces_and_long_ones_are_divided() {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        assert_eq!(logged(&mut lines, "one\ntw", now), ["one"]);
        assert_eq!(logged(&mut lines, "o\r\n\nthree", now), ["two", ""]);
        let mut last = Vec::new();
        lines.end(|line| last.push(line.to_owned()));
        assert_eq!(last, ["three"]);
        let divided = logged(&mut lines, &format!("{}\n", "x".repeat(2 * MAX_LINE + 1)), now);
        assert_eq!(divided.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, MAX_LINE, 1]);
    }

    #[test]
    fn more_lines_than_the_log_is_to_have_are_counted() {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        let text = "y\n".repeat(BURST as usize + 20);
        assert_eq!(logged(&mut lines, &text, now).len(), BURST as usize);
        assert_eq!(lines.take_left_out(), Some(20));
        assert_eq!(lines.take_left_out(), None);
        assert!(logged(&mut lines, "y\nhalf", now).is_empty());
        let later = now + Duration::from_secs(2);
        let text = format!(" of a line\n{text}");
        let after = logged(&mut lines, &text, later);
        assert_eq!((after.len(), after[0].as_str()), (2 * LINES_A_SECOND as usize, "y"));
        assert_eq!(lines.take_left_out(), Some(2 + u64::from(BURST) + 20 - 2 * u64::from(LINES_A_SECOND)));
        let much_later = later + Duration::from_hours(1);
        assert_eq!(logged(&mut lines, &"y\n".repeat(2000), much_later).len(), BURST as usize);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_script_s_pipe_is_one_as_long_as_something_holds_it() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let outputs = Outputs::default();
                let (first, left_behind) = outputs.open("eth0/51", Path::new("/up")).expect("opens");
                let (again, _) = outputs.open("eth0/51", Path::new("/up")).expect("opens");
                assert!(Weak::ptr_eq(&first.pipe, &again.pipe));
                let (other, _) = outputs.open("eth0/51", Path::new("/down")).expect("opens");
                assert!(!Weak::ptr_eq(&first.pipe, &other.pipe));
                drop(left_behind);
                first.last_words().await;
                assert!(!first.is_open());
                let (anew, _) = outputs.open("eth0/51", Path::new("/up")).expect("opens");
                assert!(!Weak::ptr_eq(&first.pipe, &anew.pipe));
            })
            .await;
    }
}
