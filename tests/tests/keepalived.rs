//! keepalived as the other router: each of the two as master, as backup, leaving and crashing.

use std::time::Duration;

use vrrpd_lab::{Host, Instance, Keepalived, Lab, Vrrpd, VrrpdBuilder, wait_until};

const PATIENCE: Duration = Duration::from_secs(15);

/// The configuration of both, apart from the priority.
struct Setting {
    instance: Instance,
    arguments: Vec<String>,
    key: Option<&'static str>,
}

impl Setting {
    fn v2() -> Self {
        Self { instance: Instance::v2(51, "10.0.0.100/24"), arguments: Vec::new(), key: None }
    }

    fn v3() -> Self {
        let interval = Duration::from_millis(200);
        let arguments = ["--protocol", "v3", "-d", "200ms"].map(str::to_owned).to_vec();
        Self { instance: Instance::v3(51, "10.0.0.100/24", interval), arguments, key: None }
    }

    fn v3_over_ipv6() -> Self {
        let mut setting = Self::v3();
        setting.instance.addresses = vec!["fe80::33/64".to_owned(), "2001:db8::33/64".to_owned()];
        setting
    }

    fn with_global_address_first(mut self) -> Self {
        self.instance.addresses.reverse();
        self
    }

    fn without_addresses(mut self) -> Self {
        self.instance.addresses.clear();
        self.arguments.extend(["--family", "ipv4"].map(str::to_owned));
        self
    }

    fn with_password(mut self) -> Self {
        self.instance = self.instance.password("secret");
        self.arguments.extend(["-a", "pw/secret"].map(str::to_owned));
        self
    }

    fn with_authentication_header(mut self) -> Self {
        self.instance = self.instance.ah("secret");
        self.key = Some("secret");
        self
    }

    fn with_several_addresses(mut self) -> Self {
        self.instance =
            self.instance.address("10.0.0.101/24").address("192.0.2.1/32").address("10.0.0.99/24");
        self
    }

    fn vrrpd(&self, host: &Host, priority: u8) -> VrrpdBuilder {
        let router = Vrrpd::on(host).vrid(51).priority(priority);
        let router = router.args(&self.arguments).args(&self.instance.addresses);
        match self.key {
            Some(key) => router.ah(key.as_bytes()),
            None => router,
        }
    }

    fn keepalived(&self, host: &Host, priority: u8) -> Keepalived {
        Keepalived::on(host).instance(self.instance.clone().priority(priority)).start()
    }

    fn wait_addresses(&self, there: &Host, not_there: &Host) {
        wait_until(PATIENCE, "the addresses are at one router only", || {
            let at = |host: &Host| {
                let addresses = host.addresses("eth0");
                self.instance.addresses.iter().filter(|address| addresses.contains(address)).count()
            };
            at(there) == self.instance.addresses.len() && at(not_there) == 0
        });
    }
}

/// keepalived's log lines about invalid adverts.
fn complaints(keepalived: &Keepalived) -> Vec<String> {
    let words =
        ["already processed", "mismatch", "invalid", "bad ", "incorrect", "expected", "ignor", "different"];
    let complains = |line: &String| words.iter().any(|word| line.to_lowercase().contains(word));
    keepalived.log().into_iter().filter(complains).collect()
}

/// vrrpd has the higher priority: master, leaves, comes back, crashes.
fn vrrpd_leads(setting: &Setting) {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let builder = setting.vrrpd(&a, 150);
    let first = builder.clone().start();
    first.wait_state("master", PATIENCE);
    let backup = setting.keepalived(&b, 100);
    // Longer than its Master_Down_Interval.
    let sent = first.counter("adverts_sent");
    wait_until(PATIENCE, "five adverts", || first.counter("adverts_sent") >= sent + 5);
    assert_eq!(backup.entered(51, "MASTER"), 0, "keepalived accepts the adverts");
    setting.wait_addresses(&a, &b);

    assert_eq!(first.terminate(), 0);
    backup.wait_entered(51, "MASTER", 1, PATIENCE);
    backup.assert_in_log("received priority 0", 1);
    setting.wait_addresses(&b, &a);

    let second = builder.start();
    second.wait_state("master", PATIENCE);
    backup.wait_entered(51, "BACKUP", 2, PATIENCE);
    setting.wait_addresses(&a, &b);
    assert_eq!(second.state()["reason"], "preempted");

    second.kill();
    backup.wait_entered(51, "MASTER", 2, PATIENCE);
    assert_eq!(backup.entered(51, "BACKUP"), 2);
    assert_eq!(complaints(&backup), Vec::<String>::new());
}

/// keepalived has the higher priority: master, leaves, comes back, crashes.
fn keepalived_leads(setting: &Setting) {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let first = setting.keepalived(&b, 150);
    first.wait_entered(51, "MASTER", 1, PATIENCE);
    // Started later: if both start together, the slower one finds the other as Master, and its sequence numbers start
    // with 1.
    let backup = setting.vrrpd(&a, 100).start();
    wait_until(PATIENCE, "five adverts", || backup.counter("adverts_received") >= 5);
    let state = backup.wait_state("backup", PATIENCE);
    assert_eq!(state["master"]["priority"], 150);
    setting.wait_addresses(&b, &a);

    first.leave();
    let state = backup.wait_state("master", PATIENCE);
    assert_eq!(state["reason"], "master-resigned");
    setting.wait_addresses(&a, &b);

    let second = setting.keepalived(&b, 150);
    second.wait_entered(51, "MASTER", 1, PATIENCE);
    backup.wait_state("backup", PATIENCE);
    setting.wait_addresses(&b, &a);

    second.crash();
    let state = backup.wait_state("master", PATIENCE);
    assert_eq!(state["reason"], "master-down-timer");
    let rejected = state["counters"]["rejected"].as_object().expect("counters by reason");
    let borne = |reason: &str| match reason {
        // Adverts during the start may arrive before the program in the kernel knows the router.
        "not_ours" => u64::MAX,
        // When both advertise at the same moment, keepalived may use a sequence number twice.
        "auth" if setting.key.is_some() => 1,
        _ => 0,
    };
    let is_wrong = |(reason, count): (&String, &serde_json::Value)| count.as_u64() > Some(borne(reason));
    assert!(!rejected.iter().any(is_wrong), "{rejected:?}");
    assert_eq!(complaints(&second), Vec::<String>::new());
}

#[test]
fn version_2_with_vrrpd_leading() {
    vrrpd_leads(&Setting::v2());
}

#[test]
fn version_2_with_keepalived_leading() {
    keepalived_leads(&Setting::v2());
}

#[test]
fn version_2_with_password_and_vrrpd_leading() {
    vrrpd_leads(&Setting::v2().with_password().with_several_addresses());
}

#[test]
fn version_2_with_password_and_keepalived_leading() {
    keepalived_leads(&Setting::v2().with_password().with_several_addresses());
}

#[test]
fn version_2_with_authentication_header_and_vrrpd_leading() {
    vrrpd_leads(&Setting::v2().with_authentication_header().with_several_addresses());
}

#[test]
fn version_2_with_authentication_header_and_keepalived_leading() {
    keepalived_leads(&Setting::v2().with_authentication_header().with_several_addresses());
}

#[test]
fn version_3_with_vrrpd_leading() {
    vrrpd_leads(&Setting::v3());
}

#[test]
fn version_3_with_keepalived_leading() {
    keepalived_leads(&Setting::v3());
}

#[test]
fn version_3_with_several_addresses_and_vrrpd_leading() {
    vrrpd_leads(&Setting::v3().with_several_addresses());
}

#[test]
fn version_3_with_several_addresses_and_keepalived_leading() {
    keepalived_leads(&Setting::v3().with_several_addresses());
}

#[test]
fn router_without_addresses_with_vrrpd_leading() {
    vrrpd_leads(&Setting::v2().without_addresses());
}

#[test]
fn router_without_addresses_with_keepalived_leading() {
    keepalived_leads(&Setting::v2().without_addresses());
}

#[test]
fn version_3_over_ipv6_with_a_global_address_first_and_vrrpd_leading() {
    vrrpd_leads(&Setting::v3_over_ipv6().with_global_address_first());
}

#[test]
fn version_3_over_ipv6_with_keepalived_leading() {
    keepalived_leads(&Setting::v3_over_ipv6());
}
