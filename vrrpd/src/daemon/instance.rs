//! One virtual router while it runs: its state machine, the actions that wait, and what is told about it.

use std::collections::VecDeque;
use std::mem::Discriminant;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::SystemTime;

use tracing::{error, info, warn};
use vrrpd_common::router::{
    Action, Fault, Faults, Notice, Reason, State, StateName, Transition, VirtualRouter,
};
use vrrpd_common::wire::ethernet;
use vrrpd_common::wire::frame::{AdvertFrame, advert_frame_len, emit_advert, gratuitous_arp, unsolicited_na};
use vrrpd_common::wire::vrrp::{Addresses, Kind, VrrpRepr};
use vrrpd_common::{Instant, MacAddr, Priority, Version};
use vrrpd_engine::config::AuthKind;
use vrrpd_engine::kernel::KernelSide;
use vrrpd_engine::ledger::{Answers, Ledger, Order, Place, PlacedAddress, Record, Resource, SystemError};
use vrrpd_engine::mismatch::Mismatches;
use vrrpd_engine::pace::Pace;
use vrrpd_engine::priority::{Policy, Step, Steps};
use vrrpd_engine::rate_limit::{BackOff, RateLimit};
use vrrpd_engine::sending::{Sending, addresses_that_fit};
use vrrpd_engine::{LinkId, RouterId, Ticket};

use super::done::Done;
use super::groups::Place as GroupPlace;
use super::link::Link;
use super::vmac::VmacSide;
use crate::config::{RouterConfig, VirtualAddress, VmacFallback, VmacMode};
use crate::guardian::{LastScript, Mastery};
use crate::interface::Interface;
use crate::interface::service::Remover;
use crate::magic;
use crate::report::{
    CauseReport, Counters, EventReport, GroupReport, Happening, MasterReport, MismatchReport, RouterReport,
    ScriptsReport, TransitionReport,
};
use crate::rundir::{RunDir, RunDirError};
use crate::script::{self, Run, Runner};
use crate::sys::packet::Frame;

/// Transitions that are remembered.
const HISTORY: usize = 16;
/// Actions and transitions that a Backup has room for without asking for more: it mostly needs no others.
const FEW: usize = 2;

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) config: RouterConfig,
    pub(super) machine: VirtualRouter,
    /// Where its priority and its faults come from.
    pub(super) policy: Policy,
    pub(super) link: LinkId,
    /// Which member of which group it is.
    pub(super) group: Option<GroupPlace>,
    /// Actions not carried out yet, in order.
    pub(super) queue: VecDeque<Action>,
    /// What the actions wait for.
    pub(super) waiting: Option<Box<Pending>>,
    /// What it has taken from the system.
    pub(super) ledger: Ledger,
    pub(super) vmac: VmacSide,
    presence: Presence,
    /// What was said of things noticed.
    pub(super) notices: RateLimit<Discriminant<Notice>>,
    /// Whose adverts do not fit.
    pub(super) mismatches: Mismatches,
    /// What was said of adverts that could not be sent.
    pub(super) unsendable: RateLimit<()>,
    /// It was said that the interface has addresses of it although it is not Master.
    pub(super) presence_said: bool,
    /// Whether adverts can be sent.
    pub(super) sending: Sending,
    /// What was said of addresses that somebody removed.
    pub(super) losses: RateLimit<IpAddr>,
    /// How soon what somebody takes away is put back.
    pub(super) back_off: BackOff,
    pub(super) pace: Pace,
    /// The deadline under which it is filed.
    pub(super) scheduled: Option<Instant>,
    pub(super) scripts: Option<Runner>,
    pub(super) kernel: KernelSide,
    pub(super) done: Done,
    /// The state that has been told: the machine's is ahead of it while the kernel works on the addresses.
    told: StateName,
    since: SystemTime,
    reason: Reason,
    history: VecDeque<Past>,
    /// A failure to send a magic packet is said once until sending works again.
    magic_failed: bool,
    wire: WireAddresses,
    cached: Option<(AdvertKey, Frame)>,
    /// The address that the last advert was sent from.
    source: Option<IpAddr>,
}

/// Whether the router is one of ours, while the configuration changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Here,
    /// It gives back what it held.
    Leaving,
}

/// A transition that is remembered. There may be thousands of routers with [`HISTORY`] of them, so it is put into words only when
/// somebody asks.
#[derive(Clone, Copy, Debug)]
struct Past {
    at: SystemTime,
    transition: Transition,
}

impl Past {
    fn report(&self) -> TransitionReport {
        let cause = self.transition.cause;
        TransitionReport {
            time: humantime::format_rfc3339_millis(self.at).to_string(),
            from: self.transition.from.name().to_owned(),
            to: self.transition.to.name().to_owned(),
            reason: self.transition.reason.name().to_owned(),
            master: cause
                .filter(|_| self.transition.to == StateName::Backup)
                .map(|cause| cause.source.to_string()),
            cause: cause.map(CauseReport::from),
        }
    }
}

/// A request that the kernel has not answered yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) ticket: Ticket,
    pub(super) order: Order,
    /// What was removed while it was put there, and by whom.
    pub(super) lost: Vec<(IpAddr, Remover)>,
}

/// The addresses as adverts hold them.
#[derive(Debug)]
enum WireAddresses {
    Ipv4(Vec<Ipv4Addr>),
    Ipv6(Vec<Ipv6Addr>),
}

/// What an advert's frame depends on while the router runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AdvertKey {
    mac: MacAddr,
    source: IpAddr,
    priority: Priority,
}

impl Instance {
    pub(super) fn new(config: RouterConfig, link: LinkId) -> Self {
        let mut ipv4 = Vec::new();
        let mut ipv6 = Vec::new();
        for address in &config.addresses {
            match address.address {
                IpAddr::V4(address) => ipv4.push(address),
                IpAddr::V6(address) => ipv6.push(address),
            }
        }
        let wire = if ipv6.is_empty() { WireAddresses::Ipv4(ipv4) } else { WireAddresses::Ipv6(ipv6) };
        Self {
            machine: VirtualRouter::new(config.machine()),
            policy: Policy::new(config.priority, Steps::of(&config)),
            link,
            group: None,
            queue: VecDeque::with_capacity(FEW),
            waiting: None,
            ledger: Ledger::default(),
            vmac: VmacSide::new(&config),
            presence: Presence::Here,
            magic_failed: false,
            notices: RateLimit::default(),
            mismatches: Mismatches::default(),
            unsendable: RateLimit::default(),
            presence_said: false,
            sending: Sending::default(),
            losses: RateLimit::default(),
            back_off: BackOff::default(),
            pace: Pace::new(&config),
            scheduled: None,
            scripts: None,
            kernel: KernelSide::default(),
            done: Done::default(),
            told: StateName::Init,
            since: SystemTime::now(),
            reason: Reason::StartUp,
            history: VecDeque::with_capacity(FEW),
            wire,
            cached: None,
            source: None,
            config,
        }
    }

    /// It is in the configuration no more.
    pub(super) fn leave(&mut self) {
        self.presence = Presence::Leaving;
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.presence == Presence::Leaving
    }

    /// Goes on with a configuration that [`RouterConfig::can_become`] allows.
    pub(super) fn exchange(&mut self, config: RouterConfig) {
        self.machine.set_grouped(config.grouped);
        self.machine.set_max_learned_interval(config.max_learned_interval);
        self.policy.configure(config.priority, Steps::of(&config));
        self.config = config;
        self.cached = None;
    }

    /// A step of the operator; the priority that is to be in force now.
    pub(super) fn step(&mut self, step: Step) -> Priority {
        self.policy.step(step);
        let (from, to) = (self.machine.priority(), self.policy.priority());
        info!(router = %self.config.name(), from = from.0, to = to.0, "priority");
        to
    }

    /// Starts what runs its scripts, if it has any.
    pub(super) fn start_scripts(
        &mut self,
        rundir: &RunDir,
        context: &script::Context,
    ) -> Result<(), RunDirError> {
        if self.config.up.is_some() || self.config.down.is_some() {
            let claim = rundir.later(&self.scripts_claim())?;
            let (name, limit) = (self.config.name().to_string(), self.config.script_timeout);
            self.scripts = Some(Runner::start(name, limit, claim, context.clone()));
        }
        Ok(())
    }

    /// Master, and not about to become something else.
    pub(super) fn is_settled_master(&self) -> bool {
        self.machine.state().name() == StateName::Master && self.waiting.is_none()
    }

    /// Something that was decided has not been done yet.
    pub(super) fn is_busy(&self) -> bool {
        self.waiting.is_some() || !self.queue.is_empty()
    }

    /// Master, and not giving back what it has.
    pub(super) fn is_holding(&self) -> bool {
        let gives_back = |pending: &Pending| matches!(pending.order, Order::Release(_));
        self.machine.state().name() == StateName::Master && !self.waiting.as_deref().is_some_and(gives_back)
    }

    /// Whether the MAC address of the interface is being changed for this router.
    pub(super) fn is_changing_mac(&self) -> bool {
        self.waiting.as_ref().is_some_and(|pending| pending.order.changes_mac())
    }

    /// The MAC address that adverts and announcements come from: the virtual one where it is in force (RFC 9568 §7.2).
    pub(super) fn source_mac(&self, link: &Link) -> Option<MacAddr> {
        self.ledger.vmac_address().or_else(|| link.interface.as_ref()?.mac)
    }

    /// Looks at an interface that came, or is made of something else: a virtual MAC address may not work on it.
    pub(super) fn meet(&mut self, interface: &Interface) {
        if let Some(obstacle) = self.vmac.meet(interface) {
            self.vmac_refused(&SystemError::unsupported(obstacle.to_string()));
        }
    }

    /// The interface does not take the virtual MAC address.
    pub(super) fn vmac_refused(&mut self, error: &SystemError) {
        let is_new = self.vmac.refused(error);
        let name = self.config.name();
        match self.config.vmac_fallback {
            VmacFallback::None => {
                warn!(
                    router = %name, %error,
                    "the virtual MAC address is not possible on this interface; going on without it, as with -n"
                );
                self.vmac.go_without(error);
                self.ledger.forget_vmac();
            }
            VmacFallback::Refuse if is_new => error!(
                router = %name, %error,
                "the virtual MAC address is not possible on this interface; not becoming master; -n or --vmac-fallback none \
                 does without it"
            ),
            VmacFallback::Refuse => {}
        }
    }

    /// The interface that has the addresses of a Master.
    fn place_of_addresses(&self) -> &str {
        let made = self.ledger.made().filter(|_| self.vmac.mode() == VmacMode::Macvlan);
        made.map_or(&self.config.interface, |(_, name)| name)
    }

    /// The interfaces that would answer for its addresses with their own MAC addresses. Over IPv6 each answers for its own
    /// addresses only.
    fn answers(&self, interface: &Interface) -> Option<Resource> {
        let addresses = self.config.addresses.iter().map(|address| address.address);
        let answers = Answers {
            router: self.config.name().to_string(),
            mac: self.vmac.mac().or(interface.mac).unwrap_or_default(),
            addresses: addresses.filter(IpAddr::is_ipv4).collect(),
            interfaces: interface.beside.clone(),
        };
        (!answers.interfaces.is_empty()).then(|| Resource::Answers(Box::new(answers)))
    }

    /// What is to be taken now that the router is Master on this interface, or is to be put right again.
    pub(super) fn to_take(&self, interface: &Interface) -> Vec<Resource> {
        let is_on_link = self.vmac.mode() == VmacMode::Macvlan;
        let on = if is_on_link {
            Place::Link { below: interface.index }
        } else {
            Place::Interface(interface.index)
        };
        // What the interface below reaches is reached through it.
        let routed = if is_on_link { interface.subnets() } else { Vec::new() };
        let address = |address: VirtualAddress| {
            let route = !routed.iter().any(|there| there.shares_subnet_with(&address));
            Resource::Address(PlacedAddress { on, address, route })
        };
        let stands = self.vmac.stands_on(interface, &self.ledger);
        let vmac = (!stands).then(|| self.vmac.wanted(&self.config, interface, &self.ledger)).flatten();
        let missing = self.ledger.missing(&self.config.addresses, Some(interface));
        vmac.into_iter().chain(self.answers(interface)).chain(missing.into_iter().map(address)).collect()
    }

    /// The virtual MAC address was not refused.
    pub(super) fn vmac_taken(&mut self) {
        if self.ledger.vmac().is_some() {
            self.vmac.taken();
        }
    }

    /// What its journal says.
    pub(super) fn records(&self, link: Option<&Link>) -> Vec<Record> {
        let interface = link.and_then(|link| link.interface.as_ref());
        Record::of(&self.config, &self.ledger, interface, self.vmac.own_mac())
    }

    /// Sends a magic packet, if the router has one to send.
    pub(super) fn send_magic(&mut self) {
        let Some(magic) = &self.config.magic else { return };
        match magic::send(magic, self.place_of_addresses()) {
            Ok(()) => self.magic_failed = false,
            Err(error) => {
                if !self.magic_failed {
                    warn!(
                        router = %self.config.name(), from = %magic.source, to = %magic.destination, %error,
                        "the magic packet cannot be sent"
                    );
                }
                self.magic_failed = true;
            }
        }
    }

    /// Takes in an action, behind those that wait.
    pub(super) fn enqueue(&mut self, action: Action) {
        match action {
            // A promotion that has been overtaken must not be announced any more.
            Action::GiveUpAddresses => self.queue.retain(|waiting| match waiting {
                Action::SendAdvert(priority) => *priority == Priority::RESIGN,
                Action::AnnounceAddresses => false,
                Action::Transition(transition) => transition.to != StateName::Master,
                Action::TakeAddresses | Action::GiveUpAddresses | Action::Notice(_) => true,
            }),
            // What is missing is found when its turn comes.
            Action::TakeAddresses if self.queue.back() == Some(&action) => return,
            // One advert says all that several in a row would.
            Action::SendAdvert(_) | Action::AnnounceAddresses if self.queue.contains(&action) => return,
            Action::TakeAddresses
            | Action::SendAdvert(_)
            | Action::AnnounceAddresses
            | Action::Transition(_)
            | Action::Notice(_) => {}
        }
        self.queue.push_back(action);
    }

    /// Whether adverts come past the kernel's program, which cannot verify them.
    pub(super) fn is_verified_by_us(&self) -> bool {
        self.config.auth == AuthKind::Ah
    }

    /// The frame of an advert with this priority, an Authentication Header not sealed yet; `None` while there is no address
    /// to send from. A resignation is made also when the interface has just become unusable, and names no more addresses than
    /// fit into `mtu` octets: that the master leaves does not depend on them.
    pub(super) fn advert_frame(&mut self, mac: MacAddr, priority: Priority, mtu: u32) -> Option<Frame> {
        let resigns = priority == Priority::RESIGN;
        let source = self.machine.source().or_else(|| self.source.filter(|_| resigns))?;
        self.source = Some(source);
        let key = AdvertKey { mac, source, priority };
        if let Some((made_for, frame)) = &self.cached
            && *made_for == key
        {
            return Some(Rc::clone(frame));
        }
        let all = self.config.addresses.len();
        let count = if resigns {
            addresses_that_fit(self.packet_len(), all, self.config.family.address_len(), mtu)
        } else {
            all
        };
        let advert = self.advert(priority, count)?;
        let mut buffer = vec![0; advert_frame_len(&advert)];
        let frame =
            AdvertFrame { source_mac: mac, source: key.source, checksum: self.config.checksum, advert };
        let length = emit_advert(&frame, &mut buffer)?;
        buffer.truncate(length);
        let frame: Frame = buffer.into();
        if !resigns {
            self.cached = Some((key, Rc::clone(&frame)));
        }
        Some(frame)
    }

    /// What an advert with this priority and the first `count` addresses says.
    fn advert(&self, priority: Priority, count: usize) -> Option<VrrpRepr<'_>> {
        let addresses = match &self.wire {
            WireAddresses::Ipv4(addresses) => Addresses::ipv4(addresses.get(..count)?).ok()?,
            WireAddresses::Ipv6(addresses) => Addresses::ipv6(addresses.get(..count)?).ok()?,
        };
        let kind = match self.config.version {
            Version::V2 => Kind::V2 { auth: self.config.authentication.in_message() },
            Version::V3 => Kind::V3,
        };
        VrrpRepr::new(self.config.vrid, priority, self.config.interval, kind, addresses)
    }

    /// Octets of the IP packet that an advert is.
    pub(super) fn packet_len(&self) -> usize {
        let advert = self.advert(self.config.priority, self.config.addresses.len());
        advert.map_or(0, |advert| advert_frame_len(&advert) - ethernet::HEADER_LEN)
    }

    /// Whether an advert fits into an IP packet of `mtu` octets.
    pub(super) fn advert_fits(&self, mtu: u32) -> bool {
        u32::try_from(self.packet_len()).is_ok_and(|octets| octets <= mtu)
    }

    /// The frames that announce the addresses, once each.
    pub(super) fn announcements(&self, mac: MacAddr) -> Vec<Frame> {
        match &self.wire {
            WireAddresses::Ipv4(addresses) => {
                addresses.iter().map(|address| Frame::from(&gratuitous_arp(mac, *address)[..])).collect()
            }
            WireAddresses::Ipv6(addresses) => {
                addresses.iter().map(|address| Frame::from(&unsolicited_na(mac, *address)[..])).collect()
            }
        }
    }

    /// The virtual addresses that the interface has although the router is not Master and has not put them there: the machine
    /// answers for them beside the master.
    pub(super) fn addresses_present(&self, link: &Link) -> Vec<VirtualAddress> {
        let is_listening =
            matches!(self.told, StateName::Backup | StateName::Fault) && self.waiting.is_none();
        let Some(interface) = link.interface.as_ref().filter(|_| is_listening) else { return Vec::new() };
        let is_present = |address: &&VirtualAddress| {
            let there = interface.address(address.address);
            // One with our mark is on its way, or is another daemon's.
            !self.ledger.has(address) && there.is_some_and(|there| !there.ours)
        };
        self.config.addresses.iter().filter(is_present).copied().collect()
    }

    /// Whether all that was taken has been given back.
    pub(super) fn holds_nothing(&self) -> bool {
        self.waiting.is_none() && self.ledger.is_empty()
    }

    /// Forgets the promotion that waits, if one does: the kernel refused the addresses it began with.
    pub(super) fn drop_promotion(&mut self) -> bool {
        let is_promotion =
            |action: &Action| matches!(action, Action::Transition(Transition { to: StateName::Master, .. }));
        let end = self.queue.iter().position(is_promotion);
        if let Some(end) = end {
            self.queue.drain(..=end);
        }
        end.is_some()
    }

    /// Remembers a change of state, as seen from the state told before; `None` when it is none, since what was between
    /// never came to be.
    pub(super) fn record(&mut self, transition: Transition) -> Option<(Transition, TransitionReport)> {
        let now = SystemTime::now();
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
        Some((transition, past.report()))
    }

    /// Why the router is in its state: of a fault, what is wrong now rather than what was at first.
    pub(super) fn reason_now(&self) -> Reason {
        match (self.told, self.machine.interface()) {
            (StateName::Fault, Err(faults)) => faults.reason(),
            (StateName::Init | StateName::Backup | StateName::Master | StateName::Fault, _) => self.reason,
        }
    }

    /// All that keeps the router from serving.
    fn faults(&self) -> impl Iterator<Item = Fault> {
        self.machine.interface().err().into_iter().flat_map(Faults::iter)
    }

    /// The state that has been told.
    pub(super) const fn state_told(&self) -> StateName {
        self.told
    }

    /// Something that clients are told of.
    pub(super) fn event(&self, happening: Happening) -> EventReport {
        EventReport {
            interface: self.config.interface.clone(),
            vrid: self.config.vrid.get(),
            family: self.config.family.name().to_owned(),
            priority: self.machine.priority().0,
            happening,
        }
    }

    /// The script to run for a change of state.
    pub(super) fn script(&self, transition: Transition) -> Option<Run> {
        let (path, state) = match (transition.from, transition.to) {
            (_, StateName::Master) => (&self.config.up, "MASTER"),
            (_, StateName::Backup) | (StateName::Master, StateName::Init) => (&self.config.down, "BACKUP"),
            (_, StateName::Fault) => (&self.config.down, "FAULT"),
            (StateName::Init | StateName::Fault | StateName::Backup, StateName::Init) => return None,
        };
        let priority = self.machine.priority().to_string();
        let addresses: Vec<_> = self.config.addresses.iter().map(VirtualAddress::to_string).collect();
        Some(Run {
            path: path.clone()?,
            arguments: [
                "INSTANCE".to_owned(),
                self.config.name().to_string(),
                state.to_owned(),
                priority.clone(),
            ],
            environment: vec![
                ("VRRP_STATE".into(), state.to_owned()),
                ("VRRP_PREVIOUS_STATE".into(), transition.from.name().to_uppercase()),
                ("VRRP_INTERFACE".into(), self.config.interface.clone()),
                ("VRRP_VRID".into(), self.config.vrid.to_string()),
                ("VRRP_ADDRESSES".into(), addresses.join(" ")),
                ("VRRP_PRIORITY".into(), priority),
                ("VRRP_VMAC".into(), self.vmac.mac().map(|mac| mac.to_string()).unwrap_or_default()),
                ("VRRP_VMAC_INTERFACE".into(), self.place_of_addresses().to_owned()),
                ("VRRP_REASON".into(), transition.reason.name().to_owned()),
            ],
        })
    }

    /// What the guardian has to know of a Master: what it would say and run on leaving.
    pub(super) fn mastery(&mut self, id: RouterId, link: &Link) -> Mastery {
        let resignation = match self.source_mac(link) {
            // Each of these has a number of its own.
            _ if self.is_verified_by_us() => None,
            Some(mac) => self.advert_frame(mac, Priority::RESIGN, link.sure_mtu()),
            None => None,
        };
        let (from, to) = (StateName::Master, StateName::Init);
        let left = Transition { from, to, reason: Reason::Crash, cause: None };
        let script = self.script(left).map(|run| LastScript {
            run,
            limit_ns: self.config.script_timeout.as_nanos(),
            claim: self.scripts_claim(),
        });
        Mastery {
            router: id,
            name: self.config.name().to_string(),
            interface: link.interface.as_ref().map_or(0, |interface| interface.index),
            holds: self.ledger.addresses().copied().collect(),
            marks: link.marks,
            resignation: resignation.map(|frame| frame.to_vec()),
            script,
        }
    }

    /// What orders its scripts and those of the daemon before or after this one.
    fn scripts_claim(&self) -> String {
        format!("{}.scripts", self.config.name().file_stem())
    }

    /// All that is told about the router.
    pub(super) fn report(&self, now: Instant, link: &Link, group: Option<GroupReport>) -> RouterReport {
        let config = &self.config;
        let master = match self.machine.state() {
            State::Backup(backup) => backup.master.map(|heard| MasterReport {
                address: heard.advert.source.to_string(),
                priority: heard.advert.priority.0,
                mac: heard.advert.mac.to_string(),
                interval_ns: heard.advert.interval.as_duration().as_nanos(),
                last_advert_age_ns: now.saturating_since(heard.at).as_nanos(),
                same_addresses: heard.advert.addresses == self.machine.config().addresses,
            }),
            State::Initialize | State::Fault(_) | State::Master(_) => None,
        };
        let held = self.machine.held_until();
        let (received, rejected) = link.counts(config.family, config.vrid);
        let (datapath, datapath_reason) = if self.is_verified_by_us() && link.is_in_kernel() {
            ("raw", Some("the Authentication Header is verified in user space".to_owned()))
        } else {
            link.datapath()
        };
        let script = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
        RouterReport {
            interface: config.interface.clone(),
            ifindex: link.interface.as_ref().map(|interface| interface.index),
            vrid: config.vrid.get(),
            family: config.family.name().to_owned(),
            protocol: config.version.number(),
            pid: std::process::id(),
            state: self.told.name().to_owned(),
            since: humantime::format_rfc3339_seconds(self.since).to_string(),
            reason: self.reason_now().name().to_owned(),
            faults: self.faults().map(|fault| fault.reason().name().to_owned()).collect(),
            priority: config.priority.0,
            effective_priority: self.machine.priority().0,
            preempt: config.preempt,
            forced_backup: self.machine.forced_backup(),
            interval_ns: config.interval.as_duration().as_nanos(),
            master_interval_ns: self.machine.master_adver_interval().as_duration().as_nanos(),
            max_learned_interval_ns: config.max_learned_interval.as_duration().as_nanos(),
            takeover_held_ns: held.map(|until| until.saturating_since(now).as_nanos()),
            addresses: config.addresses.iter().map(VirtualAddress::to_string).collect(),
            addresses_present: self.addresses_present(link).iter().map(VirtualAddress::to_string).collect(),
            vmac: self.vmac.mac().map(|mac| mac.to_string()),
            vmac_mode: self.vmac.mode().name().to_owned(),
            vmac_reason: self.vmac.reason().map(str::to_owned),
            auth: config.auth.name().to_owned(),
            master,
            mismatch: self.mismatches.recent(config, now).map(|words| MismatchReport::new(words, now)),
            datapath: datapath.to_owned(),
            datapath_reason,
            group,
            scripts: ScriptsReport { up: script(&config.up), down: script(&config.down) },
            counters: Counters {
                adverts_sent: self.done.adverts_sent,
                adverts_received: received,
                garp_sent: self.done.garp_sent,
                transitions: self.done.transitions,
                rejected: rejected.iter().map(|(reject, count)| (reject.name().to_owned(), count)).collect(),
            },
            history: self.history.iter().map(Past::report).collect(),
            kernel: None,
        }
    }
}
