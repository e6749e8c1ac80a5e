//! The groups that the routers of this process belong to: of routers of its own (`[[group]]`), or one with those of
//! other processes (`-M`), whose sockets are in [`crate::peers`].
//!
//! [`vrrpd_common::group`] decides, here it is told what happens. A router that has handled an event notes how it
//! stands; the loop settles what was noted before it sleeps, with all that came of it, so that a group is not told
//! that a member is willing while an advert that ends that waits to be read.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::thread;

use vrrpd_common::group::{Group, Input, Key, Lacking, Member, Message, Output, PeerId, Standing};
use vrrpd_common::router::{Event, VirtualRouter};
use vrrpd_common::timers::master_down_interval;
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::group::GroupPlace;
use vrrpd_engine::{Input as EngineInput, RouterId};

use super::Daemon;
use super::start_error::StartError;
use crate::clock;
use crate::config::{GroupConfig, Settings};
use crate::datapath::readiness::Readiness;
use crate::peers::{PeerEvent, Peers};
use crate::report::GroupReport;

/// How long processes that are there may take to say how they stand, and how often they are listened to.
const ACQUAINTANCE: Duration = Duration::from_millis(200);
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(1);

/// All groups of this process.
#[derive(Debug, Default)]
pub(super) struct Groups {
    served: Vec<Served>,
    /// What the groups have not been told yet, in order.
    inputs: VecDeque<(usize, Input)>,
    /// The other processes of the one group that is not of this process alone.
    peers: Option<Peers>,
}

#[derive(Debug)]
struct Served {
    config: GroupConfig,
    group: Group,
    members: Vec<Own>,
}

/// A member in this process.
#[derive(Debug)]
struct Own {
    router: RouterId,
    name: String,
    /// What was noted last.
    standing: Standing,
    master_down_interval: Duration,
}

impl Served {
    /// A group of those of these routers that are its members.
    fn new<'a>(config: &GroupConfig, routers: impl Iterator<Item = (RouterId, &'a Settings)>) -> Self {
        let mut group = Group::new(config.size, RandomState::new().hash_one(std::process::id()));
        let mut members = Vec::with_capacity(config.members.len());
        for (id, router) in routers {
            let name = router.name().to_string();
            let master_down_interval = master_down_interval(router.version, router.priority, router.interval);
            if config.members.contains(&name) && group.add(key(router), master_down_interval).is_some() {
                members.push(Own { router: id, name, standing: Standing::Unusable, master_down_interval });
            }
        }
        Self { config: config.clone(), group, members }
    }
}

impl Groups {
    /// Looks for the other processes of the group, and listens at `path` for those that come later. They count on us
    /// once we have told them how we stand, which we do not if the group is not the one that we were told of.
    pub(super) fn meet(&mut self, path: &Path, readiness: &Readiness) -> Result<(), StartError> {
        let Self { served, inputs, peers: place } = self;
        let [Served { config, group, members, .. }, ..] = &served[..] else { return Ok(()) };
        let [member, ..] = &members[..] else { return Ok(()) };
        let failed = |error| StartError::System { what: path.display().to_string(), error };
        let mut peers = Peers::open(member.name.clone(), path, clock::now(), readiness).map_err(failed)?;
        let mut said: BTreeMap<PeerId, Message> = BTreeMap::new();
        let until = clock::now() + ACQUAINTANCE;
        loop {
            peers.hear_all(clock::now(), readiness, &mut |heard| {
                match heard {
                    PeerEvent::Message(id, message) => drop(said.insert(id, message)),
                    PeerEvent::Gone(id) => drop(said.remove(&id)),
                }
                inputs.push_back(input(heard));
            });
            // Others that begin right now say no more than their names; nor does one that is stopped say anything.
            let all_have_spoken =
                peers.all_are_known() && peers.present().all(|(id, _)| said.contains_key(&id));
            if all_have_spoken || clock::now() >= until {
                break;
            }
            thread::sleep(LOOK_AGAIN);
        }
        let others: Vec<_> = peers.present().filter_map(|(id, name)| Some((name, said.get(&id)?))).collect();
        if let Some((peer, message)) = others.iter().find(|(_, message)| message.size != config.size) {
            return Err(StartError::GroupSize {
                ours: config.size,
                peer: (*peer).to_owned(),
                theirs: message.size,
            });
        }
        // Of those that begin together, the first by name come first.
        let beside = |(id, name): &(PeerId, &str)| said.contains_key(id) || *name < member.name.as_str();
        let mut others: Vec<_> = peers.present().filter(beside).map(|(_, name)| name.to_owned()).collect();
        others.sort_unstable();
        others.extend(
            peers.silent().into_iter().map(|process| format!("process {process}, which stands still")),
        );
        if others.len() + members.len() > usize::from(config.size) {
            return Err(StartError::GroupFull { size: config.size, members: others.join(", ") });
        }
        if let Some(greeting) = group.greeting() {
            peers.tell(greeting, readiness);
        }
        *place = Some(peers);
        Ok(())
    }

    /// Has the other processes of the group looked for while some are missing.
    fn look_out(&mut self) {
        if let (Some(peers), [Served { group, .. }, ..]) = (&mut self.peers, &self.served[..]) {
            peers.expect_more(group.live() < group.size(), clock::now());
        }
    }

    /// Notes how a member stands that has handled an event.
    pub(super) fn note(&mut self, place: GroupPlace, router: &VirtualRouter) {
        let standing = Standing::of(router);
        let served = self.served.get_mut(place.group);
        let Some(member) = served.and_then(|served| served.members.get_mut(place.member.0)) else { return };
        let config = router.config();
        let wait = master_down_interval(config.version, router.priority(), config.interval);
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

    /// Something can be read at the socket of this number.
    pub(super) fn ready(&mut self, number: u64, readiness: &Readiness) {
        let Self { peers: Some(peers), inputs, .. } = self else { return };
        peers.ready(number, clock::now(), readiness, &mut |heard| inputs.push_back(input(heard)));
    }

    /// When [`Groups::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let groups = self.served.iter().filter_map(|served| served.group.deadline());
        groups.chain(self.peers.as_ref().and_then(Peers::deadline)).min()
    }

    /// Tells groups whose deadline has passed, and before that, what other processes have said.
    pub(super) fn expire(&mut self, now: Instant, readiness: &Readiness) {
        if self.deadline().is_none_or(|at| now < at) {
            return;
        }
        if let Self { peers: Some(peers), inputs, .. } = self {
            peers.hear_all(now, readiness, &mut |heard| inputs.push_back(input(heard)));
        }
        for (place, served) in self.served.iter().enumerate() {
            if served.group.deadline().is_some_and(|at| at <= now) {
                self.inputs.push_back((place, Input::Timer));
            }
        }
    }

    /// Tells a group the next thing and tells other processes what it says; what its members are to do is added to
    /// `events`. `false` when there is nothing.
    fn settle_one(&mut self, readiness: &Readiness, events: &mut Vec<(RouterId, Event)>) -> bool {
        let Some((place, input)) = self.inputs.pop_front() else { return false };
        let Some(Served { group, members, .. }) = self.served.get_mut(place) else { return true };
        group.handle(clock::now(), input, &mut |output| match output {
            Output::Event(member, event) => {
                events.extend(members.get(member.0).map(|member| (member.router, event)));
            }
            Output::Tell(message) => {
                if let Some(peers) = &mut self.peers {
                    peers.tell(message, readiness);
                }
            }
        });
        true
    }

    /// What is told about the group of a router.
    pub(super) fn report(&self, place: GroupPlace) -> Option<GroupReport> {
        let served = self.served.get(place.group)?;
        let peers = self.peers.as_ref();
        let own = served.members.iter().map(|member| (member.name.as_str(), member.standing));
        let others = peers.into_iter().flat_map(Peers::present).map(|(id, name)| {
            let said = served.group.peer(id).map(|said| said.standing);
            (name, said.unwrap_or(Standing::Unusable))
        });
        let mut present: Vec<_> = own.chain(others).collect();
        present.sort_unstable();
        let missing: Vec<&str> = peers.into_iter().flat_map(Peers::missing).collect();
        let lacking = served.group.lacking();
        Some(GroupReport {
            name: served.config.name.clone(),
            size: served.group.size(),
            members: served.group.live(),
            ready: lacking.is_none(),
            present: present.iter().map(|(name, _)| (*name).to_owned()).collect(),
            missing: missing.iter().map(|name| (*name).to_owned()).collect(),
            lacking: lacking.map(|lacking| in_words(lacking, &present, &missing)),
        })
    }
}

impl Daemon {
    /// Makes the groups those that are wanted. One that is there with the members that are wanted, whatever it is called,
    /// stays, if it has every router that it had. Of another one, members that are Master stay it while the others take
    /// part in their elections.
    pub(super) fn form_groups(&mut self, wanted: &[GroupConfig]) {
        self.settle_groups();
        let mut before = std::mem::take(&mut self.groups.served);
        for config in wanted {
            let stays = |served: &Served| {
                let has_place =
                    |own: &Own| self.engine.router(own.router).is_some_and(|router| router.group.is_some());
                served.config.is_of_the_same(config) && served.members.iter().all(has_place)
            };
            let served = match before.iter().position(stays) {
                Some(place) => Served { config: config.clone(), ..before.swap_remove(place) },
                None => self.served_anew(config),
            };
            self.groups.served.push(served);
        }
        self.group_scripts.set(wanted, &self.rundir, &self.scripts);
        let mut places = Vec::new();
        for (group, served) in self.groups.served.iter().enumerate() {
            let members = served.members.iter().enumerate();
            let place = |member| GroupPlace { group, member: Member(member) };
            places.extend(members.map(|(member, own)| (own.router, place(member))));
        }
        self.engine.handle(clock::moment(), EngineInput::InGroups(places));
        for router in self.engine.routers().values() {
            if let Some(place) = router.group {
                self.groups.note(place, &router.machine);
            }
        }
    }

    /// A group of those routers that are here and do not leave.
    fn served_anew(&self, config: &GroupConfig) -> Served {
        let routers = self.engine.routers().iter().filter(|(_, router)| !router.is_leaving());
        let mut served = Served::new(config, routers.map(|(id, router)| (id, &router.config)));
        let is_master = |own: &Own| {
            let router = self.engine.router(own.router);
            router.is_some_and(|router| Standing::of(&router.machine) == Standing::Master)
        };
        if served.members.iter().any(is_master) {
            served.group.assemble(clock::now());
        }
        served
    }

    /// Tells the groups what was noted, and carries out what comes of it, until there is nothing more.
    pub(super) fn settle_groups(&mut self) {
        let mut events = std::mem::take(&mut self.group_events);
        while self.groups.settle_one(&self.readiness, &mut events) {
            for (router, event) in events.drain(..) {
                self.event(router, event, None);
            }
        }
        self.group_events = events;
        self.groups.look_out();
    }
}

/// Only the group of all processes with `-M` has peers, and a process that has it has no other.
fn input(heard: PeerEvent) -> (usize, Input) {
    let input = match heard {
        PeerEvent::Message(peer, message) => Input::Message(peer, message),
        PeerEvent::Gone(peer) => Input::Gone(peer),
    };
    (0, input)
}

fn key(router: &Settings) -> Key {
    Key { family: router.family, vrid: router.vrid, addresses: router.digest().to_bits() }
}

/// Why a group is not ready: who is missing, and who stands in another way than it takes.
fn in_words(lacking: Lacking, present: &[(&str, Standing)], missing: &[&str]) -> String {
    let mut words = Vec::new();
    if let Lacking::Members(count) = lacking {
        let known = missing.iter().take(usize::from(count));
        words.extend(known.map(|name| format!("{name} missing")));
        let unknown = usize::from(count).saturating_sub(missing.len());
        if unknown > 0 {
            words.push(format!("{unknown} not seen or silent"));
        }
    }
    let not_ready = present.iter().filter(|(_, standing)| !standing.is_ready());
    words.extend(not_ready.map(|(name, standing)| format!("{name} {}", standing.name())));
    if let (Lacking::Standing(standing), true) = (lacking, words.is_empty()) {
        // It is nobody's own: the group pauses, or waits for word that is newer.
        words.push(standing.name().to_owned());
    }
    words.join(", ")
}
