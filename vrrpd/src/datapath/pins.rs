//! The kernel's records, pinned so that `atropos` reads them past a daemon that does not answer:
//! `/sys/fs/bpf/vrrpd/NETNS/INTERFACE/`, NETNS being the inode of the network namespace. The classifiers of several processes can
//! be on one interface, so theirs have the process behind it: `INTERFACE:PID`. A process has one set of maps, which is pinned
//! for each of its interfaces; each record says of which interface it is.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use aya::maps::{HashMap, Map, MapData, MapInfo};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::net::if_::if_nametoindex;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use thiserror::Error;
use vrrpd_common::abi::{ABI_VERSION, KernelCounters, KernelRole, RouterRecord, router_at};
use vrrpd_common::router::StateName;
use vrrpd_common::{Duration, Family, Instant, Vrid};

use super::counts::RejectCounts;
use super::maps::maps_in_use;
use super::tier::Tier;
use crate::clock;
use crate::report::{KernelReport, MasterSeen};
use crate::sys::records::Records;
use crate::trust::{self, Distrust};

const BPFFS: &str = "/sys/fs/bpf";
pub(super) const OURS: &str = "/sys/fs/bpf/vrrpd";
/// Name of our directory in [`BPFFS`].
const OUR_NAME: &str = "vrrpd";
/// Separates interface and process in the directory name of a classifier's pins. Interface names do not contain it.
const OF_PROCESS: char = ':';
const RECORDS: &str = "records";
const REJECTS: &str = "rejects";
/// The pinned maps of an interface.
pub(super) const PINS: [&str; 2] = [RECORDS, REJECTS];
/// Maximum wait for another process that changes pins: the event loop may be blocked for this long.
const PATIENCE: Duration = Duration::from_millis(20);

/// The pins of one interface; dropping this removes them.
#[derive(Debug)]
pub struct Pins {
    dir: PathBuf,
}

/// Lock for making pins and removing those of others. It locks the root of the file system, which is permanent.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held until it is dropped")] Flock<File>);

impl Lock {
    /// Takes the lock, waiting up to `patience`: a stopped process must not keep others from starting.
    pub(super) fn take(patience: Duration) -> io::Result<Self> {
        let until = clock::now() + patience;
        let mut root = File::open(BPFFS)?;
        loop {
            match Flock::lock(root, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self(lock)),
                Err((file, Errno::EWOULDBLOCK)) if clock::now() < until => root = file,
                Err((_, error)) => return Err(error.into()),
            }
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// Reason why maps are not pinned.
#[derive(Debug, Error)]
pub enum PinError {
    /// The BPF file system cannot be mounted.
    #[error("{BPFFS}: {0}")]
    Mount(io::Error),
    /// Another process makes or removes pins, or holds the lock.
    #[error("{BPFFS}: another vrrpd is using it: {0}")]
    Locked(io::Error),
    /// The network namespace cannot be determined.
    #[error(transparent)]
    Namespace(io::Error),
    /// Another user could replace the directory.
    #[error(transparent)]
    Distrust(#[from] Distrust),
    /// The path of the directory is something else.
    #[error("{}: is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Old pins in the directory cannot be removed.
    #[error("{}: {error}", dir.display())]
    Left {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// The kernel refuses to pin the map.
    #[error("{}: {error}", path.display())]
    Refused {
        /// The pin.
        path: PathBuf,
        /// The cause.
        error: aya::pin::PinError,
    },
}

/// Reason why pinned maps cannot be read.
#[derive(Debug, Error)]
pub enum UnreadableError {
    /// Another user could have pinned them.
    #[error(transparent)]
    Distrust(#[from] Distrust),
    /// Their layout has another version.
    #[error("{interface}: what the kernel knows is written down by another version of vrrpd")]
    OtherVersion {
        /// The interface of the maps.
        interface: String,
    },
}

/// The pinned maps of an interface, as opened by another process.
pub struct Pinned {
    /// The interface's name.
    pub interface: String,
    /// Its number; 0: it is gone.
    index: u32,
    process: Rc<Process>,
    rejects: HashMap<MapData, u32, KernelCounters>,
}

/// The records of a process, which its interfaces share, read once.
struct Process {
    /// The kernel's number of their map.
    map: u32,
    /// The records in use, by the number of the interface; `None`: their layout has another version.
    records: Option<BTreeMap<u32, Vec<RouterRecord>>>,
    has_program: OnceCell<bool>,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("interface", &self.interface).finish_non_exhaustive()
    }
}

impl Pins {
    /// Pins the maps of an interface. An interface has one XDP program, so its existing pins were left by a crash;
    /// classifiers have pins for each process.
    ///
    /// # Errors
    /// See [`PinError`].
    pub fn make(interface: &str, tier: Tier, records: &Map, rejects: &Map) -> Result<Self, PinError> {
        mount_bpffs().map_err(PinError::Mount)?;
        let _lock = Lock::take(PATIENCE).map_err(PinError::Locked)?;
        let _ = directory().map(|namespace| remove_left(&namespace, interface));
        let name = match tier {
            Tier::Native | Tier::Generic => file_name(interface),
            // Other processes may have pins for the interface, too.
            Tier::Tcx => format!("{}{OF_PROCESS}{}", file_name(interface), std::process::id()),
        };
        let pins = Self { dir: make_directory(&name)? };
        for (name, map) in [(RECORDS, records), (REJECTS, rejects)] {
            let path = pins.dir.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(PinError::Left { dir: pins.dir.clone(), error });
                }
                Ok(()) | Err(_) => {}
            }
            map.pin(&path).map_err(|error| PinError::Refused { path, error })?;
        }
        Ok(pins)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // The next start removes remaining pins; directories in use by others are not empty.
        for name in PINS {
            let _ = fs::remove_file(self.dir.join(name));
        }
        for dir in self.dir.ancestors().take_while(|dir| dir.starts_with(OURS)) {
            if fs::remove_dir(dir).is_err() {
                break;
            }
        }
    }
}

/// All pinned maps of this network namespace, or the reasons why they cannot be read.
pub fn pinned() -> Vec<Result<Pinned, UnreadableError>> {
    let Ok(directory) = directory() else { return Vec::new() };
    match trust::resolve(&directory) {
        Err(distrust) if distrust.kind().is_none() => return vec![Err(distrust.into())],
        Ok(_) | Err(_) => {}
    }
    let Ok(dirs) = fs::read_dir(directory) else { return Vec::new() };
    // The interfaces of a process have the same maps.
    let mut opened = BTreeMap::new();
    dirs.filter_map(|dir| open(&dir.ok()?.path(), &mut opened)).collect()
}

impl Pinned {
    /// The routers of this interface according to the kernel, which was read before `now`.
    pub fn routers(&self, now: Instant) -> Vec<(Family, Vrid, KernelReport)> {
        let of_interface = self.process.records.as_ref().and_then(|records| records.get(&self.index));
        let Some(of_interface) = of_interface else { return Vec::new() };
        let shared = self.rejects.get(&self.index, 0).unwrap_or_default();
        let routers = of_interface.iter().filter_map(|record| {
            let (family, vrid) = router_at(record.slot)?;
            Some((family, vrid, report(record, &shared, now)))
        });
        routers.collect()
    }

    /// Whether a program exists that could write the records: when a daemon is killed, its programs are removed, but
    /// its pins stay. Also true if that cannot be determined.
    pub fn has_program(&self) -> bool {
        let map = self.process.map;
        let looked_for = || maps_in_use().map_or(true, |used| used.contains(&map));
        *self.process.has_program.get_or_init(looked_for)
    }
}

impl Process {
    /// Reads the records of this map.
    fn read(map: u32, records: &Records) -> Self {
        let used = (0..records.count()).filter_map(|place| records.read(place));
        let mut by_interface: BTreeMap<u32, Vec<RouterRecord>> = BTreeMap::new();
        let mut is_of_this_version = true;
        for record in used.filter(|record| record.role != 0) {
            is_of_this_version &= record.abi == ABI_VERSION;
            by_interface.entry(record.interface).or_default().push(record);
        }
        Self { map, records: is_of_this_version.then_some(by_interface), has_program: OnceCell::new() }
    }
}

impl KernelReport {
    /// Clears the deadlines of a record that no program writes any more.
    pub fn without_program(&mut self) {
        self.program = false;
        self.timer_armed = false;
        self.master_down_in_ns = None;
    }
}

fn report(record: &RouterRecord, shared: &KernelCounters, now: Instant) -> KernelReport {
    let role = match KernelRole::from_number(record.role) {
        KernelRole::None | KernelRole::Init => StateName::Init,
        KernelRole::Backup => StateName::Backup,
        KernelRole::Master => StateName::Master,
    };
    let rejected = RejectCounts::from(record.rejected).plus(&RejectCounts::from(*shared));
    KernelReport {
        role: role.name().to_owned(),
        program: true,
        timer_armed: record.timer_armed(),
        master_down_in_ns: record
            .timer_armed()
            .then(|| Instant::from_nanos(record.deadline).saturating_since(now).as_nanos()),
        master: record.heard.advert(record.slot).map(|(at, advert)| MasterSeen {
            address: advert.source.to_string(),
            priority: advert.priority.0,
            interval_ns: advert.interval.as_duration().as_nanos(),
            last_advert_age_ns: now.saturating_since(at).as_nanos(),
        }),
        adverts: record.adverts,
        expiries: record.expiries,
        events: record.events,
        events_withheld: record.events_withheld,
        rejected: rejected.iter().map(|(reject, count)| (reject.name().to_owned(), count)).collect(),
    }
}

/// Returns `None` if the pins do not exist or are being removed.
fn open(dir: &Path, opened: &mut BTreeMap<u32, Rc<Process>>) -> Option<Result<Pinned, UnreadableError>> {
    let interface = interface_name(&dir.file_name()?.to_string_lossy());
    let refusal = || Some(Err(UnreadableError::OtherVersion { interface: interface.clone() }));
    let info = MapInfo::from_pin(dir.join(RECORDS)).ok()?;
    if usize::try_from(info.value_size()) != Ok(size_of::<RouterRecord>()) {
        return refusal();
    }
    let process = if let Some(process) = opened.get(&info.id()) {
        Rc::clone(process)
    } else {
        let map = MapData::from_pin(dir.join(RECORDS)).ok()?;
        let records = Records::of(map.fd().as_fd(), info.max_entries()).ok()?;
        let process = Rc::new(Process::read(info.id(), &records));
        opened.insert(info.id(), Rc::clone(&process));
        process
    };
    let rejects = Map::HashMap(MapData::from_pin(dir.join(REJECTS)).ok()?);
    let Ok(rejects) = HashMap::try_from(rejects) else { return refusal() };
    let index = if_nametoindex(interface.as_str()).unwrap_or(0);
    if process.records.is_none() {
        return refusal();
    }
    Some(Ok(Pinned { interface, index, process, rejects }))
}

/// The inode of this process's network namespace.
pub fn namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.ino())
}

/// The inode of another process's network namespace.
pub fn namespace_of(process: i32) -> io::Result<u64> {
    Ok(fs::metadata(format!("/proc/{process}/ns/net"))?.ino())
}

/// Makes a directory for the pins of an interface; refuses a symbolic link or a directory of another user.
fn make_directory(name: &str) -> Result<PathBuf, PinError> {
    let namespace = namespace().map_err(PinError::Namespace)?.to_string();
    let mut dir = trust::resolve(Path::new(BPFFS))?;
    for name in [OUR_NAME, &namespace, name] {
        dir = trust::make_directory(&dir, name)?;
        if !dir.is_directory() {
            return Err(PinError::NotADirectory(dir.path().to_owned()));
        }
    }
    Ok(dir.path().to_owned())
}

fn directory() -> io::Result<PathBuf> {
    Ok(Path::new(OURS).join(namespace()?.to_string()))
}

/// The BPF file system does not allow dots, which names of VLAN interfaces contain; a comma is not used in interface
/// names.
fn file_name(interface: &str) -> String {
    interface.replace('.', ",")
}

fn interface_name(file: &str) -> String {
    let name = file.split_once(OF_PROCESS).map_or(file, |(name, _)| name);
    name.replace(',', ".")
}

/// Removes the pins that ended processes left for an interface, in the directory of a namespace.
fn remove_left(namespace: &Path, interface: &str) {
    if !is_our_directory(namespace) {
        return;
    }
    let Ok(dirs) = fs::read_dir(namespace) else { return };
    let of_interface = |dir: &PathBuf| {
        let name = dir.file_name().map(|name| interface_name(&name.to_string_lossy()));
        name.is_some_and(|name| name == interface) && is_our_directory(dir)
    };
    let left: Vec<_> = dirs.flatten().map(|dir| dir.path()).filter(of_interface).collect();
    if left.is_empty() {
        return;
    }
    // Nothing is removed if that cannot be determined.
    let Ok(used) = maps_in_use() else { return };
    left.iter().filter(|dir| is_nobodys(dir, &used)).for_each(|dir| remove_pins(dir));
}

/// Whether it is a directory of this process's user and not a symbolic link: nothing is removed in others.
fn is_our_directory(path: &Path) -> bool {
    let us = nix::unistd::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == us)
}

/// Whether every pin in a directory can be read and is not in use by a program.
pub(super) fn is_nobodys(dir: &Path, used: &BTreeSet<u32>) -> bool {
    PINS.iter().all(|pin| match MapInfo::from_pin(dir.join(pin)) {
        Ok(map) => !used.contains(&map.id()),
        Err(_) => !dir.join(pin).exists(),
    })
}

/// Removes a directory and its pins.
pub(super) fn remove_pins(dir: &Path) {
    for pin in PINS {
        let _ = fs::remove_file(dir.join(pin));
    }
    let _ = fs::remove_dir(dir);
}

fn mount_bpffs() -> io::Result<()> {
    if statfs(BPFFS)?.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    mount(
        Some("bpf"),
        BPFFS,
        Some("bpf"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        Some("mode=700"),
    )?;
    Ok(())
}
