//! The live view on a terminal. Its output for given reports is tested beside its code; these tests check that it runs.

use std::collections::HashSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Lab, Signal, Terminal, Vrrpd, binary, wait_until};

#[test]
fn watch_shows_the_state_change_until_q_and_gives_the_terminal_back() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let terminal = router.atropos_on_terminal(&["--state", "--watch"], 80, 24);
    terminal.wait_line(SOON, ">eth0/51         MASTER ");

    let higher = Vrrpd::usual(&b, 150).start();
    let line = terminal.wait_line(SOON, ">eth0/51         BACKUP ");
    assert!(line.contains(" 10.0.0.2 "), "{line}");
    terminal.wait_line(SOON, "MASTER -> BACKUP  higher-priority-advert");
    terminal.resize(120, 40);
    terminal.wait_line(SOON, ">eth0/51                  BACKUP ");
    higher.signal(Signal::SIGTERM);
    terminal.wait_line(SOON, "MASTER  master-resigned");

    terminal.press("q");
    assert_eq!(terminal.wait(), 0);
    terminal.wait_restored();
}

#[test]
fn age_of_the_last_advert_is_updated_at_least_twice_a_second() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let router = Vrrpd::on(&a).vrid(51).address(CIDR).start();
    let _master = Vrrpd::on(&b).vrid(51).address(CIDR).priority(255).start();
    wait_until(SOON, "the master is heard", || !router.state()["master"].is_null());
    let terminal = router.atropos_on_terminal(&["--watch"], 80, 24);
    let mut seen = HashSet::new();
    let line = terminal.wait_line(SOON, ">eth0/51 ");
    seen.insert(line);
    let took = wait_until(SOON, "it shows six ages", || {
        seen.extend(terminal.lines().into_iter().filter(|line| line.starts_with(">eth0/51 ")));
        seen.len() >= 6
    });
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn router_goes_to_backup_only_after_confirmation() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let router = Vrrpd::usual(&a, 150).start();
    router.wait_state("master", SOON);
    let other = Vrrpd::usual(&b, 100).start();
    let terminal = router.atropos_on_terminal(&["--watch"], 80, 24);
    terminal.wait_line(SOON, ">eth0/51         MASTER ");
    terminal.press("b");
    terminal.wait_line(SOON, "eth0/51: go to backup? y/n");
    terminal.press("n");
    terminal.wait_line(SOON, "nothing was changed");
    assert!(router.is_master());

    terminal.press("by");
    terminal.wait_line(SOON, "done");
    other.wait_state("master", SOON);
    terminal.wait_line(SOON, ">eth0/51         BACKUP ");
    terminal.press("my");
    terminal.wait_line(SOON, ">eth0/51         MASTER ");
}

#[test]
fn daemon_that_goes_and_returns_is_shown() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let builder = Vrrpd::usual(&a, 100);
    let first = builder.clone().start();
    let terminal = first.atropos_on_terminal(&["--watch"], 80, 24);
    terminal.wait_line(SOON, ">eth0/51         MASTER ");
    assert_eq!(first.terminate(), 0);
    terminal.wait_line(SOON, ">eth0/51         silent ");
    terminal.wait_line(SOON, "the daemon is gone");
    let _second = builder.start();
    terminal.wait_line(SOON, ">eth0/51         MASTER ");
}

#[test]
fn signals_that_end_the_view_give_the_terminal_back() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let terminal = router.atropos_on_terminal(&["--watch"], 80, 24);
        terminal.wait_line(SOON, "eth0/51");
        terminal.signal(signal);
        assert_eq!(terminal.wait(), 0, "{signal}");
        terminal.wait_restored();
    }
}

#[test]
fn watch_ends_when_its_terminal_is_gone() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    let terminal = router.atropos_on_terminal(&["--watch"], 80, 24);
    terminal.wait_line(SOON, ">eth0/51 ");
    assert_eq!(terminal.hang_up(), 0);
}

#[test]
fn watch_without_a_terminal_or_on_one_that_cannot_be_drawn_on_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    let finished = router.atropos(&["--watch"]);
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.stderr.contains("needs a terminal"), "{}", finished.stderr);
    assert_eq!(finished.stdout, "");

    let mut command = Command::new(binary("atropos"));
    command.arg("--watch").env("TERM", "dumb");
    let terminal = Terminal::start(&a, &command, 80, 24);
    assert_eq!(terminal.wait(), 1);
    terminal.wait_line(SOON, "TERM=dumb");
}

#[test]
fn watch_goes_with_state_alone() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for other in ["--json", "--backup", "--master", "--reduce", "--increase", "--stats", "--events"] {
        let arguments =
            if other == "--json" { &["--state", "--watch", other][..] } else { &["--watch", other] };
        let finished = a.run(binary("atropos"), arguments);
        assert_eq!(finished.code, 2, "{finished:?}");
        assert!(finished.stderr.contains("--watch"), "{}", finished.stderr);
    }
    assert_eq!(a.run(binary("atropos"), ["-i", "eth0"]).code, 2, "something is to be done");
}

#[test]
fn daemon_has_nothing_of_the_terminal_in_it() {
    let has = |program: &str| {
        let octets = fs::read(binary(program)).expect("it can be read");
        octets.windows(7).any(|window| window == b"ratatui")
    };
    assert!(has("atropos") && !has("vrrpd"));
}
