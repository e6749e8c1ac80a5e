//! Configuration of checks.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vrrpd_common::Duration;

use crate::priority::Weight;

/// One check (`[[track]]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckConfig {
    /// What routers call it.
    pub name: String,
    /// What is checked.
    pub kind: CheckKind,
    /// How results are judged.
    pub rules: Rules,
}

/// What is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckKind {
    /// Processes with this name are running.
    Process(ProcessName),
    /// A command exits with status 0.
    Command(Command),
    /// This interface is up and running.
    Interface(String),
    /// The number in this file; 0 if the file does not exist.
    File(PathBuf),
    /// The main routing table has a route to exactly this prefix.
    Route(RoutePrefix),
    /// A TCP connection is accepted.
    Tcp(SocketAddr, Polling),
    /// An HTTP request gets the expected answer.
    Http(HttpRequest, Polling),
    /// A host answers ICMP echo requests.
    Ping(IpAddr, Polling),
}

/// The name of a process, as `pgrep -x` and `killall` match it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessName(String);

/// A program with its arguments, executed without a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program: a path, or a name to look up in the `PATH` of scripts.
    pub program: PathBuf,
    /// Its arguments. They may contain a secret, so they are not recorded.
    #[serde(skip)]
    pub arguments: Vec<String>,
    /// The user that it runs as; `None`: the daemon's.
    pub user: Option<String>,
    /// The group that it runs as; `None`: the user's.
    pub group: Option<String>,
    /// Interval and timeout.
    pub polling: Polling,
}

/// An HTTP request and its expected answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// The server.
    pub server: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// Absolute path and query; not recorded.
    #[serde(skip)]
    pub path: String,
    /// The expected status; `None`: 200 to 399.
    pub status: Option<u16>,
    /// Text that the body must contain; not recorded.
    #[serde(skip)]
    pub text: Option<String>,
}

/// Times of a check that polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polling {
    /// From one start to the next.
    pub interval: Duration,
    /// The check fails without a result within this time.
    pub timeout: Duration,
}

/// The destination of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutePrefix {
    /// The network address.
    pub address: IpAddr,
    /// Prefix length, 0 to 32 or 0 to 128.
    pub len: u8,
}

/// How results become an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Consecutive good results after which a failing check holds; at least 1.
    pub rise: u32,
    /// Consecutive bad results after which a holding check fails; at least 1.
    pub fall: u32,
    /// Outcome before the first result, if configured; the first result then counts alone. `None`: unknown until then.
    pub initially: Option<bool>,
    /// Results are inverted.
    pub is_inverted: bool,
    /// How long a failure is ignored (debounce).
    pub down_delay: Duration,
    /// How long the check must hold again until that counts (debounce).
    pub up_delay: Duration,
    /// Minimum and maximum number of processes.
    pub quorum: (u32, u32),
}

/// A check as used by a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracked {
    /// The name of the check.
    pub name: String,
    /// Its weight for this router.
    pub weight: Weight,
    /// The check is ignored: the router is in a group without `track-weights`.
    pub is_ignored: bool,
}

impl CheckConfig {
    /// The configuration key of its kind.
    pub const fn kind_name(&self) -> &'static str {
        match self.kind {
            CheckKind::Process(_) => "process",
            CheckKind::Command(_) => "command",
            CheckKind::Interface(_) => "interface",
            CheckKind::File(_) => "file",
            CheckKind::Route(_) => "route",
            CheckKind::Tcp(..) => "tcp",
            CheckKind::Http(..) => "http",
            CheckKind::Ping(..) => "ping",
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            rise: 1,
            fall: 1,
            initially: None,
            is_inverted: false,
            down_delay: Duration::ZERO,
            up_delay: Duration::ZERO,
            quorum: (1, u32::MAX),
        }
    }
}

impl ProcessName {
    /// Maximum length of a process name in the kernel.
    pub const COMM_LEN: usize = 15;

    /// `None` if no process can have the name: empty, or with a slash or control character.
    pub fn new(name: &str) -> Option<Self> {
        let is_legal =
            !name.is_empty() && !name.contains(|character: char| character == '/' || character.is_control());
        is_legal.then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as the kernel shortens it: the first 15 octets.
    pub fn comm(&self) -> &[u8] {
        let octets = self.0.as_bytes();
        octets.get(..Self::COMM_LEN).unwrap_or(octets)
    }

    /// Whether the kernel shortens the name.
    pub fn is_long(&self) -> bool {
        self.0.len() > Self::COMM_LEN
    }

    /// Whether a process that matches [`ProcessName::comm`] has this name by its command line, NUL-terminated
    /// arguments: as the program, or as a script after its interpreter.
    pub fn is_in_command_line(&self, command_line: &[u8]) -> bool {
        let mut arguments = command_line.split(|octet| *octet == 0);
        let mut is_called_so = || {
            let argument = arguments.next().unwrap_or_default();
            argument.rsplit(|octet| *octet == b'/').next() == Some(self.0.as_bytes())
        };
        is_called_so() || is_called_so()
    }
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RoutePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_compared_with_the_program_or_the_script_of_the_command_line() {
        let name = ProcessName::new("a-very-long-daemon-name").expect("is legal");
        assert_eq!(name.comm(), b"a-very-long-dae");
        assert!(name.is_long());
        for (command_line, is_it) in [
            (&b"/usr/sbin/a-very-long-daemon-name\0-f\0"[..], true),
            (b"/bin/sh\0/opt/a-very-long-daemon-name\0", true),
            (b"a-very-long-daemon-name", true),
            (b"/usr/sbin/a-very-long-daemon\0", false),
            (b"/bin/sh\0-c\0a-very-long-daemon-name\0", false),
            (b"", false),
        ] {
            assert_eq!(name.is_in_command_line(command_line), is_it, "{command_line:?}");
        }
    }

    #[test]
    fn a_process_cannot_be_called_like_a_path() {
        for name in ["", "/usr/sbin/haproxy", "a\nb"] {
            assert_eq!(ProcessName::new(name), None, "{name:?}");
        }
        assert!(!ProcessName::new("haproxy").expect("is legal").is_long());
    }
}
