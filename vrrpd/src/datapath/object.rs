//! An object in the kernel: the program with its maps, for all interfaces of the process.
//!
//! Loading one takes the verifier 80 ms, so the process loads one for classifiers and one for XDP, and attaches it to each
//! interface. The maps have a place for each virtual router that there is, and some more. [`Objects`] loads another, larger
//! object when there is no room: an interface moves to it as a whole, and the first one goes when no interface uses it.

use std::fmt;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, Map, MapData, MapError, RingBuf};
use aya::programs::ProgramFd;
use vrrpd_common::Duration;
use vrrpd_common::abi::{
    EventKind, KernelCommand, KernelCounters, KernelEvent, RouterRecord, Stations, address_key, place_key,
};
use vrrpd_common::classify::AddressUse;

use super::commands::Commands;
use super::pins::{PinError, Pins};
use super::places::{Owner, Places};
use super::program::{self, COMMANDS, PROGRAM};
use super::readiness::{Readiness, Source};
use super::refusal::{Cause, Refusal};
use super::tier::Tier;
use crate::config::Datapath;
use crate::sys::records::{self, Records};

/// An address is looked for in full length.
const ADDRESS_BITS: u32 = 192;
/// The upper half of the number under which the events of an object are watched; below is the number of its program. Interfaces
/// and group peers have other numbers.
const EVENTS: u64 = 3 << 62;

/// The objects of a process. Handles are cheap, and may be used from any thread.
#[derive(Clone, Debug, Default)]
pub struct Objects(Arc<Loading>);

#[derive(Debug, Default)]
struct Loading {
    /// Held while one is loaded, so that interfaces that need one at the same time get the same.
    one: Mutex<()>,
    /// Those that interfaces use, and the last one of each kind, in case an interface comes back.
    loaded: Mutex<Vec<Arc<Object>>>,
}

/// The program in the kernel, with its maps.
pub struct Object {
    is_classifier: bool,
    /// The kernel's number of the program.
    number: u32,
    program: ProgramFd,
    commands: Commands,
    records_map: Map,
    records: Records,
    maps: Mutex<Maps>,
    events: OnceLock<Source<OwnedFd>>,
    #[cfg(feature = "debug-log")]
    log: super::kernel_log::ProgramLog,
}

/// What changes with the interfaces and routers.
struct Maps {
    index: HashMap<MapData, u64, u32>,
    addresses: LpmTrie<MapData, [u8; 24], u32>,
    stations: HashMap<MapData, u32, Stations>,
    /// Counters by interface.
    rejects: Map,
    ring: RingBuf<MapData>,
    places: Places,
}

/// Room for some routers in an object, which nobody else gets.
#[derive(Debug)]
pub struct Room {
    object: Arc<Object>,
    routers: usize,
}

impl Objects {
    /// An object for a data path with room for so many routers: one that is there, or one that is loaded for `in_all` routers.
    /// `patience` is how long the kernel's memory may be waited for.
    ///
    /// # Errors
    /// Why none can be loaded.
    pub fn room(
        &self,
        wanted: Datapath,
        routers: usize,
        in_all: usize,
        patience: Duration,
    ) -> Result<Room, Refusal> {
        let _one = self.0.one.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = self.loaded().iter().rev().find_map(|object| object.reserve(wanted, routers)) {
            return Ok(room);
        }
        let object = Arc::new(program::aside(|| Object::load(wanted, routers.max(in_all), patience))?);
        let room = object.reserve(wanted, routers).ok_or(Refusal::NoRoom)?;
        self.forget(|there| there.is_classifier == object.is_classifier);
        self.loaded().push(object);
        Ok(room)
    }

    /// The object whose events are watched under this number; `None`: the number is for something else.
    pub fn watched_as(&self, number: u64) -> Option<Arc<Object>> {
        self.loaded().iter().find(|object| object.events_number() == number).map(Arc::clone)
    }

    /// Whether such a number is for the events of an object, which may be gone.
    pub const fn is_number(number: u64) -> bool {
        number >> 32 == EVENTS >> 32
    }

    /// Lets go of those that no interface uses.
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
    /// Loads one with room for so many routers, and some more.
    fn load(wanted: Datapath, routers: usize, patience: Duration) -> Result<Self, Refusal> {
        let places = Places::for_routers(routers);
        let mut ebpf = program::load(wanted, places.len())?;
        let mut take = |name| ebpf.take_map(name).ok_or(Refusal::NoMap(name));
        let (records_map, timers) = (take("RECORDS")?, take("ROUTERS")?);
        let maps = Maps {
            index: take("INDEX")?.try_into().map_err(Refusal::library)?,
            addresses: take("ADDRESSES")?.try_into().map_err(Refusal::library)?,
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
        for place in 0..maps.places.len() {
            commands.prepare(place, patience)?;
        }
        Ok(Self {
            is_classifier: wanted.is_classifier(),
            number,
            program,
            commands,
            records_map,
            records,
            maps: Mutex::new(maps),
            events: OnceLock::new(),
            #[cfg(feature = "debug-log")]
            log: super::kernel_log::ProgramLog::of(ebpf),
        })
    }

    /// The program, to be attached.
    pub(super) const fn program(&self) -> &ProgramFd {
        &self.program
    }

    /// The kernel's number of the program.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Watches the ring buffer, unless that is done.
    pub fn watch(&self, readiness: &Readiness) -> io::Result<()> {
        if self.events.get().is_none() {
            let ring = self.maps().ring.as_fd().try_clone_to_owned()?;
            let watched = readiness.watch(ring, self.events_number())?;
            drop(self.events.set(watched));
        }
        Ok(())
    }

    /// Begins to read the log of the program, unless that is done.
    #[cfg(feature = "debug-log")]
    pub(super) fn read_log(&self) -> Result<(), Refusal> {
        self.log.read()
    }

    /// Says whether all events were taken.
    pub fn was_read(&self, all: bool) {
        if let Some(events) = self.events.get() {
            events.was_read(all);
        }
    }

    fn events_number(&self) -> u64 {
        EVENTS | u64::from(self.number)
    }

    /// The next event: the interface and the slot of the router, and what happened. `None`: there is none.
    pub fn event(&self) -> Option<(Owner, Option<EventKind>)> {
        let mut maps = self.maps();
        loop {
            let item = maps.ring.next()?;
            let event: Option<KernelEvent> = bytemuck::try_pod_read_unaligned(&item).ok();
            drop(item);
            // A router that left has no place any more.
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

    /// Has the kernel count rejects of an interface.
    pub(super) fn begin_interface(&self, index: u32) -> Result<(), Refusal> {
        let mut maps = self.maps();
        let rejects = counters(&mut maps.rejects);
        let inserted = rejects.and_then(|mut rejects| rejects.insert(index, KernelCounters::default(), 0));
        inserted.map_err(|error| refusal("REJECTS", error))
    }

    /// Has the kernel forget an interface.
    pub(super) fn end_interface(&self, index: u32) {
        let mut maps = self.maps();
        // What is not there needs no removing.
        let _ = counters(&mut maps.rejects).and_then(|mut rejects| rejects.remove(&index));
        let _ = maps.stations.remove(&index);
    }

    /// Tells the kernel to which MAC addresses an interface takes in frames.
    pub(super) fn set_stations(&self, index: u32, stations: Stations) -> Result<(), Refusal> {
        let inserted = self.maps().stations.insert(index, stations, 0);
        inserted.map_err(|error| refusal("STATIONS", error))
    }

    /// Discarded frames that came to an interface and name no router of ours.
    pub(super) fn rejects(&self, index: u32) -> KernelCounters {
        let mut maps = self.maps();
        counters(&mut maps.rejects).and_then(|rejects| rejects.get(&index, 0)).unwrap_or_default()
    }

    /// Gives a router on the interface of this number a place. `room` are the places that are reserved for its interface.
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
        // With this the record is the router's own: nothing has been counted in it.
        self.commands.carry_out(KernelCommand {
            slot,
            interface: index,
            place,
            ..KernelCommand::default()
        })?;
        let inserted = maps.index.insert(place_key(index, slot), place, 0);
        inserted.map_err(|error| refusal("INDEX", error))
    }

    /// Takes a router's place away.
    pub(super) fn free_place(&self, slot: u32, index: u32, place: u32) -> Result<(), Refusal> {
        let none = KernelCommand { slot, interface: index, place, ..KernelCommand::default() };
        // A place in which the kernel still sees a router is no use to another one.
        self.commands.carry_out(none)?;
        let mut maps = self.maps();
        let removed = maps.index.remove(&place_key(index, slot));
        maps.places.free(place);
        removed.map_err(|error| refusal("INDEX", error))
    }

    /// Carries out a command; it takes effect before this returns.
    pub(super) fn command(&self, command: KernelCommand) -> Result<(), Refusal> {
        self.commands.carry_out(command)
    }

    /// The record in a place.
    pub(super) fn record(&self, place: u32) -> Option<RouterRecord> {
        self.records.read(place)
    }

    /// Tells the kernel what an address is to the router in a slot of an interface; `None`: nothing.
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

    /// Room for so many routers, if this is for the data path and has it.
    fn reserve(self: &Arc<Self>, wanted: Datapath, routers: usize) -> Option<Room> {
        let has_room = self.is_classifier == wanted.is_classifier() && self.maps().places.reserve(routers);
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

    /// Makes it room for so many routers that are to come; if the object has not as much, nothing changes.
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

/// Octets of the ring buffer of an object with so many places.
pub(super) fn ring_len(places: u32) -> u32 {
    let places = usize::try_from(places).unwrap_or(usize::MAX);
    u32::try_from(vrrpd_common::abi::ring_len(places, records::page_size())).unwrap_or(1 << 31)
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("number", &self.number).finish_non_exhaustive()
    }
}
