//! The groups of this process: of its own routers (`[[group]]`), or one group with other processes (`-M`).
//!
//! [`vrrpd_common::group`] decides for one group. After an event, a router notes its standing; the group is told once
//! all that has arrived was handled, so that it does not hear that a member is willing while an unread advert makes
//! that obsolete.

mod scripted;

use std::collections::VecDeque;

use vrrpd_common::group::{Group, Input, Key, Lacking, Member, Message, Output, PeerId, Standing};
use vrrpd_common::router::{Event, Reason, VirtualRouter};
use vrrpd_common::timers::master_down_interval;
use vrrpd_common::{Duration, Instant};

use crate::config::{GroupConfig, RouterConfig};
use crate::ids::{GroupPlace, RouterId, Slots};
use crate::router::Router;
use crate::script::Call;
use scripted::ScriptedGroups;

/// All groups of a process.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    formed: Vec<FormedGroup>,
    /// Changes that the groups have not been told, in order.
    inputs: VecDeque<(usize, Input)>,
    /// The groups with scripts.
    scripted: ScriptedGroups,
}

/// A group with its members of this process.
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
    /// The last standing noted.
    standing: Standing,
    master_down_interval: Duration,
}

/// Why a process cannot join the others of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// Another process was configured with another group size.
    Size {
        /// Group size of this process.
        ours: u8,
        /// Name of the other process.
        peer: String,
        /// Group size of the other process.
        theirs: u8,
    },
    /// The group has all its members.
    Full {
        /// Size of the group.
        size: u8,
        /// The other processes with known names.
        members: Vec<String>,
    },
}

impl Groups {
    /// Sets the groups to `wanted` and returns the places of all members. A group with the same members stays as it is,
    /// even under another name, if none of its routers was replaced. In other groups, members that are Master stay
    /// Master while the others take part in their elections. `seed` is a random number, unique among all processes.
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
        self.scripted.set(wanted, routers);
        let mut places = Vec::new();
        for (group, formed) in self.formed.iter().enumerate() {
            let members = formed.members.iter().enumerate();
            let place = |member| GroupPlace { group, member: Member(member) };
            places.extend(members.map(|(member, own)| (own.router, place(member))));
        }
        places
    }

    /// The group with scripts that has this router as a member.
    pub fn with_scripts(&self, member: RouterId) -> Option<&GroupConfig> {
        self.scripted.of(member)
    }

    /// Handles a transition of a router, which may change the state of its group. Returns the name of the group and the
    /// scripts to run.
    pub(crate) fn follow(
        &mut self,
        member: RouterId,
        reason: Reason,
        routers: &Slots<RouterId, Router>,
    ) -> Option<(String, Call)> {
        self.scripted.follow(member, reason, routers)
    }

    /// Notes the standing of a member that has handled an event.
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
        // A member that was ready for a moment need not be reported; one that was not ready must be.
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

    /// Handles a message from another process of the group. A process in such a group has no other group.
    pub(crate) fn peer_said(&mut self, peer: PeerId, message: Message) {
        self.inputs.push_back((0, Input::Message(peer, message)));
    }

    /// Handles that another process of the group has ended.
    pub(crate) fn peer_gone(&mut self, peer: PeerId) {
        self.inputs.push_back((0, Input::Gone(peer)));
    }

    /// Notes which deadlines of groups have passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        for (place, formed) in self.formed.iter().enumerate() {
            if formed.group.deadline().is_some_and(|at| at <= now) {
                self.inputs.push_back((place, Input::Timer));
            }
        }
    }

    /// Tells a group the next noted change. Events for its members go to `event`, messages for other processes to
    /// `tell`. Returns false if nothing was left.
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

    /// Whether groups have not been told of a noted change.
    pub fn has_news(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// The next deadline of a group. Messages of other processes must be handed over before
    /// [`Engine::expire`](crate::Engine::expire).
    pub fn deadline(&self) -> Option<Instant> {
        self.formed.iter().filter_map(|formed| formed.group.deadline()).min()
    }

    /// This group.
    pub fn get(&self, place: usize) -> Option<&FormedGroup> {
        self.formed.get(place)
    }
}

impl FormedGroup {
    /// A group with those of its members that exist in this process and are not leaving.
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

    /// Whether this process can join the group. `others` are the processes with known names and their last message;
    /// `silent` is the number of other processes.
    ///
    /// # Errors
    ///
    /// The reason why it cannot.
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
        // Among processes that start together, the order of their names decides.
        let comes_first = others.iter().filter(|(peer, said)| said.is_some() || *peer < name);
        let mut members: Vec<_> = comes_first.map(|(peer, _)| (*peer).to_owned()).collect();
        if members.len() + silent + self.members.len() > usize::from(size) {
            members.sort_unstable();
            return Err(NotAdmitted::Full { size, members });
        }
        Ok(())
    }

    /// The message for a process that has just connected.
    pub fn greeting(&self) -> Option<Message> {
        self.group.greeting()
    }

    /// The state of the group.
    pub const fn group(&self) -> &Group {
        &self.group
    }

    /// The configuration of the group.
    pub const fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// The members in this process, with their standing.
    pub fn members(&self) -> impl Iterator<Item = (RouterId, Standing)> {
        self.members.iter().map(|own| (own.router, own.standing))
    }

    /// The standing of another process; `None`: it has not sent one.
    pub fn peer(&self, peer: PeerId) -> Option<Standing> {
        self.group.peer(peer).map(|said| said.standing)
    }

    /// Number of members that the group needs.
    pub fn size(&self) -> u8 {
        self.group.size()
    }

    /// Number of members that live and answer.
    pub fn live(&self) -> u8 {
        self.group.live()
    }

    /// Why the group cannot be Master now.
    pub fn lacking(&self) -> Option<Lacking> {
        self.group.lacking()
    }
}

fn key(router: &RouterConfig) -> Key {
    Key { family: router.family, vrid: router.vrid, addresses: router.digest().to_bits() }
}
