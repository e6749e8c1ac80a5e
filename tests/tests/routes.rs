//! Routes and policy rules held by a master.

use vrrpd_lab::usual::SOON;
use vrrpd_lab::{Host, Lab, Vrrpd, VrrpdBuilder, wait_until};

const ROUTES: [&str; 4] = [
    "192.0.2.0/24 via 10.0.0.9 metric 50 src 10.0.0.100",
    "default via 10.0.0.9 table 10",
    "blackhole 198.51.100.0/24",
    "2001:db8:9::/48 via fe80::9 dev eth0",
];
const RULES: [&str; 2] = ["from 10.0.0.100 table 10", "inet6 to 2001:db8:8::/48 prohibit pref 700"];

fn router(host: &Host, priority: u8) -> VrrpdBuilder {
    let routes = ROUTES.iter().flat_map(|route| ["--route", route]);
    let rules = RULES.iter().flat_map(|rule| ["--rule", rule]);
    Vrrpd::usual(host, priority).args(routes.chain(rules))
}

/// Number of routes and rules with our protocol number.
fn count(host: &Host) -> usize {
    let shown = ["route show table all", "rule show", "-6 rule show"].map(|command| host.ip(command));
    shown.iter().flat_map(|text| text.lines()).filter(|line| line.contains("proto 112")).count()
}

#[test]
fn routes_and_rules_follow_the_role_and_are_restored_and_cleaned_up() {
    let all = ROUTES.len() + RULES.len();
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    a.ip("route add 203.0.113.0/24 via 10.0.0.9");
    let first = router(&a, 100).start();
    let state = first.wait_state("master", SOON);
    assert_eq!(count(&a), all);
    let shown = a.ip("route show 192.0.2.0/24");
    assert!(
        shown.contains("via 10.0.0.9") && shown.contains("src 10.0.0.100") && shown.contains("metric 50"),
        "{shown}"
    );
    let routes = state["routes"].as_array().expect("a list");
    assert_eq!((routes.len(), &routes[0]["text"]), (all, &ROUTES[0].into()));
    assert!(routes.iter().all(|route| route["held"] == true && route["error"].is_null()), "{routes:?}");

    // Others remove some.
    a.ip("route del 192.0.2.0/24");
    a.ip("rule del from 10.0.0.100");
    wait_until(SOON, "they are there again", || count(&a) == all);
    // The kernel removes a route with its source address.
    a.ip("addr del 10.0.0.100/24 dev eth0");
    wait_until(SOON, "it is there again", || count(&a) == all && a.has_address("eth0", "10.0.0.100/24"));

    let second = router(&b, 150).start();
    second.wait_state("master", SOON);
    first.wait_state("backup", SOON);
    wait_until(SOON, "they have moved", || count(&a) == 0 && count(&b) == all);
    assert!(a.ip("route show").contains("203.0.113.0/24"));

    second.kill_daemon();
    wait_until(SOON, "its guardian has given them back", || count(&b) == 0);
    first.wait_state("master", SOON);
    first.kill();
    assert_eq!(count(&a), all);
    let next = Vrrpd::usual(&a, 100).beside(&first).start();
    wait_until(SOON, "the next start has given them back", || count(&a) == 0);
    assert!(a.ip("route show").contains("203.0.113.0/24"));
    assert_eq!(next.terminate(), 0);
}

#[test]
fn route_that_cannot_be_added_is_logged_and_retried_and_does_not_end_mastership() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).args(["--route", "192.0.2.0/24 via 10.7.0.9"]).start();
    let state = router.wait_state("master", SOON);
    assert_eq!(state["routes"][0]["held"], false);
    wait_until(SOON, "the reason is told", || router.state()["routes"][0]["error"].is_string());
    wait_until(SOON, "it is logged", || router.count_in_log("cannot add route or rule") == 1);
    a.ip("addr add 10.7.0.1/24 dev eth0");
    wait_until(SOON, "it is tried again", || count(&a) == 1);
    wait_until(SOON, "the state says so", || router.state()["routes"][0]["held"] == true);
    assert_eq!(router.terminate(), 0);
    assert_eq!(count(&a), 0);
}
