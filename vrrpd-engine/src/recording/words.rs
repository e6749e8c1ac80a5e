//! Texts of a transcript: inputs and outputs in words. Log lines are worded by the daemon instead.

use std::net::IpAddr;

use vrrpd_common::router::{
    Backup, Event, Faults, HeardAdvert, Notice, Origin, State, Transition, VirtualRouter, Waiting,
};
use vrrpd_common::{Advert, Instant, Priority};

use super::segment::Steady;
use crate::config::VirtualAddress;
use crate::engine::{CheckChanged, Input, Line, NotSent, Now, Output};
use crate::interface::{Interface, Remover};
use crate::ledger::{Order, Outcome, Resource};
use crate::mismatch::Warning;
use crate::priority::Step;
use crate::router::{Noticed, Router, SteadyState};
use crate::track::Change;
use crate::vmac::WithoutVmac;

/// Nanoseconds of a day.
const DAY: u64 = 86_400 * SECOND;
const SECOND: u64 = 1_000_000_000;

/// Time of day, to microseconds.
pub(super) fn clock(now: Now) -> String {
    let nanos = now.time_of_day.0.as_nanos() % DAY;
    let (seconds, micros) = (nanos / SECOND, nanos % SECOND / 1000);
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Date in UTC (Gregorian calendar).
pub(super) fn date(now: Now) -> String {
    let mut days = now.time_of_day.0.as_nanos() / DAY;
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

/// State of a router.
pub(super) fn snapshot(router: &Router, now: Instant) -> String {
    let addresses: Vec<_> = router.config.addresses.iter().map(VirtualAddress::to_string).collect();
    let machine = &router.machine;
    let addresses = if addresses.is_empty() { "no addresses".to_owned() } else { addresses.join(" ") };
    format!("priority {}, {addresses}; {}", machine.priority(), state(machine, now))
}

/// State of a state machine.
fn state(machine: &VirtualRouter, now: Instant) -> String {
    match machine.state() {
        State::Initialize => "init".to_owned(),
        State::Fault(found) => format!("fault: {}", faults(*found)),
        State::Master(master) => format!("master, next advert {}", when(master.advert_at, now)),
        State::Backup(backup) => {
            let Backup { master, waiting, .. } = backup;
            let master = master.map_or_else(
                || "no master heard".to_owned(),
                |HeardAdvert { advert, at }| {
                    let Advert { source, priority, .. } = advert;
                    format!("master {source} with priority {priority}, last heard {}", when(at, now))
                },
            );
            let waits = match (waiting, machine.deadline()) {
                (Waiting::ForGroup(_), _) => "waits for its group".to_owned(),
                (Waiting::ForScript(_), _) => "waits for its prepare script".to_owned(),
                (_, Some(at)) => format!("takes over {}", when(at, now)),
                (_, None) => "waits".to_owned(),
            };
            let held = if machine.held_until().is_some() { " (held)" } else { "" };
            format!("backup, {master}, {waits}{held}")
        }
    }
}

fn when(at: Instant, now: Instant) -> String {
    if at > now {
        format!("in {}", at.saturating_since(now))
    } else {
        format!("{} ago", now.saturating_since(at))
    }
}

fn faults(faults: Faults) -> String {
    faults.iter().map(|fault| fault.reason().name()).collect::<Vec<_>>().join(" ")
}

fn advert(advert: &Advert) -> String {
    let Advert { priority, interval, source, mac, .. } = advert;
    if *priority == Priority::RESIGN {
        return format!("advert from {source} ({mac}): priority 0, it resigns");
    }
    format!("advert from {source} ({mac}): priority {priority}, interval {interval}")
}

const fn by(origin: Origin) -> &'static str {
    match origin {
        Origin::Operator => "operator",
        Origin::Signal => "signal",
    }
}

fn event(event: &Event) -> String {
    match event {
        Event::Startup => "start".to_owned(),
        Event::Shutdown => "stop".to_owned(),
        Event::Timer => "timer".to_owned(),
        Event::Advert(heard) => advert(heard),
        Event::InterfaceUp(source) => format!("interface usable, source {source}"),
        Event::InterfaceDown(found) => format!("interface unusable: {}", faults(*found)),
        Event::StandBack(origin) => format!("{}: stand back", by(*origin)),
        Event::Resume(origin) => format!("{}: resume", by(*origin)),
        Event::Priority(priority) => format!("priority {priority}"),
        Event::AddressesRefused => "addresses refused".to_owned(),
        Event::AddressesLost => "addresses lost".to_owned(),
        Event::StoodStill => "the machine was stopped or suspended".to_owned(),
        Event::GroupReady { .. } => "group: every member can be master".to_owned(),
        Event::GroupYields => "group: yield".to_owned(),
        Event::Prepared => "prepare script ended".to_owned(),
    }
}

/// An input; `None` if it is not worth a line.
pub(super) fn input(input: &Input<'_>, now: Instant) -> Option<String> {
    Some(match input {
        Input::Event(_, happened, _) => event(happened),
        Input::Hear(_)
        | Input::Counted(..)
        | Input::TellKernel(_)
        | Input::Rejected { router: None, .. }
        | Input::Record(_, None)
        | Input::Schedule(_)
        | Input::SeeOff { .. }
        // The resulting event of a member has a line.
        | Input::FormGroups { .. }
        | Input::SettleGroups
        | Input::GroupPeerSaid(..)
        | Input::GroupPeerGone(_) => return None,
        Input::Sent(_) => "advert sent".to_owned(),
        Input::Due(_) => "the take-over is held no more".to_owned(),
        Input::KernelExpired(_) => "the timer of the kernel program has expired".to_owned(),
        Input::Record(_, Some(record)) | Input::LastRecord(_, record) => {
            let at = Instant::from_nanos(record.heard.at);
            let (adverts, heard) = (record.adverts, when(at, now));
            format!(
                "the kernel has heard {adverts} adverts, the last {heard} with priority {}",
                record.heard.priority
            )
        }
        Input::Answered(_, outcome) => answer(outcome),
        Input::Tried(_) => "the probe advert was sent".to_owned(),
        Input::NotSent(_, NotSent { octets, error, .. }) => {
            format!("advert of {octets} octets not sent: {error}")
        }
        Input::NotSentToPeer { peer, error, .. } => format!("advert not sent to peer {peer}: {error}"),
        Input::Rejected { router: Some((_, source)), why, .. } => {
            format!(
                "advert from {source} discarded: {} {}, expected {}",
                why.reject.name(),
                why.got,
                why.wanted
            )
        }
        Input::CannotSend(_) => "adverts cannot be sent".to_owned(),
        Input::ListenAgain(_) => "adverts may have been missed".to_owned(),
        Input::AddressLost(_, address, remover) => {
            let remover = match remover {
                Remover::Us => "this daemon",
                Remover::Other => "another process",
            };
            format!("address {address} removed by {remover}")
        }
        Input::RoutingLost => "routes or rules removed by others".to_owned(),
        Input::LinkIs(_, interface)
        | Input::MacvlanIs(_, interface)
        | Input::OtherInterface(_, _, Some(interface)) => interface_is(interface),
        Input::OtherInterface(_, name, None) => format!("interface {name} removed"),
        Input::LinkGone(..) => "interface removed".to_owned(),
        Input::MacvlanGone(_) => "macvlan link removed".to_owned(),
        Input::InKernel { in_kernel: true, .. } => "adverts are received by the kernel program".to_owned(),
        Input::InKernel { in_kernel: false, .. } => "adverts are received by packet sockets".to_owned(),
        Input::KernelForgot(_) => "the kernel program was loaded again".to_owned(),
        Input::ReturnLater(_) => "the kernel program cannot be attached yet".to_owned(),
        Input::Returned(_) => "the kernel program is attached again".to_owned(),
        Input::NotReturned(_, reason) => format!("the kernel program cannot be attached: {reason}"),
        Input::Exchange(..) => "configuration changed".to_owned(),
        Input::Track(_) => "checks of the configuration in use".to_owned(),
        Input::SkipStartDelay(_) => "no start delay".to_owned(),
        Input::StartUp(_) => "start".to_owned(),
        Input::Found { finding, detail, .. } => format!("check: {finding:?} ({detail})"),
        Input::Step(_, Step::Reduce) => "operator: lower the priority".to_owned(),
        Input::Step(_, Step::Increase) => "operator: raise the priority".to_owned(),
        Input::Leave(_) => "removed from the configuration".to_owned(),
        Input::Prepare(_) => "make the macvlan link".to_owned(),
        Input::Discard(_) => "remove the macvlan link".to_owned(),
    })
}

fn interface_is(interface: &Interface) -> String {
    let Interface { name, admin_up, carrier, mtu, addresses, .. } = interface;
    let link = match (admin_up, carrier) {
        (false, _) => "down",
        (true, false) => "up without carrier",
        (true, true) => "up",
    };
    let addresses: Vec<_> =
        addresses.iter().map(|there| format!("{}/{}", there.address, there.prefix_len)).collect();
    format!("interface {name} {link}, MTU {mtu}, addresses {}", addresses.join(" "))
}

fn answer(outcome: &Outcome) -> String {
    match outcome.failure() {
        None => "the system has executed the request".to_owned(),
        Some(error) => format!("the system refused: {error}"),
    }
}

/// A changed result of a check.
pub(super) fn checked(change: &Change, detail: &str) -> String {
    format!("check {}: {} -> {} ({detail})", change.id.0, change.from.name(), change.to.name())
}

/// Repeating inputs.
pub(super) fn steady(steady: &Steady, after: &SteadyState, now: Instant) -> String {
    let Steady { adverts, timers, until, .. } = steady;
    let mut words = Vec::new();
    if *adverts > 0 {
        let what = if *adverts == 1 { "advert" } else { "adverts" };
        words.push(format!("{adverts} unchanged {what}"));
    }
    if *timers > 0 {
        let what = if *timers == 1 { "timer" } else { "timers" };
        words.push(format!("{timers} {what} without news"));
    }
    format!("{}, the last {}; {}", words.join(", "), when(*until, now), state(after.machine(), now))
}

/// An output; `None` if it is not worth a line.
pub(super) fn output(output: &Output, router: &Router) -> Option<String> {
    Some(match output {
        Output::ReadRecord(_)
        | Output::CheckProgram(_)
        | Output::WriteJournal
        | Output::TellGuardian(_)
        | Output::CommandKernel { .. }
        | Output::Rejected(..)
        | Output::KeepOwnMacs
        | Output::TellStations(_)
        | Output::Expect(..) => return None,
        Output::TellGroupPeers(_) => "tell the other processes of the group".to_owned(),
        Output::RunGroupScripts(group, _) => format!("run the scripts of group {group}"),
        Output::GiveUpProgram { source, pause, .. } => {
            format!("advert from another subnet, {source}: use packet sockets for {pause}")
        }
        Output::ReturnProgram(_) => "attach the kernel program again".to_owned(),
        Output::NotReturned { again_in, .. } => format!("attach the kernel program again in {again_in}"),
        Output::StartPreparation(_) => "run the prepare script".to_owned(),
        Output::EndPreparation(_) => "end the prepare script".to_owned(),
        Output::Ask(_, order) => format!("ask the system: {}", ask(order)),
        Output::Withdraw(_) => "drop queued frames".to_owned(),
        Output::SendAdvert(_, Priority::RESIGN) => "send advert with priority 0: resign".to_owned(),
        Output::SendAdvert(_, priority) => format!("send advert with priority {priority}"),
        Output::TrySending(_) => "send it now".to_owned(),
        Output::Announce(..) => "announce the addresses".to_owned(),
        Output::Transition { past, .. } => transition(&past.transition, router),
        Output::CarrierUnknown(_) => "carrier unknown, assumed up".to_owned(),
        Output::Close(_) => "close the interface".to_owned(),
        Output::Join(_) | Output::Rejoin(..) => "join the multicast group".to_owned(),
        Output::Forget(_) => "gone".to_owned(),
        Output::CheckChanged(changed) => check_changed(changed),
        Output::Log(_, line) => return log(line),
    })
}

fn ask(order: &Order) -> String {
    let all = |resources: &[Resource]| resources.iter().map(resource).collect::<Vec<_>>().join(", ");
    match order {
        Order::Prepare(link) => format!("make macvlan link {}", link.name),
        Order::Take { resources, .. } => format!("add {}", all(resources)),
        Order::Release(resources) => format!("remove {}", all(resources)),
        Order::Discard(_) => "remove the macvlan link".to_owned(),
    }
}

fn resource(resource: &Resource) -> String {
    match resource {
        Resource::Mac(mac) => format!("MAC address {} on {}", mac.vmac, mac.name),
        Resource::Link(link) => format!("macvlan link {}", link.name),
        Resource::Answers(_) => "ARP filter".to_owned(),
        Resource::Filter(filter) => format!("filter of {}", list(&filter.addresses)),
        Resource::Address(placed) => placed.address.to_string(),
        Resource::Route(route) => format!("route {}", route.text),
        Resource::Rule(rule) => format!("rule {}", rule.text),
    }
}

fn transition(transition: &Transition, router: &Router) -> String {
    let Transition { from, to, reason, cause } = transition;
    let cause = cause.map_or_else(String::new, |cause| {
        format!(", caused by {} ({}) with priority {}", cause.source, cause.mac, cause.priority)
    });
    let priority = router.machine.priority();
    format!("TRANSITION {from} -> {to}: {}{cause}; own priority {priority}", reason.name())
}

fn check_changed(changed: &CheckChanged) -> String {
    let CheckChanged { name, from, to, detail, .. } = changed;
    format!("check {name}: {} -> {} ({detail})", from.name(), to.name())
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
}

fn log(line: &Line) -> Option<String> {
    let words = match line {
        Line::Notice(Noticed { notice, more }, theirs) => {
            format!("{}{}", noticed(notice, theirs), unsaid(*more))
        }
        Line::Mismatch(Warning { words, more }) => {
            let (check, source, theirs, ours) = (words.check, words.source, &words.theirs, &words.ours);
            format!("mismatch with {source}, {check}: {theirs}, here {ours}{}", unsaid(*more))
        }
        Line::Rejected(why, more) => {
            format!("advert discarded: {}{}", why.reject.name(), unsaid(*more))
        }
        Line::RejectedByKernel(reject, count) => {
            format!("{count} adverts discarded by the kernel program: {}", reject.name())
        }
        Line::MoreTransitions(count, state, reason) => {
            format!("{count} more transitions, now {state}: {}", reason.name())
        }
        Line::MagicSource(source) => format!("magic source {source} is not a virtual address"),
        Line::AddressLeft(address) => format!("leftover address {address}"),
        Line::MacLeft(mac) => format!("leftover virtual MAC address {mac}"),
        // The output before it has a line.
        Line::CheckChanged(_) => return None,
        Line::AddressesPresent(present) => {
            let present: Vec<_> = present.iter().map(|address| address.address).collect();
            format!("virtual address present on a router that is not master: {}", list(&present))
        }
        Line::MacvlanDown(link) => format!("macvlan link {link} down"),
        Line::MacvlanMacChanged(link) => format!("MAC address of macvlan link {link} changed"),
        Line::MacvlanLost => "macvlan link lost".to_owned(),
        Line::MacChanged(interface) => format!("MAC address of {interface} changed"),
        Line::PriorityChanged(from, to) => format!("priority changed, {from} -> {to}"),
        Line::VmacRefused(WithoutVmac::GoesOn, error) => {
            format!("no virtual MAC address ({error}), continues without it")
        }
        Line::VmacRefused(WithoutVmac::StaysBackup, error) => {
            format!("no virtual MAC address ({error}), stays backup")
        }
        Line::AddressLost(address, more) => format!("address {address} lost{}", unsaid(*more)),
        Line::InterfaceMissing(interface) => format!("interface {interface} missing"),
        Line::FilterRefused(error) => format!("cannot drop packets to the addresses: {error}"),
        Line::FilterNotRemoved(error) => format!("cannot stop dropping packets to the addresses: {error}"),
        Line::AddressRefused(address, error) => format!("cannot add {address}: {error}"),
        Line::RoutingRestored(routing) => format!("restored {}", routing.routing_text()),
        Line::RoutingRefused(routing, error) => format!("cannot add {}: {error}", routing.routing_text()),
        Line::RoutingNotRemoved(routing, error) => {
            format!("cannot remove {}: {error}", routing.routing_text())
        }
        Line::AddressNotRemoved(address, error) => format!("cannot remove {address}: {error}"),
        Line::MacNotRestored(error) => format!("cannot restore MAC address: {error}"),
        Line::LinkNotRemoved(error) => format!("cannot remove macvlan link: {error}"),
        Line::NotSent(NotSent { octets, error, .. }, more) => {
            format!("cannot send advert of {octets} octets: {error}{}", unsaid(*more))
        }
        Line::NotSentToPeer { peer, more, error } => {
            format!("cannot send advert to peer {peer}: {error}{}", unsaid(*more))
        }
        Line::CannotSend(pause) => format!("adverts cannot be sent, tried again in {pause}"),
    };
    Some(format!("log: {words}"))
}

fn unsaid(more: u64) -> String {
    if more == 0 { String::new() } else { format!(" ({more} more)") }
}

fn noticed(notice: &Notice, theirs: &[IpAddr]) -> String {
    match notice {
        Notice::IntervalDiffers(advert) => {
            format!("interval {} of master {} differs", advert.interval, advert.source)
        }
        Notice::IntervalExceedsLimit { advert, limit } => {
            format!("interval {} of master {} is above the limit {limit}", advert.interval, advert.source)
        }
        Notice::AddressesDiffer(advert) => {
            format!("addresses of master {} differ: {}", advert.source, list(theirs))
        }
        Notice::LowerMaster(other) => {
            format!("advert from {} with lower priority {} while master", other.source, other.priority)
        }
        Notice::ClockGap(late) => format!("timer late by {late}, listening before take-over"),
        Notice::StartDelay(delay) => format!("start delay of {delay}"),
        Notice::TakeOverHeld(left) => format!("take-over held for {left} (damping)"),
    }
}
