//! A terminal with a program, and its screen.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::num::NonZero;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use crate::process::{exit_code, pid_of};
use crate::{Host, needs, sys, wait_for, wait_until};

/// Timeout of a program's end.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(3);

/// A terminal. The program is killed on drop.
#[derive(Debug)]
pub struct Terminal {
    child: OnTerminal,
    pid: Pid,
    keyboard: File,
    screen: Screen,
    /// Ends the reading thread when closed.
    reading: UnixStream,
    reader: JoinHandle<()>,
    /// The program's end, kept open so that its settings can be inspected afterwards.
    line: OwnedFd,
}

/// Both ends of a terminal, close-on-exec: a program with a copy of the first would keep the terminal open.
fn open(columns: u16, rows: u16) -> io::Result<(File, OwnedFd)> {
    let keyboard = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&keyboard)?;
    unlockpt(&keyboard)?;
    let line = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(ptsname_r(&keyboard)?)?;
    let keyboard = File::from(OwnedFd::from(keyboard));
    sys::set_window_size(&keyboard, columns, rows)?;
    Ok((keyboard, line.into()))
}

#[derive(Clone)]
struct Screen(Arc<Mutex<vt100::Parser>>);

impl Terminal {
    /// Starts a program on a terminal of this size, the controlling terminal of its session.
    pub fn start(host: &Host, command: &Command, columns: u16, rows: u16) -> Self {
        let (keyboard, line) = open(columns, rows).expect("a terminal can be made");
        let mut session = Command::new(needs::SETSID.require());
        session.arg("--ctty").arg(command.get_program()).args(command.get_args()).env("TERM", "xterm");
        for (name, value) in command.get_envs() {
            session.env(name, value.unwrap_or_default());
        }
        let end = || line.try_clone().expect("file descriptors can be copied");
        session.stdin(end()).stdout(end()).stderr(end());
        let child = host.namespace().spawn(session).expect("the program can be started");
        let screen = Screen(Arc::new(Mutex::new(vt100::Parser::new(length(rows), length(columns), 0))));
        let (reading, until) = UnixStream::pair().expect("sockets can be made");
        let reader = screen.show(keyboard.try_clone().expect("file descriptors can be copied"), until);
        let (pid, child) = (pid_of(&child), OnTerminal(Mutex::new(child)));
        Self { child, pid, keyboard, screen, reading, reader, line }
    }

    /// Types these characters.
    pub fn press(&self, keys: &str) {
        (&self.keyboard).write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Closes the terminal, as a disconnect does, and returns the exit code of the program.
    pub fn hang_up(self) -> i32 {
        let Self { child, keyboard, reading, reader, .. } = self;
        drop(reading);
        reader.join().expect("it only reads");
        drop(keyboard);
        child.wait()
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap_or_else(|error| panic!("{signal} to the program: {error}"));
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().screen_mut().set_size(length(rows), length(columns));
        sys::set_window_size(&self.keyboard, columns, rows).expect("a terminal has a size");
    }

    /// The lines on the screen.
    pub fn lines(&self) -> Vec<String> {
        let parser = self.screen.lock();
        let (_, columns) = parser.screen().size();
        parser.screen().rows(0, columns.get()).map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until a line contains the text, and returns that line.
    pub fn wait_line(&self, limit: Duration, text: &str) -> String {
        let start = Instant::now();
        loop {
            let lines = self.lines();
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            assert!(start.elapsed() < limit, "{text:?} is not on the terminal:\n{}", lines.join("\n"));
            thread::sleep(POLL);
        }
    }

    /// Waits for the end of the program and returns its exit code.
    pub fn wait(&self) -> i32 {
        self.child.wait()
    }

    /// Waits until the terminal is restored for a shell: main screen, cursor, echo, and line mode.
    pub fn wait_restored(&self) {
        wait_until(PATIENCE, "the terminal is given back", || {
            let flags = tcgetattr(&self.line).expect("it is a terminal").local_flags;
            let parser = self.screen.lock();
            flags.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
                && !parser.screen().alternate_screen()
                && !parser.screen().hide_cursor()
        });
    }
}

/// The program; killed on drop.
#[derive(Debug)]
struct OnTerminal(Mutex<Child>);

impl OnTerminal {
    fn wait(&self) -> i32 {
        let ended = || self.0.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten();
        exit_code(wait_for(PATIENCE, "the program on the terminal ends", ended))
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let child = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        // An error means that it was reaped.
        drop(child.kill());
        drop(child.wait());
    }
}

impl Screen {
    /// Displays the program's output, until no writer is left or the other end of `until` is closed.
    fn show(&self, mut output: File, until: UnixStream) -> JoinHandle<()> {
        let screen = self.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let mut watched = [
                    PollFd::new(output.as_fd(), PollFlags::POLLIN),
                    PollFd::new(until.as_fd(), PollFlags::empty()),
                ];
                let polled = poll(&mut watched, PollTimeout::NONE);
                if polled.is_err() || watched[1].any() == Some(true) {
                    return;
                }
                let Ok(length @ 1..) = output.read(&mut buffer) else { return };
                screen.lock().process(&buffer[..length]);
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, vt100::Parser> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows or columns.
fn length(count: u16) -> NonZero<u16> {
    NonZero::new(count).expect("a terminal has a size")
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").finish_non_exhaustive()
    }
}
