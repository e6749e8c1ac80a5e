//! Virtual addresses on other interfaces than the router's own.

use std::net::IpAddr;

use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Capture, Host, Lab, Vrrpd, wait_until};

/// A router on eth0 with an address on eth1.
fn router_with_two_interfaces(host: &Host, vmac: &str) -> Vrrpd {
    let addresses = [CIDR, "10.1.0.100/24 interface eth1", "--extra-address", "2001:db8::9/64 dev eth1"];
    Vrrpd::on(host).vrid(51).vmac(vmac).args(addresses).v3("100ms").start()
}

#[test]
fn addresses_on_another_interface_are_announced_there_as_often_as_is_asked_for() {
    let mut lab = Lab::new();
    let [a, b] = lab.hosts();
    let second = lab.add_network();
    lab.join(&a, second, "eth1", "10.1.0.1/24");
    lab.join(&b, second, "eth1", "10.1.0.2/24");
    let (first, other) = (Capture::on(&b), Capture::on_interface(&b, "eth1"));
    let addresses = [CIDR, "10.1.0.100/24 interface eth1", "--extra-address", "2001:db8::9/64 dev eth1"];
    let schedule = ["--garp-count", "2", "--garp-delay", "0", "--garp-elsewhere-interval", "400ms"];
    let router = Vrrpd::on(&a).vrid(51).vmac("none").args(addresses).args(schedule).v3("100ms").start();
    router.wait_state("master", SOON);
    let times = |capture: &Capture, address: &str| {
        let address: IpAddr = address.parse().expect("an address");
        let announcements = capture.announcements();
        announcements.iter().filter(|(_, seen)| *seen == address).map(|(at, _)| *at).collect::<Vec<_>>()
    };
    for address in ["10.1.0.100", "2001:db8::9"] {
        let between = || {
            let seen = times(&other, address);
            seen.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect::<Vec<_>>()
        };
        // Twice on becoming master, and again if the kernel reports the address later; then periodically.
        let periodic = || between().into_iter().skip_while(|span| *span <= 250).skip(1).collect::<Vec<_>>();
        wait_until(SOON, "it is announced again", || periodic().len() >= 2);
        assert!(periodic().iter().all(|span| *span > 250), "{address}: {:?}", between());
    }
    assert_eq!(times(&first, "10.0.0.100").len(), 2, "where the adverts go, it is announced no more");
}

#[test]
fn address_on_another_interface_is_announced_restored_and_survives_that_interface() {
    const OTHER: &str = "10.1.0.100/24";
    let mut lab = Lab::new();
    let [a, b] = lab.hosts();
    let second = lab.add_network();
    lab.join(&a, second, "eth1", "10.1.0.1/24");
    lab.join(&b, second, "eth1", "10.1.0.2/24");
    for vmac in ["none", "macvlan"] {
        let (first, other) = (Capture::on(&b), Capture::on_interface(&b, "eth1"));
        let router = router_with_two_interfaces(&a, vmac);
        router.wait_state("master", SOON);
        assert!(a.has_address("eth1", OTHER) && a.has_address("eth1", "2001:db8::9/64"), "{vmac}");
        let address: IpAddr = "10.1.0.100".parse().expect("an address");
        wait_until(SOON, "it is announced there", || !other.claims(address).is_empty());
        assert_eq!(other.claims(address), [a.mac("eth1")].into(), "with the MAC address of that interface");
        assert!(first.claims(address).is_empty());
        let (_, advert) = first.wait_advert(SOON, "it is advertised", |advert| advert.priority == 100);
        assert_eq!(advert.addresses.len(), 2);

        a.ip(&format!("addr del {OTHER} dev eth1"));
        wait_until(SOON, "it is back", || a.has_address("eth1", OTHER));
        router.assert_in_log("virtual address lost, restoring", 1);
        a.ip("link set eth1 down");
        a.ip("link set eth1 up");
        wait_until(SOON, "IPv6 is back", || a.has_address("eth1", "2001:db8::9/64"));

        a.ip("link del eth1");
        router.wait_log(SOON, "interface of virtual addresses missing");
        lab.join(&a, second, "eth1", "10.1.0.1/24");
        wait_until(SOON, "it is on the new one", || a.has_address("eth1", OTHER));
        a.ip("link set eth1 down");
        a.ip("link set eth1 name lan1");
        a.ip("link set lan1 up");
        wait_until(SOON, "it goes with the name", || !a.has_address("lan1", OTHER));
        a.ip("link set lan1 down");
        a.ip("link set lan1 name eth1");
        a.ip("link set eth1 up");
        wait_until(SOON, "it comes with the name", || a.has_address("eth1", OTHER));
        assert_eq!(router.counter("transitions"), 2, "{vmac}: the router goes on");
        assert_eq!(router.terminate(), 0);
        assert!(!a.has_address("eth1", OTHER) && !a.has_address("eth1", "2001:db8::9/64"), "{vmac}");
    }
}

#[test]
fn router_becomes_master_without_the_other_interface_and_a_reload_moves_an_address() {
    let mut lab = Lab::new();
    let [a] = lab.hosts();
    let text = |other: &str| {
        format!(
            "[[router]]\ninterface = \"eth0\"\nvrid = 51\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\n\
             addresses = [\"{CIDR}\", {{ address = \"10.1.0.100/24\", interface = \"{other}\" }}]\n"
        )
    };
    let router = Vrrpd::on(&a).config(&text("eth1")).start();
    router.wait_state("master", SOON);
    router.wait_log(SOON, "interface of virtual addresses missing");
    let told = || router.atropos(&["--state"]).stdout;
    assert!(told().contains("elsewhere  eth1 (missing): 10.1.0.100/24"), "{}", told());
    let second = lab.add_network();
    lab.join(&a, second, "eth1", "10.1.0.1/24");
    lab.join(&a, second, "eth2", "10.1.0.2/24");
    wait_until(SOON, "it is there", || a.has_address("eth1", "10.1.0.100/24"));
    router.reload(&text("eth2"));
    wait_until(SOON, "it has moved", || {
        a.has_address("eth2", "10.1.0.100/24") && !a.has_address("eth1", "10.1.0.100/24")
    });
}
