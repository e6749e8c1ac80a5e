//! Reports for clients.

use vrrpd_common::Instant;
use vrrpd_common::router::State;
use vrrpd_engine::ledger::Resource;
use vrrpd_engine::router::Router;

use super::link::LinkIo;
use crate::clock;
use crate::config::{Destination, Peer, Settings, VirtualAddress};
use crate::interface::Interface;
use crate::report::{
    Counters, EventReport, GroupReport, Happening, MasterReport, MismatchReport, OtherInterfaceReport,
    PeerReport, RouteReport, RouterReport, ScriptsReport, TrackReport, TransitionReport,
};

/// The report of an event.
pub(super) fn event(router: &Router, happening: Happening) -> EventReport {
    EventReport {
        name: router.config.title().into_owned(),
        interface: router.config.interface.clone(),
        vrid: router.config.vrid.get(),
        family: router.config.family.name().to_owned(),
        priority: router.machine.priority().0,
        happening,
    }
}

/// The full report of a router.
pub(super) fn report(
    router: &Router,
    interface: Option<&Interface>,
    link: &LinkIo,
    now: Instant,
    group: Option<GroupReport>,
    track: Vec<TrackReport>,
) -> RouterReport {
    let config = &router.config;
    let master = match router.machine.state() {
        State::Backup(backup) => backup.master.map(|heard| MasterReport {
            address: heard.advert.source.to_string(),
            priority: heard.advert.priority.0,
            mac: heard.advert.mac.to_string(),
            interval_ns: heard.advert.interval.as_duration().as_nanos(),
            last_advert_age_ns: now.saturating_since(heard.at).as_nanos(),
            same_addresses: heard.advert.addresses == router.machine.config().addresses,
        }),
        State::Initialize | State::Fault(_) | State::Master(_) => None,
    };
    let held = router.machine.held_until();
    let (received, rejected) = link.counts(config.family, config.vrid);
    let (datapath, datapath_reason) = if router.is_verified_by_us() && link.is_in_kernel() {
        ("raw", Some("the Authentication Header is verified in user space".to_owned()))
    } else if !config.is_for_program() && link.is_in_kernel() {
        (
            "raw",
            Some("the program in the kernel knows the multicast group of the RFC and peers only".to_owned()),
        )
    } else {
        link.datapath()
    };
    RouterReport {
        name: config.title().into_owned(),
        interface: config.interface.clone(),
        ifindex: interface.map(|interface| interface.index),
        vrid: config.vrid.get(),
        family: config.family.name().to_owned(),
        protocol: config.version.number(),
        pid: std::process::id(),
        state: router.state_told().name().to_owned(),
        since: humantime::format_rfc3339_seconds(clock::system_time(router.since())).to_string(),
        reason: router.reason_now().name().to_owned(),
        faults: router.faults().map(|fault| fault.reason().name().to_owned()).collect(),
        priority: config.priority.0,
        effective_priority: router.machine.priority().0,
        preempt: config.preempt,
        preempt_below: config.preempt_below.map(|priority| priority.0),
        preempt_delay_ns: config.preempt_delay.as_nanos(),
        preempt_delay_left_ns: router.machine.preempts_at().map(|at| at.saturating_since(now).as_nanos()),
        start_delay_ns: config.start_delay.as_nanos(),
        forced_backup: router.machine.forced_backup(),
        interval_ns: config.interval.as_duration().as_nanos(),
        master_interval_ns: router.machine.master_adver_interval().as_duration().as_nanos(),
        max_learned_interval_ns: config.max_learned_interval.as_duration().as_nanos(),
        down_multiplier: config.down_multiplier,
        takeover_held_ns: held.map(|until| until.saturating_since(now).as_nanos()),
        takeover_held_by: held.map(|_| {
            let by = if router.machine.is_in_start_delay() { "start-delay" } else { "damping" };
            by.to_owned()
        }),
        addresses: config.addresses.iter().map(VirtualAddress::to_string).collect(),
        extra_addresses: config.extra_addresses.iter().map(VirtualAddress::to_string).collect(),
        routes: routes(router),
        other_interfaces: other_interfaces(router),
        accept: !config.drops_packets(),
        accept_error: router.refused_filter.as_ref().map(ToString::to_string),
        addresses_present: router
            .addresses_present(interface)
            .iter()
            .map(VirtualAddress::to_string)
            .collect(),
        vmac: router.vmac.mac().map(|mac| mac.to_string()),
        vmac_mode: router.vmac.mode().name().to_owned(),
        vmac_reason: router.vmac.reason().map(str::to_owned),
        auth: config.auth.name().to_owned(),
        source: router.machine.source().map(|source| source.to_string()),
        multicast_group: match &config.destination {
            Destination::Group(group) => Some(group.to_string()),
            Destination::Peers { .. } => None,
        },
        peers: peers(config, link),
        master,
        mismatch: router.mismatches.recent(config, now).map(|words| MismatchReport::new(words, now)),
        datapath: datapath.to_owned(),
        datapath_reason,
        group,
        track,
        scripts: ScriptsReport::from(&config.scripts),
        counters: Counters {
            adverts_sent: router.done.adverts_sent,
            adverts_received: received,
            garp_sent: router.done.garp_sent,
            transitions: router.done.transitions,
            rejected: rejected.iter().map(|(reject, count)| (reject.name().to_owned(), count)).collect(),
        },
        history: router.history().map(TransitionReport::from).collect(),
        kernel: None,
    }
}

/// The peers of a router, with the errors of sending to them.
fn peers(config: &Settings, link: &LinkIo) -> Vec<PeerReport> {
    let id = link.table.router(config.family, config.vrid);
    let report = |peer: &Peer| PeerReport {
        address: peer.address.to_string(),
        min_ttl: peer.min_ttl,
        error: id.and_then(|id| link.peers.failure(id, peer.address)).map(ToString::to_string),
    };
    config.peers().iter().map(report).collect()
}

/// Routes and rules, and whether they are held.
fn routes(router: &Router) -> Vec<RouteReport> {
    let report = |resource: Resource| {
        let refused = router.refused_routing.iter().find(|(refused, _)| *refused == resource);
        RouteReport {
            kind: if matches!(resource, Resource::Rule(_)) { "rule" } else { "route" }.to_owned(),
            text: resource.routing_text().to_owned(),
            held: router.ledger.has_routing(&resource),
            error: refused.filter(|_| router.is_master()).map(|(_, error)| error.to_string()),
        }
    };
    router.routing().map(report).collect()
}

fn other_interfaces(router: &Router) -> Vec<OtherInterfaceReport> {
    let report = |name: &str| OtherInterfaceReport {
        interface: name.to_owned(),
        exists: router.others.contains_key(name),
        addresses: router.config.addresses_on(name).map(VirtualAddress::to_string).collect(),
    };
    router.config.other_interfaces().into_iter().map(report).collect()
}
