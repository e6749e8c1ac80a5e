//! The path to a state, in words.

use super::{Parcel, Step};
use crate::daemon::Effect;
use crate::watch::{describe, describe_order};

pub(super) fn tell_step(step: &Step) -> String {
    match step {
        Step::Arrives(parcel) => format!("arrives: {}", tell_parcel(parcel)),
        Step::Lost(parcel) => format!("is lost: {}", tell_parcel(parcel)),
        Step::Wakes(host, slot) => format!("{host}, process {slot} wakes"),
        Step::Killed(host, slot) => format!("{host}, process {slot} is killed"),
        Step::Starts(host, slot) => format!("{host}, process {slot} starts"),
    }
}

fn tell_parcel(parcel: &Parcel) -> String {
    match parcel {
        Parcel::Frame { lan, host, advert } => format!("{} at {host}/{lan}", describe(advert)),
        Parcel::Message { host, from, to, said: Some(said) } => {
            format!("{host}, from process {from} to {to}: {}, term {}", said.standing.name(), said.term)
        }
        Parcel::Message { host, from, to, said: None } => format!("{host}, {to} sees that {from} has gone"),
    }
}

pub(super) fn tell_effect(effect: &Effect) -> String {
    match effect {
        Effect::Send { lan, advert, .. } => format!("{lan} {}", describe(advert)),
        Effect::Announce { lan, .. } => format!("{lan} announces"),
        Effect::Ask(_, order) => format!("asks to {}", describe_order(order)),
        Effect::Begins { lan, .. } => format!("{lan} begins"),
        Effect::Guard(lan, _) => format!("{lan} tells its guardian"),
        Effect::Journal { .. } => "writes its journal".to_owned(),
        Effect::Loads(lan) => format!("{lan} loads a larger object"),
        Effect::Moves(lan) => format!("{lan} moves its program"),
        Effect::Prepares(lan, _) => format!("{lan} is prepared"),
        Effect::Prepared(lan, _) => format!("{lan} is prepared no more"),
        Effect::Log(lan, _) => format!("{lan} is logged"),
        Effect::Ends { .. } => "ends".to_owned(),
        Effect::Tell(said) => format!("tells {}, term {}", said.standing.name(), said.term),
        Effect::StandsBy(lan) => format!("{lan} stands by"),
        Effect::TakesOver(lan) => format!("{lan} takes over"),
        Effect::Forgets { lan, .. } => format!("{lan} forgets its take-overs"),
        Effect::Changed(lan, change) => format!("{lan} {} -> {} ({})", change.from, change.to, change.reason),
    }
}
