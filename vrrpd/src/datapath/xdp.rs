//! Adverts by the XDP program: noted and timed in the kernel, which wakes us for what changes something.
//!
//! [`XdpPath::attach`] goes down from native to generic mode and says why; [`XdpPath::command`] tells the kernel of a
//! router; [`XdpPath::record`] and [`XdpPath::events`] tell what it knows. What the figures mean is said in
//! [`vrrpd_common::watch`].

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya::programs::xdp::XdpMode;
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};
use nix::errno::Errno;
use tracing::info;
use vrrpd_common::Duration;
use vrrpd_common::abi::{ABI_VERSION, Command, Counters, Event, Role, RouterConfig, RouterRecord};

use super::pins::Pins;
use super::privileges;
use super::vlans;
use crate::clock;
use crate::config::Xdp as Wanted;
use crate::sys::records::Records;

/// The program, built by `cargo xtask ebpf`; `build.rs` says where it is.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("VRRPD_BPF_OBJECTS"), "/vrrpd.bpf.o"));
const PROGRAM: &str = "vrrpd";
const COMMANDS: &str = "vrrpd_command";
/// Pipes that are opened and closed before a slot is asked for again, and the pause when that did not help.
const PIPES: usize = 32;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// Where in the kernel the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// In the driver.
    Native,
    /// After the driver, in every kernel and on every device.
    Generic,
}

/// The program on one interface. Dropping it takes the program and its pins away; if we crash, the kernel does so with
/// the program.
pub struct XdpPath {
    tier: Tier,
    /// Why it is not the better tier.
    reason: Option<String>,
    records: Records,
    ring: RingBuf<MapData>,
    rejects: PerCpuArray<MapData, Counters>,
    _pins: Option<Pins>,
    #[cfg(feature = "debug-log")]
    _log: super::kernel_log::KernelLog,
    ebpf: Ebpf,
}

/// Why adverts cannot be handled in the kernel, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl XdpPath {
    /// Loads the program and attaches it to the interface. `foreign` names the program that the interface has already.
    pub fn attach(index: u32, name: &str, wanted: Wanted, foreign: Option<u32>) -> Result<Self, Refusal> {
        let tiers: &[Tier] = match wanted {
            Wanted::Off => return Err(Refusal("--xdp is not given".to_owned())),
            Wanted::Auto => &[Tier::Native, Tier::Generic],
            Wanted::Native => &[Tier::Native],
            Wanted::Generic => &[Tier::Generic],
        };
        if let Some(program) = foreign {
            return Err(Refusal(format!("the interface has an XDP program already: {}", describe(program))));
        }
        if vlans::are_on(name) {
            let reason = "the interface has VLANs, and the program may not see the tags of their frames";
            return Err(Refusal(reason.to_owned()));
        }
        let mut ebpf = load().map_err(explained)?;
        let mut reasons = Vec::new();
        let tier = tiers.iter().copied().find(|tier| {
            program(&mut ebpf, PROGRAM)
                .and_then(|program| {
                    program.attach_to_if_index(index, tier.mode()).map(drop).map_err(|error| refusal(&error))
                })
                .map_err(|Refusal(reason)| reasons.push(format!("{}: {reason}", tier.word())))
                .is_ok()
        });
        let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
        let Some(tier) = tier else { return Err(Refusal(reason.unwrap_or_default())) };
        let (records, rejects) = (take(&mut ebpf, "RECORDS")?, take(&mut ebpf, "REJECTS")?);
        let pins = Pins::make(name, &records, &rejects).map_err(|reason| {
            info!(
                interface = name,
                reason, "maps are not pinned; only the daemon can tell what the kernel knows"
            );
        });
        let Map::Array(data) = &records else {
            return Err(Refusal("the object's RECORDS is no array".to_owned()));
        };
        let records =
            Records::map(data.fd().as_fd()).map_err(|error| Refusal(format!("RECORDS: {error}")))?;
        let rejects = PerCpuArray::try_from(rejects).map_err(|error| Refusal(chain(&error)))?;
        let ring = RingBuf::try_from(take(&mut ebpf, "EVENTS")?).map_err(|error| Refusal(chain(&error)))?;
        Ok(Self {
            tier,
            reason,
            records,
            ring,
            rejects,
            _pins: pins.ok(),
            #[cfg(feature = "debug-log")]
            _log: super::kernel_log::KernelLog::read(&mut ebpf, name)?,
            ebpf,
        })
    }

    /// Where the program runs.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Why it does not run in a better place.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Makes the slots of routers ready, before anybody waits for them: newer kernels make a timer without taking a lock,
    /// and so of an object that this processor has at hand, or not at all. In Linux 6.18 that is so for each hundredth
    /// timer, and then for seconds, until somebody else has used objects of that size. A pipe is such an object.
    pub fn prepare(&mut self, slots: impl Iterator<Item = u32>, patience: Duration) -> Result<(), Refusal> {
        let until = clock::now() + patience;
        for slot in slots {
            let config = RouterConfig { role: Role::Init as u8, ..RouterConfig::default() };
            let command = Command { slot, config, ..Command::default() };
            for attempt in 0_u32.. {
                match self.try_command(command)? {
                    0 => break,
                    result if result == -libc::ENOMEM && clock::now() < until => {
                        if attempt > 0 {
                            thread::sleep(PAUSE);
                        }
                        // Without descriptors to spare there is nothing to be done but to ask again.
                        drop((0..PIPES).map_while(|_| io::pipe().ok()).collect::<Vec<_>>());
                    }
                    result => return Err(of_the_timer(result)),
                }
            }
        }
        Ok(())
    }

    /// Tells the kernel of a router; it takes effect before this returns.
    pub fn command(&mut self, command: Command) -> Result<(), Refusal> {
        match self.try_command(command)? {
            0 => Ok(()),
            result => Err(of_the_timer(result)),
        }
    }

    fn try_command(&mut self, mut command: Command) -> Result<i32, Refusal> {
        command.abi = ABI_VERSION;
        let mut answer = [0; size_of::<Command>()];
        let mut options = TestRunOptions::new();
        options.data_in = Some(bytemuck::bytes_of(&command));
        options.data_out = Some(&mut answer);
        program(&mut self.ebpf, COMMANDS)?.test_run(options).map_err(|error| refusal(&error))?;
        Ok(bytemuck::pod_read_unaligned::<Command>(&answer).result)
    }

    /// What the kernel knows of the router at `slot`.
    pub fn record(&self, slot: u32) -> Option<RouterRecord> {
        self.records.read(slot)
    }

    /// The next event.
    pub fn event(&mut self) -> Option<Event> {
        self.ring
            .next()
            .filter(|item| item.len() == size_of::<Event>())
            .map(|item| bytemuck::pod_read_unaligned(&item))
    }

    /// Discarded frames that name no router of ours.
    pub fn rejects(&self) -> Counters {
        sum(&self.rejects)
    }
}

/// What the kernel's timer said.
fn of_the_timer(result: i32) -> Refusal {
    Refusal(format!("the kernel's timer: {}", io::Error::from_raw_os_error(result.saturating_neg())))
}

/// The counters of all processors together.
pub fn sum(rejects: &PerCpuArray<MapData, Counters>) -> Counters {
    let mut sum = Counters::default();
    if let Ok(values) = rejects.get(&0, 0) {
        for counters in values.iter() {
            for (total, count) in sum.iter_mut().zip(counters) {
                *total += count;
            }
        }
    }
    sum
}

fn load() -> Result<Ebpf, Refusal> {
    // Without CAP_PERFMON the kernel does load programs, but not one that does what this one does: it finds fault with
    // the instructions then.
    try_load().map_err(|reason| match privileges::missing().as_slice() {
        [] => reason,
        [one] => Refusal(format!("{one} is missing: {reason}")),
        [names @ .., last] => Refusal(format!("{} and {last} are missing: {reason}", names.join(", "))),
    })
}

fn try_load() -> Result<Ebpf, Refusal> {
    let mut ebpf =
        EbpfLoader::new().verifier_log_level(VerifierLogLevel::empty()).load(OBJECT).map_err(|error| {
            if errno(&error) == Some(Errno::EPERM) { not_allowed() } else { Refusal(chain(&error)) }
        })?;
    for name in [PROGRAM, COMMANDS] {
        program(&mut ebpf, name)?.load().map_err(|error| refusal(&error))?;
    }
    Ok(ebpf)
}

/// The reason why the program cannot be loaded, and that the kernel is too old for it where that is so: the kernel itself
/// only says that it does not understand.
fn explained(Refusal(reason): Refusal) -> Refusal {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Refusal(if is_too_old(&release) {
        format!("{reason}; the program needs Linux 5.15 for its timers, and this is {}", release.trim())
    } else {
        reason
    })
}

/// Whether a kernel of this release is older than timers in programs (`bpf_timer`).
fn is_too_old(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) < (5, 15))
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, Refusal> {
    let program =
        ebpf.program_mut(name).ok_or_else(|| Refusal(format!("the object has no program {name}")))?;
    program.try_into().map_err(|error: ProgramError| refusal(&error))
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, Refusal> {
    ebpf.take_map(name).ok_or_else(|| Refusal(format!("the object has no map {name}")))
}

/// Why a call about a program failed, for a person: what is missing rather than which call it was, where that is known.
pub(super) fn refusal(error: &ProgramError) -> Refusal {
    match (error, errno(error)) {
        (_, Some(Errno::EPERM)) => not_allowed(),
        (ProgramError::LoadError { io_error, verifier_log }, _) => {
            let log = verifier_log.to_string();
            let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            Refusal(format!("the kernel refuses the program: {io_error} {last}").trim_end().to_owned())
        }
        (_, Some(Errno::EBUSY | Errno::EEXIST)) => {
            Refusal("the interface has an XDP program of somebody else already".to_owned())
        }
        (_, Some(Errno::EOPNOTSUPP)) => Refusal("the driver does not support it".to_owned()),
        _ => Refusal(chain(error)),
    }
}

fn not_allowed() -> Refusal {
    Refusal("the kernel does not allow it".to_owned())
}

/// The system's error at the bottom of an error.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut cause = Some(error);
    while let Some(this) = cause {
        if let Some(code) = this.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(Errno::from_raw(code));
        }
        cause = this.source();
    }
    None
}

/// An error with its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

/// A program that we did not attach, for a person.
fn describe(program: u32) -> String {
    let name = aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .find(|info| info.id() == program)
        .and_then(|info| info.name_as_str().map(str::to_owned));
    match name.as_deref() {
        Some(PROGRAM) => format!("that of another vrrpd (id {program})"),
        Some(name) => format!("{name} (id {program})"),
        None => format!("id {program}"),
    }
}

impl Tier {
    /// The name in the state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "xdp-native",
            Self::Generic => "xdp-generic",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn mode(self) -> XdpMode {
        match self {
            Self::Native => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }
}

impl AsFd for XdpPath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for XdpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdpPath")
            .field("tier", &self.tier)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_before_5_15_are_too_old_for_timers() {
        for (release, too_old) in [
            ("5.10.0-46-cloud-amd64\n", true),
            ("4.19.0", true),
            ("5.15.0", false),
            ("6.1.0-56-amd64", false),
            ("6.12.117+deb12-cloud-amd64", false),
            ("", false),
        ] {
            assert_eq!(is_too_old(release), too_old, "{release}");
        }
    }
}
