//! Properties that are checked after every event; also counters and the transcript.
//!
//! * *Addresses.* While no request is pending: a Master's addresses are on the interface, unless others have removed
//!   them; the process of a router that is not Master has none there. An advert that claims them is never sent before
//!   they are there.
//! * *Counters* never decrease, and count exactly the adverts that were sent.
//! * *Promotion.* Advert, then announcement, then the report of the transition, with nothing else in between. The
//!   announcement may come later after a burst of announcements.
//! * *Scripts.* A router with a `prepare` script does not take over before the script has ended.
//! * *Limits.* Announcements, log lines and restored addresses have [limits], with any input from outside. So has the
//!   number of queued actions.
//! * *Rate.* A router sends at most two adverts per interval, and a few for each change of its state or priority.
//! * *Take-overs.* A router takes over no more often than [damping](vrrpd_common::router::damping) allows, whatever the
//!   cause, and is neither held longer nor without need.
//! * *Delays.* No router is Master before its start delay has passed, unless an operator ends it. A backup preempts a
//!   lower master only after its preemption delay, and never one that it has to leave alone.
//! * *Groups are whole.* A group is partly Master for no longer than [`WHOLE_WITHIN`], if all its processes run; if
//!   some do not, for no longer than a few leases. The same applies while a member comes back with another
//!   configuration.
//! * *Steady.* Some time after the last fault, nothing changes any more.
//!
//! [`crate::run`] has the properties after the last fault.

mod damping;
mod limits;
mod router;
mod transcript;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use vrrpd_common::Priority;
use vrrpd_common::router::{Config, StateName};
use vrrpd_engine::router::Done;

use crate::daemon::Effect;
use crate::fault::Fault;
use crate::kernel::taken_on;
use crate::plan::Plan;
use limits::Limits;
use router::{Preemption, Promotion, RouterWatch};
use transcript::describe_effect;

pub(crate) use transcript::{describe, describe_order, format_time};

/// A group is all Master or all not within this time of the first change, if its processes run.
pub const WHOLE_WITHIN: u64 = 10_000_000;
/// Minimum lease, in nanoseconds: messages of a stopped process are valid for a second or its Master_Down_Interval;
/// some leases may start again.
const MIN_LEASE: u64 = 1_000_000_000;
/// Number of leases that a group with leaving and returning members may take.
const ASSEMBLY: u64 = 5;
/// Adverts of a router that are always allowed, and for each change.
const ADVERTS_AT_ONCE: u64 = 4;
/// Maximum number of queued actions: two for the addresses, two for the script, two adverts, four announcements, and
/// the transitions in the history.
const WAITING: usize = 26;
const BILLION: u64 = 1_000_000_000;

/// Counters of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Number of routers that became Master.
    pub promotions: u64,
    /// Adverts sent.
    pub adverts: u64,
    /// Nanoseconds of virtual time.
    pub time: u64,
}

/// The watch.
#[derive(Debug)]
pub struct Watch {
    /// The counters.
    pub figures: Figures,
    /// Nothing may change any more.
    pub steady: bool,
    transcript: Option<String>,
    routers: Vec<Vec<RouterWatch>>,
    /// By machine: since when its group is partly Master, and how long that was while it ran.
    torn: Vec<Option<Torn>>,
    /// By machine: until then members that stay may be Master while reconfigured ones come back.
    assembles_until: Vec<u64>,
    lease: u64,
}

/// Where the addresses of a router are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Not on its interface.
    Absent,
    /// On its interface.
    Present,
    /// Others have removed them since they were there.
    Robbed,
}

/// The observed state of a router after an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouterView {
    /// Its state; `None` while a request is pending, or if it does not exist.
    pub(crate) settled: Option<StateName>,
    /// Where its addresses are.
    pub(crate) presence: Presence,
    /// Its process has added them.
    pub(crate) has_put_them_there: bool,
    /// It is Master, and its process runs.
    pub(crate) is_running_master: bool,
    /// Its take-over is held.
    pub(crate) is_held: bool,
    /// Its counters.
    pub(crate) done: Option<Done>,
    /// Number of adverts sent since its process started.
    pub(crate) adverts: u64,
    /// Number of queued actions.
    pub(crate) waiting: usize,
}

#[derive(Clone, Copy, Debug)]
struct Torn {
    since: u64,
    running: u64,
}

impl Watch {
    pub(crate) fn new(plan: &Plan, transcript: bool) -> Self {
        let router = |in_kernel: bool, config: &Config| RouterWatch {
            in_kernel,
            limits: Limits::new(in_kernel),
            credit: ADVERTS_AT_ONCE * BILLION,
            interval: config.interval.as_duration().as_nanos(),
            preemption: Preemption::of(config),
            ..RouterWatch::default()
        };
        let routers = plan
            .machines
            .iter()
            .map(|machine| machine.routers.iter().map(|config| router(machine.in_kernel, config)).collect());
        Self {
            figures: Figures::default(),
            steady: false,
            transcript: transcript.then(String::new),
            routers: routers.collect(),
            torn: vec![None; plan.machines.len()],
            assembles_until: vec![0; plan.machines.len()],
            lease: plan.longest_wait().as_nanos().max(MIN_LEASE),
        }
    }

    /// Takes the transcript.
    pub fn take_transcript(&mut self) -> Option<String> {
        self.transcript.take()
    }

    /// Adds a line to the transcript, if there is one.
    pub fn say(&mut self, now: u64, line: impl FnOnce() -> String) {
        if let Some(transcript) = &mut self.transcript {
            let _ = writeln!(transcript, "{:>16} {}", format_time(now), line());
        }
    }

    pub(crate) fn fault(&mut self, now: u64, fault: &Fault) {
        if let Some(kind) = fault.kind() {
            *self.figures.faults.entry(kind).or_default() += 1;
        }
        self.say(now, || format!("---- {fault}"));
    }

    /// A process is killed, with or without its guardian.
    pub(crate) fn killed(&mut self, is_guarded: bool) {
        if !is_guarded {
            *self.figures.faults.entry("guardians killed with their process").or_default() += 1;
        }
    }

    /// A machine reloads a configuration that restarts some routers.
    pub(crate) fn reloads(&mut self, host: usize, now: u64) {
        self.assembles_until[host] = now + ASSEMBLY * self.lease;
    }

    /// A process starts, with counters at zero.
    pub(crate) fn starts(&mut self, host: usize, lan: usize) {
        self.routers[host][lan].done = Done::default();
    }

    /// An effect of a process, given by its index in a machine. `clock` is the machine's clock; `presence` is the state
    /// of the addresses of the router, if the effect is of one.
    pub(crate) fn effect(
        &mut self,
        (now, clock): (u64, u64),
        (host, slot): (usize, usize),
        presence: Presence,
        effect: &Effect,
    ) -> Result<(), String> {
        self.say(now, || describe_effect(host, slot, effect));
        if let Effect::Ask(_, order) = effect {
            for lan in taken_on(order) {
                let router = &mut self.routers[host][lan];
                if router.promotion == Promotion::Told {
                    router.limits.puts_back(clock).map_err(|what| format!("{host}/{lan} {what}"))?;
                }
            }
        }
        let Some(lan) = effect.router() else { return Ok(()) };
        let name = format_args!("{host}/{lan}").to_string();
        let router = &mut self.routers[host][lan];
        match effect {
            Effect::Send { advert, is_withdrawn, .. } => {
                self.figures.adverts += u64::from(!is_withdrawn);
                if advert.priority == Priority::RESIGN {
                    router.promotion = Promotion::None;
                } else {
                    if presence == Presence::Absent {
                        return Err(format!("{name} sends an advert without having the addresses"));
                    }
                    if router.promotion == Promotion::None {
                        router.promotion = Promotion::Advertised;
                    }
                }
                if !is_withdrawn {
                    if router.priority.replace(advert.priority) != Some(advert.priority) {
                        router.allow(now, ADVERTS_AT_ONCE);
                    }
                    router.spend(now).map_err(|()| format!("{name} sends adverts too fast"))?;
                }
            }
            Effect::Announce { .. } => {
                if presence == Presence::Absent || router.promotion == Promotion::None {
                    return Err(format!(
                        "{name} announces addresses before an advert, or without having them"
                    ));
                }
                router.limits.announces(clock).map_err(|what| format!("{name} {what}"))?;
                router.owes_announcement = false;
                if router.promotion == Promotion::Advertised {
                    router.promotion = Promotion::Announced;
                }
            }
            Effect::Changed(_, transition) => {
                if self.steady {
                    return Err(format!("{name} becomes {} although nothing has happened", transition.to));
                }
                router.allow(now, ADVERTS_AT_ONCE);
                router.check_delays(clock, transition).map_err(|what| format!("{name} {what}"))?;
                if transition.to == StateName::Master {
                    self.figures.promotions += 1;
                    // The announcement may have been delayed, or others may have just removed the addresses.
                    router.owes_announcement = router.promotion == Promotion::Advertised;
                    if router.promotion == Promotion::None {
                        return Err(format!("{name} is Master before it has advertised"));
                    }
                    router.promotion = Promotion::Told;
                } else {
                    router.promotion = Promotion::None;
                    router.owes_announcement = false;
                }
            }
            Effect::StandsBy(_) => router.backup_since = clock,
            Effect::Prepares(..) => router.script_has_ended = false,
            Effect::Prepared(_, may_go_on) => router.script_has_ended = *may_go_on,
            Effect::Log(_, kind) => {
                router.limits.logs(clock, kind).map_err(|what| format!("{name} {what}"))?;
            }
            Effect::TakesOver(_) => {
                if router.preemption.prepares && !std::mem::take(&mut router.script_has_ended) {
                    return Err(format!("{name} takes over before its script has ended"));
                }
                router.take_overs.take_over(clock).map_err(|what| format!("{name} {what}"))?;
            }
            Effect::Forgets { is_resumed, .. } => {
                router.take_overs.forget();
                if *is_resumed {
                    router.listens_until = 0;
                }
            }
            Effect::Begins { config, skips_start_delay, .. } => {
                router.preemption = Preemption::of(config);
                router.script_has_ended = false;
                router.promotion = Promotion::None;
                router.take_overs.forget();
                router.limits = Limits::new(router.in_kernel);
                router.owes_announcement = false;
                router.allow(now, ADVERTS_AT_ONCE);
                let delay = if *skips_start_delay { 0 } else { router.preemption.start_delay };
                router.listens_until = clock + delay;
            }
            Effect::Ask(..)
            | Effect::Tell(_)
            | Effect::Loads(_)
            | Effect::Moves(_)
            | Effect::Journal { .. }
            | Effect::Guard(..)
            | Effect::Ends { .. } => {}
        }
        Ok(())
    }

    /// Time passes for a machine.
    pub(crate) fn before(
        &mut self,
        host: usize,
        span: Range<u64>,
        runs: bool,
        is_awake: bool,
    ) -> Result<(), String> {
        let Some(torn) = &mut self.torn[host] else { return Ok(()) };
        if span.end < self.assembles_until[host] {
            return Ok(());
        }
        let passes = span.end - span.start;
        if runs {
            torn.running += passes;
        }
        // A lease may be renewed just before a process is stopped, and once more by a late process.
        if !is_awake {
            torn.since += passes;
        }
        if torn.running > WHOLE_WITHIN || span.end - torn.since > 3 * self.lease {
            return Err(format!(
                "the group of {host} is neither all Master nor all Backup since {}",
                format_time(torn.since)
            ));
        }
        Ok(())
    }

    /// Checks a router after an event.
    pub(crate) fn router(
        &mut self,
        host: usize,
        lan: usize,
        clock: u64,
        router: RouterView,
    ) -> Result<(), String> {
        match router.settled {
            Some(StateName::Master) if router.presence == Presence::Absent => {
                return Err(format!("{host}/{lan} does not have the addresses and is Master"));
            }
            Some(state) if state != StateName::Master && router.has_put_them_there => {
                return Err(format!("{host}/{lan} has the addresses and is {}", state.name()));
            }
            Some(_) | None => {}
        }
        let is_settled_master = router.settled == Some(StateName::Master);
        if self.steady && is_settled_master && self.routers[host][lan].owes_announcement {
            return Err(format!("{host}/{lan} is Master and has not announced its addresses"));
        }
        if let Some(done) = router.done {
            let before = std::mem::replace(&mut self.routers[host][lan].done, done);
            if done.adverts_sent < before.adverts_sent || done.transitions < before.transitions {
                return Err(format!("{host}/{lan}: counters go back from {before:?} to {done:?}"));
            }
            if done.adverts_sent != router.adverts {
                return Err(format!(
                    "{host}/{lan} has sent {} adverts and counts {}",
                    router.adverts, done.adverts_sent
                ));
            }
        }
        if router.waiting > WAITING {
            return Err(format!("{host}/{lan} has {} actions waiting for the kernel", router.waiting));
        }
        if router.is_held {
            let take_overs = &self.routers[host][lan].take_overs;
            take_overs.held(clock).map_err(|what| format!("{host}/{lan} {what}"))?;
        }
        Ok(())
    }

    /// Checks the group of a machine after an event: `is_whole` if all or no members are Master, or it has no group.
    pub(crate) fn group(&mut self, host: usize, now: u64, is_whole: bool) {
        let torn = &mut self.torn[host];
        match (is_whole, &torn) {
            (true, _) => *torn = None,
            (false, None) => *torn = Some(Torn { since: now, running: 0 }),
            (false, Some(_)) => {}
        }
    }
}
