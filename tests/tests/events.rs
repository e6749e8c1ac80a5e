//! `atropos --events`: which events it prints, for which routers, and when it ends.

use vrrpd_lab::usual::{CIDR, SOON, two_masters};
use vrrpd_lab::{Lab, Vrrpd, wait_until};

#[test]
fn events_are_of_one_router_or_of_all() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let (first, _second) = two_masters(&a);
    let all = first.start_atropos(&["--events"]);
    let one = first.start_atropos(&["--events", "-v", "52"]);
    // Events before both clients listen are lost, so each round causes one.
    let happens = || {
        assert_eq!(first.atropos(&["--backup"]).code, 0);
        assert_eq!(first.atropos(&["--master"]).code, 0);
    };
    wait_until(SOON, "both print transitions", || {
        happens();
        all.count_in_log("\"vrid\":51") > 0
            && all.count_in_log("\"vrid\":52") > 0
            && one.count_in_log("\"vrid\":52") > 0
    });
    assert_eq!(one.count_in_log("\"vrid\":51"), 0);
}

#[test]
fn events_of_a_daemon_that_hangs_are_not_waited_for() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let (first, second) = two_masters(&a);
    second.pause();
    let finished = first.atropos(&["--events", "-v", "52"]);
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.stderr.contains("vrrpd_eth0_52.sock: the daemon does not answer"), "{finished:?}");
    // Other routers are followed meanwhile.
    let events = first.start_atropos(&["--events"]);
    wait_until(SOON, "the other one is followed", || {
        assert_eq!(first.atropos(&["--backup", "-v", "51"]).code, 0);
        assert_eq!(first.atropos(&["--master", "-v", "51"]).code, 0);
        events.count_in_log("\"vrid\":51") > 0
    });
    events.wait_log(SOON, "the daemon does not answer");
    assert_eq!(first.terminate(), 0);
    assert_eq!(events.wait(), 1);
    second.resume();
}

#[test]
fn events_end_with_their_reader_though_nothing_happens() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    assert_eq!(router.atropos_without_reader("--events"), "0");
}

#[test]
fn events_end_with_their_daemon_however_that_ends() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    let events = router.start_atropos(&["--events"]);
    wait_until(SOON, "the client hears of transitions", || {
        assert_eq!(router.atropos(&["--backup"]).code, 0);
        assert_eq!(router.atropos(&["--master"]).code, 0);
        events.count_in_log("operator") > 0
    });
    router.kill_daemon();
    assert_eq!(events.wait(), 0);
}

#[test]
fn events_include_a_leaving_router_with_nothing_to_give_back() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    // It stays backup for three seconds.
    let router = Vrrpd::on(&a).vrid(51).address(CIDR).start();
    let events = router.start_atropos(&["--events"]);
    wait_until(SOON, "the client hears of transitions", || {
        lab.port_down(&a);
        router.wait_state("fault", SOON);
        lab.port_up(&a);
        router.wait_state("backup", SOON);
        events.count_in_log("link-up") > 0
    });
    assert_eq!(router.terminate(), 0);
    events.wait_log(SOON, "\"to\":\"init\"");
    assert_eq!(events.wait(), 0);
}

#[test]
fn no_event_is_lost_when_hundreds_of_routers_change_at_once() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let of_ipv4 = (1..=255).map(|vrid| (vrid, format!("10.0.1.{vrid}/24")));
    let of_ipv6 = (1..=45).map(|vrid| (vrid, format!("fe80::{vrid}/64")));
    let text = of_ipv4.chain(of_ipv6).fold(String::new(), |text, (vrid, address)| {
        text + &format!("[[router]]\ninterface = \"eth0\"\nvrid = {vrid}\naddresses = [\"{address}\"]\n")
    });
    let daemon = Vrrpd::on(&a).config(&format!("[defaults]\nvmac = \"none\"\ninterval = 20\n{text}")).start();
    let events = daemon.start_atropos(&["--events"]);
    wait_until(SOON, "the client hears of transitions", || {
        lab.port_down(&a);
        daemon.atropos(&["--state"]);
        lab.port_up(&a);
        events.count_in_log("\"to\":\"fault\"") >= 300
    });
    assert_eq!(daemon.terminate(), 0);
    wait_until(SOON, "all have left", || events.count_in_log("\"to\":\"init\"") == 300);
    assert_eq!(events.wait(), 0);
}
