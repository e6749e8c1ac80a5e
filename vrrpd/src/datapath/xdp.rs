//! Adverts by the program in the kernel, as XDP or as a classifier: noted and timed in the kernel, which wakes us for what changes something.
//!
//! [`XdpPath::attach`] takes a [`Loaded`] program to the best place that is wanted and says why it is no better one;
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

use super::attachment::Attachment;
use super::commands::Commands;
use super::maps::sum;
use super::pins::Pins;
use super::program::Loaded;
use super::refusal::{Cause, ForeignProgram, Refusal};
use super::tier::Tier;
use super::vlans;
use crate::config::Datapath;
use crate::sys::records::Records;

/// A virtual address is looked for in full length.
const ADDRESS_BITS: u32 = 160;

/// The program on one interface. Dropping it takes the program and its pins away; if we crash, the kernel does so with
/// the program. Of the object it was loaded from nothing is kept: that is some hundred KiB.
pub struct XdpPath {
    number: u32,
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
    attachment: Attachment,
}

impl XdpPath {
    /// Why a program cannot be on this interface, as far as that can be said without one. `foreign` names the program
    /// that the interface has already.
    pub fn obstacle(name: &str, wanted: Datapath, foreign: Option<u32>) -> Option<Refusal> {
        match wanted {
            Datapath::Raw => return Some(Refusal::NotWanted),
            // It stands beside other programs, and is told of VLANs.
            Datapath::Auto | Datapath::Tcx => return None,
            Datapath::Xdp | Datapath::XdpNative | Datapath::XdpGeneric => {}
        }
        if let Some(program) = foreign {
            return Some(Refusal::Foreign(ForeignProgram::of(program)));
        }
        vlans::are_on(name).then_some(Refusal::Vlans)
    }

    /// Attaches the program to the interface of this number and name, unless it is there.
    pub fn attach(mut loaded: Loaded, index: u32, name: &str) -> Result<Self, Refusal> {
        let attachment = loaded.take_place(index)?;
        let number = loaded.number()?;
        let (records, rejects) = (loaded.map("RECORDS")?, loaded.map("REJECTS")?);
        let pins = Pins::make(name, attachment.tier(), &records, &rejects).map_err(|error| {
            info!(interface = name, reason = error.to_string(), "cannot pin maps");
        });
        let Map::Array(data) = &records else {
            return Err(Refusal::NoArray("RECORDS"));
        };
        let records = Records::of(data.fd().as_fd()).map_err(no_records)?;
        let rejects = PerCpuArray::try_from(rejects).map_err(Refusal::library)?;
        let ring = RingBuf::try_from(loaded.map("EVENTS")?).map_err(Refusal::library)?;
        let addresses = LpmTrie::try_from(loaded.map("ADDRESSES")?).map_err(Refusal::library)?;
        let stations = Array::try_from(loaded.map("STATIONS")?).map_err(Refusal::library)?;
        Ok(Self {
            number,
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
            attachment,
        })
    }

    /// Where the program runs.
    pub fn tier(&self) -> Tier {
        self.attachment.tier()
    }

    /// The kernel's number of the program.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Why it does not run in a better place.
    pub fn refused(&self) -> Option<&Refusal> {
        self.attachment.refused()
    }

    /// Why the program may not see every advert by now, although it was attached.
    pub fn trouble(&self) -> Option<Refusal> {
        self.attachment.trouble(self.number)
    }

    /// Makes the slot of a router ready that comes later than the program.
    pub fn prepare(&self, slot: u32, patience: Duration) -> Result<(), Refusal> {
        self.commands.prepare(slot, patience)
    }

    /// Tells the kernel of a router; it takes effect before this returns.
    pub fn command(&self, command: KernelCommand) -> Result<(), Refusal> {
        self.records.open(command.slot).map_err(no_records)?;
        self.commands.carry_out(command)
    }

    /// Tells the kernel the virtual addresses of the router at `slot`, instead of those that it was told before.
    pub fn set_virtual_addresses(&mut self, slot: u32, addresses: &[IpAddr]) -> Result<(), Refusal> {
        let set = self.addresses_set.remove(&slot).unwrap_or_default();
        let key = |address: &IpAddr| Key::new(ADDRESS_BITS, virtual_address(slot, *address));
        let refusal = |error: MapError| Refusal::Map("ADDRESSES", Cause::of(error));
        for gone in set.iter().filter(|address| !addresses.contains(address)) {
            self.addresses.remove(&key(gone)).map_err(refusal)?;
        }
        for new in addresses.iter().filter(|address| !set.contains(address)) {
            self.addresses.insert(&key(new), 0, 0).map_err(refusal)?;
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
            set.map_err(|error| Refusal::Map("STATIONS", Cause::of(error)))?;
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

fn no_records(error: io::Error) -> Refusal {
    Refusal::Unmapped("RECORDS", error.into())
}

impl AsFd for XdpPath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl fmt::Debug for XdpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdpPath").field("attachment", &self.attachment).finish_non_exhaustive()
    }
}
