//! A running virtual router: its state machine, its queued actions, and its reported state.

mod advert;
mod holding;
mod pending;
mod queue;
mod scripts;
mod steady;

use std::collections::VecDeque;
use std::collections::vec_deque;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::router::{
    Action, Event, Fault, Faults, Notice, Reason, StateName, Transition, VirtualRouter,
};
use vrrpd_common::wire::frame;
use vrrpd_common::{Advert, Duration, Instant, Rejection};

use crate::address::AddressList;
use crate::config::{AuthKind, RouterConfig, VirtualAddress};
use crate::expected::Expected;
use crate::ids::{GroupPlace, LinkId};
use crate::interface::Interface;
use crate::interface::OtherInterfaces;
use crate::kernel::KernelSide;
use crate::ledger::{Ledger, Resource, SystemError};
use crate::mismatch::{Mismatches, Warning};
use crate::pace::Pace;
use crate::priority::{Outcome, Policy, TrackId, Weight};
use crate::rate_limit::{BackOff, RateLimit};
use crate::sending::Sending;
use crate::vmac::VmacSide;
use queue::{ActionQueue, FEW, HISTORY};

pub use advert::AdvertToSend;
pub use pending::Pending;
pub use steady::SteadyState;

/// Wall-clock time since 1970. For people only; no decision uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeOfDay(pub Duration);

/// A virtual router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Router {
    /// What the user wants.
    pub config: RouterConfig,
    /// Its state machine.
    pub machine: VirtualRouter,
    /// Priority, and faults that checks cause.
    pub policy: Policy,
    /// The interface of the router.
    pub link: LinkId,
    /// The virtual addresses, as adverts carry them.
    pub addresses: AddressList,
    /// The last configuration mismatch of another router.
    pub mismatches: Mismatches,
    /// Whether adverts can be sent.
    pub sending: Sending,
    /// Rate limits of announcements and logged transitions.
    pub pace: Pace,
    /// Rate limit of log lines about adverts that could not be sent.
    pub unsendable: RateLimit<()>,
    /// Rate limit of log lines about addresses that another process removed.
    pub losses: RateLimit<IpAddr>,
    /// Routes and rules that the system last refused, with the error.
    pub refused_routing: Vec<(Resource, SystemError)>,
    /// Backoff for restoring what other processes remove.
    pub back_off: BackOff,
    /// Counters.
    pub done: Done,
    /// How adverts of others are checked.
    pub expected: Expected,
    /// What the kernel was told, and what of its records was handled.
    pub kernel: KernelSide,
    /// The kernel handles its adverts, as far as it can verify them.
    pub in_kernel: bool,
    /// The program sees VLAN tags, so adverts of VLANs are not taken for those of the interface.
    pub sees_tags: bool,
    /// The router's place in a group, if any.
    pub group: Option<GroupPlace>,
    /// Resources taken from the system.
    pub ledger: Ledger,
    /// The virtual MAC address.
    pub vmac: VmacSide,
    /// Other interfaces with addresses of the router.
    pub others: OtherInterfaces,
    /// Addresses on other interfaces that the system last refused, with the error.
    pub refused_elsewhere: Vec<(VirtualAddress, SystemError)>,
    /// The error if the system last refused the packet filter.
    pub refused_filter: Option<SystemError>,
    /// The request that its actions wait for.
    pub waiting: Option<Box<Pending>>,
    /// It was logged that the interface has virtual addresses although the router is not Master.
    pub presence_said: bool,
    /// The deadline noted in the agenda.
    pub(crate) scheduled: Option<Instant>,
    notices: RateLimit<NoticeKind>,
    /// The next action waits for the end of the current one.
    is_stopped: bool,
    /// Queued actions.
    queue: ActionQueue,
    is_leaving: bool,
    /// The reported state; the state machine is ahead of it while the system works on the addresses.
    told: StateName,
    since: TimeOfDay,
    reason: Reason,
    history: VecDeque<Past>,
    /// Source address of the last advert.
    source: Option<IpAddr>,
}

/// A check of a router, with its weight and present result.
pub type TrackedOutcome = (TrackId, Weight, Outcome);

/// Counters of a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Adverts sent.
    pub adverts_sent: u64,
    /// Gratuitous ARP and unsolicited neighbour advertisements sent.
    pub garp_sent: u64,
    /// Reported transitions.
    pub transitions: u64,
}

/// A transition in the history. Thousands of routers may have `HISTORY` of them, so text is made only when a client
/// asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// When.
    pub at: TimeOfDay,
    /// The transition, from the previously reported state.
    pub transition: Transition,
}

/// A notice of the state machine that is to be logged now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noticed {
    /// What it is.
    pub notice: Notice,
    /// Number of unlogged notices of this kind since the last one.
    pub more: u64,
}

/// The kind of a notice; each kind has its own rate limit.
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
    /// The addresses of the advert in this frame, if the notice is about addresses.
    pub fn addresses(&self, frame: Option<&[u8]>) -> Vec<IpAddr> {
        let frame = frame.filter(|_| matches!(self.notice, Notice::AddressesDiffer(_)));
        frame.and_then(frame::addresses).map(|list| list.iter().collect()).unwrap_or_default()
    }
}

impl Router {
    /// Maximum number of queued actions.
    pub const MAX_ACTIONS: usize = ActionQueue::MAX;

    /// A router that is idle until [`Event::Startup`].
    pub fn new(config: RouterConfig, link: LinkId, now: TimeOfDay) -> Self {
        Self {
            machine: VirtualRouter::new(config.machine()),
            policy: Policy::new(config.priority, config.steps()),
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

    /// Changes to a configuration that [`RouterConfig::can_become`] allows.
    pub fn exchange(&mut self, config: RouterConfig) {
        self.machine.set_grouped(config.grouped);
        self.machine.set_prepares(config.scripts.prepare.is_some());
        self.machine.set_max_learned_interval(config.max_learned_interval);
        self.policy.configure(config.priority, config.steps());
        self.config = config;
    }

    /// Sets the checks. A new check without a result does not stop a router that has started.
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

    /// Marks the router as leaving: it was removed from the configuration, gives back what it holds, and is then
    /// removed.
    pub const fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Whether the router is leaving.
    pub const fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Hands an event to the state machine. Its actions are queued; notices to be logged now go to `notice`.
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

    /// Handles a valid advert received at `at`. Returns what to log if its addresses differ from ours; `frame` is its
    /// frame, if available.
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

    /// Handles a discarded advert from this source, received at `at`. Returns what to log.
    pub fn reject(&mut self, at: Instant, source: IpAddr, why: Rejection) -> Option<Warning> {
        self.mismatches.rejected(&self.config, at, source, why)
    }

    /// Queues an action.
    pub fn enqueue(&mut self, action: Action) {
        self.queue.push(action);
    }

    /// Takes the next action for execution.
    pub fn next_action(&mut self) -> Option<Action> {
        self.queue.next()
    }

    /// The next action waits for [`Router::go_on`]: the system works on a request.
    pub const fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// The request is done: the next action may be taken.
    pub const fn go_on(&mut self) {
        self.is_stopped = false;
    }

    /// Whether the next action waits.
    pub const fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Whether something was decided but has not been done.
    pub fn is_busy(&self) -> bool {
        self.is_stopped || self.has_actions()
    }

    /// Whether the kernel monitors its deadline.
    pub fn is_watched_by_kernel(&self) -> bool {
        self.in_kernel && self.machine.state().name() == StateName::Backup && !self.is_verified_by_us()
    }

    /// Whether actions are queued.
    pub fn has_actions(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Number of queued actions; at most [`Router::MAX_ACTIONS`], however long the system takes.
    pub fn waiting_actions(&self) -> usize {
        self.queue.len()
    }

    /// Queues taking everything that a Master holds, then announcing it. A queued announcement is dropped, since it
    /// would come too early.
    pub fn take_again(&mut self) {
        self.queue.take_again();
    }

    /// Drops the queued promotion, if any: the system refused its addresses or its advert.
    pub fn drop_promotion(&mut self) -> bool {
        self.queue.drop_promotion()
    }

    /// Adds a transition to the history, from the reported state; `None` if that is the new state, since the states in
    /// between were never reported.
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

    /// The source address on this interface, or all faults.
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

    /// All faults of the router.
    pub fn faults(&self) -> impl Iterator<Item = Fault> {
        self.machine.interface().err().into_iter().flat_map(Faults::iter)
    }

    /// The reason of the state; in state Fault the present fault, not the first one.
    pub fn reason_now(&self) -> Reason {
        match (self.told, self.machine.interface()) {
            (StateName::Fault, Err(faults)) => faults.reason(),
            (StateName::Init | StateName::Backup | StateName::Master | StateName::Fault, _) => self.reason,
        }
    }

    /// The reported state.
    pub const fn state_told(&self) -> StateName {
        self.told
    }

    /// Time of the last reported transition.
    pub const fn since(&self) -> TimeOfDay {
        self.since
    }

    /// The last transitions, oldest first.
    pub fn history(&self) -> vec_deque::Iter<'_, Past> {
        self.history.iter()
    }

    /// Whether the state machine is in state Master.
    pub fn is_master(&self) -> bool {
        self.machine.state().name() == StateName::Master
    }

    /// Whether adverts bypass the program in the kernel, which cannot verify them.
    pub fn is_verified_by_us(&self) -> bool {
        self.config.auth == AuthKind::Ah
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
    fn transitions_start_from_the_state_reported_before() {
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
    fn a_notice_is_logged_once_a_second() {
        let mut router = router();
        let start = Instant::ZERO + Duration::from_secs(100);
        let source = IpAddr::from([192, 0, 2, 1]);
        let mut noticed = Vec::new();
        router.handle(start, Event::InterfaceUp(source), &mut |_| {});
        router.handle(start, Event::Startup, &mut |_| {});
        let advert = Advert {
            vrid: router.config.vrid,
            priority: vrrpd_common::Priority(200),
            interval: router.config.interval,
            source: IpAddr::from([192, 0, 2, 2]),
            mac: vrrpd_common::MacAddr([2, 0, 0, 0, 0, 2]),
            address_count: 1,
            addresses: vrrpd_common::AddressDigest::of([source]),
        };
        for millis in 0..1001 {
            let now = start + Duration::from_millis(millis);
            // The addresses change each time.
            let others = IpAddr::from([192, 0, 2, if millis % 2 == 0 { 8 } else { 9 }]);
            let advert = Advert { addresses: vrrpd_common::AddressDigest::of([others]), ..advert };
            router.handle(now, Event::Advert(advert), &mut |new| noticed.push(new));
        }
        assert!(noticed.iter().all(|new| matches!(new.notice, Notice::AddressesDiffer(_))));
        assert_eq!(noticed.iter().map(|new| new.more).collect::<Vec<_>>(), [0, 999]);
    }
}
