//! Every VRID of an interface in one process, against keepalived with as many instances.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vrrpd_lab::{Host, Instance, Keepalived, KeepalivedBuilder, Lab, Vrrpd, VrrpdBuilder, wait_until};

const ROUTERS: u8 = 255;
const INTERVAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

/// One at a time, since these tests load the machine.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn address(vrid: u8) -> String {
    format!("10.1.0.{vrid}/32")
}

fn vrrpd(host: &Host, priority: u8) -> VrrpdBuilder {
    let mut text = format!(
        "[defaults]\ninterface = \"eth0\"\nprotocol = \"v3\"\ninterval = \"1s\"\npriority = {priority}\nvmac = \"none\"\n"
    );
    for vrid in 1..=ROUTERS {
        writeln!(text, "[[router]]\nvrid = {vrid}\naddresses = [\"{}\"]", address(vrid))
            .expect("writing to a string works");
    }
    Vrrpd::on(host).config(&text)
}

fn keepalived(host: &Host, priority: u8) -> KeepalivedBuilder {
    let instance = |vrid| Instance::v3(vrid, &address(vrid), INTERVAL).priority(priority);
    Keepalived::on(host).instances((1..=ROUTERS).map(instance))
}

fn wait_all(daemon: &Vrrpd, state: &str) {
    wait_until(PATIENCE, &format!("all routers of vrrpd are {state}"), || {
        let states = daemon.states();
        states.len() == usize::from(ROUTERS) && states.iter().all(|router| router["state"] == state)
    });
}

fn virtual_addresses(host: &Host) -> usize {
    host.addresses("eth0").iter().filter(|address| address.starts_with("10.1.0.")).count()
}

/// Waits until every router has received, or sent, this many more adverts.
fn wait_adverts(daemon: &Vrrpd, counter: &str, more: u64) {
    let count = |daemon: &Vrrpd| -> Vec<u64> {
        daemon.states().iter().filter_map(|state| state["counters"][counter].as_u64()).collect()
    };
    let before = count(daemon);
    wait_until(PATIENCE, "adverts go on", || {
        count(daemon).iter().zip(&before).all(|(now, before)| *now >= before + more)
    });
}

fn assert_transitions(daemon: &Vrrpd, most: u64) {
    let states = daemon.states();
    let flapping: Vec<_> = states
        .iter()
        .filter(|state| state["counters"]["transitions"].as_u64() > Some(most))
        .map(|state| &state["vrid"])
        .collect();
    assert!(flapping.is_empty(), "more than {most} transitions of {flapping:?}");
}

#[test]
fn all_routers_are_elected_and_handed_over_to_keepalived_on_sigterm_and_on_kill_9() {
    let _alone = alone();
    let all = usize::from(ROUTERS);
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let builder = vrrpd(&a, 150);
    let first = builder.clone().start();
    wait_all(&first, "master");
    let peer = keepalived(&b, 100).start();
    // Longer than the peer's Master_Down_Interval.
    wait_adverts(&first, "adverts_sent", 5);
    assert_eq!(peer.entered_by_all("MASTER"), 0, "the peer hears every router");
    assert_eq!(virtual_addresses(&a), all);
    // From start to backup and from there to master.
    assert_transitions(&first, 2);

    assert_eq!(first.terminate(), 0);
    wait_until(PATIENCE, "keepalived takes all over", || peer.entered_by_all("MASTER") == all);
    wait_until(PATIENCE, "it has all addresses", || virtual_addresses(&b) == all);
    assert_eq!(virtual_addresses(&a), 0, "none is left behind");

    let second = builder.start();
    wait_all(&second, "master");
    wait_until(PATIENCE, "keepalived gives all up", || peer.entered_by_all("BACKUP") == 2 * all);
    assert_transitions(&second, 2);
    assert_eq!(peer.entered_by_all("MASTER"), all, "none flaps");

    second.kill();
    wait_until(PATIENCE, "keepalived takes all over again", || peer.entered_by_all("MASTER") == 2 * all);
    assert_eq!(peer.entered_by_all("BACKUP"), 2 * all, "none flaps");
}

#[test]
fn all_routers_are_taken_over_from_keepalived_on_sigterm_and_on_kill_9() {
    let _alone = alone();
    let all = usize::from(ROUTERS);
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let builder = keepalived(&b, 150);
    let first = builder.clone().start();
    wait_until(PATIENCE, "keepalived is master of all", || first.entered_by_all("MASTER") == all);
    let daemon = vrrpd(&a, 100).start();
    wait_adverts(&daemon, "adverts_received", 5);
    wait_all(&daemon, "backup");
    assert_transitions(&daemon, 1);

    first.leave();
    wait_all(&daemon, "master");
    assert_eq!(virtual_addresses(&a), all);
    assert_transitions(&daemon, 2);

    let second = builder.start();
    wait_all(&daemon, "backup");
    assert_eq!(virtual_addresses(&a), 0);
    wait_until(PATIENCE, "keepalived is master of all", || second.entered_by_all("MASTER") == all);

    second.crash();
    wait_all(&daemon, "master");
    assert_eq!(virtual_addresses(&a), all);
    assert_transitions(&daemon, 4);
}
