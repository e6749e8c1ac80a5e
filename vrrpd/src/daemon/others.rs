//! Other interfaces with addresses of routers.

use std::collections::BTreeMap;

use tracing::error;
use vrrpd_common::Instant;
use vrrpd_engine::engine::{AnnouncedOn, Announcement};
use vrrpd_engine::interface::OtherInterfaces;
use vrrpd_engine::router::Router;
use vrrpd_engine::{Input, RouterId};

use super::Daemon;
use crate::config::{RouterConfig, Settings};
use crate::interface::Interface;
use crate::interface::service::Report;
use crate::transmit::{Transmitter, announcements};

/// All of them, by name.
#[derive(Debug, Default)]
pub(super) struct Others(BTreeMap<String, Other>);

/// Such an interface.
#[derive(Debug, Default)]
struct Other {
    interface: Option<Interface>,
    /// The transmitter for announcements, and the interface index that it sends on.
    transmitter: Option<(u32, Transmitter)>,
}

impl Others {
    /// The other interfaces of these routers, in their state at start.
    pub(super) fn of(configs: &[RouterConfig], interfaces: &[Interface]) -> Self {
        let names = configs.iter().flat_map(|config| config.other_interfaces());
        let mut others = Self::default();
        for name in names {
            let interface = interfaces.iter().find(|interface| interface.name == name).cloned();
            others.0.insert(name.to_owned(), Other { interface, transmitter: None });
        }
        others
    }

    /// Adds an interface; `false` if it is known already.
    pub(super) fn add(&mut self, name: &str) -> bool {
        let is_new = !self.0.contains_key(name);
        if is_new {
            self.0.insert(name.to_owned(), Other::default());
        }
        is_new
    }

    /// The existing other interfaces of a router.
    pub(super) fn of_router(&self, config: &Settings) -> OtherInterfaces {
        let there = |name: &str| Some((name.to_owned(), self.0.get(name)?.interface.clone()?));
        config.other_interfaces().into_iter().filter_map(there).collect()
    }

    /// Announces the addresses of a router there; returns how many frames that takes.
    pub(super) fn announce(&mut self, id: RouterId, announcement: &Announcement) -> usize {
        let mut taken = 0;
        for AnnouncedOn { name, index, mac, addresses } in &announcement.elsewhere {
            let Some(other) = self.0.get_mut(name) else { continue };
            let Some(transmitter) = other.transmitter(name, *index) else { continue };
            let frames = announcements(*mac, addresses.iter().copied());
            taken += transmitter.announce(id, &frames, announcement.count, announcement.pauses);
        }
        taken
    }

    /// Stops announcements of a router that is no longer Master.
    pub(super) fn withdraw(&mut self, id: RouterId) {
        self.transmitters().for_each(|transmitter| transmitter.withdraw(id));
    }

    /// Sends what is due.
    pub(super) fn flush(&mut self, now: Instant) {
        for transmitter in self.transmitters() {
            if let Err(error) = transmitter.flush(now) {
                error!(%error, "cannot send announcements");
            }
        }
    }

    /// When [`Others::flush`] is due again.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let open = self.0.values().filter_map(|other| other.transmitter.as_ref());
        open.filter_map(|(_, transmitter)| transmitter.deadline(now)).min()
    }

    fn transmitters(&mut self) -> impl Iterator<Item = &mut Transmitter> {
        let open = self.0.values_mut().filter_map(|other| other.transmitter.as_mut());
        open.map(|(_, transmitter)| transmitter)
    }
}

impl Other {
    fn transmitter(&mut self, interface: &str, index: u32) -> Option<&mut Transmitter> {
        if self.transmitter.as_ref().is_none_or(|(open_on, _)| *open_on != index) {
            self.transmitter = match Transmitter::open(index) {
                Ok(transmitter) => Some((index, transmitter)),
                Err(error) => {
                    error!(interface, %error, "cannot announce virtual addresses");
                    None
                }
            };
        }
        self.transmitter.as_mut().map(|(_, transmitter)| transmitter)
    }
}

impl Daemon {
    /// Handles a report of the netlink thread about such an interface.
    pub(super) fn note_other(&mut self, report: &Report) {
        let (interface, is_there, lost) = match report {
            Report::Changed(interface) => (interface, true, None),
            Report::Removed(interface) => (interface, false, None),
            Report::Lost(interface, address, remover) => (interface, true, Some((*address, *remover))),
            Report::Followed(_) | Report::RoutingLost | Report::Done(..) => return,
        };
        let name = &interface.name;
        let Some(other) = self.others.0.get_mut(name) else { return };
        other.interface = is_there.then(|| interface.clone());
        let has_some = |router: &Router| router.config.other_interfaces().contains(name.as_str());
        let routers = self.engine.routers().iter().filter(|(_, router)| has_some(router));
        for id in routers.map(|(id, _)| id).collect::<Vec<_>>() {
            let there = is_there.then(|| Box::new(interface.clone()));
            let is_its = |(address, _): &(std::net::IpAddr, _)| {
                self.engine.router(id).is_some_and(|router| router.config.interface_of(*address) == name)
            };
            let lost = lost.filter(is_its);
            if let Some((address, remover)) = lost {
                self.input(Input::AddressLost(id, address, remover));
            }
            self.input(Input::OtherInterface(id, name.clone(), there));
        }
    }
}
