//! Authentication of version 2.

use std::fs;
use std::time::Duration;

use vrrpd_lab::usual::{ADDRESS, CIDR};
use vrrpd_lab::{
    AdvertFrame, Capture, Host, Injector, Lab, Vrrpd, VrrpdBuilder, children_of, dumped_memory, wait_until,
};

/// The interval of version 2 is at least a second.
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
    let router = router(&a, 255, "pw/sesame").start();
    router.wait_state("master", PATIENCE);
    let injector = Injector::on(&client);
    let advert = AdvertFrame::v2(client.ipv4(), 51, 254, 1, &[ADDRESS]);
    let wrong = [advert.clone().with_password("geheim"), advert.clone().with_password("sesames"), advert];
    for frame in &wrong {
        injector.send(&frame.build());
    }
    wait_until(PATIENCE, "all three are counted", || router.counter("rejected/auth") == 3);
    assert_eq!(router.counter("adverts_received"), 0);
    assert!(router.is_master(), "the daemon goes on");
    for password in ["sesame", "geheim"] {
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
fn password_is_not_trimmed() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let capture = Capture::on(&client);
    let _router = router(&a, 255, "pw/0x31").start();
    let (_, advert) = capture.wait_advert(PATIENCE, "an advert", |_| true);
    assert_eq!(advert.auth_data, Some(*b"0x31\0\0\0\0"), "four characters, not an octet");
}

/// A key that does not occur elsewhere in memory, and its form for `-a`.
const KEY: &[u8] = b"open, sesame: a key";
const HEX: &str = "6f70656e2c20736573616d653a2061206b6579";

/// The processes of a daemon and its guardian.
fn processes(daemon: i32) -> Vec<i32> {
    let processes: Vec<_> = std::iter::once(daemon).chain(children_of(daemon)).collect();
    assert!(processes.len() >= 2, "it has a guardian: {processes:?}");
    processes
}

#[track_caller]
fn assert_nothing_of(secret: &str, processes: &[i32]) {
    for pid in processes {
        for file in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{pid}/{file}")).expect("it runs");
            let text = String::from_utf8_lossy(&text);
            assert!(!text.contains(secret), "{file} of {pid}: {text}");
        }
    }
}

/// Whether a core file of the process would contain the octets.
fn is_dumped(pid: i32, octets: &[u8]) -> bool {
    dumped_memory(pid).iter().any(|piece| piece.windows(octets.len()).any(|window| window == octets))
}

#[test]
fn password_is_not_in_the_list_of_processes_in_the_foreground_and_in_the_background() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    for written in [&["-a", "pw/sesame"][..], &["-apw/sesame"], &["-sna=pw/sesame"]] {
        let builder = || Vrrpd::on(&a).vrid(51).address(CIDR).args(written.iter().copied());
        let in_sight = builder().start();
        assert_eq!(in_sight.state()["auth"], "pw");
        assert_nothing_of("sesame", &processes(in_sight.pid()));
        assert_eq!(in_sight.terminate(), 0);

        let (finished, daemon) = builder().priority(255).start_in_background();
        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{written:?}");
        let pid = daemon.pid("vrrpd_eth0.pid").expect("it runs");
        assert_nothing_of("sesame", &processes(pid));
        // The password still works.
        let heard = router(&b, 100, "pw/sesame").start();
        wait_until(PATIENCE, "it is heard", || heard.counter("adverts_received") > 0);
        assert_eq!(heard.counter("rejected/auth"), 0);
        daemon.terminate("vrrpd_eth0.pid");
    }
}

#[test]
fn key_is_in_no_core_file_of_daemon_and_guardian_nor_left_where_it_was_read() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let ah = format!("ah/0x{HEX}");
    let of_options = router(&a, 255, &ah).in_user_space().start();
    of_options.wait_state("master", PATIENCE);
    wait_until(PATIENCE, "it signs", || of_options.counter("adverts_sent") > 1);
    for pid in processes(of_options.pid()) {
        assert!(is_dumped(pid, b"PATH="), "the memory is looked through");
        for secret in [KEY, HEX.as_bytes()] {
            assert!(!is_dumped(pid, secret), "{} in {pid}", String::from_utf8_lossy(secret));
        }
    }
    assert_eq!(of_options.terminate(), 0);

    let text = format!(
        "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"{CIDR}\"]\nvmac = \"none\"\nauth = \"{ah}\"\n"
    );
    let of_file = Vrrpd::on(&a).config(&text).in_user_space().start();
    of_file.reload(&format!("{text}priority = 90\n"));
    wait_until(PATIENCE, "the file is read again", || of_file.state()["priority"] == 90);
    for secret in [KEY, HEX.as_bytes()] {
        assert!(!is_dumped(of_file.pid(), secret), "{}", String::from_utf8_lossy(secret));
    }
}
