//! Other interfaces with addresses of routers.

use std::collections::BTreeMap;

use tracing::error;
use vrrpd_common::Instant;
use vrrpd_engine::RouterId;
use vrrpd_engine::engine::{AnnouncedOn, Announcement};
use vrrpd_engine::interface::OtherInterfaces;

use crate::config::{RouterConfig, Settings};
use crate::interface::Interface;
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

    /// Notes the state of an interface, `None` when it is gone; returns whether it is one of these.
    pub(super) fn note(&mut self, name: &str, interface: Option<&Interface>) -> bool {
        let other = self.0.get_mut(name);
        other.map(|other| other.interface = interface.cloned()).is_some()
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
