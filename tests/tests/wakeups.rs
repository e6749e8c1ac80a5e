//! Wake-ups of a backup whose adverts the kernel handles: almost none, whatever arrives.
//!
//! Counts the voluntary context switches of all threads of the daemon, without requests meanwhile, since each answer is
//! a wake-up.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use vrrpd_lab::usual::{ADDRESS, CIDR, SOON, VRID};
use vrrpd_lab::{AdvertFrame, Datapath, Flood, Host, Lab, Signal, Vrrpd, needs, wait_until};

/// The default, and native XDP. Generic XDP runs the same program as native XDP.
const MODES: [Datapath; 2] = [Datapath::Tcx, Datapath::Native];
/// The shortest advertisement interval: a hundred adverts a second.
const INTERVAL: Duration = Duration::from_millis(10);
/// Duration of a measurement.
const SPAN: Duration = Duration::from_secs(3);
/// Allowed wake-ups per second without a cause.
const ALLOWED_A_SECOND: u64 = 2;
/// Allowed wake-ups in [`SPAN`] that are unrelated to the frames. On an idle machine there are none.
const OTHERS: u64 = 3;
/// Maximum number of reports of the kernel about one router per second.
const REPORTS_A_SECOND: u64 = 2;

/// One measurement at a time, so that they do not disturb each other.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A master and its backup, with a hundred adverts a second.
struct Pair {
    lab: Lab,
    master: Vrrpd,
    backup: Vrrpd,
    intruder: Host,
}

impl Pair {
    fn new(datapath: Datapath, arguments: &[&str]) -> Self {
        let lab = Lab::new();
        let [a, b, intruder] = lab.hosts();
        let router = |host, priority| Vrrpd::on(host).vrid(VRID).priority(priority).address(CIDR).v3("10ms");
        // Otherwise it would be late at times on a busy machine, and the backup would rightly take over.
        let chrt = needs::CHRT.require().display().to_string();
        let master = router(&a, 150).datapath(Datapath::Raw).through([&chrt, "--fifo", "1"]).start();
        master.wait_state("master", SOON);
        let backup = router(&b, 100).args(arguments.iter().copied()).datapath(datapath).start();
        settle(&backup, 100);
        Self { lab, master, backup, intruder }
    }

    /// Source address of an outsider; no machine has it.
    const INTRUDER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);

    /// A valid advert of the outsider for the pair's router.
    fn advert(priority: u8) -> AdvertFrame {
        AdvertFrame::v3(Self::INTRUDER.into(), VRID, priority, INTERVAL, &[ADDRESS.into()])
    }

    /// Asserts that nothing has changed since it became backup, that it has the same master, and that it notices its
    /// failure.
    #[track_caller]
    fn assert_undisturbed(&self) {
        let state = self.backup.state();
        assert_eq!(state["state"], "backup", "{state}");
        assert_eq!(state["counters"]["transitions"], 1, "{state}");
        assert_eq!(state["counters"]["adverts_sent"], 0, "{state}");
        assert!(self.master.is_master());
        self.lab.port_down(self.master.host());
        self.backup.wait_state("master", SOON);
    }
}

/// Waits until a router has received this many adverts, and its start is over.
fn settle(router: &Vrrpd, adverts: u64) {
    wait_until(SOON, "it hears the master", || router.counter("adverts_received") >= adverts);
}

/// Wake-ups in [`SPAN`].
fn woken(router: &Vrrpd) -> u64 {
    // The last request was answered, and its connection is closed.
    thread::sleep(Duration::from_millis(200));
    let before = router.wake_ups();
    thread::sleep(SPAN);
    router.wake_ups() - before
}

#[track_caller]
fn assert_at_most(woken: u64, most: u64, what: &str) {
    println!("{what}: {woken} wake-ups in {SPAN:?}, {most} allowed");
    assert!(woken <= most, "{what}: {woken} wake-ups in {SPAN:?}, {most} allowed");
}

#[test]
fn backup_with_a_live_master_hardly_ever_wakes() {
    let _alone = alone();
    for mode in MODES {
        let pair = Pair::new(mode, &[]);
        let received = pair.backup.counter("adverts_received");
        assert_at_most(woken(&pair.backup), ALLOWED_A_SECOND * SPAN.as_secs(), &format!("{mode:?}"));
        let received = pair.backup.counter("adverts_received") - received;
        assert!(received >= 90 * SPAN.as_secs(), "{received} adverts");
        pair.assert_undisturbed();
    }
}

#[test]
fn backup_that_tracks_a_hundred_processes_hardly_ever_wakes_while_they_run() {
    let _alone = alone();
    let home = tempfile::Builder::new().prefix("w").rand_bytes(5).tempdir().expect("a directory can be made");
    let of_test = home.path().file_name().expect("it has a name").to_string_lossy().into_owned();
    let names: Vec<String> = (0..100).map(|number| format!("{of_test}-{number}")).collect();
    let services = names.iter().map(|name| {
        let program = home.path().join(name);
        std::os::unix::fs::symlink("/bin/sleep", &program).expect("a link can be made");
        Command::new(program).arg("1000").spawn().expect("it can be started")
    });
    let mut services: Vec<_> = services.collect();
    let arguments: Vec<_> =
        names.iter().flat_map(|name| ["--track".to_owned(), format!("process={name}")]).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for mode in MODES {
        let pair = Pair::new(mode, &arguments);
        assert_at_most(woken(&pair.backup), ALLOWED_A_SECOND * SPAN.as_secs(), &format!("{mode:?}"));
        pair.assert_undisturbed();
    }
    let pair = Pair::new(MODES[0], &arguments);
    services[99].kill().expect("it runs");
    pair.backup.wait_state("fault", SOON);
    for mut service in services {
        // One of them has ended.
        let _ = service.kill();
        service.wait().expect("it is a child");
    }
}

#[test]
fn backup_of_255_masters_hardly_ever_wakes() {
    let _alone = alone();
    for mode in MODES {
        let lab = Lab::new();
        let [b, client] = lab.hosts();
        let mut text =
            "[defaults]\ninterface = \"eth0\"\nprotocol = \"v3\"\ninterval = \"10ms\"\n".to_owned();
        let address = |vrid| Ipv4Addr::new(10, 1, 0, vrid);
        for vrid in 1..=255 {
            writeln!(text, "[[router]]\nvrid = {vrid}\naddresses = [\"{}\"]\nvmac = \"none\"", address(vrid))
                .expect("writing to a string works");
        }
        let frames = (1..=255).map(|vrid| {
            let addresses = [IpAddr::V4(address(vrid))];
            AdvertFrame::v3(client.ipv4().into(), vrid, 150, INTERVAL, &addresses).build()
        });
        let flood = Flood::every(INTERVAL, &client, frames.collect());
        let backup = Vrrpd::on(&b).vrid(255).config(&text).datapath(mode).start();
        settle(&backup, 100);
        let sent = flood.sent();
        assert_at_most(woken(&backup), ALLOWED_A_SECOND * SPAN.as_secs(), &format!("255 routers, {mode:?}"));
        let sent = flood.sent() - sent;
        assert!(sent >= 255 * 90 * SPAN.as_secs(), "{sent} adverts were sent");

        let states = backup.states();
        assert_eq!(states.len(), 255);
        let disturbed: Vec<_> = states
            .iter()
            .filter(|state| state["state"] != "backup" || state["counters"]["transitions"] != 1)
            .map(|state| &state["vrid"])
            .collect();
        assert!(disturbed.is_empty(), "{disturbed:?}");

        // Each of them notices that its master is gone.
        flood.stop();
        wait_until(SOON, "all take over", || backup.states().iter().all(|state| state["state"] == "master"));
    }
}

#[test]
fn backup_that_hears_its_peer_by_unicast_hardly_ever_wakes() {
    let _alone = alone();
    for mode in MODES {
        let lab = Lab::new();
        let [b, peer] = lab.hosts();
        let advert = AdvertFrame {
            destination: Some(b.ipv4().into()),
            destination_mac: Some(b.mac("eth0")),
            ttl: 250,
            ..AdvertFrame::v3(peer.ipv4().into(), VRID, 150, INTERVAL, &[ADDRESS.into()])
        };
        let flood = Flood::every(INTERVAL, &peer, vec![advert.build()]);
        let backup = Vrrpd::on(&b).vrid(VRID).address(CIDR).v3("10ms").datapath(mode);
        let backup = backup.args([format!("--peer={},min-ttl=250", peer.ipv4())]).start();
        settle(&backup, 100);
        let received = backup.counter("adverts_received");
        assert_at_most(woken(&backup), ALLOWED_A_SECOND * SPAN.as_secs(), &format!("unicast, {mode:?}"));
        let received = backup.counter("adverts_received") - received;
        assert!(received >= 90 * SPAN.as_secs(), "{received} adverts");
        assert_eq!((backup.state()["state"].as_str(), backup.counter("transitions")), (Some("backup"), 1));
        flood.stop();
        backup.wait_state("master", SOON);
    }
}

#[test]
fn flood_of_malformed_and_foreign_adverts_changes_nothing_and_causes_no_wake_up() {
    let _alone = alone();
    for mode in MODES {
        let pair = Pair::new(mode, &[]);
        // Some of it would disturb the master as well.
        pair.lab.split(&[pair.master.host(), &pair.intruder]);
        let right = || Pair::advert(200);
        let frames = [
            AdvertFrame { ttl: 64, ..right() },
            AdvertFrame { checksum_flip: 1, ..right() },
            AdvertFrame { version: 2, ..right() },
            AdvertFrame { version: 15, ..right() },
            AdvertFrame { kind: 2, ..right() },
            AdvertFrame { count: Some(255), ..right() },
            AdvertFrame { addresses: Vec::new(), ..right() },
            AdvertFrame { interval: [0, 0], ..right() },
            AdvertFrame { fragment: 0x2000, ..right() },
            AdvertFrame { fragment: 1, ..right() },
            AdvertFrame { source: pair.backup.host().ipv4().into(), ..right() },
            AdvertFrame { vrid: VRID + 1, ..right() },
            AdvertFrame { vrid: 255, priority: 0, ..right() },
        ];
        let mut frames: Vec<_> = frames.iter().map(AdvertFrame::build).collect();
        let whole = right().build();
        frames.extend((14..whole.len()).map(|len| whole[..len].to_vec()));

        let rejected = rejected(&pair.backup);
        let (flood, start) = (Flood::without_pause(&pair.intruder, frames), Instant::now());
        let with = woken(&pair.backup);
        let (sent, took) = (flood.stop(), start.elapsed());
        let counted = self::rejected(&pair.backup) - rejected;
        println!("{mode:?}: {sent} frames in {took:?}, {counted} counted as rejected");
        assert!(counted > 10_000, "{counted} of {sent}");
        assert_at_most(with, OTHERS, &format!("flood, {mode:?}"));
        pair.assert_undisturbed();
    }
}

/// Number of rejected adverts so far, for any reason.
fn rejected(router: &Vrrpd) -> u64 {
    let state = router.state();
    let counters = state["counters"]["rejected"].as_object().expect("counters by reason");
    counters.values().filter_map(serde_json::Value::as_u64).sum()
}

#[test]
fn lower_adverts_of_the_own_router_beside_the_master_change_nothing_and_are_reported_at_a_limited_rate() {
    let _alone = alone();
    for mode in MODES {
        // A preempting backup ignores them; the other one follows them as well.
        for (priority, arguments) in [(50, &[][..]), (50, &["-s"])] {
            let pair = Pair::new(mode, arguments);
            // Two frames at a time, a thousand times a second.
            let frame = Pair::advert(priority).build();
            let flood = Flood::every(Duration::from_millis(1), &pair.intruder, vec![frame.clone(), frame]);
            let with = woken(&pair.backup);
            let sent = flood.stop();
            assert!(sent >= 2000 * SPAN.as_secs(), "{sent} adverts");
            let allowed = REPORTS_A_SECOND * SPAN.as_secs() + OTHERS;
            assert_at_most(with, allowed, &format!("lower adverts, {mode:?}, {priority}, {arguments:?}"));
            pair.assert_undisturbed();
        }
    }
}

/// The role changes under ten thousand adverts a second: whenever the kernel gets the command, the final state must be
/// correct.
#[test]
fn role_that_changes_while_adverts_arrive_at_10_000_a_second_ends_as_the_right_one() {
    let _alone = alone();
    for mode in MODES {
        let lab = Lab::new();
        let [b, client] = lab.hosts();
        let router = Vrrpd::on(&b).vrid(VRID).address(CIDR).v3("10ms").datapath(mode);
        let router = router.args(["-z", "50", "-x", "200", "--garp-delay", "0"]).start();
        router.wait_state("master", SOON);
        let advert = AdvertFrame::v3(client.ipv4().into(), VRID, 150, INTERVAL, &[ADDRESS.into()]).build();
        let flood = Flood::every(Duration::from_millis(1), &client, vec![advert; 10]);
        let (sent, start) = (flood.sent(), Instant::now());
        router.wait_state("backup", SOON);
        for round in 0..10 {
            // It preempts, and stays master while lower adverts continue.
            router.signal(Signal::SIGTTOU);
            router.wait_state("master", SOON);
            thread::sleep(INTERVAL * round);
            assert!(router.is_master(), "{mode:?}, round {round}: it stays master");
            // It yields, and does not take over while higher adverts continue.
            router.signal(Signal::SIGTTIN);
            router.wait_state("backup", SOON);
            let transitions = router.counter("transitions");
            thread::sleep(INTERVAL * 8);
            assert_eq!(
                router.counter("transitions"),
                transitions,
                "{mode:?}, round {round}: it stays backup"
            );
        }
        let a_second = u128::from(flood.sent() - sent) * 1000 / start.elapsed().as_millis();
        println!("{mode:?}: {a_second} adverts a second");
        assert!(a_second > 9000, "{a_second} adverts a second");
        assert_eq!(router.state()["state"], "backup");
        flood.stop();
        router.wait_state("master", SOON);
    }
}
