//! Adverts by the XDP program: noted and timed in the kernel, which wakes us for what changes something.
//!
//! [`XdpPath::attach`] takes a [`Loaded`] program, goes down from native to generic mode and says why;
//! [`XdpPath::command`] tells the kernel of a router; [`XdpPath::record`] and [`XdpPath::event`] tell what it knows. What
//! the figures mean is said in [`vrrpd_common::watch`].

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, RingBuf};
use tracing::info;
use vrrpd_common::abi::{
    KernelCommand, KernelCounters, KernelEvent, RouterRecord, SLOTS, Stations, router_at, station,
    virtual_address,
};
use vrrpd_common::{Duration, Family, MacAddr, Vrid};

use super::commands::Commands;
use super::pins::Pins;
use super::program::{Loaded, PROGRAM, Refusal, chain, not_attached, refusal};
use super::vlans;
use crate::config::Xdp as Wanted;
use crate::guardian::copies::Kept;
use crate::sys::bpf::{self, Attached};
use crate::sys::records::Records;

/// A virtual address is looked for in full length.
const ADDRESS_BITS: u32 = 160;

/// Where in the kernel the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// In the driver.
    Native,
    /// After the driver, in every kernel and on every device.
    Generic,
}

/// The program on one interface. Dropping it takes the program and its pins away; if we crash, the kernel does so with
/// the program. Of the object it was loaded from nothing is kept: that is some hundred KiB.
pub struct XdpPath {
    tier: Tier,
    number: u32,
    /// Why it is not the better tier.
    reason: Option<String>,
    commands: Commands,
    records: Records,
    ring: RingBuf<MapData>,
    rejects: PerCpuArray<MapData, KernelCounters>,
    addresses: LpmTrie<MapData, [u8; 20], u32>,
    /// What is in there, by slot.
    addresses_set: BTreeMap<u32, Box<[IpAddr]>>,
    stations: Array<MapData, Stations>,
    stations_set: Stations,
    _pins: Option<Pins>,
    #[cfg(feature = "debug-log")]
    _log: super::kernel_log::KernelLog,
    link: Kept<Attached>,
}

/// The program's place on an interface.
#[derive(Debug)]
pub struct Attachment {
    index: u32,
    tier: Tier,
    /// Why it is not the better tier.
    reason: Option<String>,
    link: Kept<Attached>,
}

impl Loaded {
    /// Puts the program on the interface of this number: drivers may take long over it.
    pub fn onto(mut self, index: u32, wanted: Wanted) -> Result<Self, Refusal> {
        self.attachment = Some(Attachment::make(&mut self, index, wanted)?);
        Ok(self)
    }

    /// The number of the interface that it is on.
    pub fn interface(&self) -> Option<u32> {
        self.attachment.as_ref().map(|attachment| attachment.index)
    }

    /// Takes it off.
    pub fn off(&mut self) {
        self.attachment = None;
    }

    /// The kernel's number of the program.
    pub fn number(&mut self) -> Result<u32, Refusal> {
        Ok(self.program(PROGRAM)?.info().map_err(|error| refusal(&error))?.id())
    }
}

impl Attachment {
    /// The best one that can be had of those that are wanted.
    fn make(loaded: &mut Loaded, index: u32, wanted: Wanted) -> Result<Self, Refusal> {
        let tiers: &[Tier] = match wanted {
            Wanted::Off => &[],
            Wanted::Auto => &[Tier::Native, Tier::Generic],
            Wanted::Native => &[Tier::Native],
            Wanted::Generic => &[Tier::Generic],
        };
        let mut reasons = Vec::new();
        let attached = tiers.iter().copied().find_map(|tier| {
            let link = attach(loaded, index, tier.flags());
            link.map_err(|Refusal(reason)| reasons.push(format!("{}: {reason}", tier.word())))
                .ok()
                .map(|link| (tier, link))
        });
        let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
        match attached {
            Some((tier, link)) => Ok(Self { index, tier, reason, link }),
            None => Err(Refusal(reason.unwrap_or_default())),
        }
    }
}

impl XdpPath {
    /// Why a program cannot be on this interface, as far as that can be said without one. `foreign` names the program
    /// that the interface has already.
    pub fn obstacle(name: &str, wanted: Wanted, foreign: Option<u32>) -> Option<Refusal> {
        if wanted == Wanted::Off {
            return Some(Refusal("--xdp is not given".to_owned()));
        }
        if let Some(program) = foreign {
            return Some(Refusal(format!("the interface has an XDP program already: {}", describe(program))));
        }
        vlans::are_on(name).then(|| {
            Refusal(
                "the interface has VLANs, and the program may not see the tags of their frames".to_owned(),
            )
        })
    }

    /// Attaches the program to the interface of this number and name, unless it is there.
    pub fn attach(mut loaded: Loaded, index: u32, name: &str, wanted: Wanted) -> Result<Self, Refusal> {
        let there = loaded.attachment.take().filter(|attachment| attachment.index == index);
        let Attachment { tier, reason, link, .. } = match there {
            Some(there) => there,
            None => Attachment::make(&mut loaded, index, wanted)?,
        };
        let number = loaded.number()?;
        let (records, rejects) = (loaded.map("RECORDS")?, loaded.map("REJECTS")?);
        let pins = Pins::make(name, &records, &rejects).map_err(|reason| {
            info!(
                interface = name,
                reason, "maps are not pinned; only the daemon can tell what the kernel knows"
            );
        });
        let Map::Array(data) = &records else {
            return Err(Refusal("the object's RECORDS is no array".to_owned()));
        };
        let records = Records::of(data.fd().as_fd()).map_err(|error| no_records(&error))?;
        let rejects = PerCpuArray::try_from(rejects).map_err(|error| Refusal(chain(&error)))?;
        let ring = RingBuf::try_from(loaded.map("EVENTS")?).map_err(|error| Refusal(chain(&error)))?;
        let addresses =
            LpmTrie::try_from(loaded.map("ADDRESSES")?).map_err(|error| Refusal(chain(&error)))?;
        let stations = Array::try_from(loaded.map("STATIONS")?).map_err(|error| Refusal(chain(&error)))?;
        Ok(Self {
            tier,
            number,
            reason,
            records,
            ring,
            rejects,
            addresses,
            addresses_set: BTreeMap::new(),
            stations,
            stations_set: Stations::default(),
            _pins: pins.ok(),
            #[cfg(feature = "debug-log")]
            _log: loaded.log(name)?,
            commands: loaded.into_commands(),
            link,
        })
    }

    /// Where the program runs.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// The kernel's number of the program.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Why it does not run in a better place.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Whether the program is still on the interface: whoever may can take it off, and nobody is told.
    pub fn is_attached(&self) -> bool {
        // What cannot be told is not held against it.
        bpf::interface_of(self.link.as_fd()).map_or(true, |interface| interface != 0)
    }

    /// Makes the slot of a router ready that comes later than the program.
    pub fn prepare(&self, slot: u32, patience: Duration) -> Result<(), Refusal> {
        self.commands.prepare(slot, patience)
    }

    /// Tells the kernel of a router; it takes effect before this returns.
    pub fn command(&self, command: KernelCommand) -> Result<(), Refusal> {
        self.records.open(command.slot).map_err(|error| no_records(&error))?;
        self.commands.carry_out(command)
    }

    /// Tells the kernel the virtual addresses of the router at `slot`, instead of those that it was told before.
    pub fn set_virtual_addresses(&mut self, slot: u32, addresses: &[IpAddr]) -> Result<(), Refusal> {
        let set = self.addresses_set.remove(&slot).unwrap_or_default();
        let key = |address: &IpAddr| Key::new(ADDRESS_BITS, virtual_address(slot, *address));
        let refusal = |error: &MapError| Refusal(format!("ADDRESSES: {}", chain(error)));
        for gone in set.iter().filter(|address| !addresses.contains(address)) {
            self.addresses.remove(&key(gone)).map_err(|error| refusal(&error))?;
        }
        for new in addresses.iter().filter(|address| !set.contains(address)) {
            self.addresses.insert(&key(new), 0, 0).map_err(|error| refusal(&error))?;
        }
        if !addresses.is_empty() {
            self.addresses_set.insert(slot, addresses.into());
        }
        Ok(())
    }

    /// Tells the kernel to which MAC addresses the interface takes in frames: its own, and the one that it has beside that.
    pub fn set_stations(&mut self, own: MacAddr, other: Option<MacAddr>) -> Result<(), Refusal> {
        let stations = [station(own), station(other.unwrap_or(own))];
        if stations != self.stations_set {
            let set = self.stations.set(0, stations, 0);
            set.map_err(|error| Refusal(format!("STATIONS: {}", chain(&error))))?;
            self.stations_set = stations;
        }
        Ok(())
    }

    /// What the kernel knows of the router at `slot`.
    pub fn record(&self, slot: u32) -> Option<RouterRecord> {
        self.records.read(slot)
    }

    /// All records in which something was counted.
    pub fn records(&self) -> impl Iterator<Item = (Family, Vrid, RouterRecord)> {
        (0..u32::try_from(SLOTS).unwrap_or(0)).filter_map(|slot| {
            let (family, vrid) = router_at(slot)?;
            let counted =
                |record: &RouterRecord| record.adverts > 0 || record.rejected != KernelCounters::default();
            self.records.read(slot).filter(counted).map(|record| (family, vrid, record))
        })
    }

    /// The next event.
    pub fn event(&mut self) -> Option<KernelEvent> {
        self.ring
            .next()
            .filter(|item| item.len() == size_of::<KernelEvent>())
            .map(|item| bytemuck::pod_read_unaligned(&item))
    }

    /// Discarded frames that name no router of ours.
    pub fn rejects(&self) -> KernelCounters {
        sum(&self.rejects)
    }
}

fn no_records(error: &io::Error) -> Refusal {
    Refusal(format!("RECORDS: {error}"))
}

/// The counters of all processors together.
pub fn sum(rejects: &PerCpuArray<MapData, KernelCounters>) -> KernelCounters {
    let mut sum = KernelCounters::default();
    if let Ok(values) = rejects.get(&0, 0) {
        for counters in values.iter() {
            for (total, count) in sum.iter_mut().zip(counters) {
                *total += count;
            }
        }
    }
    sum
}

/// Puts the program on an interface.
fn attach(loaded: &mut Loaded, index: u32, flags: u32) -> Result<Kept<Attached>, Refusal> {
    let program = loaded.program(PROGRAM)?.fd().map_err(|error| refusal(&error))?;
    let attached = bpf::attach(program.as_fd(), index, bpf::XDP, flags);
    attached.map(|attached| loaded.keeper.keep(attached)).map_err(|error| not_attached(&error))
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

    /// `XDP_FLAGS_DRV_MODE`, `XDP_FLAGS_SKB_MODE`.
    const fn flags(self) -> u32 {
        match self {
            Self::Native => 1 << 2,
            Self::Generic => 1 << 1,
        }
    }
}

impl AsFd for XdpPath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
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
