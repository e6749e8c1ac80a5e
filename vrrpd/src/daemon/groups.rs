//! The other processes of the group (`-M`), connected by [`crate::peers`], and reports about groups.
//! [`vrrpd_engine::group`] decides.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::thread;

use vrrpd_common::group::{Lacking, Message, PeerId, Standing};
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::group::{FormedGroup, NotAdmitted};
use vrrpd_engine::ids::GroupPlace;
use vrrpd_engine::{Engine, Input};

use super::Daemon;
use super::start_error::StartError;
use crate::clock;
use crate::config::GroupConfig;
use crate::peers::{PeerEvent, Peers};
use crate::report::GroupReport;

/// How long existing processes may take to send their standing, and the polling interval meanwhile.
const ACQUAINTANCE: Duration = Duration::from_millis(200);
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(1);

impl Daemon {
    /// Connects to the other processes of the group, and listens at `path` for later ones. They count this process once
    /// it has sent its standing, so nothing is sent if the group differs from the configured one.
    pub(super) fn meet_group_peers(&mut self, path: &Path) -> Result<(), StartError> {
        let Self { engine, readiness, group_peers, .. } = self;
        let Some(name) = engine.groups().get(0).and_then(|group| first_member(engine, group)) else {
            return Ok(());
        };
        let failed = |error| StartError::System { what: path.display().to_string(), error };
        let mut peers = Peers::open(name.clone(), path, clock::now(), readiness).map_err(failed)?;
        let mut said: BTreeMap<PeerId, Message> = BTreeMap::new();
        let until = clock::now() + ACQUAINTANCE;
        loop {
            peers.hear_all(clock::now(), readiness, &mut |heard| {
                match heard {
                    PeerEvent::Message(id, message) => drop(said.insert(id, message)),
                    PeerEvent::Gone(id) => drop(said.remove(&id)),
                }
                engine.handle(clock::moment(), input(heard));
            });
            // Processes that are just starting send only their names, and a stopped process sends nothing.
            let all_have_spoken =
                peers.all_are_known() && peers.present().all(|(id, _)| said.contains_key(&id));
            if all_have_spoken || clock::now() >= until {
                break;
            }
            thread::sleep(LOOK_AGAIN);
        }
        let Some(group) = engine.groups().get(0) else { return Ok(()) };
        let others: Vec<_> = peers.present().map(|(id, name)| (name, said.get(&id))).collect();
        let silent = peers.silent();
        group.admit(&name, &others, silent.len()).map_err(|why| match why {
            NotAdmitted::Size { ours, peer, theirs } => StartError::GroupSize { ours, peer, theirs },
            NotAdmitted::Full { size, members } => {
                let silent = silent.iter().map(|process| format!("process {process} (stopped)"));
                let members: Vec<_> = members.into_iter().chain(silent).collect();
                StartError::GroupFull { size, members: members.join(", ") }
            }
        })?;
        if let Some(greeting) = group.greeting() {
            peers.tell(greeting);
        }
        *group_peers = Some(peers);
        Ok(())
    }

    /// Sets the groups.
    pub(super) fn form_groups(&mut self, wanted: &[GroupConfig]) {
        let seed = RandomState::new().hash_one(std::process::id());
        self.input(Input::FormGroups { groups: wanted.to_vec(), seed });
        self.group_runners.set(wanted, &self.rundir, &self.scripts);
    }

    /// Hands noted changes to the groups and executes the outputs, until nothing is left.
    pub(super) fn settle_groups(&mut self) {
        if self.engine.groups().has_news() {
            self.input(Input::SettleGroups);
        }
        // Looks for missing members.
        if let (Some(peers), Some(group)) = (&mut self.group_peers, self.engine.groups().get(0)) {
            peers.expect_more(group.live() < group.size(), clock::now());
        }
    }

    /// Handles data from the group peer with this number.
    pub(super) fn group_peer_ready(&mut self, number: u64) {
        let Self { group_peers: Some(peers), engine, readiness, .. } = self else { return };
        let now = clock::moment();
        peers.ready(number, now.at, readiness, &mut |heard| engine.handle(now, input(heard)));
    }

    /// When to look for group peers again, or to read from them.
    pub(super) fn group_peers_due(&self) -> Option<Instant> {
        self.group_peers.as_ref().and_then(Peers::deadline)
    }

    /// Hands over all messages of other processes before groups handle a deadline.
    pub(super) fn hear_group_peers(&mut self) {
        if self.group_peers.is_none() {
            return;
        }
        let now = clock::moment();
        let due = self.engine.groups().deadline().into_iter().chain(self.group_peers_due()).min();
        if let Self { group_peers: Some(peers), engine, readiness, .. } = self
            && due.is_some_and(|at| at <= now.at)
        {
            peers.hear_all(now.at, readiness, &mut |heard| engine.handle(now, input(heard)));
        }
    }

    /// The report about the group of a router.
    pub(super) fn group_report(&self, place: GroupPlace) -> Option<GroupReport> {
        let group = self.engine.groups().get(place.group)?;
        let peers = self.group_peers.as_ref();
        let own = group.members().filter_map(|(id, standing)| {
            let router = self.engine.router(id)?;
            Some((router.config.name().to_string(), standing))
        });
        let others = peers.into_iter().flat_map(Peers::present).map(|(id, name)| {
            let standing = group.peer(id).unwrap_or(Standing::Unusable);
            (name.to_owned(), standing)
        });
        let mut present: Vec<_> = own.chain(others).collect();
        present.sort_unstable();
        let missing: Vec<&str> = peers.into_iter().flat_map(Peers::missing).collect();
        let lacking = group.lacking();
        Some(GroupReport {
            name: group.config().name.clone(),
            size: group.size(),
            members: group.live(),
            ready: lacking.is_none(),
            present: present.iter().map(|(name, _)| name.clone()).collect(),
            missing: missing.iter().map(|name| (*name).to_owned()).collect(),
            lacking: lacking.map(|lacking| in_words(lacking, &present, &missing)),
        })
    }
}

/// The name of the first member in this process, by which other processes know it.
fn first_member(engine: &Engine, group: &FormedGroup) -> Option<String> {
    let (id, _) = group.members().next()?;
    Some(engine.router(id)?.config.name().to_string())
}

const fn input(heard: PeerEvent) -> Input<'static> {
    match heard {
        PeerEvent::Message(peer, message) => Input::GroupPeerSaid(peer, message),
        PeerEvent::Gone(peer) => Input::GroupPeerGone(peer),
    }
}

/// Why a group is not ready, in words: missing members, and members with an insufficient standing.
fn in_words(lacking: Lacking, present: &[(String, Standing)], missing: &[&str]) -> String {
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
        // No single member is the cause: the group pauses, or waits for a newer message.
        words.push(standing.name().to_owned());
    }
    words.join(", ")
}
