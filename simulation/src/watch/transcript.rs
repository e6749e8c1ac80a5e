//! Texts of transcripts.

use vrrpd_common::{Advert, Priority};
use vrrpd_engine::ledger::{Order, Resource};

use crate::daemon::Effect;

/// An effect of a process, given by its index in a machine.
pub(super) fn describe_effect(host: usize, slot: usize, effect: &Effect) -> String {
    match effect {
        Effect::Send { lan, advert, is_withdrawn } => {
            format!("{host}/{lan} {}{}", describe(advert), withdrawn(*is_withdrawn))
        }
        Effect::Announce { lan, is_withdrawn } => {
            format!("{host}/{lan} announces its addresses{}", withdrawn(*is_withdrawn))
        }
        Effect::Ask(_, order) => {
            format!("{host}, process {slot} asks the kernel: {}", describe_order(order))
        }
        Effect::Journal { text, .. } => format!("{host}, process {slot} writes its journal: {text:?}"),
        Effect::Guard(lan, mastery) => {
            let what = if mastery.is_some() { "is told of a Master" } else { "is told that it is none" };
            format!("{host}/{lan}: the guardian {what}")
        }
        Effect::Loads(lan) => format!("{host}/{lan}: a larger object is loaded"),
        Effect::Moves(lan) => format!("{host}/{lan}: the program moves to the larger object"),
        Effect::Prepares(lan, _) => format!("{host}/{lan}: a script prepares it"),
        Effect::Prepared(lan, true) => format!("{host}/{lan}: the script has ended"),
        Effect::Prepared(lan, false) => format!("{host}/{lan}: the script is ended"),
        Effect::Log(lan, kind) => format!("{host}/{lan} logs: {kind:?}"),
        Effect::Begins { lan, .. } => format!("{host}/{lan} begins"),
        Effect::Ends { is_clean } => {
            let left = if *is_clean { "" } else { ", and leaves something behind" };
            format!("{host}, process {slot} ends{left}")
        }
        Effect::Tell(m) => {
            format!("{host}, process {slot} tells: {}, term {}", m.standing.name(), m.term)
        }
        Effect::StandsBy(lan) => format!("{host}/{lan} stands by"),
        Effect::TakesOver(lan) => format!("{host}/{lan} takes over"),
        Effect::Forgets { lan, .. } => format!("{host}/{lan} forgets its take-overs"),
        Effect::Changed(lan, t) => format!("{host}/{lan} {} -> {} ({})", t.from, t.to, t.reason),
    }
}

/// Seconds with nine decimals.
pub(crate) fn format_time(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

const fn withdrawn(is_withdrawn: bool) -> &'static str {
    if is_withdrawn { ", which is withdrawn" } else { "" }
}

/// The text for a request.
pub(crate) fn describe_order(order: &Order) -> String {
    let (what, resources) = match order {
        Order::Take { resources, .. } => ("add", resources),
        Order::Release(resources) => ("remove", resources),
        Order::Prepare(_) | Order::Discard(_) => return format!("{order:?}"),
    };
    let address = |resource: &Resource| match resource {
        Resource::Address(placed) => format!(" {}", placed.address),
        _ => format!(" {resource:?}"),
    };
    what.to_owned() + &resources.iter().map(address).collect::<String>()
}

/// The text for an advert.
pub(crate) fn describe(advert: &Advert) -> String {
    if advert.priority == Priority::RESIGN {
        format!("resigns ({})", advert.source)
    } else {
        format!("advert {} ({})", advert.priority, advert.source)
    }
}
