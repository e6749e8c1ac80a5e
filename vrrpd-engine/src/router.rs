//! One virtual router while it runs: its state machine, the actions that wait, and what is told about it.

mod holding;
mod queue;
mod steady;

use std::collections::VecDeque;
use std::collections::vec_deque;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::params::Auth;
use vrrpd_common::router::{
    Action, Event, Fault, Faults, Notice, Reason, StateName, Transition, VirtualRouter,
};
use vrrpd_common::wire::ethernet;
use vrrpd_common::wire::frame::{self, advert_frame_len};
use vrrpd_common::wire::vrrp::{Kind, VrrpRepr};
use vrrpd_common::{Advert, Duration, Instant, Priority, Rejection, Version};

use crate::address::AddressList;
use crate::config::{AuthKind, RouterConfig, VirtualAddress};
use crate::expected::Expected;
use crate::group::GroupPlace;
use crate::ids::LinkId;
use crate::interface::Interface;
use crate::interface::OtherInterfaces;
use crate::kernel::KernelSide;
use crate::ledger::{Ledger, Resource, SystemError};
use crate::mismatch::{Mismatches, Warning};
use crate::pace::Pace;
use crate::priority::{Outcome, Policy, Steps, TrackId, Weight};
use crate::rate_limit::{BackOff, RateLimit};
use crate::sending::{Sending, addresses_that_fit};
use crate::vmac::VmacSide;
use queue::ActionQueue;

pub use holding::{Pending, WithoutVmac};
pub use steady::SteadyState;

/// Transitions that are remembered.
const HISTORY: usize = 16;
/// Actions and transitions that a Backup has room for without asking for more: it mostly needs no others.
const FEW: usize = 2;

/// The time of day: since 1970, as far as the machine knows it. For people; nothing is decided by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeOfDay(pub Duration);

/// A virtual router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Router {
    /// What the user wants.
    pub config: RouterConfig,
    /// Its state machine.
    pub machine: VirtualRouter,
    /// Where its priority and its faults come from.
    pub policy: Policy,
    /// The interface it runs on.
    pub link: LinkId,
    /// Its virtual addresses, as adverts hold them.
    pub addresses: AddressList,
    /// Whose adverts do not fit.
    pub mismatches: Mismatches,
    /// Whether adverts can be sent.
    pub sending: Sending,
    /// How often it announces its addresses and has a line in the log.
    pub pace: Pace,
    /// Limits the lines about adverts that could not be sent.
    pub unsendable: RateLimit<()>,
    /// Limits the lines about addresses that another process removed.
    pub losses: RateLimit<IpAddr>,
    /// Routes and rules that the system refused the last time, and why.
    pub refused_routing: Vec<(Resource, SystemError)>,
    /// How soon what another process takes away is put back.
    pub back_off: BackOff,
    /// What it did.
    pub done: Done,
    /// What adverts of others have to look like.
    pub expected: Expected,
    /// What the kernel was told of it, and what it told.
    pub kernel: KernelSide,
    /// Its adverts are handled in the kernel, as far as that can verify them.
    pub in_kernel: bool,
    /// The program there is told the VLAN of each advert: what it hears is the interface's own.
    pub sees_tags: bool,
    /// Which member of which group it is, if it is one.
    pub group: Option<GroupPlace>,
    /// What it has taken from the system.
    pub ledger: Ledger,
    /// Its virtual MAC address.
    pub vmac: VmacSide,
    /// The interfaces that have addresses of it beside its own.
    pub others: OtherInterfaces,
    /// Addresses on other interfaces that the system refused the last time, and why.
    pub refused_elsewhere: Vec<(VirtualAddress, SystemError)>,
    /// Why the system did not drop packets to its addresses the last time.
    pub refused_filter: Option<SystemError>,
    /// What its actions wait for.
    pub waiting: Option<Box<Pending>>,
    /// It was said that the interface has addresses of it although it is not Master.
    pub presence_said: bool,
    /// The deadline under which it is filed.
    pub(crate) scheduled: Option<Instant>,
    notices: RateLimit<NoticeKind>,
    /// The next action waits: the one before is not done.
    is_stopped: bool,
    /// Actions not carried out yet, in order.
    queue: ActionQueue,
    is_leaving: bool,
    /// The state that was told: the machine's is ahead of it while the system works on the addresses.
    told: StateName,
    since: TimeOfDay,
    reason: Reason,
    history: VecDeque<Past>,
    /// The address that the last advert was sent from.
    source: Option<IpAddr>,
}

/// A check that a router tracks, with its weight, and what it says now.
pub type TrackedOutcome = (TrackId, Weight, Outcome);

/// What a router has done up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Adverts that went out.
    pub adverts_sent: u64,
    /// Gratuitous ARP and unsolicited neighbour advertisements, of each address.
    pub garp_sent: u64,
    /// Changes of state that were told.
    pub transitions: u64,
}

/// A transition that is remembered. There may be thousands of routers with `HISTORY` of them, so it is put into words only
/// when a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// When.
    pub at: TimeOfDay,
    /// From the state told before.
    pub transition: Transition,
}

/// An advert to be sent: what its frame depends on while the router runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertToSend {
    /// Its source address.
    pub source: IpAddr,
    /// 0: the router resigns.
    pub priority: Priority,
    /// How many of the virtual addresses it names, from the first on.
    pub addresses: usize,
}

/// Something that the state machine noticed and that is to be logged now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noticed {
    /// What it is.
    pub notice: Notice,
    /// How many of its kind were withheld since the last one.
    pub more: u64,
}

/// What a notice is about: each kind has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum NoticeKind {
    IntervalDiffers,
    IntervalExceedsLimit,
    AddressesDiffer,
    LowerMaster,
    ClockGap,
    StartDelay,
    TakeOverHeld,
}

impl NoticeKind {
    const fn of(notice: &Notice) -> Self {
        match notice {
            Notice::IntervalDiffers(_) => Self::IntervalDiffers,
            Notice::IntervalExceedsLimit { .. } => Self::IntervalExceedsLimit,
            Notice::AddressesDiffer(_) => Self::AddressesDiffer,
            Notice::LowerMaster(_) => Self::LowerMaster,
            Notice::ClockGap(_) => Self::ClockGap,
            Notice::StartDelay(_) => Self::StartDelay,
            Notice::TakeOverHeld(_) => Self::TakeOverHeld,
        }
    }
}

impl Noticed {
    /// The addresses that the advert in this frame announces, where they are what was noticed.
    pub fn addresses(&self, frame: Option<&[u8]>) -> Vec<IpAddr> {
        let frame = frame.filter(|_| matches!(self.notice, Notice::AddressesDiffer(_)));
        frame.and_then(frame::addresses).map(|list| list.iter().collect()).unwrap_or_default()
    }
}

impl Router {
    /// Actions that wait at most.
    pub const MAX_ACTIONS: usize = ActionQueue::MAX;

    /// A router that does nothing before [`Event::Startup`].
    pub fn new(config: RouterConfig, link: LinkId, now: TimeOfDay) -> Self {
        Self {
            machine: VirtualRouter::new(config.machine()),
            policy: Policy::new(config.priority, Steps::of(&config)),
            link,
            addresses: AddressList::of(config.family, &config.addresses),
            mismatches: Mismatches::default(),
            sending: Sending::default(),
            pace: Pace::new(&config),
            unsendable: RateLimit::default(),
            losses: RateLimit::default(),
            refused_routing: Vec::new(),
            back_off: BackOff::default(),
            done: Done::default(),
            expected: Expected::default(),
            kernel: KernelSide::default(),
            in_kernel: false,
            sees_tags: false,
            group: None,
            ledger: Ledger::default(),
            vmac: VmacSide::new(&config),
            others: OtherInterfaces::new(),
            refused_elsewhere: Vec::new(),
            refused_filter: None,
            waiting: None,
            presence_said: false,
            scheduled: None,
            notices: RateLimit::default(),
            is_stopped: false,
            queue: ActionQueue::new(),
            is_leaving: false,
            told: StateName::Init,
            since: now,
            reason: Reason::StartUp,
            history: VecDeque::with_capacity(FEW),
            source: None,
            config,
        }
    }

    /// Goes on with a configuration that [`RouterConfig::can_become`] allows.
    pub fn exchange(&mut self, config: RouterConfig) {
        self.machine.set_grouped(config.grouped);
        self.machine.set_prepares(config.scripts.prepare.is_some());
        self.machine.set_max_learned_interval(config.max_learned_interval);
        self.policy.configure(config.priority, Steps::of(&config));
        self.config = config;
    }

    /// Tracks these checks from now on. A router that takes part already is not stopped by something that is new and of which
    /// there is no result.
    pub fn track(&mut self, tracked: &[TrackedOutcome]) {
        let takes_part = self.machine.state().name() != StateName::Init;
        let before: Vec<_> = self.policy.tracked().map(|(id, _)| id).collect();
        for id in before {
            if tracked.iter().all(|(other, ..)| *other != id) {
                self.policy.untrack(id);
            }
        }
        for &(id, weight, outcome) in tracked {
            let is_assumed = takes_part && weight == Weight::NONE && outcome == Outcome::Unknown;
            self.policy.track(id, weight);
            self.policy.observe(id, if is_assumed { Outcome::Holds } else { outcome });
        }
    }

    /// It is in the configuration no more: it gives back what it holds, and goes.
    pub const fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Whether it leaves.
    pub const fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Hands an event to the state machine. What it wants done is queued, in order; what it noticed and is to be logged now
    /// goes to `notice`.
    pub fn handle(&mut self, now: Instant, event: Event, notice: &mut dyn FnMut(Noticed)) {
        let Self { machine, queue, notices, .. } = self;
        machine.handle(now, event, &mut |action| match action {
            Action::Notice(new) => {
                if let Some(more) = notices.admit(now, NoticeKind::of(&new)) {
                    notice(Noticed { notice: new, more });
                }
            }
            other => queue.push(other),
        });
    }

    /// A valid advert came at `at`. Returns what is to be logged if it announces other addresses than ours; `frame` is the one
    /// it came in, if it is at hand.
    pub fn compare_addresses(
        &mut self,
        at: Instant,
        advert: &Advert,
        frame: Option<&[u8]>,
    ) -> Option<Warning> {
        if advert.addresses == self.machine.config().addresses {
            return None;
        }
        self.mismatches.other_addresses(&self.config, at, advert, frame)
    }

    /// An advert of this source that came at `at` was discarded. Returns what is to be logged.
    pub fn reject(&mut self, at: Instant, source: IpAddr, why: Rejection) -> Option<Warning> {
        self.mismatches.rejected(&self.config, at, source, why)
    }

    /// Takes in an action, behind those that wait.
    pub fn enqueue(&mut self, action: Action) {
        self.queue.push(action);
    }

    /// The next action, to be carried out now.
    pub fn next_action(&mut self) -> Option<Action> {
        self.queue.next()
    }

    /// The next action waits until [`Router::go_on`]: the system works on something.
    pub const fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// That is done.
    pub const fn go_on(&mut self) {
        self.is_stopped = false;
    }

    /// Whether the next action waits.
    pub const fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Something that was decided has not been done yet.
    pub fn is_busy(&self) -> bool {
        self.is_stopped || self.has_actions()
    }

    /// Whether the kernel watches its deadline.
    pub fn is_watched_by_kernel(&self) -> bool {
        self.in_kernel && self.machine.state().name() == StateName::Backup && !self.is_verified_by_us()
    }

    /// Whether actions wait.
    pub fn has_actions(&self) -> bool {
        !self.queue.is_empty()
    }

    /// How many actions wait. There are never more than [`Router::MAX_ACTIONS`], however long the system takes.
    pub fn waiting_actions(&self) -> usize {
        self.queue.len()
    }

    /// What a Master has to have is taken again, and then announced. An announcement that waits already would come before
    /// that.
    pub fn take_again(&mut self) {
        self.queue.take_again();
    }

    /// Forgets the promotion that waits, if one does: the system refused the addresses it began with, or the advert.
    pub fn drop_promotion(&mut self) -> bool {
        self.queue.drop_promotion()
    }

    /// Remembers a change of state, as seen from the state told before; `None` when it is none, since what was between
    /// never came to be.
    pub fn record(&mut self, now: TimeOfDay, transition: Transition) -> Option<Past> {
        let transition = Transition { from: self.told, ..transition };
        if transition.from == transition.to {
            return None;
        }
        self.told = transition.to;
        self.since = now;
        self.reason = transition.reason;
        self.done.transitions += 1;
        let past = Past { at: now, transition };
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(past);
        Some(past)
    }

    /// The address that it sends from on this interface, or all that keeps it from serving there.
    pub fn usable(&self, interface: Option<&Interface>) -> Result<IpAddr, Faults> {
        self.policy.usable(self.usable_interface(interface))
    }

    fn usable_interface(&self, interface: Option<&Interface>) -> Result<IpAddr, Faults> {
        let interface = interface.ok_or(Fault::InterfaceRemoved)?;
        let usable = interface.usable(&self.config);
        if self.sending.is_pausing() || !self.advert_fits(interface.mtu) {
            let unsendable = Fault::AdvertUnsendable;
            return Err(usable.map_or_else(|faults| faults.and(unsendable), |_| unsendable.into()));
        }
        usable
    }

    /// All that keeps the router from serving.
    pub fn faults(&self) -> impl Iterator<Item = Fault> {
        self.machine.interface().err().into_iter().flat_map(Faults::iter)
    }

    /// Why the router is in its state: of a fault, what is wrong now rather than what was at first.
    pub fn reason_now(&self) -> Reason {
        match (self.told, self.machine.interface()) {
            (StateName::Fault, Err(faults)) => faults.reason(),
            (StateName::Init | StateName::Backup | StateName::Master | StateName::Fault, _) => self.reason,
        }
    }

    /// The state that was told.
    pub const fn state_told(&self) -> StateName {
        self.told
    }

    /// Since when.
    pub const fn since(&self) -> TimeOfDay {
        self.since
    }

    /// The last transitions, the oldest first.
    pub fn history(&self) -> vec_deque::Iter<'_, Past> {
        self.history.iter()
    }

    /// Whether its state machine is Master.
    pub fn is_master(&self) -> bool {
        self.machine.state().name() == StateName::Master
    }

    /// Whether adverts come past the kernel's program, which cannot verify them.
    pub fn is_verified_by_us(&self) -> bool {
        self.config.auth == AuthKind::Ah
    }

    /// The advert with this priority; `None` while there is no address to send from. A resignation is made also when the
    /// interface has just become unusable, and names no more addresses than fit into `mtu` octets: that the master leaves does
    /// not depend on them.
    pub fn advert(&mut self, priority: Priority, mtu: u32) -> Option<AdvertToSend> {
        let resigns = priority == Priority::RESIGN;
        let source = self.machine.source().or_else(|| self.source.filter(|_| resigns))?;
        self.source = Some(source);
        let all = self.config.addresses.len();
        let addresses = if resigns {
            addresses_that_fit(self.packet_len(), all, self.config.family.address_len(), mtu)
        } else {
            all
        };
        Some(AdvertToSend { source, priority, addresses })
    }

    /// Octets of the IP packet that an advert is.
    pub fn packet_len(&self) -> usize {
        let config = &self.config;
        let addresses = self.addresses.first(config.addresses.len());
        let kind = match (config.version, config.auth) {
            (Version::V3, _) => Kind::V3,
            (Version::V2, AuthKind::None) => Kind::V2 { auth: Auth::None },
            // As long as any other password.
            (Version::V2, AuthKind::Simple) => Kind::V2 { auth: Auth::Simple([0; Auth::DATA_LEN]) },
            (Version::V2, AuthKind::Ah) => Kind::V2 { auth: Auth::Ah },
        };
        let advert = addresses.and_then(|addresses| {
            VrrpRepr::new(config.vrid, config.priority, config.interval, kind, addresses)
        });
        advert.map_or(0, |advert| advert_frame_len(&advert) - ethernet::HEADER_LEN)
    }

    /// Whether an advert fits into an IP packet of `mtu` octets.
    pub fn advert_fits(&self, mtu: u32) -> bool {
        u32::try_from(self.packet_len()).is_ok_and(|octets| octets <= mtu)
    }
}

#[cfg(test)]
mod tests {
    use vrrpd_common::router::Cause;

    use super::*;
    use crate::config::tests;
    use crate::ids::LinkId;

    fn router() -> Router {
        Router::new(tests::router("192.0.2.100 192.0.2.101"), LinkId::FIRST, TimeOfDay::default())
    }

    fn transition(from: StateName, to: StateName) -> Transition {
        Transition { from, to, reason: Reason::MasterDownTimer, cause: None::<Cause> }
    }

    fn at(seconds: u64) -> TimeOfDay {
        TimeOfDay(Duration::from_secs(seconds))
    }

    #[test]
    fn transitions_are_told_from_the_state_told_before() {
        let mut router = router();
        let past = router.record(at(1), transition(StateName::Master, StateName::Backup)).expect("is told");
        assert_eq!((past.transition.from, past.transition.to), (StateName::Init, StateName::Backup));
        assert_eq!(router.record(at(2), transition(StateName::Master, StateName::Backup)), None);
        assert_eq!(
            (router.state_told(), router.since(), router.done.transitions),
            (StateName::Backup, at(1), 1)
        );
        for second in 3..40 {
            let to = if second % 2 == 0 { StateName::Backup } else { StateName::Master };
            router.record(at(second), transition(StateName::Init, to));
        }
        let remembered: Vec<_> = router.history().map(|past| past.at).collect();
        assert_eq!(remembered, (24..40).map(at).collect::<Vec<_>>());
    }

    #[test]
    fn a_resignation_names_as_many_addresses_as_fit_and_goes_out_from_the_last_source() {
        let mut router = router();
        assert_eq!(router.advert(Priority::RESIGN, 1500), None, "there was no address to send from");
        let source = IpAddr::from([192, 0, 2, 1]);
        let now = Instant::ZERO + Duration::from_secs(1);
        router.handle(now, Event::InterfaceUp(source), &mut |_| {});
        let advert = router.advert(Priority(100), 0);
        assert_eq!(advert, Some(AdvertToSend { source, priority: Priority(100), addresses: 2 }));
        assert_eq!(router.packet_len(), 20 + 8 + 2 * 4);
        assert!(router.advert_fits(36) && !router.advert_fits(35));
        router.handle(now, Event::InterfaceDown(Fault::LinkDown.into()), &mut |_| {});
        assert_eq!(router.advert(Priority(100), 1500), None);
        let resignation = router.advert(Priority::RESIGN, 35);
        assert_eq!(resignation, Some(AdvertToSend { source, priority: Priority::RESIGN, addresses: 1 }));
    }

    #[test]
    fn a_notice_is_logged_once_a_second() {
        let mut router = router();
        let start = Instant::ZERO + Duration::from_secs(100);
        let source = IpAddr::from([192, 0, 2, 1]);
        let mut noticed = Vec::new();
        router.handle(start, Event::InterfaceUp(source), &mut |_| {});
        router.handle(start, Event::Startup, &mut |_| {});
        let advert = Advert {
            vrid: router.config.vrid,
            priority: Priority(200),
            interval: router.config.interval,
            source: IpAddr::from([192, 0, 2, 2]),
            mac: vrrpd_common::MacAddr([2, 0, 0, 0, 0, 2]),
            address_count: 1,
            addresses: vrrpd_common::AddressDigest::of([source]),
        };
        for millis in 0..1001 {
            let now = start + Duration::from_millis(millis);
            // Each time others than before.
            let others = IpAddr::from([192, 0, 2, if millis % 2 == 0 { 8 } else { 9 }]);
            let advert = Advert { addresses: vrrpd_common::AddressDigest::of([others]), ..advert };
            router.handle(now, Event::Advert(advert), &mut |new| noticed.push(new));
        }
        assert!(noticed.iter().all(|new| matches!(new.notice, Notice::AddressesDiffer(_))));
        assert_eq!(noticed.iter().map(|new| new.more).collect::<Vec<_>>(), [0, 999]);
    }
}
