//! What is kept for recordings; see [`Recording`].
//!
//! A recording begins with an input that can lead to a transition. Other inputs are kept only in a recording that has
//! begun: the next snapshot includes their effects.

use std::borrow::Cow;
use std::net::IpAddr;

use vrrpd_common::router::{Event, StateName};
use vrrpd_common::wire::frame::{AdvertFrame, NOT_ROUTED, advert_frame_len, emit_advert, parse_advert};
use vrrpd_common::wire::vrrp::{ChecksumStyle, Kind, VrrpRepr, group};
use vrrpd_common::{Auth, MacAddr};

use super::{Engine, Input, Now, Output};
use crate::ids::{LinkId, RouterId};
use crate::interface::Interface;
use crate::recording::{Recording, Step};
use crate::router::Router;
use crate::track::Change;

/// Whether an input begins a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    /// It does not, but is kept in a recording that has begun.
    No,
    /// It does, if there is none: it can lead to a transition.
    Yes,
    /// A recording that has begun continues with a new snapshot, since the input depends on setup that was not an
    /// input.
    Anew,
}

/// The routers that an input concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concerns {
    Router(RouterId),
    Link(LinkId),
    All,
    /// None directly: its effects are kept where they reach routers.
    Nobody,
}

impl Engine {
    /// The recording of a router, at least its present state. `None`: it has left, or work is pending and nothing was
    /// kept.
    pub fn recording(&self, now: Now, id: RouterId) -> Option<Recording> {
        let router = self.routers.get(id)?;
        match self.recordings.get(id) {
            Some(recording) => Some(recording.until(now, router)),
            None => self.snapshot(now, id).as_ref().map(Recording::of),
        }
    }

    /// Keeps an input, if necessary.
    pub(super) fn keep(&mut self, input: &Input<'_>) {
        match input {
            Input::Event(id, event @ (Event::Advert(_) | Event::Timer), _) => {
                let Some(router) = self.routers.get(*id) else { return };
                if !router.is_busy() && router.machine.is_steady(self.now.at, event) {
                    return self.note_steady(*id, event);
                }
            }
            Input::Sent(id) => {
                let is_undisturbed =
                    self.routers.get(*id).is_some_and(|router| router.sending.is_undisturbed());
                if is_undisturbed && self.recordings.get(*id).is_none_or(|recording| recording.is_steady()) {
                    return;
                }
            }
            Input::Hear(id) if self.agenda.is_idle() => {
                // The record mostly holds nothing new.
                self.looked_at = Some((*id, self.now));
                return;
            }
            Input::Record(id, record) => {
                let looked_at = self.looked_at.take();
                let router = self.routers.get(*id);
                let has_news =
                    |router: &Router| record.as_ref().is_some_and(|record| router.kernel.has_news(record));
                if !router.is_some_and(has_news) {
                    return;
                }
                if let Some((_, at)) = looked_at {
                    let now = std::mem::replace(&mut self.now, at);
                    self.keep_step(*id, begins(self, *id, input), || {
                        Step::Input(Input::Hear(RouterId::FIRST))
                    });
                    self.now = now;
                    // The output was handed out in between.
                    self.note_output(*id, false);
                }
            }
            _ => {}
        }
        match concerns(self, input) {
            Concerns::Router(id) => {
                let begins = begins(self, id, input);
                self.keep_step(id, begins, || Step::Input(of_one(input)));
            }
            Concerns::Link(link) => self.keep_of_link(link, input),
            Concerns::All => {
                for id in self.recordings.ids().collect::<Vec<_>>() {
                    self.keep_step(id, Begins::No, || Step::Input(of_one(input)));
                }
            }
            Concerns::Nobody => {}
        }
    }

    /// Keeps that a delayed action is due.
    pub(super) fn keep_expired(&mut self) {
        for id in self.agenda.put_off_until(self.now.at) {
            self.keep_step(id, Begins::Yes, || Step::Expired);
        }
    }

    /// Keeps that the result of a check of a router has changed.
    pub(super) fn keep_checked(&mut self, id: RouterId, change: Change, detail: &str) {
        self.keep_step(id, Begins::Yes, || Step::Checked { change, detail: detail.to_owned() });
    }

    /// Keeps an event that a router's group caused.
    pub(super) fn keep_of_group(&mut self, id: RouterId, event: Event) {
        self.keep_step(id, Begins::Yes, || Step::Input(Input::Event(RouterId::FIRST, event, None)));
    }

    /// Counts an output.
    pub(super) fn keep_output(&mut self, output: &Output) {
        if let Some(id) = output.router()
            && !(matches!(output, Output::ReadRecord(_)) && self.looked_at.is_some())
        {
            self.note_output(id, is_change(output));
        }
    }

    fn note_output(&mut self, id: RouterId, is_transition: bool) {
        if let Some(recording) = self.recordings.get_mut(id) {
            recording.note_output(is_transition);
        }
    }

    fn note_steady(&mut self, id: RouterId, event: &Event) {
        if let Some(recording) = self.recordings.get_mut(id)
            && recording.note_steady(self.now.at, event)
        {
            self.recordings.remove(id);
        }
    }

    fn keep_of_link(&mut self, id: LinkId, input: &Input<'_>) {
        let Some(link) = self.links.get(id) else { return };
        let changed = match input {
            Input::LinkIs(_, now) => link.interface.as_ref().map(|before| Changed::between(before, now)),
            _ => None,
        };
        for id in link.routers.clone() {
            let Some(router) = self.routers.get(id) else { continue };
            let begins = begins(self, id, input);
            let concerns = || changed.as_ref().is_none_or(|changed| changed.concerns(router));
            if begins == Begins::Yes || self.recordings.get(id).is_some() && concerns() {
                let of_one = match input {
                    Input::LinkIs(_, now) => {
                        Input::LinkIs(LinkId::FIRST, Box::new(now.seen_by(&router.config)))
                    }
                    _ => of_one(input),
                };
                self.keep_step(id, begins, || Step::Input(of_one));
            }
        }
    }

    /// Keeps a step of a router.
    fn keep_step(&mut self, id: RouterId, begins: Begins, step: impl FnOnce() -> Step) {
        let now = self.now;
        let wants_snapshot = match self.recordings.get(id) {
            Some(recording) => begins == Begins::Anew || recording.wants_snapshot(now.at),
            None => begins == Begins::Yes,
        };
        if wants_snapshot
            && self.agenda.has_nothing_of(id)
            && let Some(snapshot) = self.snapshot_in_turn(now, id)
        {
            if self.recordings.get(id).is_none() {
                self.recordings.put(id, Box::default());
            }
            if let Some(recording) = self.recordings.get_mut(id) {
                recording.begin(&snapshot);
            }
        }
        if let (Some(router), Some(recording)) = (self.routers.get(id), self.recordings.get_mut(id)) {
            let is_last = self.agenda.has_nothing_of(id) && self.agenda.asked_for != Some(id);
            if !recording.keep(now, router, step(), !is_last) {
                self.recordings.remove(id);
            }
        }
    }
}

/// Whether this is a transition that recordings are for; the one from Init to Backup is not.
fn is_change(output: &Output) -> bool {
    let Output::Transition { past, .. } = output else { return false };
    (past.transition.from, past.transition.to) != (StateName::Init, StateName::Backup)
}

/// The routers that an input concerns.
fn concerns(engine: &Engine, input: &Input<'_>) -> Concerns {
    match input {
        Input::Answered(ticket, _) => {
            let holder = engine.agenda.tickets.holder(*ticket);
            let waits = |id: &RouterId| {
                let pending = engine.routers.get(*id).and_then(|router| router.waiting.as_ref());
                pending.is_some_and(|pending| pending.ticket == *ticket)
            };
            holder.filter(waits).map_or(Concerns::Nobody, Concerns::Router)
        }
        Input::Event(id, ..)
        | Input::Record(id, _)
        | Input::LastRecord(id, _)
        | Input::Tried(id)
        | Input::Sent(id)
        | Input::NotSent(id, _)
        | Input::NotSentToPeer { router: id, .. }
        | Input::Rejected { router: Some((id, _)), .. }
        | Input::TellKernel(id)
        | Input::CannotSend(id)
        | Input::Hear(id)
        | Input::ListenAgain(id)
        | Input::Schedule(id)
        | Input::Due(id)
        | Input::KernelExpired(id)
        | Input::AddressLost(id, ..)
        | Input::OtherInterface(id, ..)
        | Input::MacvlanIs(id, _)
        | Input::MacvlanGone(id)
        | Input::Exchange(id, _)
        | Input::Track(id)
        | Input::SkipStartDelay(id)
        | Input::StartUp(id)
        | Input::Step(id, _)
        | Input::Leave(id)
        | Input::SeeOff { router: id, .. }
        | Input::Prepare(id)
        | Input::Discard(id) => Concerns::Router(*id),
        Input::LinkIs(link, _)
        | Input::LinkGone(link, _)
        | Input::InKernel { link, .. }
        | Input::KernelForgot(link)
        | Input::ReturnLater(link)
        | Input::Returned(link)
        | Input::NotReturned(link, _) => Concerns::Link(*link),
        Input::RoutingLost => Concerns::All,
        Input::Found { .. }
        | Input::Rejected { router: None, .. }
        | Input::Counted(..)
        | Input::FormGroups { .. }
        | Input::GroupPeerSaid(..)
        | Input::GroupPeerGone(_)
        | Input::SettleGroups => Concerns::Nobody,
    }
}

/// Whether an input begins a recording of this router.
fn begins(engine: &Engine, id: RouterId, input: &Input<'_>) -> Begins {
    match input {
        Input::Record(_, Some(record)) => {
            let leads_on = |router: &Router| {
                let mut unheard = router.kernel.unheard(&router.config, record);
                unheard.any(|heard| !router.machine.is_steady(heard.at, &Event::Advert(heard.advert)))
            };
            if engine.routers.get(id).is_some_and(leads_on) { Begins::Yes } else { Begins::No }
        }
        Input::Event(..)
        | Input::Due(_)
        | Input::KernelExpired(_)
        | Input::LastRecord(..)
        | Input::CannotSend(_)
        | Input::Step(..)
        | Input::Leave(_)
        | Input::LinkGone(..) => Begins::Yes,
        Input::Exchange(..) | Input::Track(_) => Begins::Anew,
        Input::LinkIs(_, now) => {
            let is_other = |router: &Router| router.usable(Some(now)) != router.machine.interface();
            if engine.routers.get(id).is_some_and(is_other) { Begins::Yes } else { Begins::No }
        }
        _ => Begins::No,
    }
}

/// The input, for an engine whose only router and interface have the first identifiers.
fn of_one(input: &Input<'_>) -> Input<'static> {
    let (router, link) = (RouterId::FIRST, LinkId::FIRST);
    match input {
        Input::Event(_, event, frame) => {
            Input::Event(router, *event, frame.as_deref().and_then(without_secret))
        }
        Input::Record(_, record) => Input::Record(router, record.clone()),
        Input::LastRecord(_, record) => Input::LastRecord(router, record.clone()),
        Input::Answered(ticket, outcome) => Input::Answered(*ticket, outcome.clone()),
        Input::Tried(_) => Input::Tried(router),
        Input::Sent(_) => Input::Sent(router),
        Input::NotSent(_, failure) => Input::NotSent(router, failure.clone()),
        Input::NotSentToPeer { peer, error, .. } => {
            Input::NotSentToPeer { router, peer: *peer, error: error.clone() }
        }
        Input::Rejected { router: from, why, .. } => {
            Input::Rejected { link, router: from.map(|(_, source)| (router, source)), why: *why }
        }
        Input::CannotSend(_) => Input::CannotSend(router),
        Input::Hear(_) => Input::Hear(router),
        Input::TellKernel(_) => Input::TellKernel(router),
        Input::Counted(_, record) => Input::Counted(router, record.clone()),
        Input::ListenAgain(_) => Input::ListenAgain(router),
        Input::Schedule(_) => Input::Schedule(router),
        Input::Due(_) => Input::Due(router),
        Input::KernelExpired(_) => Input::KernelExpired(router),
        Input::AddressLost(_, address, remover) => Input::AddressLost(router, *address, *remover),
        Input::OtherInterface(_, name, interface) => {
            Input::OtherInterface(router, name.clone(), interface.clone())
        }
        Input::RoutingLost => Input::RoutingLost,
        Input::LinkIs(_, interface) => Input::LinkIs(link, interface.clone()),
        Input::LinkGone(_, index) => Input::LinkGone(link, *index),
        Input::MacvlanIs(_, interface) => Input::MacvlanIs(router, interface.clone()),
        Input::MacvlanGone(_) => Input::MacvlanGone(router),
        Input::InKernel { in_kernel, sees_tags, .. } => {
            Input::InKernel { link, in_kernel: *in_kernel, sees_tags: *sees_tags }
        }
        Input::KernelForgot(_) => Input::KernelForgot(link),
        Input::ReturnLater(_) => Input::ReturnLater(link),
        Input::Returned(_) => Input::Returned(link),
        Input::NotReturned(_, reason) => Input::NotReturned(link, reason.clone()),
        Input::Exchange(_, config) => Input::Exchange(router, config.clone()),
        Input::Track(_) => Input::Track(router),
        Input::FormGroups { groups, seed } => Input::FormGroups { groups: groups.clone(), seed: *seed },
        Input::GroupPeerSaid(peer, message) => Input::GroupPeerSaid(*peer, *message),
        Input::GroupPeerGone(peer) => Input::GroupPeerGone(*peer),
        Input::SettleGroups => Input::SettleGroups,
        Input::SkipStartDelay(_) => Input::SkipStartDelay(router),
        Input::StartUp(_) => Input::StartUp(router),
        Input::Found { check, finding, detail } => {
            Input::Found { check: *check, finding: *finding, detail: Cow::Owned(detail.clone().into_owned()) }
        }
        Input::Step(_, step) => Input::Step(router, *step),
        Input::Leave(_) => Input::Leave(router),
        Input::SeeOff { is_spoken, .. } => Input::SeeOff { router, is_spoken: *is_spoken },
        Input::Prepare(_) => Input::Prepare(router),
        Input::Discard(_) => Input::Discard(router),
    }
}

/// The frame of an advert with the same addresses, without a password.
fn without_secret(octets: &[u8]) -> Option<Cow<'static, [u8]>> {
    let (source, advert) = parse_advert(octets)?;
    let kind = match advert.kind() {
        Kind::V2 { .. } => Kind::V2 { auth: Auth::None },
        Kind::V3 => Kind::V3,
    };
    let advert =
        VrrpRepr::new(advert.vrid(), advert.priority(), advert.interval(), kind, advert.addresses())?;
    let mut frame = vec![0; advert_frame_len(&advert)];
    let headers = AdvertFrame {
        source_mac: MacAddr::default(),
        source,
        destination: group(advert.addresses().family()),
        ttl: NOT_ROUTED,
        checksum: ChecksumStyle::MessageOnly,
        advert,
    };
    emit_advert(&headers, &mut frame)?;
    Some(Cow::Owned(frame))
}

/// What has changed of an interface.
#[derive(Debug)]
enum Changed {
    /// Only these addresses, which our daemons added or removed.
    Ours(Vec<IpAddr>),
    /// Something else.
    More,
}

impl Changed {
    fn between(before: &Interface, now: &Interface) -> Self {
        let (there, here) = (&before.addresses[..], &now.addresses[..]);
        let alike = there.iter().zip(here).take_while(|(there, here)| there == here).count();
        let (there, here) = (there.get(alike..).unwrap_or_default(), here.get(alike..).unwrap_or_default());
        let behind =
            there.iter().rev().zip(here.iter().rev()).take_while(|(there, here)| there == here).count();
        let middle = |all: &[_]| all.get(..all.len() - behind).unwrap_or_default().to_vec();
        let changed = [middle(there), middle(here)].concat();
        let is_alike = changed.iter().all(|address| address.ours) && before.is_alike_but_for_addresses(now);
        if is_alike { Self::Ours(changed.iter().map(|there| there.address).collect()) } else { Self::More }
    }

    fn concerns(&self, router: &Router) -> bool {
        match self {
            Self::Ours(addresses) => addresses.iter().any(|address| router.config.holds(*address)),
            Self::More => true,
        }
    }
}

impl Output {
    /// The router that the input concerns.
    pub const fn router(&self) -> Option<RouterId> {
        match self {
            Self::ReadRecord(id)
            | Self::CheckProgram(id)
            | Self::CommandKernel { router: id, .. }
            | Self::GiveUpProgram { router: id, .. }
            | Self::StartPreparation(id)
            | Self::EndPreparation(id)
            | Self::Withdraw(id)
            | Self::SendAdvert(id, _)
            | Self::TrySending(id)
            | Self::Announce(id, _)
            | Self::Transition { router: id, .. }
            | Self::Expect(id, _)
            | Self::TellGuardian(id)
            | Self::Forget(id)
            | Self::Log(id, _) => Some(*id),
            Self::Ask(..)
            | Self::CarrierUnknown(_)
            | Self::Close(_)
            | Self::Join(_)
            | Self::KeepOwnMacs
            | Self::TellStations(_)
            | Self::Rejoin(..)
            | Self::WriteJournal
            | Self::Rejected(..)
            | Self::TellGroupPeers(_)
            | Self::RunGroupScripts(..)
            | Self::ReturnProgram(_)
            | Self::NotReturned { .. }
            | Self::CheckChanged(_) => None,
        }
    }
}
