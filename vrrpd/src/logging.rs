//! Logging: tracing to stderr in the foreground, to syslog facility local1 in the background.
//!
//! A thread writes the lines from a bounded queue: a stuck terminal, pipe or syslog daemon costs lines, which are
//! counted, but delays no advert.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tracing::{Level, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::LogFormat;
use crate::printable::printable;

/// Maximum number of lines in the queue. A channel of this size would allocate memory for all of them at once.
const QUEUE: usize = 4096;
/// How long a process that ends waits for its last lines to be written.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Socket of the system's log daemon.
const SYSLOG: &str = "/dev/log";
/// `LOG_LOCAL1`
const FACILITY: u8 = 17;

/// Destination of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// With time and level.
    Stderr,
    /// With a priority; the log daemon adds the time.
    Syslog,
}

/// Why logging cannot start.
#[derive(Debug, Error)]
pub enum LogError {
    /// `--log-level`
    #[error(
        "--log-level: invalid filter {0:?}: expected error, warn, info, debug or trace, \
         or for example info,vrrpd::datapath=debug"
    )]
    Filter(String),
    /// The thread cannot be created.
    #[error("cannot start the log thread: {0}")]
    Thread(#[from] io::Error),
}

/// Starts logging. `filter` is the value of `--log-level`.
///
/// # Errors
/// See [`LogError`].
pub fn start(target: Target, format: LogFormat, filter: &str) -> Result<(), LogError> {
    let filter = parse_filter(filter)?;
    let queue = LineQueue::start(target)?;
    // `one_line` escapes the whole line, in either format.
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(queue)
        .with_ansi(false)
        .with_ansi_sanitization(false)
        .with_target(false);
    let layer = match (target, format) {
        (_, LogFormat::Json) => layer.json().flatten_event(true).boxed(),
        (Target::Stderr, LogFormat::Text) => layer.boxed(),
        (Target::Syslog, LogFormat::Text) => layer.without_time().with_level(false).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
    Ok(())
}

/// Parses the value of `--log-level`. An unknown word would count as a target and silence everything else.
///
/// # Errors
/// [`LogError::Filter`] lists the valid values.
pub fn parse_filter(text: &str) -> Result<Targets, LogError> {
    let wrong = || LogError::Filter(text.to_owned());
    let legal = text.split(',').all(|directive| match directive.split_once('=') {
        Some((target, level)) => target.starts_with("vrrpd") && level.parse::<LevelFilter>().is_ok(),
        None => !directive.is_empty() && directive.parse::<LevelFilter>().is_ok(),
    });
    if legal { text.parse().map_err(|_| wrong()) } else { Err(wrong()) }
}

/// Waits a short time until logged lines are written; for processes that are about to end.
pub fn flush() {
    let Some(queue) = QUEUE_IN_USE.get() else { return };
    let (written, done) = sync_channel(1);
    if queue.entries.send(QueueItem::Flush(written)).is_ok() {
        // If the log is not read, the lines are lost.
        let _ = done.recv_timeout(LAST_WORDS);
    }
}

struct Line {
    level: Level,
    text: Vec<u8>,
}

enum QueueItem {
    Line(Line),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

static QUEUE_IN_USE: OnceLock<LineQueue> = OnceLock::new();

#[derive(Clone)]
struct LineQueue {
    entries: Sender<QueueItem>,
    waiting: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

/// A line that is being written; queued on drop.
struct LineWriter<'a> {
    queue: &'a LineQueue,
    line: Line,
}

impl LineQueue {
    fn start(target: Target) -> io::Result<Self> {
        let (entries, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let lost = Arc::new(AtomicU64::new(0));
        let sink = Sink { target, syslog: None, waiting: Arc::clone(&waiting), lost: Arc::clone(&lost) };
        thread::Builder::new().name("log".into()).stack_size(128 << 10).spawn(move || sink.run(&receiver))?;
        let queue = Self { entries, waiting, lost };
        let _ = QUEUE_IN_USE.set(queue.clone());
        Ok(queue)
    }
}

impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { queue: self, line: Line { level: Level::INFO, text: Vec::new() } }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineWriter<'a> {
        LineWriter { queue: self, line: Line { level: *metadata.level(), text: Vec::new() } }
    }
}

impl Write for LineWriter<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.line.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter<'_> {
    fn drop(&mut self) {
        let line = Line { level: self.line.level, text: one_line(&self.line.text) };
        let is_full = self.queue.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE;
        if is_full || self.queue.entries.send(QueueItem::Line(line)).is_err() {
            self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
            self.queue.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A formatted event as one line; escapes control characters, which its fields may contain.
fn one_line(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut line = printable(text.strip_suffix('\n').unwrap_or(&text)).into_owned();
    line.push('\n');
    line.into_bytes()
}

struct Sink {
    target: Target,
    syslog: Option<UnixDatagram>,
    waiting: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

impl Sink {
    fn run(mut self, entries: &Receiver<QueueItem>) {
        while let Ok(entry) = entries.recv() {
            match entry {
                QueueItem::Line(line) => {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    self.write(&line);
                }
                // The caller may have given up.
                QueueItem::Flush(written) => drop(written.try_send(())),
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let text = format!("{lost} log lines lost: the reader does not keep up\n");
                self.write(&Line { level: Level::WARN, text: text.into_bytes() });
            }
        }
    }

    fn write(&mut self, line: &Line) {
        match self.target {
            // A closed stderr is not an error.
            Target::Stderr => drop(io::stderr().write_all(&line.text)),
            Target::Syslog => self.write_syslog(line),
        }
    }

    fn write_syslog(&mut self, line: &Line) {
        let severity = match line.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        let mut datagram = String::new();
        // Writing to a String cannot fail.
        let _ = write!(datagram, "<{}>vrrpd[{}]: ", FACILITY << 3 | severity, std::process::id());
        datagram.push_str(String::from_utf8_lossy(&line.text).trim_end());
        // A restarted log daemon has a new socket, so try again once.
        for _ in 0..2 {
            if self.syslog.is_none() {
                self.syslog = UnixDatagram::unbound().and_then(|s| s.connect(SYSLOG).map(|()| s)).ok();
            }
            match &self.syslog {
                Some(socket) if socket.send(datagram.as_bytes()).is_ok() => return,
                Some(_) => self.syslog = None,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_one_line_for_any_content() {
        assert_eq!(one_line(b"a\nvrrpd[1]: forged\r\0\n"), b"a\\nvrrpd[1]: forged\\r\\u0000\n");
        assert_eq!(one_line(b"\x1b[2J\xff\n"), "\\u001b[2J\u{fffd}\n".as_bytes());
        assert_eq!(one_line(b"plain\n"), b"plain\n");
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_instead_of_silencing_the_log() {
        for text in ["info", "warn", "info,vrrpd::datapath=debug", "vrrpd=trace", "off"] {
            assert!(parse_filter(text).is_ok(), "{text}");
        }
        for text in ["debgu", "", "info,", "vrpd=debug", "vrrpd=loud", "vrrpd::datapath"] {
            assert!(parse_filter(text).is_err(), "{text}");
        }
    }
}
