//! Authentication of version 2.

use std::time::Duration;

use vrrpd_lab::usual::{ADDRESS, CIDR};
use vrrpd_lab::{AdvertFrame, Capture, Host, Injector, Lab, Vrrpd, VrrpdBuilder, wait_until};

/// Version 2 advertises whole seconds.
const PATIENCE: Duration = Duration::from_secs(12);

fn router(host: &Host, priority: u8, auth: &str) -> VrrpdBuilder {
    Vrrpd::on(host).vrid(51).priority(priority).address(CIDR).args(["-a", auth])
}

#[test]
fn routers_with_the_same_password_elect_a_master() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let capture = Capture::on(&client);
    let low = router(&a, 100, "pw/secret").start();
    let high = router(&b, 150, "pw/secret").start();
    high.wait_state("master", PATIENCE);
    low.wait_state("backup", PATIENCE);
    assert_eq!(low.state()["auth"], "pw");
    let (_, advert) = capture.wait_advert(PATIENCE, "an advert", |advert| advert.priority == 150);
    assert_eq!((advert.auth_type, advert.auth_data), (1, Some(*b"secret\0\0")));
    assert!(advert.checksum_is_right, "RFC 2338 §5.3.8: the checksum is that of the message with the data");
    assert_eq!(low.counter("rejected/auth"), 0);
}

#[test]
fn wrong_password_is_discarded_and_counted_and_never_logged() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    // The owner is master at once.
    let router = router(&a, 255, "pw/secret").start();
    router.wait_state("master", PATIENCE);
    let injector = Injector::on(&client);
    let advert = AdvertFrame::v2(client.ipv4(), 51, 254, 1, &[ADDRESS]);
    let wrong = [advert.clone().with_password("geheim"), advert.clone().with_password("secretly"), advert];
    for frame in &wrong {
        injector.send(&frame.build());
    }
    wait_until(PATIENCE, "all three are counted", || router.counter("rejected/auth") == 3);
    assert_eq!(router.counter("adverts_received"), 0);
    assert!(router.is_master(), "the daemon goes on");
    for password in ["secret", "geheim"] {
        assert_eq!(router.count_in_log(password), 0, "no password is logged");
    }
}

#[test]
fn wrong_password_does_not_hold_a_backup_down() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let one = router(&a, 150, "pw/secret").start();
    let other = router(&b, 100, "pw/geheim").start();
    one.wait_state("master", PATIENCE);
    other.wait_state("master", PATIENCE);
    wait_until(PATIENCE, "each counts", || {
        one.counter("rejected/auth") > 0 && other.counter("rejected/auth") > 0
    });
}

#[test]
fn password_is_taken_as_it_stands() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let capture = Capture::on(&client);
    let _router = router(&a, 255, "pw/0x31").start();
    let (_, advert) = capture.wait_advert(PATIENCE, "an advert", |_| true);
    assert_eq!(advert.auth_data, Some(*b"0x31\0\0\0\0"), "four characters, not an octet");
}
