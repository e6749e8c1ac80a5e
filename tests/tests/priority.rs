//! Changes of priority at run time.

use vrrpd_lab::usual::SOON;
use vrrpd_lab::{Capture, Datapath, Host, Lab, Signal, Vrrpd};

/// A master of priority 105 and a backup of priority 100: a step of ten down reverses their roles, and ten up restores
/// them.
fn pair(a: &Host, b: &Host, arguments: &[&str]) -> (Vrrpd, Vrrpd) {
    let master = Vrrpd::usual(a, 105).args(arguments.iter().copied()).start();
    master.wait_state("master", SOON);
    let backup = Vrrpd::usual(b, 100).start();
    (master, backup)
}

#[test]
fn sigttin_lowers_and_sigttou_raises_the_priority_by_ten() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let (first, second) = pair(&a, &b, &[]);
    first.signal(Signal::SIGTTIN);
    second.wait_state("master", SOON);
    let state = first.wait_state("backup", SOON);
    assert_eq!((&state["priority"], &state["effective_priority"]), (&105.into(), &95.into()));

    first.signal(Signal::SIGTTOU);
    first.wait_state("master", SOON);
    assert_eq!(first.state()["effective_priority"], 105);
    second.wait_state("backup", SOON);
}

#[test]
fn owner_that_was_reduced_is_the_owner_again_when_it_is_increased() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let owner = Vrrpd::usual(&a, 255).start();
    for (change, priority) in [("--reduce", 245), ("--increase", 255), ("--increase", 255)] {
        let answer = owner.atropos(&[change]);
        assert!(answer.stdout.contains(&format!("priority {priority}")), "{change}: {answer:?}");
    }
    // A router that is not owner does not become one.
    let other = Vrrpd::on(&a).vrid(52).priority(250).address("10.0.0.101/24").datapath(Datapath::Raw).start();
    let answer = other.atropos(&["--increase"]);
    assert!(answer.stdout.contains("priority 254"), "{answer:?}");
}

#[test]
fn z_and_x_name_the_priorities_that_the_signals_set() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let (first, second) = pair(&a, &b, &["-z", "42", "-x", "210"]);
    first.signal(Signal::SIGTTIN);
    second.wait_state("master", SOON);
    assert_eq!(first.state()["effective_priority"], 42);

    first.signal(Signal::SIGTTOU);
    first.wait_state("master", SOON);
    assert_eq!(first.state()["effective_priority"], 210);
}

#[test]
fn atropos_reduce_and_increase_turn_mastership() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let (first, second) = pair(&a, &b, &[]);
    assert_eq!(first.atropos(&["--reduce"]).code, 0);
    second.wait_state("master", SOON);
    assert_eq!(first.state()["effective_priority"], 95);

    assert_eq!(first.atropos(&["--increase"]).code, 0);
    first.wait_state("master", SOON);
    assert_eq!(first.state()["effective_priority"], 105);
}

#[test]
fn atropos_backup_resigns_and_lasts_until_atropos_master() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let (first, second) = pair(&a, &b, &[]);
    let capture = Capture::on(&client);
    assert_eq!(first.atropos(&["--backup"]).code, 0);
    capture.wait_advert(SOON, "it resigns", |advert| advert.priority == 0 && advert.source == a.ipv4());
    second.wait_state("master", SOON);

    // It would preempt by its priority, but not after it was told to be backup.
    capture.clear();
    vrrpd_lab::wait_until(SOON, "seven more adverts", || capture.adverts().len() >= 7);
    let state = first.state();
    assert_eq!((&state["state"], &state["forced_backup"]), (&"backup".into(), &true.into()));
    assert!(second.is_master());

    assert_eq!(first.atropos(&["--master"]).code, 0);
    first.wait_state("master", SOON);
    assert_eq!(first.state()["forced_backup"], false);
    second.wait_state("backup", SOON);
}

#[test]
fn standing_back_never_costs_availability() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let (first, second) = pair(&a, &b, &[]);
    assert_eq!(first.atropos(&["--backup"]).code, 0);
    second.wait_state("master", SOON);
    second.kill();
    first.wait_state("master", SOON);
}

#[test]
fn sigusr2_goes_to_backup() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let (first, second) = pair(&a, &b, &[]);
    first.signal(Signal::SIGUSR2);
    second.wait_state("master", SOON);
    first.wait_state("backup", SOON);
}
