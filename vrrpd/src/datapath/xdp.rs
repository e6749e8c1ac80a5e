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
    KernelCommand, KernelCounters, KernelEvent, RouterRecord, SLOTS, Stations, address_key, any_router,
    family_of, router_at, station,
};
use vrrpd_common::classify::AddressUse;
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

/// An address is looked for in full length.
const ADDRESS_BITS: u32 = 160;

/// The addresses that the kernel has to know of a router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownAddresses {
    /// Virtual addresses and peers.
    pub uses: BTreeMap<IpAddr, AddressUse>,
    /// The router's own address, if it has peers: they send to it.
    pub from_peers: Option<IpAddr>,
}

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
    addresses_set: BTreeMap<u32, KnownAddresses>,
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

    /// Replaces the addresses that the kernel knows of the router at `slot`.
    pub fn set_addresses(&mut self, slot: u32, wanted: KnownAddresses) -> Result<(), Refusal> {
        let set = self.addresses_set.remove(&slot).unwrap_or_default();
        let refusal = |error: MapError| Refusal::Map("ADDRESSES", Cause::of(error));
        for address in set.uses.keys().filter(|address| !wanted.uses.contains_key(address)) {
            self.addresses.remove(&key(slot, *address)).map_err(refusal)?;
        }
        for (address, used) in
            wanted.uses.iter().filter(|(address, used)| set.uses.get(address) != Some(used))
        {
            self.addresses.insert(&key(slot, *address), used.to_bits(), 0).map_err(refusal)?;
        }
        if set.from_peers != wanted.from_peers {
            let family = any_router(family_of(slot));
            // Other routers may have peers that send to the same address.
            let is_used =
                |own: &IpAddr| self.addresses_set.values().any(|other| other.from_peers == Some(*own));
            if let Some(own) = set.from_peers.filter(|own| !is_used(own)) {
                self.addresses.remove(&key(family, own)).map_err(refusal)?;
            }
            if let Some(own) = wanted.from_peers {
                self.addresses.insert(&key(family, own), 0, 0).map_err(refusal)?;
            }
        }
        if wanted != KnownAddresses::default() {
            self.addresses_set.insert(slot, wanted);
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

/// The key of an address in the map.
fn key(slot: u32, address: IpAddr) -> Key<[u8; 20]> {
    Key::new(ADDRESS_BITS, address_key(slot, address))
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
