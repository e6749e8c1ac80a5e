//! Every state with every event, in `golden.txt`. `UPDATE_GOLDEN=1 cargo test -p vrrpd-common golden` rewrites the
//! file; review the difference before committing it.

use super::*;
use std::format;
use std::string::{String, ToString};

/// The states, each with its name in the table.
pub(super) fn states() -> Vec<(&'static str, Bench)> {
    let mut init = Bench::new(config());
    init.event(Event::InterfaceUp(OURS));
    let mut owner = Bench::new(Config { priority: Priority::OWNER, ..config() });
    owner.event(Event::InterfaceUp(OURS));
    let mut fault = Bench::started(config());
    fault.event(Event::InterfaceDown(Fault::LinkDown.into()));
    let mut following = Bench::started(config());
    following.event(Event::Advert(advert(150, LOWER_ADDRESS)));
    let mut preempting = Bench::started(config());
    preempting.event(Event::Advert(advert(50, LOWER_ADDRESS)));
    let mut resigned = Bench::started(config());
    resigned.event(Event::Advert(advert(0, LOWER_ADDRESS)));
    let mut resigned_over = Bench::started(config());
    resigned_over.event(Event::Advert(advert(0, LOWER_ADDRESS)));
    resigned_over.event(Event::Advert(advert(50, HIGHER_ADDRESS)));
    let mut forced = Bench::started(config());
    forced.event(Event::StandBack(Origin::Operator));
    forced.event(Event::Advert(advert(50, LOWER_ADDRESS)));
    let mut due = Bench::started(config());
    due.now = due.router.deadline().expect("has one");
    let mut late = Bench::started(config());
    late.now = late.router.deadline().expect("has one") + ms(361);
    late.event(Event::Timer);
    let mut flapped = damping::flapped(config());
    flapped.now = flapped.router.deadline().expect("has one");
    let mut held = damping::held(config());
    held.after(ms(100));
    let delayed = Config { preempt_delay: Duration::from_secs(10), ..config() };
    let mut delaying = Bench::started(delayed);
    delaying.event(Event::Advert(advert(50, LOWER_ADDRESS)));
    let mut delay_due = Bench::started(delayed);
    delay_due.event(Event::Advert(advert(50, LOWER_ADDRESS)));
    for _ in 0..100 {
        delay_due.after(ms(100)).event(Event::Advert(advert(50, LOWER_ADDRESS)));
    }
    let selective = Config { preempt_mode: false, preempt_below: Some(Priority(51)), ..config() };
    let mut start_delay =
        Bench::new(Config { priority: Priority::OWNER, start_delay: Duration::from_secs(30), ..config() });
    start_delay.event(Event::InterfaceUp(OURS));
    let mut listening = Bench::new(*start_delay.router.config());
    listening.event(Event::InterfaceUp(OURS));
    listening.event(Event::Startup);
    listening.run_to_deadline();
    let mut advert_due = Bench::master(config());
    advert_due.after(ms(100));
    let grouped = Config { grouped: true, ..config() };
    let mut member_owner = Bench::new(Config { priority: Priority::OWNER, ..grouped });
    member_owner.event(Event::InterfaceUp(OURS));
    let mut member_due = Bench::started(grouped);
    member_due.now = member_due.router.deadline().expect("has one");
    let mut willing_over = Bench::started(grouped);
    willing_over.event(Event::Advert(advert(50, LOWER_ADDRESS)));
    willing_over.run_to_deadline();
    willing_over.event(Event::Advert(advert(50, LOWER_ADDRESS)));
    let prepares = Config { prepares: true, ..config() };
    let mut prepares_owner = Bench::new(Config { priority: Priority::OWNER, ..prepares });
    prepares_owner.event(Event::InterfaceUp(OURS));
    let mut preparing = Bench::started(prepares);
    preparing.run_to_deadline();
    let mut preparing_over = Bench::started(prepares);
    preparing_over.event(Event::Advert(advert(50, LOWER_ADDRESS)));
    preparing_over.run_to_deadline();
    let mut member_preparing = Bench::started(Config { prepares: true, ..grouped });
    member_preparing.run_to_deadline();
    let mut bearing = Bench::member_that_is_master(ms(360));
    bearing.event(Event::Advert(advert(150, LOWER_ADDRESS)));
    bearing.after(ms(50));
    Vec::from([
        ("init", init),
        ("init, owner", owner),
        ("fault", fault),
        ("backup of 150", following),
        ("backup, preempting 50", preempting),
        ("backup, master resigned", resigned),
        ("backup, master resigned, preempting 50", resigned_over),
        ("backup, told to stand back, of 50", forced),
        ("backup, timer due", due),
        ("backup, listening again", late),
        ("backup, timer due, too often master", flapped),
        ("backup, held", held),
        ("backup, no lower master heard, delay", Bench::started(delayed)),
        ("backup, delaying to preempt 50", delaying),
        ("backup, delay over", delay_due),
        ("backup, preempting below 51", Bench::started(selective)),
        ("init, owner, start delay", start_delay),
        ("backup, owner, held by start delay", listening),
        ("master", Bench::master(config())),
        ("master, advert due", advert_due),
        ("member, init, owner", member_owner),
        ("member, backup, timer due", member_due),
        ("member, willing", Bench::willing(grouped)),
        ("member, willing, preempting 50", willing_over),
        ("member, master, first of its group", Bench::member_that_is_master(Duration::ZERO)),
        ("member, master that bears 150", bearing),
        ("init, owner with a script", prepares_owner),
        ("backup, preparing", preparing),
        ("backup, preparing, preempting 50", preparing_over),
        ("member, preparing", member_preparing),
    ])
}

/// The events, each with its name in the table.
pub(super) fn events() -> Vec<(&'static str, Event)> {
    Vec::from([
        ("startup", Event::Startup),
        ("shutdown", Event::Shutdown),
        ("timer", Event::Timer),
        ("advert 0", Event::Advert(advert(0, HIGHER_ADDRESS))),
        ("advert 50", Event::Advert(advert(50, HIGHER_ADDRESS))),
        ("advert 100, lower address", Event::Advert(advert(100, LOWER_ADDRESS))),
        ("advert 100, higher address", Event::Advert(advert(100, HIGHER_ADDRESS))),
        ("advert 150", Event::Advert(advert(150, LOWER_ADDRESS))),
        ("interface up", Event::InterfaceUp(OURS)),
        ("link down", Event::InterfaceDown(Fault::LinkDown.into())),
        ("advert unsendable", Event::InterfaceDown(Fault::AdvertUnsendable.into())),
        ("stand back", Event::StandBack(Origin::Operator)),
        ("resume", Event::Resume(Origin::Operator)),
        ("priority 90", Event::Priority(Priority(90))),
        ("priority 40", Event::Priority(Priority(40))),
        ("addresses refused", Event::AddressesRefused),
        ("addresses lost", Event::AddressesLost),
        ("stood still", Event::StoodStill),
        ("group ready", Event::GroupReady { hold: ms(360) }),
        ("group yields", Event::GroupYields),
        ("prepared", Event::Prepared),
    ])
}

fn row(state: &str, event: &str, bench: &Bench, actions: &[Action]) -> String {
    let actions: Vec<_> = actions.iter().map(describe).collect();
    let actions = if actions.is_empty() { "-".to_string() } else { actions.join(", ") };
    let wait =
        bench.router.deadline().map_or("never".to_string(), |at| at.saturating_since(bench.now).to_string());
    let willing = if bench.router.is_willing() { ", willing" } else { "" };
    let preparing = if bench.router.is_preparing() { ", preparing" } else { "" };
    format!("{state} | {event} | {actions} | {}{willing}{preparing}, timer {wait}\n", bench.state())
}

fn describe(action: &Action) -> String {
    match action {
        Action::Prepare => "prepare".to_string(),
        Action::EndPreparation => "end preparation".to_string(),
        Action::TakeAddresses => "take".to_string(),
        Action::GiveUpAddresses => "give up".to_string(),
        Action::SendAdvert(priority) => format!("advert {priority}"),
        Action::AnnounceAddresses(Occasion::TakeOver) => "announce".to_string(),
        Action::AnnounceAddresses(Occasion::LowerMaster) => "announce upon lower".to_string(),
        Action::AnnounceAddresses(Occasion::Elsewhere) => "announce elsewhere".to_string(),
        Action::AnnounceAddresses(Occasion::Refresh) => "announce to refresh".to_string(),
        Action::Transition(Transition { from, to, reason, cause }) => {
            let cause = cause.map(|cause| format!(", {} of {}", cause.source, cause.priority));
            format!("{from} -> {to} ({reason}{})", cause.unwrap_or_default())
        }
        Action::Notice(Notice::IntervalDiffers(_)) => "notice interval".to_string(),
        Action::Notice(Notice::IntervalExceedsLimit { .. }) => "notice interval limit".to_string(),
        Action::Notice(Notice::AddressesDiffer(_)) => "notice addresses".to_string(),
        Action::Notice(Notice::LowerMaster(_)) => "notice lower master".to_string(),
        Action::Notice(Notice::ClockGap(_)) => "notice clock gap".to_string(),
        Action::Notice(Notice::StartDelay(span)) => format!("notice start delay {span}"),
        Action::Notice(Notice::TakeOverHeld(span)) => format!("notice held {span}"),
    }
}

#[test]
fn every_state_and_event_matches_the_table() {
    let mut table = String::from("state | event | actions | then\n");
    for (state, bench) in states() {
        for (name, event) in events() {
            let mut bench = Bench { router: bench.router, now: bench.now };
            let actions = bench.event(event);
            table += &row(state, name, &bench, &actions);
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/router/tests/golden.txt");
        std::fs::write(path, &table).expect("the table can be written");
        return;
    }
    for (number, (got, wanted)) in table.lines().zip(include_str!("golden.txt").lines()).enumerate() {
        assert_eq!(got, wanted, "line {}", number + 1);
    }
    assert_eq!(table.lines().count(), include_str!("golden.txt").lines().count());
}
