//! One virtual router while it runs, with what it has of the machine: frames, scripts, what it holds. What it decides is a
//! [`Router`] of the engine.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use tracing::{error, info, warn};
use vrrpd_common::router::{Fault, Faults, Reason, State, StateName, Transition};
use vrrpd_common::wire::frame::{AdvertFrame, advert_frame_len, emit_advert, gratuitous_arp, unsolicited_na};
use vrrpd_common::wire::vrrp::{Kind, VrrpRepr};
use vrrpd_common::{Instant, MacAddr, Priority, Version};
use vrrpd_engine::address::AddressList;
use vrrpd_engine::ledger::{
    Answers, Journal, Ledger, Order, Place, PlacedAddress, Record, Resource, SystemError,
};
use vrrpd_engine::priority::Step;
use vrrpd_engine::router::{AdvertToSend, Router};
use vrrpd_engine::{LinkId, RouterId, Ticket};

use super::groups::Place as GroupPlace;
use super::link::Link;
use super::vmac::VmacSide;
use crate::clock;
use crate::config::{Authentication, RouterConfig, VirtualAddress, VmacFallback, VmacMode};
use crate::guardian::{LastScript, Mastery};
use crate::interface::Interface;
use crate::interface::service::Remover;
use crate::magic;
use crate::report::{
    Counters, EventReport, GroupReport, Happening, MasterReport, MismatchReport, RouterReport, ScriptsReport,
    TransitionReport,
};
use crate::rundir::{RunDir, RunDirError};
use crate::script::{self, Run, Runner};
use crate::sys::packet::Frame;

#[derive(Debug)]
pub(super) struct Instance {
    /// What is decided.
    router: Router,
    /// The secret of its adverts.
    pub(super) authentication: Authentication,
    /// Which member of which group it is.
    pub(super) group: Option<GroupPlace>,
    /// What the actions wait for.
    pub(super) waiting: Option<Box<Pending>>,
    /// What it has taken from the system.
    pub(super) ledger: Ledger,
    pub(super) vmac: VmacSide,
    /// It was said that the interface has addresses of it although it is not Master.
    pub(super) presence_said: bool,
    pub(super) scripts: Option<Runner>,
    /// A failure to send a magic packet is said once until sending works again.
    magic_failed: bool,
    cached: Option<((MacAddr, AdvertToSend), Frame)>,
}

impl Deref for Instance {
    type Target = Router;

    fn deref(&self) -> &Router {
        &self.router
    }
}

impl DerefMut for Instance {
    fn deref_mut(&mut self) -> &mut Router {
        &mut self.router
    }
}

impl AsMut<Router> for Instance {
    fn as_mut(&mut self) -> &mut Router {
        &mut self.router
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

impl Instance {
    pub(super) fn new(config: RouterConfig, link: LinkId) -> Self {
        let RouterConfig { settings, authentication } = config;
        Self {
            group: None,
            waiting: None,
            ledger: Ledger::default(),
            vmac: VmacSide::new(&settings),
            presence_said: false,
            scripts: None,
            magic_failed: false,
            cached: None,
            authentication,
            router: Router::new(settings, link, clock::time_of_day_now()),
        }
    }

    /// What it was made of.
    pub(super) fn wanted(&self) -> RouterConfig {
        RouterConfig { settings: self.config.clone(), authentication: self.authentication.clone() }
    }

    /// Whether the user wants it as it is.
    pub(super) fn is_as_wanted(&self, wanted: &RouterConfig) -> bool {
        self.config == wanted.settings && self.authentication == wanted.authentication
    }

    /// Whether it can go on as the user wants it.
    pub(super) fn can_become(&self, wanted: &RouterConfig) -> bool {
        self.authentication == wanted.authentication && self.config.can_become(&wanted.settings)
    }

    /// Goes on with a configuration that [`Instance::can_become`] allows.
    pub(super) fn exchange(&mut self, wanted: RouterConfig) {
        self.router.exchange(wanted.settings);
        self.cached = None;
    }

    /// A step of the operator; the priority that is to be in force now.
    pub(super) fn step(&mut self, step: Step) -> Priority {
        self.policy.step(step);
        let (from, to) = (self.machine.priority(), self.policy.priority());
        info!(router = %self.config.name(), from = from.0, to = to.0, "priority changed");
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
        self.is_master() && self.waiting.is_none()
    }

    /// Master, and not giving back what it has.
    pub(super) fn is_holding(&self) -> bool {
        let gives_back = |pending: &Pending| matches!(pending.order, Order::Release(_));
        self.is_master() && !self.waiting.as_deref().is_some_and(gives_back)
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
                    "cannot set virtual MAC address, continuing without it"
                );
                self.vmac.go_without(error);
                self.ledger.forget_vmac();
            }
            VmacFallback::Refuse if is_new => error!(
                router = %name, %error, hint = "use -n or --vmac-fallback none to continue without it",
                "cannot set virtual MAC address, not becoming master"
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

    /// Addresses that an earlier daemon has left on the interface count as taken; returns those.
    pub(super) fn adopt(
        &mut self,
        interface: &Interface,
        marks: bool,
        journal: &Journal,
    ) -> Vec<VirtualAddress> {
        self.ledger.adopt(&self.router.config.addresses, interface, marks, journal)
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
                        "cannot send magic packet"
                    );
                }
                self.magic_failed = true;
            }
        }
    }

    /// The frame of this advert, an Authentication Header not sealed yet.
    pub(super) fn frame(&mut self, mac: MacAddr, advert: AdvertToSend) -> Option<Frame> {
        let key = (mac, advert);
        if let Some((made_for, frame)) = &self.cached
            && *made_for == key
        {
            return Some(Rc::clone(frame));
        }
        let AdvertToSend { source, priority, addresses } = advert;
        let config = &self.router.config;
        let addresses = self.router.addresses.first(addresses)?;
        let kind = match config.version {
            Version::V2 => Kind::V2 { auth: self.authentication.in_message() },
            Version::V3 => Kind::V3,
        };
        let advert = VrrpRepr::new(config.vrid, priority, config.interval, kind, addresses)?;
        let mut buffer = vec![0; advert_frame_len(&advert)];
        let frame = AdvertFrame { source_mac: mac, source, checksum: config.checksum, advert };
        let length = emit_advert(&frame, &mut buffer)?;
        buffer.truncate(length);
        let frame: Frame = buffer.into();
        if priority != Priority::RESIGN {
            self.cached = Some((key, Rc::clone(&frame)));
        }
        Some(frame)
    }

    /// The frames that announce the addresses, once each.
    pub(super) fn announcements(&self, mac: MacAddr) -> Vec<Frame> {
        match &self.addresses {
            AddressList::Ipv4(addresses) => {
                addresses.iter().map(|address| Frame::from(&gratuitous_arp(mac, *address)[..])).collect()
            }
            AddressList::Ipv6(addresses) => {
                addresses.iter().map(|address| Frame::from(&unsolicited_na(mac, *address)[..])).collect()
            }
        }
    }

    /// The virtual addresses that the interface has although the router is not Master and has not put them there: the machine
    /// answers for them beside the master.
    pub(super) fn addresses_present(&self, link: &Link) -> Vec<VirtualAddress> {
        let is_listening =
            matches!(self.state_told(), StateName::Backup | StateName::Fault) && self.waiting.is_none();
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

    /// All that keeps the router from serving.
    fn faults(&self) -> impl Iterator<Item = Fault> {
        self.machine.interface().err().into_iter().flat_map(Faults::iter)
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
            Some(mac) => self
                .router
                .advert(Priority::RESIGN, link.sure_mtu())
                .and_then(|resignation| self.frame(mac, resignation)),
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
            state: self.state_told().name().to_owned(),
            since: humantime::format_rfc3339_seconds(clock::system_time(self.since())).to_string(),
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
            history: self.history().map(TransitionReport::from).collect(),
            kernel: None,
        }
    }
}
