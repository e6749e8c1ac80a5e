//! Adverts handled by the program in the kernel, as XDP or as a classifier: it records and times them, and reports
//! changes to the daemon.
//!
//! [`XdpPath::attach`] takes a [`Loaded`] program to the best place that is wanted and says why it is no better one;
//! [`XdpPath::command`] tells the kernel of a router; [`XdpPath::record`] says what it knows, and [`Object::event`] when it
//! knows something new. What the figures mean is said in [`vrrpd_common::watch`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use tracing::info;
use vrrpd_common::abi::{
    KernelCommand, KernelCounters, RouterRecord, Stations, any_router, family_of, known_bit, router_at,
    station,
};
use vrrpd_common::classify::AddressUse;
use vrrpd_common::{Family, MacAddr, Vrid};
use vrrpd_engine::LinkId;

use super::attachment::Attachment;
use super::loaded::{Loaded, Site};
use super::object::{Object, Room};
use super::pins::Pins;
use super::places::Owner;
use super::refusal::{ForeignProgram, Refusal};
use super::tier::Tier;
use super::vlans;
use crate::config::Datapath;

/// The addresses of a router that the kernel needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownAddresses {
    /// Virtual addresses and peers.
    pub uses: BTreeMap<IpAddr, AddressUse>,
    /// The router's own address, if it has peers, which send to it.
    pub from_peers: Option<IpAddr>,
}

/// The program on one interface. Dropping it gives the places of its routers back, and has another thread take the program
/// off; if the process crashes, the kernel does so.
pub struct XdpPath {
    link: LinkId,
    /// The number of the interface.
    index: u32,
    room: Room,
    /// The places of the routers that the kernel knows, by slot.
    places: BTreeMap<u32, u32>,
    /// The addresses that the kernel was told, by slot.
    addresses: BTreeMap<u32, KnownAddresses>,
    stations: Stations,
    pins: Option<Pins>,
    attachment: Attachment,
}

/// A program that knows no router any more, and passes on every frame. Dropping it has another thread take the program off.
#[derive(Debug)]
pub struct Retired {
    #[expect(dead_code, reason = "held for what dropping it does")]
    attachment: Attachment,
}

impl XdpPath {
    /// Reason why a program cannot be attached to this interface, as far as known before loading it. `foreign` is the
    /// ID of another program on the interface.
    pub fn obstacle(name: &str, wanted: Datapath, foreign: Option<u32>) -> Option<Refusal> {
        match wanted {
            Datapath::Raw => Some(Refusal::NotWanted),
            // A classifier runs beside other programs, and gets the VLAN of packets.
            Datapath::Auto | Datapath::Tcx | Datapath::Xdp => None,
            Datapath::XdpNative | Datapath::XdpGeneric => Self::obstacle_to_xdp(name, foreign),
        }
    }

    /// Reason why an XDP program cannot be attached to this interface, as far as known before attaching it. `foreign` as
    /// above.
    pub fn obstacle_to_xdp(name: &str, foreign: Option<u32>) -> Option<Refusal> {
        match foreign {
            Some(program) => Some(Refusal::Foreign(ForeignProgram::of(program))),
            None => vlans::are_on(name).then_some(Refusal::Vlans),
        }
    }

    /// Attaches the program to the interface of this name, unless it is there.
    pub fn attach(loaded: Loaded, link: LinkId, site: &Site, name: &str) -> Result<Self, Refusal> {
        let index = site.index;
        let (room, attachment) = loaded.into_parts(site)?;
        let object = room.object();
        object.begin_interface(index)?;
        #[cfg(feature = "debug-log")]
        object.read_log()?;
        let pins = pin(object, name, attachment.tier());
        Ok(Self {
            link,
            index,
            room,
            places: BTreeMap::new(),
            addresses: BTreeMap::new(),
            stations: Stations::default(),
            pins,
            attachment,
        })
    }

    /// Goes on with a program of another object, which knows no router yet. If that fails, nothing has changed. Waits for a
    /// kernel lock.
    pub fn move_to(&mut self, loaded: Loaded, name: &str) -> Result<(), Refusal> {
        let room = loaded.into_room();
        room.object().begin_interface(self.index)?;
        if let Err(why) = self.attachment.exchange(room.object().program().as_fd()) {
            room.object().end_interface(self.index);
            return Err(why);
        }
        self.leave_object();
        self.room = room;
        self.stations = Stations::default();
        // The pins of the old maps go first: they have the same place.
        self.pins = None;
        self.pins = pin(self.room.object(), name, self.tier());
        Ok(())
    }

    /// Ends the use of the program, which stays attached.
    pub fn retire(mut self) -> Retired {
        Retired { attachment: self.attachment.hand_over() }
    }

    /// Has the program pass on every frame: it finds no router any more. The records stay.
    pub fn stop_listening(&self) {
        for slot in self.places.keys() {
            self.object().hide(*slot, self.index);
        }
    }

    /// Keeps room for so many routers that are to come; whether there is as much.
    pub fn keep_room(&mut self, routers: usize) -> bool {
        self.room.resize(routers)
    }

    /// Has the object forget the interface.
    fn leave_object(&mut self) {
        let slots: BTreeSet<u32> = self.places.keys().chain(self.addresses.keys()).copied().collect();
        for slot in slots {
            // What fails here goes with the object.
            let _ = self.forget(slot);
        }
        self.object().end_interface(self.index);
    }

    /// The object that the program is of.
    pub fn object(&self) -> &Arc<Object> {
        self.room.object()
    }

    /// Where the program runs.
    pub fn tier(&self) -> Tier {
        self.attachment.tier()
    }

    /// Why it does not run in a better place.
    pub fn refused(&self) -> Option<&Refusal> {
        self.attachment.refused()
    }

    /// Why the program may no longer see every advert although it is attached.
    pub fn trouble(&self) -> Option<Refusal> {
        self.attachment.trouble(self.object().number())
    }

    /// Gives the router of a slot a place in the maps, unless it has one.
    pub fn admit(&mut self, slot: u32) -> Result<(), Refusal> {
        self.place(slot).map(drop)
    }

    fn place(&mut self, slot: u32) -> Result<u32, Refusal> {
        if let Some(place) = self.places.get(&slot) {
            return Ok(*place);
        }
        let owner = Owner { link: self.link, slot };
        let object = Arc::clone(self.room.object());
        let place = object.take_place(owner, self.index, &mut self.room)?;
        self.places.insert(slot, place);
        Ok(place)
    }

    /// Tells the kernel of a router; it takes effect before this returns.
    pub fn command(&mut self, command: KernelCommand) -> Result<(), Refusal> {
        let place = self.place(command.slot)?;
        self.object().command(KernelCommand { interface: self.index, place, ..command })
    }

    /// Has the kernel forget the router of a slot.
    pub fn forget(&mut self, slot: u32) -> Result<(), Refusal> {
        let forgotten = self.set_addresses(slot, KnownAddresses::default());
        match self.places.remove(&slot) {
            Some(place) => self.object().free_place(slot, self.index, place).and(forgotten),
            None => forgotten,
        }
    }

    /// Replaces the addresses of the router at `slot` in the map.
    pub fn set_addresses(&mut self, slot: u32, wanted: KnownAddresses) -> Result<(), Refusal> {
        if *self.addresses.get(&slot).unwrap_or(&KnownAddresses::default()) == wanted {
            return Ok(());
        }
        let place = self.place(slot)?;
        let set = self.addresses.remove(&slot).unwrap_or_default();
        let (object, router) = (self.object(), (self.index, slot));
        for address in set.uses.keys().filter(|address| !wanted.uses.contains_key(address)) {
            object.set_address(router, *address, None)?;
        }
        for (address, used) in &wanted.uses {
            if set.uses.get(address) != Some(used) {
                object.set_address(router, *address, Some(*used))?;
            }
        }
        let bits = wanted.uses.keys().fold(0, |bits, address| bits | known_bit(*address));
        object.set_known(place, bits)?;
        if set.from_peers != wanted.from_peers {
            let any = (self.index, any_router(family_of(slot)));
            // Other routers may have peers that send to the same address.
            let is_used = |own: &IpAddr| self.addresses.values().any(|other| other.from_peers == Some(*own));
            if let Some(own) = set.from_peers.filter(|own| !is_used(own)) {
                object.set_address(any, own, None)?;
            }
            if let Some(own) = wanted.from_peers {
                object.set_address(any, own, Some(AddressUse::default()))?;
            }
        }
        if wanted != KnownAddresses::default() {
            self.addresses.insert(slot, wanted);
        }
        Ok(())
    }

    /// Sets the MAC addresses that the interface accepts: its own, and the previous one if any.
    pub fn set_stations(&mut self, own: MacAddr, other: Option<MacAddr>) -> Result<(), Refusal> {
        let stations = [station(own), station(other.unwrap_or(own))];
        if stations != self.stations {
            self.object().set_stations(self.index, stations)?;
            self.stations = stations;
        }
        Ok(())
    }

    /// The record of the router at `slot`, which is empty before the kernel was told of the router; `None` if it cannot be
    /// read.
    pub fn record(&self, slot: u32) -> Option<RouterRecord> {
        match self.places.get(&slot) {
            Some(place) => self.object().record(*place),
            None => Some(RouterRecord::default()),
        }
    }

    /// All records with a counter above zero.
    pub fn records(&self) -> impl Iterator<Item = (Family, Vrid, RouterRecord)> {
        self.places.iter().filter_map(|(slot, place)| {
            let (family, vrid) = router_at(*slot)?;
            let counted =
                |record: &RouterRecord| record.adverts > 0 || record.rejected != KernelCounters::default();
            self.object().record(*place).filter(counted).map(|record| (family, vrid, record))
        })
    }

    /// Discarded frames that name no router of ours.
    pub fn rejects(&self) -> KernelCounters {
        self.object().rejects(self.index)
    }
}

impl Retired {
    /// The program of an object that is not in use, if it is attached.
    pub fn of(loaded: Loaded) -> Option<Self> {
        loaded.into_attachment().map(|attachment| Self { attachment })
    }
}

impl Drop for XdpPath {
    fn drop(&mut self) {
        self.leave_object();
    }
}

/// Pins the maps for an interface. Only `atropos` needs that.
fn pin(object: &Object, interface: &str, tier: Tier) -> Option<Pins> {
    let pinned = object.pin(interface, tier);
    pinned.inspect_err(|error| info!(interface, reason = error.to_string(), "cannot pin maps")).ok()
}

impl fmt::Debug for XdpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdpPath").field("attachment", &self.attachment).finish_non_exhaustive()
    }
}
