//! What the user wants to have checked.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vrrpd_common::Duration;

use crate::priority::Weight;

/// One check, `[[track]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckConfig {
    /// What routers call it.
    pub name: String,
    /// What is looked at.
    pub kind: CheckKind,
    /// How results are judged.
    pub rules: Rules,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckKind {
    /// Processes of this name run.
    Process(ProcessName),
    /// A command exits with status 0.
    Command(Command),
    /// The interface of this name is up and running.
    Interface(String),
    /// The number in this file. Without the file it is 0.
    File(PathBuf),
    /// The main routing table has a route to exactly this prefix.
    Route(RoutePrefix),
    /// A TCP connection is accepted.
    Tcp(SocketAddr, Polling),
    /// An HTTP request is answered as wanted.
    Http(HttpRequest, Polling),
    /// A host answers to ICMP echo requests.
    Ping(IpAddr, Polling),
}

/// The name of a process, as `pgrep -x` and `killall` match it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessName(String);

/// A program with its arguments, executed without a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program: a path, or a name that is looked for where scripts find programs.
    pub program: PathBuf,
    /// Its arguments. There may be a secret in them, so they are not written down.
    #[serde(skip)]
    pub arguments: Vec<String>,
    /// The user that it runs as; `None`: that of the daemon.
    pub user: Option<String>,
    /// The group that it runs as; `None`: that of the user.
    pub group: Option<String>,
    /// When it runs.
    pub polling: Polling,
}

/// An HTTP request and the answer that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// The server.
    pub server: SocketAddr,
    /// `Host` in the request.
    pub host: String,
    /// The path, with a slash in front, and the query; not written down either.
    #[serde(skip)]
    pub path: String,
    /// The status that is wanted; `None`: 200 to 399.
    pub status: Option<u16>,
    /// A text that the body has to contain; not written down either.
    #[serde(skip)]
    pub text: Option<String>,
}

/// When something is looked at that nobody tells us of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polling {
    /// From one beginning to the next.
    pub interval: Duration,
    /// After this time without a result it fails.
    pub timeout: Duration,
}

/// The destination of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutePrefix {
    /// The network address.
    pub address: IpAddr,
    /// The length of its mask, 0 to 32 or 128.
    pub len: u8,
}

/// How results are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Results in a row that make a failing check hold; at least 1.
    pub rise: u32,
    /// Results in a row that make a holding check fail; at least 1.
    pub fall: u32,
    /// What counts before the first result, which counts alone; `None`: nothing is known before it.
    pub initially: Option<bool>,
    /// It fails where it would hold.
    pub is_inverted: bool,
    /// How long a failure is borne.
    pub down_delay: Duration,
    /// How long it has to hold again before that counts.
    pub up_delay: Duration,
    /// Processes that have to run, and how many may at most.
    pub quorum: (u32, u32),
}

/// What a router tracks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracked {
    /// The name of the check.
    pub name: String,
    /// Its weight for this router.
    pub weight: Weight,
    /// The router is a member of a group whose members have no weights, so the check does not count.
    pub is_ignored: bool,
}

impl CheckConfig {
    /// What it looks at, as the key of the configuration calls it.
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
    /// The longest name that the kernel keeps for a process.
    pub const COMM_LEN: usize = 15;

    /// `None` for a name that no process can have: empty, or with a slash or a control character.
    pub fn new(name: &str) -> Option<Self> {
        let is_legal =
            !name.is_empty() && !name.contains(|character: char| character == '/' || character.is_control());
        is_legal.then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the kernel says of a process of this name: its first 15 octets.
    pub fn comm(&self) -> &[u8] {
        let octets = self.0.as_bytes();
        octets.get(..Self::COMM_LEN).unwrap_or(octets)
    }

    /// Whether the kernel's name of a process does not say all.
    pub fn is_long(&self) -> bool {
        self.0.len() > Self::COMM_LEN
    }

    /// Whether a process of which [`ProcessName::comm`] is true has this command line, arguments with a 0 behind each: a
    /// program of that name, or a script of that name behind its interpreter.
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
