//! The groups of this process: of routers of its own (`[[group]]`), or one with those of other processes (`-M`).
//!
//! [`vrrpd_common::group`] decides for one group. A router that has handled an event notes how it stands; a group is told of
//! that when all that has arrived was handled, so that it does not hear that a member is willing while an advert that ends
//! that waits to be read.

mod scripted;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use vrrpd_common::group::{Group, Input, Key, Lacking, Member, Message, Output, PeerId, Standing};
use vrrpd_common::router::{Event, VirtualRouter};
use vrrpd_common::timers::master_down_interval;
use vrrpd_common::{Duration, Instant};

use crate::config::{GroupConfig, RouterConfig};
use crate::ids::{RouterId, Slots};
use crate::router::Router;
use scripted::Scripted;

/// A router's place in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlace {
    /// The group, by its place among those of the process.
    pub group: usize,
    /// Which of its members the router is.
    pub member: Member,
}

/// All groups of a process.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    formed: Vec<FormedGroup>,
    /// What the groups have not been told yet, in order.
    inputs: VecDeque<(usize, Input)>,
    /// Those with scripts.
    scripted: Vec<Scripted>,
}

/// A group with those of its members that are in this process.
#[derive(Clone, Debug)]
pub struct FormedGroup {
    config: GroupConfig,
    group: Group,
    members: Vec<Own>,
}

/// A member in this process.
#[derive(Clone, Debug)]
struct Own {
    router: RouterId,
    /// What was noted last.
    standing: Standing,
    master_down_interval: Duration,
}

/// Why a process cannot join the others of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// Another process was told of another size.
    Size {
        /// What this process was told.
        ours: u8,
        /// The other process.
        peer: String,
        /// What that was told.
        theirs: u8,
    },
    /// All members of the group are there.
    Full {
        /// How many it has.
        size: u8,
        /// The other processes whose names are known.
        members: Vec<String>,
    },
}

impl Groups {
    /// Makes the groups those that are wanted, and returns the places of all members. One that is there with the members that
    /// are wanted, whatever it is called, stays, if it has every router that it had. Of another one, members that are Master
    /// stay it while the others take part in their elections. `seed` is any number that no other process has.
    pub(crate) fn form(
        &mut self,
        now: Instant,
        wanted: &[GroupConfig],
        routers: &Slots<RouterId, Router>,
        seed: u64,
    ) -> Vec<(RouterId, GroupPlace)> {
        let mut before = std::mem::take(&mut self.formed);
        for (config, seed) in wanted.iter().zip(seed..) {
            let stays = |formed: &FormedGroup| {
                let has_place =
                    |own: &Own| routers.get(own.router).is_some_and(|router| router.group.is_some());
                formed.config.is_of_the_same(config) && formed.members.iter().all(has_place)
            };
            let formed = match before.iter().position(stays) {
                Some(place) => FormedGroup { config: config.clone(), ..before.swap_remove(place) },
                None => FormedGroup::new(now, config, routers, seed),
            };
            self.formed.push(formed);
        }
        scripted::set(&mut self.scripted, wanted, routers);
        let mut places = Vec::new();
        for (group, formed) in self.formed.iter().enumerate() {
            let members = formed.members.iter().enumerate();
            let place = |member| GroupPlace { group, member: Member(member) };
            places.extend(members.map(|(member, own)| (own.router, place(member))));
        }
        places
    }

    /// Notes how a member stands that has handled an event.
    pub(crate) fn note(&mut self, place: GroupPlace, router: &VirtualRouter) {
        let standing = Standing::of(router);
        let formed = self.formed.get_mut(place.group);
        let Some(member) = formed.and_then(|formed| formed.members.get_mut(place.member.0)) else { return };
        let config = router.config();
        let wait =
            master_down_interval(config.version, router.priority(), config.interval, config.down_multiplier);
        if member.master_down_interval != wait {
            member.master_down_interval = wait;
            self.inputs.push_back((place.group, Input::MasterDownInterval(place.member, wait)));
        }
        if member.standing == standing {
            return;
        }
        member.standing = standing;
        // That it was ready for a moment is of no use to anybody; that it was not has to be said.
        let waiting = self.inputs.iter_mut().rev().find_map(|(group, input)| match input {
            Input::Member(member, standing) if (*group, *member) == (place.group, place.member) => {
                Some(standing)
            }
            Input::Member(..)
            | Input::MasterDownInterval(..)
            | Input::Message(..)
            | Input::Gone(_)
            | Input::Timer => None,
        });
        match waiting {
            Some(waiting) if waiting.is_ready() => *waiting = standing,
            Some(_) | None => self.inputs.push_back((place.group, Input::Member(place.member, standing))),
        }
    }

    /// Another process of the group said this. A process with such a group has no other.
    pub(crate) fn peer_said(&mut self, peer: PeerId, message: Message) {
        self.inputs.push_back((0, Input::Message(peer, message)));
    }

    /// Another process of the group has gone.
    pub(crate) fn peer_gone(&mut self, peer: PeerId) {
        self.inputs.push_back((0, Input::Gone(peer)));
    }

    /// Notes which deadlines have passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        for (place, formed) in self.formed.iter().enumerate() {
            if formed.group.deadline().is_some_and(|at| at <= now) {
                self.inputs.push_back((place, Input::Timer));
            }
        }
    }

    /// Tells a group the next thing that was noted. What its members are to handle goes to `event`, what other processes are
    /// to know to `tell`. `false`: nothing was left.
    pub(crate) fn settle_one(
        &mut self,
        now: Instant,
        event: &mut dyn FnMut(RouterId, Event),
        tell: &mut dyn FnMut(Message),
    ) -> bool {
        let Some((place, input)) = self.inputs.pop_front() else { return false };
        let Some(FormedGroup { group, members, .. }) = self.formed.get_mut(place) else { return true };
        group.handle(now, input, &mut |output| match output {
            Output::Event(member, handled) => {
                if let Some(member) = members.get(member.0) {
                    event(member.router, handled);
                }
            }
            Output::Tell(message) => tell(message),
        });
        true
    }

    /// Whether something was noted that the groups have not been told.
    pub fn has_news(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// When a deadline of a group passes. Before [`Engine::expire`](crate::Engine::expire), all that other processes have said
    /// is to be handed over.
    pub fn deadline(&self) -> Option<Instant> {
        self.formed.iter().filter_map(|formed| formed.group.deadline()).min()
    }

    /// This group.
    pub fn get(&self, place: usize) -> Option<&FormedGroup> {
        self.formed.get(place)
    }
}

impl FormedGroup {
    /// A group of those of its members that are here and do not leave.
    fn new(now: Instant, config: &GroupConfig, routers: &Slots<RouterId, Router>, seed: u64) -> Self {
        let mut group = Group::new(config.size, seed);
        let mut members = Vec::with_capacity(config.members.len());
        let mut is_master = false;
        for (id, router) in routers.iter().filter(|(_, router)| !router.is_leaving()) {
            let RouterConfig { version, priority, interval, down_multiplier, .. } = router.config;
            let master_down_interval = master_down_interval(version, priority, interval, down_multiplier);
            if config.members.contains(&router.config.name().to_string())
                && group.add(key(&router.config), master_down_interval).is_some()
            {
                members.push(Own { router: id, standing: Standing::Unusable, master_down_interval });
                is_master |= Standing::of(&router.machine) == Standing::Master;
            }
        }
        if is_master {
            group.assemble(now);
        }
        Self { config: config.clone(), group, members }
    }

    /// Whether this process can join the others of the group: `others` are those whose names are known, with what they have
    /// said, and so many are `silent`.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn admit(
        &self,
        name: &str,
        others: &[(&str, Option<&Message>)],
        silent: usize,
    ) -> Result<(), NotAdmitted> {
        let size = self.config.size;
        let mut said = others.iter().filter_map(|(peer, said)| Some((peer, said.as_ref()?)));
        if let Some((peer, message)) = said.find(|(_, message)| message.size != size) {
            let peer = (*peer).to_owned();
            return Err(NotAdmitted::Size { ours: size, peer, theirs: message.size });
        }
        // Of those that begin together, the first by name come first.
        let comes_first = others.iter().filter(|(peer, said)| said.is_some() || *peer < name);
        let mut members: Vec<_> = comes_first.map(|(peer, _)| (*peer).to_owned()).collect();
        if members.len() + silent + self.members.len() > usize::from(size) {
            members.sort_unstable();
            return Err(NotAdmitted::Full { size, members });
        }
        Ok(())
    }

    /// What another process that has just come has to know.
    pub fn greeting(&self) -> Option<Message> {
        self.group.greeting()
    }

    /// What this process knows of it.
    pub const fn group(&self) -> &Group {
        &self.group
    }

    /// What the user wants of it.
    pub const fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// The members in this process, and how they stand.
    pub fn members(&self) -> impl Iterator<Item = (RouterId, Standing)> {
        self.members.iter().map(|own| (own.router, own.standing))
    }

    /// How another process stands; `None`: it has not said.
    pub fn peer(&self, peer: PeerId) -> Option<Standing> {
        self.group.peer(peer).map(|said| said.standing)
    }

    /// How many members it has to have.
    pub fn size(&self) -> u8 {
        self.group.size()
    }

    /// How many members live and answer.
    pub fn live(&self) -> u8 {
        self.group.live()
    }

    /// Why it cannot be Master now.
    pub fn lacking(&self) -> Option<Lacking> {
        self.group.lacking()
    }
}

fn key(router: &RouterConfig) -> Key {
    Key { family: router.family, vrid: router.vrid, addresses: router.digest().to_bits() }
}
