//! Effects of forged adverts on a router are limited, and the log names the sender.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde_json::Value;
use vrrpd_lab::usual::{ADDRESS, CIDR, INTERVAL, SOON, VRID};
use vrrpd_lab::{AdvertFrame, Capture, Flood, Host, Injector, Lab, ScriptLog, Vrrpd, timers, wait_until};

/// The shortest advertisement interval.
const TEN_MS: Duration = Duration::from_millis(10);
/// The longest hold.
const MAX_HOLD: Duration = Duration::from_secs(10);
const OUTSIDER: &str = "02:00:00:00:00:99";

fn forged(from: &Host, priority: u8, interval: Duration) -> Vec<u8> {
    AdvertFrame::v3(from.ipv4().into(), VRID, priority, interval, &[ADDRESS.into()]).build()
}

/// A higher priority with an interval of 10 ms, and its resignation.
fn pair(from: &Host) -> Vec<Vec<u8>> {
    vec![forged(from, 254, TEN_MS), forged(from, 0, TEN_MS)]
}

fn history(router: &Vrrpd) -> Vec<Value> {
    router.state()["history"].as_array().expect("it has one").clone()
}

/// Panics unless each transition that another router caused names it.
#[track_caller]
fn assert_causes_are_named(transitions: &[Value], outsider: &Host) {
    for transition in transitions {
        let priority = match transition["reason"].as_str() {
            Some("higher-priority-advert") => 254,
            Some("master-resigned") => 0,
            _ => continue,
        };
        let cause = &transition["cause"];
        assert_eq!(cause["address"], outsider.ipv4().to_string(), "{transition}");
        assert_eq!((&cause["priority"], &cause["mac"]), (&priority.into(), &OUTSIDER.into()), "{transition}");
        let master = if transition["to"] == "backup" { cause["address"].clone() } else { Value::Null };
        assert_eq!(transition["master"], master, "{transition}");
    }
}

#[test]
fn forged_pair_again_and_again_makes_few_transitions_scripts_log_lines_and_announcements() {
    const ADDRESSES: u8 = 50;
    let lab = Lab::new();
    let [router, outsider] = lab.hosts();
    let script = ScriptLog::new(&["VRRP_REASON"]);
    let path = script.path().display().to_string();
    let mut builder = Vrrpd::on(&router).vrid(VRID).priority(100).v3("1").vmac("interface");
    for number in 0..ADDRESSES {
        builder = builder.address(&format!("10.0.0.{}/24", 100 + number));
    }
    let daemon = builder.args(["-U", &path, "-D", &path]).start();
    daemon.wait_state("master", SOON * 2);
    script.wait_run(SOON, "MASTER");
    let capture = Capture::on(&outsider);
    let (transitions, runs) = (daemon.counter("transitions"), script.runs().len());
    let lines = || daemon.count_in_log("INFO transition") + daemon.count_in_log("more transitions");
    let lines_before = lines();
    let start = Instant::now();
    let flood = Flood::every(TEN_MS, &outsider, pair(&outsider));
    wait_until(SOON * 2, "four seconds of it", || start.elapsed() >= Duration::from_secs(4));
    assert!(flood.stop() > 200, "the outsider is at it");
    let seconds = start.elapsed().as_secs();
    let held = daemon.state();
    // Six take-overs: three at once, then after 1/3 s, 2/3 s, 4/3 s at least; some are obsolete before they are
    // reported.
    let transitions = daemon.counter("transitions") - transitions;
    assert!((1..=14).contains(&transitions), "{transitions} transitions");
    let runs = script.runs().len() - runs;
    assert!(runs as u64 <= transitions, "{runs} scripts");
    let lines = lines() - lines_before;
    assert!(lines as u64 <= transitions, "{lines} lines");
    let announced = capture.announcements().len() as u64;
    let (at_once, own) = (5, 1);
    let most = (at_once + seconds + 1) * u64::from(ADDRESSES + own);
    assert!(announced <= most, "{announced} announcements");

    assert!(held["takeover_held_ns"].is_u64() || held["state"] == "master", "{held}");
    assert!(daemon.count_in_log("take-over held") > 0, "{:?}", daemon.log());
    daemon.wait_state("master", MAX_HOLD + Duration::from_secs(2));
    assert_eq!(daemon.state()["takeover_held_ns"], Value::Null);
    let announced = || capture.announcements().len() as u64;
    let before = announced();
    wait_until(SOON * 2, "every address is announced once more", || {
        announced() >= before + u64::from(ADDRESSES)
    });
    script.wait_run(SOON, "MASTER");
    assert_causes_are_named(&history(&daemon), &outsider);
    let displaced = daemon.count_in_log("reason=\"higher-priority-advert\"");
    let named = format!("cause=\"{}\" cause_priority=254 cause_mac=\"{OUTSIDER}\"", outsider.ipv4());
    assert_eq!((displaced > 0, daemon.count_in_log(&named)), (true, displaced), "{:?}", daemon.log());
}

#[test]
fn router_that_is_held_takes_over_at_once_when_it_is_told_to_resume() {
    let lab = Lab::new();
    let [router, outsider] = lab.hosts();
    let daemon = Vrrpd::usual(&router, 100).start();
    daemon.wait_state("master", SOON);
    let flood = Flood::every(TEN_MS, &outsider, pair(&outsider));
    wait_until(MAX_HOLD, "a hold of seconds", || {
        daemon.state()["takeover_held_ns"].as_u64().is_some_and(|left| left > 2_000_000_000)
    });
    flood.stop();
    assert_eq!(daemon.atropos(&["--master"]).code, 0);
    let state = daemon.wait_state("master", Duration::from_secs(1));
    assert_eq!(state["reason"], "operator");
    assert!(router.has_address("eth0", CIDR));
}

#[test]
fn displaced_master_names_the_cause_in_history_and_events() {
    let lab = Lab::new();
    let [router, outsider] = lab.hosts();
    let daemon = Vrrpd::usual(&router, 100).start();
    daemon.wait_state("master", SOON);
    let events = daemon.start_atropos(&["--events"]);
    let injector = Injector::on(&outsider);
    // Further adverts may arrive before the first transition is reported: each transition has its own cause.
    wait_until(SOON, "events of it", || {
        injector.send_all(&pair(&outsider));
        let told: Vec<Value> =
            events.log().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_causes_are_named(&told, &outsider);
        ["higher-priority-advert", "master-resigned"]
            .iter()
            .all(|reason| told.iter().any(|event| event["reason"] == *reason))
    });
    assert_causes_are_named(&history(&daemon), &outsider);
}

#[test]
fn new_master_names_the_master_that_fell_silent() {
    let lab = Lab::new();
    let [router, outsider] = lab.hosts();
    let daemon = Vrrpd::usual(&router, 100).start();
    Injector::on(&outsider).send(&forged(&outsider, 254, INTERVAL));
    let reason = |state: &Value| state["history"].as_array().and_then(|all| all.last().cloned());
    let last = reason(&daemon.wait_state("master", SOON)).expect("it has a history");
    assert_eq!((&last["reason"], &last["cause"]["mac"]), (&"master-down-timer".into(), &OUTSIDER.into()));
    assert_eq!(last["master"], Value::Null, "it is the master itself");
}

#[test]
fn one_forged_advert_of_40_seconds_is_followed_for_no_longer_than_the_limit() {
    let limit = Duration::from_millis(300);
    let lab = Lab::new();
    let [router, outsider] = lab.hosts();
    let daemon = Vrrpd::usual(&router, 100).args(["--max-learned-interval", "300ms"]).start();
    daemon.wait_state("master", SOON);
    let events = daemon.start_atropos(&["--events"]);
    // Events before the client listens are lost.
    wait_until(SOON, "it listens", || {
        assert_eq!(daemon.atropos(&["--backup"]).code + daemon.atropos(&["--master"]).code, 0);
        !events.log().is_empty()
    });
    daemon.wait_state("master", SOON);
    let slow = forged(&outsider, 254, Duration::from_millis(40_950));
    let injector = Injector::on(&outsider);
    injector.send(&slow);
    let heard = Instant::now();
    let state = daemon.wait_state("backup", SOON);
    assert_eq!(
        (&state["master_interval_ns"], &state["max_learned_interval_ns"], &state["master"]["interval_ns"]),
        (&300_000_000_u64.into(), &300_000_000_u64.into(), &40_950_000_000_u64.into())
    );
    let shown = daemon.atropos(&["--state"]).stdout;
    assert!(shown.contains("every 40.95s (exceeds --max-learned-interval 300ms)"), "{shown}");
    let line = daemon.wait_log(SOON, "learned interval limited");
    assert!(line.contains("interval=40.95s limit=300ms"), "{line}");
    daemon.assert_in_log("learned interval limited", 1);
    events.wait_log(SOON, "\"notice\":\"interval-exceeds-limit\"");
    assert_eq!(daemon.counter("rejected/interval"), 0, "it was taken");

    let demanded = timers::master_down_interval(limit, 100);
    daemon.wait_state("master", demanded + SOON);
    assert!(heard.elapsed() + Duration::from_millis(5) >= demanded, "{:?}", heard.elapsed());

    // A slow master that is heard within that time is followed.
    let flood = Flood::every(Duration::from_millis(500), &outsider, vec![slow]);
    daemon.wait_state("backup", SOON);
    let transitions = daemon.counter("transitions");
    let sent = flood.sent();
    wait_until(SOON, "four more of its adverts", || flood.sent() >= sent + 4);
    assert_eq!(daemon.counter("transitions"), transitions);
}

#[test]
fn transitions_that_an_operator_makes_have_limits_in_scripts_and_log_and_the_newest_counts() {
    const CHANGES: usize = 12;
    let lab = Lab::new();
    let [router] = lab.hosts();
    let script = ScriptLog::new(&[]);
    let path = script.path().display().to_string();
    let daemon = Vrrpd::usual(&router, 100).args(["-U", &path, "-D", &path]).start();
    daemon.wait_state("master", SOON);
    script.wait_run(SOON, "MASTER");
    let start = Instant::now();
    // A router that was not told to be backup takes over after a Master_Down_Interval.
    for _ in 0..CHANGES {
        assert_eq!(daemon.atropos(&["--backup"]).code, 0);
        daemon.wait_state("master", SOON);
        assert_eq!(daemon.atropos(&["--master"]).code, 0);
    }
    let transitions = usize::try_from(daemon.counter("transitions")).expect("few");
    assert!(transitions >= 2 * CHANGES, "{transitions}");
    wait_until(SOON, "the log sums up", || daemon.count_in_log("more transitions") > 0);
    wait_until(SOON, "the newest state", || script.runs().last().is_some_and(|run| run.contains("MASTER")));
    let most = 10 + usize::try_from(start.elapsed().as_secs()).expect("few") + 1;
    let lines = daemon.count_in_log("INFO transition") + daemon.count_in_log("more transitions");
    assert!(lines <= most, "{lines} lines in {:?}", start.elapsed());
    assert!(script.runs().len() <= most, "{} scripts in {:?}", script.runs().len(), start.elapsed());
}

#[test]
fn two_routers_that_are_made_to_flap_serve_the_address_soon_after() {
    let lab = Lab::new();
    let [high, low, outsider] = lab.hosts();
    let routers = [Vrrpd::usual(&high, 150).start(), Vrrpd::usual(&low, 100).start()];
    routers[0].wait_state("master", SOON);
    let flood = Flood::every(TEN_MS, &outsider, pair(&outsider));
    let start = Instant::now();
    wait_until(SOON, "two seconds of it", || start.elapsed() >= Duration::from_secs(2));
    flood.stop();
    let ended = Instant::now();
    wait_until(MAX_HOLD, "one of them is master", || routers.iter().any(Vrrpd::is_master));
    // The longest hold by then, plus latency.
    assert!(ended.elapsed() < Duration::from_secs(4), "{:?}", ended.elapsed());
    routers[0].wait_state("master", MAX_HOLD + SOON);
    assert_eq!(routers[1].wait_state("backup", SOON)["master"]["address"], high.ipv4().to_string());
    assert!(high.has_address("eth0", CIDR));
    let address: Ipv4Addr = ADDRESS;
    assert!(!Capture::on(&outsider).claims(IpAddr::V4(address)).contains(&low.mac("eth0")));
}
