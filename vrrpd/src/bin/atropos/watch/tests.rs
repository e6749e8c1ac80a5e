//! The output of the live view for given reports, and the effect of its keys. The terminal is a buffer.

use std::path::Path;
use std::time::{Duration, SystemTime};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};
use serde_json::json;
use vrrpd::control::{Change, Selector};
use vrrpd::report::{KernelReport, RouterReport, SilentReport};

use super::gather::{Answer, News, Survey, Wanted};
use super::model::{Model, Step};
use super::view::{self, Theme};

const DIR: &str = "/run/vrrpd";

/// The report of a router; a backup heard its master 420 ms ago.
fn router(vrid: u8, state: &str) -> RouterReport {
    let master = json!({
        "address": "10.0.0.2", "priority": 150, "mac": "00:00:5e:00:01:33", "interval_ns": 100_000_000,
        "last_advert_age_ns": 420_000_000, "same_addresses": true,
    });
    let report = json!({
        "interface": "eth0", "vrid": vrid, "family": "ipv4", "protocol": 3, "pid": 812,
        "state": state, "since": "2026-01-31T10:00:00Z", "reason": "start-up",
        "priority": 100, "effective_priority": 90, "preempt": true, "forced_backup": false,
        "interval_ns": 100_000_000, "master_interval_ns": 100_000_000,
        "max_learned_interval_ns": 5_000_000_000_u64, "addresses": ["10.0.0.100/24"], "extra_addresses": [], "routes": [], "addresses_present": [],
        "vmac_mode": "none", "auth": "none", "master": if state == "backup" { master } else { json!(null) },
        "datapath": "xdp-native", "group": {
            "size": 2, "members": 1, "ready": false, "present": ["eth0/51"], "missing": ["eth1/52"],
            "lacking": "missing: eth1/52",
        }, "scripts": {},
        "counters": {
            "adverts_sent": 1, "adverts_received": 2, "garp_sent": 0, "transitions": 2,
            "rejected": { "ttl": 3, "auth": 4, "not_ours": 1000 },
        },
        "history": [
            { "time": "2026-01-31T09:00:00.000Z", "from": "init", "to": "backup", "reason": "start-up" },
            { "time": "2026-01-31T10:00:00.000Z", "from": "backup", "to": "master", "reason": "preempted",
              "cause": { "address": "10.0.0.2", "priority": 50, "mac": "00:00:5e:00:01:33" } },
        ],
    });
    serde_json::from_value(report).expect("a report")
}

fn survey(answers: impl IntoIterator<Item = (&'static str, Answer)>) -> News {
    let daemons = answers.into_iter().map(|(name, answer)| (Path::new(DIR).join(name), answer)).collect();
    News::Survey(Survey { daemons, ..Survey::default() })
}

fn routers(routers: impl IntoIterator<Item = RouterReport>) -> News {
    survey([("vrrpd.sock", Answer::Routers(routers.into_iter().collect()))])
}

fn model(news: News) -> Model {
    let mut model = Model::new(Path::new(DIR), &Selector::default());
    model.hear(news);
    model
}

fn forty() -> Model {
    model(routers((1..=40).map(|vrid| router(vrid, "backup"))))
}

/// Two hours and three minutes after the last transition of every router.
fn now() -> SystemTime {
    humantime::parse_rfc3339("2026-01-31T12:03:00Z").expect("a time")
}

fn terminal(model: &mut Model, width: u16, height: u16, colour: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a buffer");
    terminal.draw(|frame| view::draw(frame, model, Theme::new(colour), now())).expect("a buffer takes all");
    terminal
}

/// The lines drawn on a terminal of this size, without trailing blanks.
fn drawn(model: &mut Model, width: u16, height: u16) -> Vec<String> {
    let terminal = terminal(model, width, height, true);
    let cells = terminal.backend().buffer().content();
    let line = |cells: &[ratatui::buffer::Cell]| {
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.trim_end().to_owned()
    };
    cells.chunks(usize::from(width)).map(line).collect()
}

fn press(model: &mut Model, code: KeyCode) -> Step {
    model.key(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn eighty_columns_hold_a_line_for_each_router_and_the_transitions_of_the_chosen_one() {
    let mut model = model(routers([router(51, "master"), router(52, "backup")]));
    let lines = drawn(&mut model, 80, 24);
    assert_eq!(lines[0], "2 virtual routers in /run/vrrpd: 1 MASTER, 1 BACKUP, 0 FAULT");
    assert_eq!(lines[1], " router          state  since   prio master          heard  grp  path    rejects");
    assert_eq!(lines[2], ">eth0/51         MASTER 2h03m   90   this router     -      1/2! native  7");
    assert_eq!(lines[3], " eth0/52         BACKUP 2h03m   90   10.0.0.2        420ms  1/2! native  7");
    let newest = lines
        .iter()
        .position(|line| line == "  2026-01-31T10:00:00.000Z  BACKUP -> MASTER  preempted, 10.0.0.2 (50)");
    let oldest = lines.iter().position(|line| line == "  2026-01-31T09:00:00.000Z  INIT -> BACKUP  start-up");
    assert!(newest.is_some() && newest < oldest, "{lines:#?}");
    assert!(lines.iter().any(|line| line == "  rejects    auth=4 ttl=3"), "{lines:#?}");
    assert_eq!(lines[23], "q quit   up/down select   b backup   m master");
}

#[test]
fn more_routers_than_lines_scroll_with_the_chosen_one_in_sight() {
    let mut model = forty();
    let lines = drawn(&mut model, 80, 24);
    assert!(lines[0].starts_with("40 virtual routers in /run/vrrpd (1 to 8)"), "{}", lines[0]);
    for (key, chosen) in [
        (KeyCode::Char('j'), ">eth0/2 "),
        (KeyCode::PageDown, ">eth0/10 "),
        (KeyCode::End, ">eth0/40 "),
        (KeyCode::Up, ">eth0/39 "),
        (KeyCode::Char('g'), ">eth0/1 "),
        (KeyCode::Char('k'), ">eth0/1 "),
    ] {
        press(&mut model, key);
        let lines = drawn(&mut model, 80, 24);
        assert!(lines.iter().any(|line| line.starts_with(chosen)), "{key:?}: {chosen} is not in {lines:#?}");
    }
}

#[test]
fn terminal_that_grows_shows_as_many_as_it_holds() {
    let mut model = forty();
    press(&mut model, KeyCode::End);
    drawn(&mut model, 80, 24);
    let lines = drawn(&mut model, 200, 60);
    assert!(lines[2].starts_with(" eth0/1 ") && lines[41].starts_with(">eth0/40 "), "{lines:#?}");
    assert!(lines[0].starts_with("40 virtual routers in /run/vrrpd:"), "{}", lines[0]);
}

#[test]
fn no_size_is_too_small() {
    let mut model = forty();
    for (width, height) in [(1, 1), (3, 2), (20, 3), (40, 8), (80, 15), (80, 16), (300, 2)] {
        drawn(&mut model, width, height);
    }
}

#[test]
fn daemon_that_does_not_answer_or_is_gone_is_shown_until_it_answers_again() {
    let mut model = model(routers([router(51, "master")]));
    let silence = Answer::Silence("the daemon does not answer".to_owned());
    model.hear(survey([("vrrpd.sock", silence)]));
    let lines = drawn(&mut model, 80, 24);
    assert!(lines[2].starts_with(">eth0/51         silent "), "{}", lines[2]);
    assert!(lines.iter().any(|line| line.contains("does not answer; last known state")), "{lines:#?}");
    assert!(lines[0].ends_with("0 FAULT, 1 silent"), "{}", lines[0]);

    model.hear(survey([]));
    let lines = drawn(&mut model, 80, 24);
    assert!(lines.iter().any(|line| line.contains("the daemon is gone")), "{lines:#?}");

    model.hear(routers([router(51, "backup")]));
    let lines = drawn(&mut model, 80, 24);
    assert!(lines[2].starts_with(">eth0/51         BACKUP "), "{}", lines[2]);
    assert!(!lines.iter().any(|line| line.contains("gone")), "{lines:#?}");
}

#[test]
fn kernel_record_has_the_master_while_the_daemon_does_not_answer() {
    let kernel: KernelReport = serde_json::from_value(json!({
        "role": "backup", "timer_armed": true, "master_down_in_ns": 300_000_000, "adverts": 9, "expiries": 0,
        "events": 1, "events_withheld": 0, "rejected": {},
        "master": { "address": "10.0.0.9", "priority": 150, "interval_ns": 100_000_000,
                    "last_advert_age_ns": 77_000_000 },
    }))
    .expect("a report");
    let (interface, family) = ("eth0".to_owned(), "ipv4".to_owned());
    let silent = SilentReport { interface, vrid: 51, family, state: None, kernel };
    let mut model = model(News::Survey(Survey { kernel: vec![silent], ..Survey::default() }));
    let lines = drawn(&mut model, 80, 24);
    assert!(lines[2].starts_with(">eth0/51         silent "), "{}", lines[2]);
    assert!(lines[2].contains(" 10.0.0.9        77ms"), "{}", lines[2]);
    // The router is gone once its record has gone too.
    model.hear(survey([]));
    assert_eq!(model.rows().len(), 0);
}

#[test]
fn nothing_changes_before_a_yes() {
    let mut model = model(routers([router(51, "master"), router(52, "backup")]));
    press(&mut model, KeyCode::Down);
    assert_eq!(press(&mut model, KeyCode::Char('b')), Step::Stay);
    assert_eq!(drawn(&mut model, 80, 24)[23], "eth0/52: go to backup? y/n");
    for no in [KeyCode::Char('n'), KeyCode::Char('q'), KeyCode::Enter, KeyCode::Esc, KeyCode::Char('b')] {
        model.key(KeyEvent::new(KeyCode::Char('b'), KeyModifiers::NONE));
        assert_eq!(press(&mut model, no), Step::Stay, "{no:?}");
        assert_eq!(model.question(), None, "{no:?}");
    }
    for (key, change) in [('b', Change::Backup), ('m', Change::Master)] {
        press(&mut model, KeyCode::Char(key));
        let selector = Selector { routers: vec!["eth0/52".to_owned()], ..Selector::default() };
        let wanted = Wanted { socket: Path::new(DIR).join("vrrpd.sock"), selector, change };
        assert_eq!(press(&mut model, KeyCode::Char('y')), Step::Change(wanted));
    }
    model.hear(News::Said("permission denied: only root may connect".to_owned()));
    assert_eq!(drawn(&mut model, 80, 24)[23], "permission denied: only root may connect");
}

#[test]
fn change_is_for_one_router_alone_though_another_family_has_the_same_vrid() {
    let ipv6 = RouterReport { family: "ipv6".to_owned(), ..router(51, "backup") };
    let mut model = model(routers([router(51, "master"), ipv6]));
    for (key, name) in [(KeyCode::Home, "eth0/51"), (KeyCode::End, "eth0/51-ipv6")] {
        press(&mut model, key);
        press(&mut model, KeyCode::Char('b'));
        assert_eq!(model.question(), Some(format!("{name}: go to backup? y/n")));
        let selector = Selector { routers: vec![name.to_owned()], ..Selector::default() };
        let socket = Path::new(DIR).join("vrrpd.sock");
        let wanted = Wanted { socket, selector, change: Change::Backup };
        assert_eq!(press(&mut model, KeyCode::Char('y')), Step::Change(wanted));
    }
}

#[test]
fn q_escape_and_control_c_leave() {
    let mut model = forty();
    for key in [KeyCode::Char('q'), KeyCode::Esc] {
        assert_eq!(press(&mut model, key), Step::Leave);
    }
    assert_eq!(model.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Step::Leave);
    press(&mut model, KeyCode::Char('b'));
    assert_eq!(model.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Step::Leave);
}

#[test]
fn without_colours_states_are_still_distinguishable() {
    let mut model = model(routers([router(51, "master"), router(52, "fault")]));
    for colour in [true, false] {
        let terminal = terminal(&mut model, 80, 24, colour);
        let buffer = terminal.backend().buffer();
        let coloured = buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(coloured, colour);
        assert!(buffer[(17, 3)].modifier.contains(Modifier::BOLD), "FAULT stands out");
    }
}

#[test]
fn without_reports_the_view_shows_that() {
    let mut model = Model::new(
        Path::new(DIR),
        &Selector { interface: Some("eth0".to_owned()), vrid: Some(51), ..Selector::default() },
    );
    let lines = drawn(&mut model, 80, 24);
    assert!(lines[0].starts_with("0 virtual routers -i eth0 -v 51 in /run/vrrpd"), "{}", lines[0]);
    assert_eq!(lines[23], "asking");
    model.hear(survey([]));
    assert_eq!(drawn(&mut model, 80, 24)[23], "no virtual router; waiting for one");
    model.hear(survey([(
        "vrrpd_eth0_51.sock",
        Answer::Silence("permission denied: only root may connect".to_owned()),
    )]));
    assert_eq!(drawn(&mut model, 80, 24)[23], "vrrpd_eth0_51.sock: permission denied: only root may connect");
}

#[test]
fn spans_of_time_fit_their_column() {
    for (span, text) in [
        (Duration::ZERO, "0s"),
        (Duration::from_micros(4200), "4ms"),
        (Duration::from_millis(999), "999ms"),
        (Duration::from_millis(59_940), "59.9s"),
        (Duration::from_secs(59), "59s"),
        (Duration::from_secs(3599), "59m59s"),
        (Duration::from_mins(123), "2h03m"),
        (Duration::from_hours(2400), "100d00h"),
    ] {
        assert_eq!(view::short(span), text);
    }
}
