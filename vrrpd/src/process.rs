//! Other processes of this program: whether one named by a file is running.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

/// Process name of a daemon; its guardian has another one.
const NAME: &str = "vrrpd";
/// Clock ticks per second, which the kernel reports on every supported machine.
const TICKS: u64 = 100;
/// Tolerance of a process's start time: the kernel counts hundredths of a second, and file systems ticks.
const LEEWAY: Duration = Duration::from_secs(1);

/// Whether the process in a pid file is a running daemon, other than this one and its launcher, that can have written
/// the file: a younger process has reused the pid.
pub fn is_daemon(pid: i32, written: SystemTime) -> bool {
    let ours = [nix::unistd::getpid(), nix::unistd::getppid()].map(nix::unistd::Pid::as_raw);
    !ours.contains(&pid) && started(pid).is_some_and(|started| started <= written + LEEWAY)
}

/// Start time of the daemon with this pid; `None` if none is running.
fn started(pid: i32) -> Option<SystemTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let since_boot = Duration::from_millis(ticks(&stat)?.checked_mul(1000 / TICKS)?);
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let boot = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(boot) + since_boot)
}

/// Start time of a daemon in ticks since boot; `None` for another process, and for one that has ended.
fn ticks(stat: &str) -> Option<u64> {
    let (_, named) = stat.split_once('(')?;
    let (name, rest) = named.rsplit_once(") ")?;
    let fields: Vec<_> = rest.split(' ').collect();
    let runs = name == NAME && !matches!(fields.first(), Some(&"Z" | &"X" | &"x"));
    // Field 22; the first two are cut off.
    fields.get(19).filter(|_| runs)?.parse().ok()
}

/// Whether a process listens at a socket.
pub fn answers(path: &Path) -> bool {
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        return false;
    }
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match connect().map_err(|error| error.raw_os_error().map(Errno::from_raw)) {
        // A socket whose queue is full, and one for packets.
        Ok(()) | Err(Some(Errno::EAGAIN | Errno::EPROTOTYPE)) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_a_daemon_by_its_name_while_it_has_not_ended() {
        let stat = |name: &str, state: &str| {
            format!("812 ({name}) {state} 1 812 812 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 90 91 92")
        };
        assert_eq!(ticks(&stat("vrrpd", "S")), Some(4711));
        for (name, state) in [("vrrpd", "Z"), ("vrrp-guard", "S"), ("vrrpd) S (", "S"), ("sh", "R")] {
            assert_eq!(ticks(&stat(name, state)), None, "{name} {state}");
        }
    }
}
