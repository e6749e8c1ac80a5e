//! State of routers as text.

use std::fmt::Write as _;

use vrrpd_common::Duration;

use crate::report::{KernelReport, MismatchReport, PeerReport, RouterReport, ScriptsReport, SilentReport};

/// A block of lines for each router.
pub fn states(routers: &[RouterReport]) -> String {
    routers.iter().map(state).collect::<Vec<_>>().join("\n")
}

fn state(router: &RouterReport) -> String {
    format!("{}: {}\n{}", router.name(), router.state.to_uppercase(), details(router))
}

/// Which masters the router preempts, and when.
fn preemption(router: &RouterReport) -> String {
    match (router.preempt, router.preempt_below, router.preempt_delay_ns) {
        (true, _, 0) => "preempts".to_owned(),
        (true, _, delay) => format!("preempts after {}", Duration::from_nanos(delay)),
        (false, None, _) => "does not preempt".to_owned(),
        (false, Some(below), _) => format!("preempts below {below}"),
    }
}

/// What delays a take-over, by the name of its line.
fn delays(router: &RouterReport) -> impl Iterator<Item = (&'static str, String)> {
    let span = |nanos: u64| Duration::from_nanos(nanos / 1000 * 1000);
    let why =
        if router.takeover_held_by.as_deref() == Some("start-delay") { "start delay" } else { "damped" };
    let held =
        router.takeover_held_ns.map(|left| ("held", format!("{why}: next take-over in {}", span(left))));
    let delay = router.preempt_delay_left_ns;
    held.into_iter().chain(delay.map(|left| ("delay", format!("lower master followed for {}", span(left)))))
}

/// What a master holds besides the addresses on its own interface, by the name of its line.
fn holdings(router: &RouterReport) -> Vec<(&str, String)> {
    let mut lines = Vec::new();
    if !router.accept {
        let error = router.accept_error.as_ref();
        let error = error.map_or_else(String::new, |error| format!(" (not in force: {error})"));
        lines.push(("accept", format!("no, packets to the addresses are dropped{error}")));
    }
    for other in &router.other_interfaces {
        let missing = if other.exists { "" } else { " (missing)" };
        lines.push(("elsewhere", format!("{}{missing}: {}", other.interface, other.addresses.join(" "))));
    }
    for route in &router.routes {
        let missing = route.error.as_ref().map_or_else(String::new, |error| format!(" (missing: {error})"));
        lines.push((&route.kind, format!("{}{missing}", route.text)));
    }
    lines
}

/// The lines of a router below its name.
pub fn details(router: &RouterReport) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    let span = |nanos: u64| Duration::from_nanos(nanos).to_string();
    if !router.name.is_empty() && router.name != router.name().to_string() {
        line("name", router.name.clone());
    }
    line("since", format!("{} ({})", router.since, router.reason));
    if router.faults.len() > 1 {
        line("faults", router.faults.join(", "));
    }
    let addresses = if router.addresses.is_empty() { "none".to_owned() } else { router.addresses.join(" ") };
    line("addresses", addresses);
    if !router.extra_addresses.is_empty() {
        line("extra", router.extra_addresses.join(" "));
    }
    for (name, value) in holdings(router) {
        line(name, value);
    }
    if !router.addresses_present.is_empty() {
        let present = router.addresses_present.join(" ");
        line("conflict", format!("{present} on {} although not master", router.interface));
    }
    let priority = if router.priority == router.effective_priority {
        router.priority.to_string()
    } else {
        format!("{} (configured {})", router.effective_priority, router.priority)
    };
    let preempt = preemption(router);
    let forced = if router.forced_backup { ", forced to backup" } else { "" };
    line("priority", format!("{priority}, {preempt}{forced}"));
    let auth =
        if router.auth == "none" { String::new() } else { format!(", authentication {}", router.auth) };
    line("protocol", format!("v{}, an advert every {}{auth}", router.protocol, span(router.interval_ns)));
    if !router.peers.is_empty() {
        let peer = |peer: &PeerReport| {
            let failure = peer.error.as_ref().map_or_else(String::new, |error| format!(" ({error})"));
            format!("{}{failure}", peer.address)
        };
        line("peers", router.peers.iter().map(peer).collect::<Vec<_>>().join(", "));
    }
    if let Some(master) = &router.master {
        let age = Duration::from_nanos(master.last_advert_age_ns / 1000 * 1000);
        let differs = if master.same_addresses { "" } else { ", announces other addresses" };
        let limit = router.max_learned_interval_ns;
        let every = if router.protocol == 3 && master.interval_ns > limit {
            format!("{} (exceeds --max-learned-interval {})", span(master.interval_ns), span(limit))
        } else {
            span(router.master_interval_ns)
        };
        line(
            "master",
            format!(
                "{} priority {}, heard {age} ago, every {every}{differs}",
                master.address, master.priority,
            ),
        );
    }
    if let Some(mismatch) = &router.mismatch {
        let MismatchReport { source, theirs, ours, advice, .. } = mismatch;
        line("mismatch", format!("{source} says {theirs}; ours: {ours}; {advice}"));
    }
    for (name, text) in delays(router) {
        line(name, text);
    }
    for track in &router.track {
        let result = track.number.map_or_else(|| track.result.clone(), |number| number.to_string());
        let weight = match (track.weight, track.counts) {
            (_, false) => ", ignored: its group has no track-weights".to_owned(),
            (0, true) => String::new(),
            (weight, true) => format!(", weight {weight}"),
        };
        line("track", format!("{} ({}) {result}{weight}", track.name, track.kind));
    }
    if let Some(group) = &router.group {
        let name = group.name.as_ref().map_or(String::new(), |name| format!("{name}, "));
        let readiness =
            group.lacking.as_ref().map_or("ready".to_owned(), |lacking| format!("not ready ({lacking})"));
        line("group", format!("{name}{} of {} members, {readiness}", group.members, group.size));
    }
    let why = router.datapath_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    line("data path", format!("{}{why}", router.datapath));
    let why = router.vmac_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    line("vmac", format!("{}{why}", router.vmac.as_ref().unwrap_or(&router.vmac_mode)));
    for (name, script) in scripts(&router.scripts) {
        line(name, script.clone());
    }
    if let Some(kernel) = &router.kernel {
        line("kernel", in_kernel(kernel));
    }
    line("counters", counters(router, false));
    line("pid", router.pid.to_string());
    text
}

/// The scripts of a router, each with its name.
fn scripts(scripts: &ScriptsReport) -> impl Iterator<Item = (&'static str, &String)> {
    let ScriptsReport { prepare, up, down, fault, stop, notify } = scripts;
    let all = [
        ("prepare", prepare),
        ("up", up),
        ("down", down),
        ("fault", fault),
        ("stop", stop),
        ("notify", notify),
    ];
    all.into_iter().filter_map(|(name, script)| Some((name, script.as_ref()?)))
}

/// The state file: for each router the lines of Vrrpd, then the block of `atropos --state`.
pub fn state_file(routers: &[RouterReport]) -> String {
    routers
        .iter()
        .map(|router| format!("{}\n{}", classic(router), state(router)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A router in the lines of Vrrpd, which has only the states MASTER and BACKUP.
pub fn classic(router: &RouterReport) -> String {
    let on = |on: bool| if on { "on" } else { "off" };
    let script = |script: &Option<String>| script.clone().unwrap_or_default();
    let seconds = Duration::from_nanos(router.interval_ns).as_millis();
    let delay = match (seconds / 1000, seconds % 1000) {
        (whole, 0) => whole.to_string(),
        (whole, rest) => format!("{whole}.{rest:03}").trim_end_matches('0').to_owned(),
    };
    let role = if router.state == "master" { "MASTER" } else { "BACKUP" };
    let monitoring = router.group.as_ref().map_or("off".to_owned(), |group| group.size.to_string());
    let information = [
        format!("process : {}", router.pid),
        format!("state {role} since {}", router.since),
        format!("reason: {}", router.reason),
        format!("version: vrrpd {}", env!("CARGO_PKG_VERSION")),
        format!("script Master: {}", script(&router.scripts.up)),
        format!("script Backup: {}", script(&router.scripts.down)),
        format!("priority {}", router.effective_priority),
        format!("basic password {}", on(router.auth == "pw")),
        format!("vmac {}", on(router.vmac_mode != "none")),
        format!("preempt {}", on(router.preempt)),
        format!("delay {delay}"),
        format!("Virtual ID: {}", router.vrid),
        format!("monitoring process: {monitoring}"),
    ];
    let mut text = String::new();
    for line in information {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "vrrpd: {} atropos information {}", router.interface, line.trim_end());
    }
    text
}

/// A block of lines for each router whose daemon does not answer.
pub fn silent(routers: &[SilentReport]) -> String {
    let block = |router: &SilentReport| {
        let name = router.name();
        let kernel = &router.kernel;
        format!(
            "{name}: daemon does not answer\n  {:<10} last role {}; {}\n",
            "kernel",
            kernel.role,
            in_kernel(kernel)
        )
    };
    routers.iter().map(block).collect::<Vec<_>>().join("\n")
}

/// The kernel's record of a router, in one line.
pub fn in_kernel(kernel: &KernelReport) -> String {
    let span = |nanos: u64| Duration::from_nanos(nanos / 1000 * 1000).to_string();
    let heard = kernel.master.as_ref().map_or("no advert heard".to_owned(), |master| {
        format!(
            "{} priority {} heard {} ago",
            master.address,
            master.priority,
            span(master.last_advert_age_ns)
        )
    });
    let timer = match kernel.master_down_in_ns {
        Some(left) => format!("timer runs out in {}", span(left)),
        None if kernel.program => "timer not armed".to_owned(),
        None => "timer not armed: no program".to_owned(),
    };
    let mut text = format!("{heard}, {timer}, adverts={} events={}", kernel.adverts, kernel.events);
    if kernel.events_withheld > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, " events_withheld={}", kernel.events_withheld);
    }
    text
}

/// Every counter, one router per line.
pub fn stats(routers: &[RouterReport]) -> String {
    lines(routers, |router| format!("{}: {}", router.name(), counters(router, true)))
}

fn counters(router: &RouterReport, zeros: bool) -> String {
    let counters = &router.counters;
    let mut text = format!(
        "adverts_sent={} adverts_received={} garp_sent={} transitions={}",
        counters.adverts_sent, counters.adverts_received, counters.garp_sent, counters.transitions
    );
    for (check, count) in counters.rejected.iter().filter(|(_, count)| zeros || **count > 0) {
        // Writing to a String cannot fail.
        let _ = write!(text, " rejected.{check}={count}");
    }
    text
}

/// The state of each router after a change, one per line.
pub fn changed(routers: &[RouterReport]) -> String {
    lines(routers, |router| {
        format!("{}: {}, priority {}", router.name(), router.state, router.effective_priority)
    })
}

fn lines(routers: &[RouterReport], line: impl Fn(&RouterReport) -> String) -> String {
    let mut text = String::new();
    for router in routers {
        text += &line(router);
        text.push('\n');
    }
    text
}
