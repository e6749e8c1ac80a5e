//! Virtual routers of one machine that are Master together or not at all, in one process (`[[group]]`) or several
//! (`-M`): timed inputs in, outputs out.
//!
//! Each process has a [`Group`] with its own members, and gets the standing of the other processes' members. It reads
//! no clock, opens no socket and allocates nothing. The caller passes each input to [`Group::handle`], executes the
//! outputs in order, reports the standing of a member after each event that the member has handled, and sends
//! [`Input::Timer`] when [`Group::deadline`] has passed. Messages of a peer must be passed in the order of their
//! arrival, all of them before the timer.
//!
//! # Becoming Master
//! A member that has won its election does not become Master but [willing](Standing::Willing). When every member of
//! every process is willing, each process notices that independently and makes its members Master.
//!
//! # Giving up
//! When one member is not ready any more, all others yield: each process that notices it makes its members yield and
//! starts a new *term*. Standings of an old term do not count, so an old message is never taken for the present state.
//! A process that receives a new term, however late, knows that the group was given up meanwhile. Processes repeat
//! their message while Master; one that is silent for too long counts as gone, even if its socket is open.
//!
//! # Two machines Master at once
//! After a partition of the network, or by chance, two machines may be Master on all LANs, each with the higher
//! priority on another one. If each yielded where it has lost, no Master would be left, and this would repeat. So the
//! *first* router of the group, by its [`Key`], decides: it yields at once; the others tolerate a better master for one
//! Master_Down_Interval. Within that time the machine that has lost on the first router's LAN gives up all of them. A
//! better master that is still there belongs to no group, and the member yields to it.
//!
//! # Another configuration
//! A reload may form a group of routers some of which are Master already. The others take part in their elections, and
//! the Masters stay Master meanwhile. If the others are not willing after some time, or a Master fails before, all give
//! up.
//!
//! # Back-off
//! A group that loses mastership soon after it became Master pauses before it tries again, longer each time up to a limit,
//! and for a time that differs between machines. So two groups that fail for the same cause (they become Master in the same
//! millisecond, their members differ, the system refuses an address) do not retry in step for ever.

mod message;
#[cfg(test)]
mod tests;

pub use message::{Key, Message, Standing};

use crate::router::{Event, State, VirtualRouter};
use crate::time::{Duration, Instant};

/// Maximum number of members of a process in a group.
pub const MAX_MEMBERS: usize = 64;
/// Maximum number of other processes: nine with this one.
pub const MAX_PEERS: usize = 8;

/// Minimum time of silence after which a peer counts as gone.
const MIN_LEASE: Duration = Duration::from_secs(1);
/// A group that was Master for fewer Master_Down_Intervals has failed.
const LASTING: u64 = 2;
/// Master_Down_Intervals within which all members must become willing when some of a new group are Master.
const ASSEMBLY: u64 = 3;
/// The first pause is a Master_Down_Interval, which members wait anyway, plus up to a quarter of one (1 /
/// `FIRST_PAUSE`).
const FIRST_PAUSE: u64 = 4;
/// Maximum number of doublings of that addition, one for each further failure in a row.
const PAUSE_DOUBLINGS: u8 = 4;

/// A member of this process, by its index in order of addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Member(pub usize);

/// Another process, by the number below [`MAX_PEERS`] of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PeerId(pub usize);

/// An input of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The standing of a member of this process.
    Member(Member, Standing),
    /// The new Master_Down_Interval of a member of this process, whose priority has changed.
    MasterDownInterval(Member, Duration),
    /// A message of another process.
    Message(PeerId, Message),
    /// Another process has ended.
    Gone(PeerId),
    /// The deadline may have passed.
    Timer,
}

/// An output of a group; outputs are executed in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The member handles this event; then its standing is reported with [`Input::Member`].
    Event(Member, Event),
    /// Send this to every other process.
    Tell(Message),
}

/// Why a group is not Master: the first reason that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// This many processes are missing or silent.
    Members(u8),
    /// The lowest standing of a member.
    Standing(Standing),
}

/// One process's view of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    size: u8,
    /// State of the pseudo-random generator for pauses.
    seed: u64,
    term: u64,
    /// Since when the members are Master.
    master_since: Option<Instant>,
    /// A new group with some Masters: its start, and the deadline for the other members.
    assembling: Option<(Instant, Instant)>,
    members: [Option<Local>; MAX_MEMBERS],
    peers: [Option<Peer>; MAX_PEERS],
    /// Number of failed promotions in a row.
    failures: u8,
    /// No promotion is tried before this time.
    pausing_until: Option<Instant>,
    told: Option<Message>,
    told_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Local {
    key: Key,
    master_down_interval: Duration,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Peer {
    said: Message,
    heard_at: Instant,
    /// It was silent for too long, and has not been heard since.
    lost: bool,
}

impl Standing {
    /// The standing of a router.
    pub const fn of(router: &VirtualRouter) -> Self {
        match router.state() {
            State::Initialize | State::Fault(_) => Self::Unusable,
            State::Backup(_) if router.is_willing() => Self::Willing,
            State::Backup(_) => Self::Listening,
            State::Master(_) => Self::Master,
        }
    }
}

impl Group {
    /// A group of `size` members, none of which is known yet. `seed` is a random number, unique among all processes and
    /// machines.
    pub const fn new(size: u8, seed: u64) -> Self {
        Self {
            size,
            seed,
            term: 0,
            master_since: None,
            assembling: None,
            members: [None; MAX_MEMBERS],
            peers: [None; MAX_PEERS],
            failures: 0,
            pausing_until: None,
            told: None,
            told_at: Instant::ZERO,
        }
    }

    /// Adds a member of this process; `None` if there are [`MAX_MEMBERS`] already.
    pub fn add(&mut self, key: Key, master_down_interval: Duration) -> Option<Member> {
        let place = self.members.iter().position(Option::is_none)?;
        let local = Local { key, master_down_interval, standing: Standing::Unusable };
        *self.members.get_mut(place)? = Some(local);
        Some(Member(place))
    }

    /// Some of its members are Master already. They stay Master for some time, while the others take part in their
    /// elections.
    pub fn assemble(&mut self, now: Instant) {
        let patience = self.longest_master_down_interval().saturating_mul(ASSEMBLY).max(MIN_LEASE);
        self.assembling = Some((now, now + patience));
    }

    /// Number of members it needs: the greatest configured size of its processes.
    pub fn size(&self) -> u8 {
        self.peers().map(|(_, peer)| peer.said.size).fold(self.size, u8::max)
    }

    /// Number of members that live and answer.
    pub fn live(&self) -> u8 {
        let ours = u8::try_from(self.members().count()).unwrap_or(u8::MAX);
        self.answering().map(|peer| peer.said.members).fold(ours, u8::saturating_add)
    }

    /// Whether the members are Master.
    pub const fn is_master(&self) -> bool {
        self.master_since.is_some()
    }

    /// Why the group cannot be Master now; `None` when it is, or will be at once.
    pub fn lacking(&self) -> Option<Lacking> {
        let missing = self.size().saturating_sub(self.live());
        if missing > 0 {
            return Some(Lacking::Members(missing));
        }
        let standing = self.answering().map(|peer| self.standing_of(peer)).fold(self.standing(), Ord::min);
        (!standing.is_ready()).then_some(Lacking::Standing(standing))
    }

    /// The last message of each peer; `None`: no peer has this number.
    pub fn peer(&self, id: PeerId) -> Option<&Message> {
        self.peers.get(id.0)?.as_ref().map(|peer| &peer.said)
    }

    /// The message for another process that has just connected.
    pub fn greeting(&self) -> Option<Message> {
        Some(Message {
            term: self.term,
            standing: self.standing(),
            members: u8::try_from(self.members().count()).unwrap_or(u8::MAX),
            size: self.size,
            first: self.first()?.key,
            master_down_interval: self.own_master_down_interval(),
        })
    }

    /// When [`Input::Timer`] is due; `None`: never.
    pub fn deadline(&self) -> Option<Instant> {
        let Some(since) = self.master_since else {
            return self.pausing_until.into_iter().chain(self.assembling.map(|(_, until)| until)).min();
        };
        let leases = self.answering().map(|peer| peer.lease_until(since));
        let beat = self.answering().next().map(|_| self.beat_at());
        leases.chain(beat).min()
    }

    /// Handles an input at `now`, and passes the outputs to `emit` in order.
    pub fn handle(&mut self, now: Instant, input: Input, emit: &mut dyn FnMut(Output)) {
        let mut has_lost = false;
        match input {
            Input::Member(member, standing) => {
                if let Some(Some(local)) = self.members.get_mut(member.0) {
                    has_lost = local.standing == Standing::Master && standing != Standing::Master;
                    local.standing = standing;
                }
            }
            Input::MasterDownInterval(member, interval) => {
                if let Some(Some(local)) = self.members.get_mut(member.0) {
                    local.master_down_interval = interval;
                }
            }
            Input::Message(id, message) => {
                if let Some(place) = self.peers.get_mut(id.0) {
                    *place = Some(Peer { said: message, heard_at: now, lost: false });
                    self.learn_term(now, message.term, emit);
                }
            }
            Input::Gone(id) => {
                if let Some(place) = self.peers.get_mut(id.0) {
                    *place = None;
                }
            }
            Input::Timer => self.look_at_deadlines(now),
        }
        match (self.master_since, self.lacking()) {
            (Some(_), Some(_)) => self.give_up(now, self.term.saturating_add(1), emit),
            (None, None) => self.become_master(now, emit),
            (None, Some(_)) if self.assembling.is_some_and(|(_, until)| has_lost || now >= until) => {
                self.give_up(now, self.term.saturating_add(1), emit);
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        self.tell(now, emit);
    }

    fn look_at_deadlines(&mut self, now: Instant) {
        let late = self.deadline().map_or(Duration::ZERO, |at| now.saturating_since(at));
        if self.pausing_until.is_some_and(|until| now >= until) {
            self.pausing_until = None;
        }
        let Some(since) = self.master_since else { return };
        // If this process was not running, the others may not have been either.
        let stood_still = late > self.beat_spacing();
        for peer in self.peers.iter_mut().flatten() {
            if stood_still {
                peer.heard_at = now;
            }
            peer.lost |= now >= peer.lease_until(since);
        }
    }

    /// The group was given up without this process's knowledge.
    fn learn_term(&mut self, now: Instant, term: u64, emit: &mut dyn FnMut(Output)) {
        if term <= self.term {
            return;
        }
        if self.is_master() {
            self.give_up(now, term, emit);
        }
        self.term = term;
    }

    fn become_master(&mut self, now: Instant, emit: &mut dyn FnMut(Output)) {
        self.master_since = Some(now);
        self.assembling = None;
        let first = self.first_of_all();
        let hold = self.longest_master_down_interval();
        for (member, local) in self.members() {
            let hold = if Some(local.key) == first { Duration::ZERO } else { hold };
            emit(Output::Event(member, Event::GroupReady { hold }));
        }
    }

    fn give_up(&mut self, now: Instant, term: u64, emit: &mut dyn FnMut(Output)) {
        let assembled = self.assembling.take().map(|(since, _)| since);
        let Some(since) = self.master_since.take().or(assembled) else { return };
        self.term = term;
        if now.saturating_since(since) < self.longest_master_down_interval().saturating_mul(LASTING) {
            self.pause(now);
        } else {
            self.failures = 0;
        }
        for (member, local) in self.members.iter_mut().enumerate() {
            let Some(local) = local else { continue };
            // Earlier standings do not count until they are reported again.
            local.standing = local.standing.min(Standing::Listening);
            emit(Output::Event(Member(member), Event::GroupYields));
        }
    }

    /// Handles a failed promotion.
    fn pause(&mut self, now: Instant) {
        let wait = self.longest_master_down_interval();
        let most = wait.saturating_mul(1 << self.failures).as_nanos() / FIRST_PAUSE;
        if self.failures < PAUSE_DOUBLINGS {
            self.failures += 1;
        }
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let more = Duration::from_nanos(scramble(self.seed) % most.max(1));
        self.pausing_until = Some(now + wait + more);
    }

    /// Sends changes to the others, and repeats them while they rely on them.
    fn tell(&mut self, now: Instant, emit: &mut dyn FnMut(Output)) {
        let message = self.greeting();
        if let Some(message) = message
            && (self.told != Some(message) || (self.is_master() && now >= self.beat_at()))
        {
            self.told = Some(message);
            self.told_at = now;
            emit(Output::Tell(message));
        }
    }

    fn members(&self) -> impl Iterator<Item = (Member, &Local)> {
        let numbered = self.members.iter().enumerate();
        numbered.filter_map(|(place, local)| Some((Member(place), local.as_ref()?)))
    }

    fn peers(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        let numbered = self.peers.iter().enumerate();
        numbered.filter_map(|(place, peer)| Some((PeerId(place), peer.as_ref()?)))
    }

    fn answering(&self) -> impl Iterator<Item = &Peer> {
        self.peers().map(|(_, peer)| peer).filter(|peer| !peer.lost)
    }

    /// The lowest standing of the members in this process.
    fn standing(&self) -> Standing {
        let farthest = self.members().map(|(_, local)| local.standing).min().unwrap_or(Standing::Unusable);
        match (farthest, self.pausing_until) {
            (Standing::Willing, Some(_)) => Standing::Pausing,
            (farthest, _) => farthest,
        }
    }

    /// Standings of an older term do not count.
    fn standing_of(&self, peer: &Peer) -> Standing {
        let standing = peer.said.standing;
        if peer.said.term == self.term { standing } else { standing.min(Standing::Listening) }
    }

    fn first(&self) -> Option<&Local> {
        self.members().map(|(_, local)| local).min_by_key(|local| local.key)
    }

    fn first_of_all(&self) -> Option<Key> {
        self.first()
            .map(|local| local.key)
            .into_iter()
            .chain(self.answering().map(|peer| peer.said.first))
            .min()
    }

    fn own_master_down_interval(&self) -> Duration {
        self.members().map(|(_, local)| local.master_down_interval).max().unwrap_or(Duration::ZERO)
    }

    fn longest_master_down_interval(&self) -> Duration {
        let theirs = self.answering().map(|peer| peer.said.master_down_interval);
        theirs.fold(self.own_master_down_interval(), Ord::max)
    }

    /// How long the others rely on this process's last message.
    fn lease(&self) -> Duration {
        lease(self.own_master_down_interval())
    }

    fn beat_spacing(&self) -> Duration {
        Duration::from_nanos(self.lease().as_nanos() / 3)
    }

    fn beat_at(&self) -> Instant {
        self.told_at + self.beat_spacing()
    }
}

impl Peer {
    fn lease_until(&self, since: Instant) -> Instant {
        self.heard_at.max(since) + lease(self.said.master_down_interval)
    }
}

fn lease(master_down_interval: Duration) -> Duration {
    master_down_interval.max(MIN_LEASE)
}

/// Two rounds of multiply and shift: spreads each input bit.
const fn scramble(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
