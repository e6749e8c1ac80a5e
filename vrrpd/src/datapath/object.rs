//! An object in the kernel: the program with its maps, shared by all interfaces of the process.
//!
//! The verifier needs about 80 ms for the program, so the process loads one object for classifiers or for XDP and attaches
//! it to each interface. The maps have a place for each virtual router, and some spare ones. If there are not enough,
//! [`Objects`] loads a larger object: an interface moves to it with all its routers, and the smaller object is closed when
//! no interface uses it any more.

use std::fmt;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, RingBuf};
use aya::programs::ProgramFd;
use vrrpd_common::Duration;
use vrrpd_common::abi::{
    EventKind, KernelCommand, KernelCounters, KernelEvent, RouterRecord, Stations, address_key, place_key,
};
use vrrpd_common::classify::AddressUse;

use super::commands::Commands;
use super::detaching::Detaching;
use super::names::PROGRAM;
use super::pins::{PinError, Pins};
use super::places::{Owner, Places};
use super::program::{self, COMMANDS};
use super::readiness::{Readiness, Source};
use super::refusal::{Cause, Refusal};
use super::tier::{Kind, Tier};
use crate::clock;
use crate::config::Datapath;
use crate::sys::records::Records;

/// An address is looked for in full length.
const ADDRESS_BITS: u32 = 192;
/// Upper half of the event number of an object; the lower half is the ID of its program. Interfaces and group peers use other
/// numbers.
const EVENTS: u64 = 3 << 62;

/// What a program is loaded for.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The data path of the interface.
    pub wanted: Datapath,
    /// Number of routers on the interface.
    pub routers: usize,
    /// Number of routers of the process.
    pub in_all: usize,
    /// How long to wait for kernel memory.
    pub patience: Duration,
}

/// The objects of a process. Cheap to clone, and usable from any thread.
#[derive(Clone, Debug, Default)]
pub struct Objects(Arc<Loading>);

#[derive(Debug, Default)]
struct Loading {
    /// Held while an object is loaded, so that interfaces that need one at the same time get the same.
    one: Mutex<()>,
    /// Objects in use, and the newest of each kind, for interfaces that are removed and added again.
    loaded: Mutex<Vec<Arc<Object>>>,
    /// Programs that are being detached.
    detaching: Detaching,
}

/// The program in the kernel, with its maps.
pub struct Object {
    kind: Kind,
    /// The kernel's number of the program.
    number: u32,
    program: ProgramFd,
    commands: Commands,
    records_map: Map,
    records: Records,
    maps: Mutex<Maps>,
    detaching: Detaching,
    events: OnceLock<Source<OwnedFd>>,
    #[cfg(feature = "debug-log")]
    log: super::kernel_log::ProgramLog,
}

/// What changes with the interfaces and routers.
struct Maps {
    index: HashMap<MapData, u64, u32>,
    addresses: LpmTrie<MapData, [u8; 24], u32>,
    known: Array<MapData, u64>,
    stations: HashMap<MapData, u32, Stations>,
    /// Counters by interface.
    rejects: Map,
    ring: RingBuf<MapData>,
    places: Places,
}

/// Places in an object that are reserved for the routers of one interface.
#[derive(Debug)]
pub struct Room {
    object: Arc<Object>,
    routers: usize,
}

impl Objects {
    /// Reserves places for the routers of an interface in an object of this kind. If no loaded object has as many, loads one
    /// for all routers of the process.
    ///
    /// # Errors
    /// The reason why no object can be loaded.
    pub fn room(&self, kind: Kind, need: Need) -> Result<Room, Refusal> {
        let Need { routers, in_all, patience, .. } = need;
        let _one = self.0.one.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = self.loaded().iter().rev().find_map(|object| object.reserve(kind, routers)) {
            return Ok(room);
        }
        let detaching = self.detaching().clone();
        let load = || Object::load(kind, routers.max(in_all), patience, detaching);
        let object = Arc::new(program::aside(load)?);
        let room = object.reserve(kind, routers).ok_or(Refusal::NoRoom)?;
        self.forget(|there| there.kind == kind);
        self.loaded().push(object);
        Ok(room)
    }

    /// Programs that are being detached.
    pub fn detaching(&self) -> &Detaching {
        &self.0.detaching
    }

    /// The object with this event number; `None` if it was closed, or the number belongs to something else.
    pub fn watched_as(&self, number: u64) -> Option<Arc<Object>> {
        self.loaded().iter().find(|object| object.events_number() == number).map(Arc::clone)
    }

    /// Whether this is the event number of an object, open or closed.
    pub const fn is_number(number: u64) -> bool {
        number >> 32 == EVENTS >> 32
    }

    /// Closes the objects that no interface uses.
    pub fn forget_unused(&self) {
        self.forget(|_| true);
    }

    fn forget(&self, which: impl Fn(&Object) -> bool) {
        self.loaded().retain(|object| Arc::strong_count(object) > 1 || !which(object));
    }

    fn loaded(&self) -> MutexGuard<'_, Vec<Arc<Object>>> {
        self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Object {
    /// Loads an object with places for this number of routers, and some spare ones.
    fn load(kind: Kind, routers: usize, patience: Duration, detaching: Detaching) -> Result<Self, Refusal> {
        let places = Places::for_routers(routers);
        let mut ebpf = program::load(kind, places.len())?;
        let mut take = |name| ebpf.take_map(name).ok_or(Refusal::NoMap(name));
        let (records_map, timers) = (take("RECORDS")?, take("ROUTERS")?);
        let maps = Maps {
            index: take("INDEX")?.try_into().map_err(Refusal::library)?,
            addresses: take("ADDRESSES")?.try_into().map_err(Refusal::library)?,
            known: take("KNOWN")?.try_into().map_err(Refusal::library)?,
            stations: take("STATIONS")?.try_into().map_err(Refusal::library)?,
            rejects: take("REJECTS")?,
            ring: take("EVENTS")?.try_into().map_err(Refusal::library)?,
            places,
        };
        let Map::Array(data) = &records_map else { return Err(Refusal::NoArray("RECORDS")) };
        let records = Records::of(data.fd().as_fd(), maps.places.len()).map_err(no_records)?;
        let number = program::number(&mut ebpf)?;
        let program = program::fd(&mut ebpf, PROGRAM)?.try_clone()?;
        let commands = Commands::new(program::fd(&mut ebpf, COMMANDS)?.try_clone()?, timers);
        let until = clock::now() + patience;
        for place in 0..maps.places.len() {
            commands.prepare(place, until)?;
        }
        Ok(Self {
            kind,
            number,
            program,
            commands,
            records_map,
            records,
            maps: Mutex::new(maps),
            detaching,
            events: OnceLock::new(),
            #[cfg(feature = "debug-log")]
            log: super::kernel_log::ProgramLog::of(ebpf),
        })
    }

    /// The kind of its program.
    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The program, to be attached.
    pub(super) const fn program(&self) -> &ProgramFd {
        &self.program
    }

    /// Programs that are being detached.
    pub(super) const fn detaching(&self) -> &Detaching {
        &self.detaching
    }

    /// The kernel's number of the program.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Registers the ring buffer for events, once.
    pub fn watch(&self, readiness: &Readiness) -> io::Result<()> {
        if self.events.get().is_none() {
            let ring = self.maps().ring.as_fd().try_clone_to_owned()?;
            let watched = readiness.watch(ring, self.events_number())?;
            drop(self.events.set(watched));
        }
        Ok(())
    }

    /// Starts to read the log of the program, once.
    #[cfg(feature = "debug-log")]
    pub(super) fn read_log(&self) -> Result<(), Refusal> {
        self.log.read()
    }

    /// To be called after reading events: `all` if the ring buffer is empty.
    pub fn was_read(&self, all: bool) {
        if let Some(events) = self.events.get() {
            events.was_read(all);
        }
    }

    fn events_number(&self) -> u64 {
        EVENTS | u64::from(self.number)
    }

    /// The next event, with the router that has the place; `None` if the ring buffer is empty.
    pub fn event(&self) -> Option<(Owner, Option<EventKind>)> {
        let mut maps = self.maps();
        loop {
            let item = maps.ring.next()?;
            let event: Option<KernelEvent> = bytemuck::try_pod_read_unaligned(&item).ok();
            drop(item);
            // The place of a router that was removed has no owner: skip its events.
            let known = event.and_then(|event| Some((maps.places.owner(event.place)?, event.kind())));
            if known.is_some() {
                return known;
            }
        }
    }

    /// Pins the maps for an interface.
    pub(super) fn pin(&self, interface: &str, tier: Tier) -> Result<Pins, PinError> {
        Pins::make(interface, tier, &self.records_map, &self.maps().rejects)
    }

    /// Adds the counters of an interface.
    pub(super) fn begin_interface(&self, index: u32) -> Result<(), Refusal> {
        let mut maps = self.maps();
        let rejects = counters(&mut maps.rejects);
        let inserted = rejects.and_then(|mut rejects| rejects.insert(index, KernelCounters::default(), 0));
        inserted.map_err(|error| refusal("REJECTS", error))
    }

    /// Removes the map entries of an interface.
    pub(super) fn end_interface(&self, index: u32) {
        let mut maps = self.maps();
        // Missing entries are fine.
        let _ = counters(&mut maps.rejects).and_then(|mut rejects| rejects.remove(&index));
        let _ = maps.stations.remove(&index);
    }

    /// Sets the MAC addresses that an interface accepts.
    pub(super) fn set_stations(&self, index: u32, stations: Stations) -> Result<(), Refusal> {
        let inserted = self.maps().stations.insert(index, stations, 0);
        inserted.map_err(|error| refusal("STATIONS", error))
    }

    /// Counters of discarded frames of an interface that belong to no configured router.
    pub(super) fn rejects(&self, index: u32) -> KernelCounters {
        let mut maps = self.maps();
        counters(&mut maps.rejects).and_then(|rejects| rejects.get(&index, 0)).unwrap_or_default()
    }

    /// Assigns a place to a router on the interface with this index, from the reserved places of the interface first.
    pub(super) fn take_place(&self, owner: Owner, index: u32, room: &mut Room) -> Result<u32, Refusal> {
        let mut maps = self.maps();
        let reserved = mem::take(&mut room.routers);
        let place = maps.places.take(owner, reserved > 0).ok_or(Refusal::NoRoom)?;
        room.routers = reserved.saturating_sub(1);
        let begun = self.begin_router(&mut maps, owner.slot, index, place);
        if begun.is_err() {
            maps.places.free(place);
        }
        begun.map(|()| place)
    }

    fn begin_router(&self, maps: &mut Maps, slot: u32, index: u32, place: u32) -> Result<(), Refusal> {
        self.records.open(place).map_err(no_records)?;
        // Clears the record of the previous router in this place.
        self.clear(slot, index, place)?;
        let inserted = maps.index.insert(place_key(index, slot), place, 0);
        inserted.map_err(|error| refusal("INDEX", error))
    }

    /// Has the kernel ignore adverts for a place, and clears its record.
    fn clear(&self, slot: u32, index: u32, place: u32) -> Result<(), Refusal> {
        self.commands.carry_out(KernelCommand { slot, interface: index, place, ..KernelCommand::default() })
    }

    /// Releases the place of a router.
    pub(super) fn free_place(&self, slot: u32, index: u32, place: u32) -> Result<(), Refusal> {
        // On an error the place stays occupied: the kernel still handles the router.
        self.clear(slot, index, place)?;
        self.hide(slot, index);
        self.maps().places.free(place);
        Ok(())
    }

    /// Removes a router from the index: the program passes on its frames.
    pub(super) fn hide(&self, slot: u32, index: u32) {
        // Without an entry there is nothing to hide.
        let _ = self.maps().index.remove(&place_key(index, slot));
    }

    /// Executes a command; it has taken effect when this returns.
    pub(super) fn command(&self, command: KernelCommand) -> Result<(), Refusal> {
        self.commands.carry_out(command)
    }

    /// The record at a place.
    pub(super) fn record(&self, place: u32) -> Option<RouterRecord> {
        self.records.read(place)
    }

    /// Sets the use of an address for the router at a slot of an interface; `None` removes it.
    pub(super) fn set_address(
        &self,
        (index, slot): (u32, u32),
        address: IpAddr,
        used: Option<AddressUse>,
    ) -> Result<(), Refusal> {
        let key = Key::new(ADDRESS_BITS, address_key(index, slot, address));
        let mut maps = self.maps();
        let set = match used {
            Some(used) => maps.addresses.insert(&key, used.to_bits(), 0),
            None => maps.addresses.remove(&key),
        };
        set.map_err(|error| refusal("ADDRESSES", error))
    }

    /// Sets the [`known_bit`](vrrpd_common::abi::known_bit)s of the addresses that are set for the router in a place.
    pub(super) fn set_known(&self, place: u32, bits: u64) -> Result<(), Refusal> {
        self.maps().known.set(place, bits, 0).map_err(|error| refusal("KNOWN", error))
    }

    /// Reserves places, if this object is of the kind and has enough.
    fn reserve(self: &Arc<Self>, kind: Kind, routers: usize) -> Option<Room> {
        let has_room = self.kind == kind && self.maps().places.reserve(routers);
        has_room.then(|| Room { object: Arc::clone(self), routers })
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// The object.
    pub(super) const fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// Changes the number of reserved places; returns false, without a change, if the object has too few.
    pub(super) fn resize(&mut self, routers: usize) -> bool {
        let mut maps = self.object.maps();
        let more = routers.saturating_sub(self.routers);
        let is_there = maps.places.reserve(more);
        if is_there {
            maps.places.release(self.routers.saturating_sub(routers));
            self.routers = routers;
        }
        is_there
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.object.maps().places.release(self.routers);
    }
}

/// The map of counters.
fn counters(map: &mut Map) -> Result<HashMap<&mut MapData, u32, KernelCounters>, MapError> {
    HashMap::try_from(map)
}

fn no_records(error: io::Error) -> Refusal {
    Refusal::Unmapped("RECORDS", error.into())
}

fn refusal(map: &'static str, error: MapError) -> Refusal {
    Refusal::Map(map, Cause::of(error))
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("number", &self.number).finish_non_exhaustive()
    }
}
