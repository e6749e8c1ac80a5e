//! Routers with peers: keepalived as the other router.

use std::net::IpAddr;
use std::time::Duration;

use vrrpd_lab::usual::{CIDR, VRID, without_multicast};
use vrrpd_lab::{Host, Instance, Keepalived, Lab, Vrrpd, wait_until};

const PATIENCE: Duration = Duration::from_secs(15);

/// keepalived and vrrpd as peers of each other, where all multicast is dropped.
struct Mixed {
    instance: Instance,
    arguments: Vec<String>,
    is_authenticated: bool,
}

impl Mixed {
    fn v2() -> Self {
        Self { instance: Instance::v2(VRID, CIDR), arguments: Vec::new(), is_authenticated: false }
    }

    fn v3(addresses: &[&str]) -> Self {
        let mut instance = Instance::v3(VRID, CIDR, Duration::from_millis(200));
        instance.addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        let arguments = ["--protocol", "v3", "-d", "200ms"].map(str::to_owned).to_vec();
        Self { instance, arguments, is_authenticated: false }
    }

    /// Each of the two is master and backup.
    fn works(&self) {
        let lab = Lab::new();
        let [a, b] = without_multicast(&lab);
        let is_ipv6 = self.instance.addresses[0].contains(':');
        let own = |host: &Host| -> IpAddr {
            if is_ipv6 { host.link_local("eth0").into() } else { host.ipv4().into() }
        };
        let (our, their) = (own(&a), own(&b));
        // For IPv6 keepalived leaves the hop limit to the system unless configured.
        let min_ttl = if is_ipv6 { 64 } else { 255 };
        let vrrpd = |priority| {
            let router = Vrrpd::on(&a).vrid(VRID).priority(priority).args(&self.arguments);
            let router =
                router.args(&self.instance.addresses).args([format!("--peer={their},min-ttl={min_ttl}")]);
            let router = if self.is_authenticated { router.in_user_space() } else { router };
            router.start()
        };
        let keepalived = |priority| {
            let instance = self.instance.clone().priority(priority).unicast(their, &[our]);
            Keepalived::on(&b).instance(instance).start()
        };
        let ours = vrrpd(150);
        ours.wait_state("master", PATIENCE);
        let theirs = keepalived(100);
        let sent = ours.counter("adverts_sent");
        wait_until(PATIENCE, "five adverts", || ours.counter("adverts_sent") >= sent + 5);
        assert_eq!(theirs.entered(VRID, "MASTER"), 0, "keepalived accepts the adverts");
        assert_eq!(ours.terminate(), 0);
        theirs.wait_entered(VRID, "MASTER", 1, PATIENCE);
        theirs.assert_in_log("received priority 0", 1);

        let ours = vrrpd(50);
        wait_until(PATIENCE, "five adverts", || ours.counter("adverts_received") >= 5);
        assert_eq!(ours.state()["master"]["address"], their.to_string());
        theirs.leave();
        assert_eq!(ours.wait_state("master", PATIENCE)["reason"], "master-resigned");
        let state = ours.state();
        let rejected = state["counters"]["rejected"].as_object().expect("counters by reason");
        assert!(rejected.values().all(|count| *count == 0), "{rejected:?}");
    }
}

#[test]
fn version_2_with_keepalived() {
    Mixed::v2().works();
}

#[test]
fn version_2_with_a_password_and_keepalived() {
    let mut mixed = Mixed::v2();
    mixed.instance = mixed.instance.password("secret");
    mixed.arguments.extend(["-a", "pw/secret"].map(str::to_owned));
    mixed.works();
}

#[test]
fn version_2_with_an_authentication_header_and_keepalived() {
    let mut mixed = Mixed::v2();
    mixed.instance = mixed.instance.ah("secret");
    mixed.is_authenticated = true;
    mixed.arguments.extend(["-a", "ah/0x736563726574"].map(str::to_owned));
    mixed.works();
}

#[test]
fn version_3_with_keepalived() {
    Mixed::v3(&[CIDR]).works();
}

#[test]
fn version_3_over_ipv6_with_keepalived() {
    Mixed::v3(&["fe80::33/64", "2001:db8::33/64"]).works();
}
