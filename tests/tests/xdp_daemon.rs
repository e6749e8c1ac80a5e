//! The state of the daemon while the kernel handles adverts without reporting them: the daemon acts on what the kernel
//! has heard, not on its last report.

use std::thread;
use std::time::{Duration, Instant};

use vrrpd_lab::usual::{ADDRESS, CIDR, INTERVAL, SOON, VRID, assert_on_time};
use vrrpd_lab::{
    Advert, AdvertFrame, Capture, Datapath, Flood, Host, Injector, Lab, Signal, Vrrpd, detach, timers,
    wait_until,
};

/// Long after the daemon's own deadline has passed: nothing wakes it as long as its master continues unchanged.
const LONG: Duration = Duration::from_secs(2);
/// The log event of a late deadline.
const STOOD_STILL: &str = "timer late";

fn advert(from: &Host, priority: u8) -> Vec<u8> {
    AdvertFrame::v3(from.ipv4().into(), VRID, priority, INTERVAL, &[ADDRESS.into()]).build()
}

/// A backup that has followed a master of priority 105 for a while, without requests.
fn that_was_left_alone(lab: &Lab, datapath: Datapath) -> (Vrrpd, Host, Flood) {
    let [router, master] = lab.hosts();
    let backup = Vrrpd::usual(&router, 100).datapath(datapath).start();
    let flood = Flood::every(INTERVAL, &master, vec![advert(&master, 105)]);
    wait_until(SOON, "it hears the master", || backup.state()["master"]["priority"] == 105);
    thread::sleep(LONG);
    (backup, master, flood)
}

fn own(advert: &Advert) -> bool {
    advert.source == std::net::IpAddr::from([10, 0, 0, 1])
}

#[test]
fn priority_that_is_raised_above_the_masters_preempts_after_master_down_interval() {
    for datapath in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let (backup, master, _flood) = that_was_left_alone(&lab, datapath);
        let capture = Capture::on(&master);
        let raised = Instant::now();
        backup.signal(Signal::SIGTTOU);
        let (taken, _) = capture.wait_advert(SOON, "it preempts", own);
        // The master was heard within the last interval, and the timer starts from there.
        let wait = timers::master_down_interval(INTERVAL, 110);
        assert!(taken - raised + INTERVAL + INTERVAL / 2 >= wait, "after {:?}", taken - raised);
        assert_eq!(backup.count_in_log(STOOD_STILL), 0, "{:?}", backup.log());
        assert_eq!(backup.wait_state("master", SOON)["reason"], "preempted");
    }
}

#[test]
fn backup_after_backup_and_master_commands_follows_its_master() {
    for datapath in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let (backup, _master, flood) = that_was_left_alone(&lab, datapath);
        // By the log, since a request would wake it.
        let transitions = backup.count_in_log("INFO transition");
        backup.signal(Signal::SIGUSR2);
        thread::sleep(LONG);
        backup.signal(Signal::SIGTTIN);
        let sent = flood.sent();
        wait_until(SOON, "adverts for longer than Master_Down_Interval", || flood.sent() >= sent + 8);
        assert_eq!(backup.count_in_log(STOOD_STILL), 0, "{:?}", backup.log());
        assert_eq!(backup.state()["state"], "backup");
        assert_eq!(backup.count_in_log("INFO transition"), transitions, "{:?}", backup.log());
    }
}

#[test]
fn interface_that_becomes_usable_after_its_master_has_died_is_listened_to_for_master_down_interval() {
    for datapath in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let [router, master] = lab.hosts();
        router.ip("-4 addr flush dev eth0");
        // An address without a subnet: adverts can be in none.
        let backup = Vrrpd::on(&router).vrid(VRID).address(&ADDRESS.to_string()).v3("100ms");
        let backup = backup.datapath(datapath).start();
        backup.wait_state("fault", SOON);
        let injector = Injector::on(&master);
        for _ in 0..3 {
            injector.send(&advert(&master, 150));
        }
        thread::sleep(LONG);
        let capture = Capture::on(&master);
        let usable = Instant::now();
        router.ip("addr add 10.0.0.1/24 dev eth0");
        let (taken, _) = capture.wait_advert(SOON, "it takes over", own);
        assert_on_time(taken - usable, timers::master_down_interval(INTERVAL, 100));
        assert_eq!(backup.count_in_log(STOOD_STILL), 0, "{:?}", backup.log());
    }
}

#[test]
fn resignation_counts_though_lower_adverts_come_beside_and_after_it() {
    for datapath in [Datapath::Raw, Datapath::Generic, Datapath::Native] {
        let lab = Lab::new();
        let [router, master, other] = lab.hosts();
        let backup = Vrrpd::on(&router).vrid(VRID).address(CIDR).v3("100ms").datapath(datapath).start();
        let (lower, higher) = (advert(&other, 50), advert(&master, 150));
        let flood = Flood::every(INTERVAL, &master, vec![lower.clone(), higher, lower.clone()]);
        wait_until(SOON, "it hears them", || backup.counter("adverts_received") >= 12);
        let capture = Capture::on(&other);
        flood.stop();
        capture.clear();
        Injector::on(&master).send_all(&[advert(&master, 0), lower]);
        let (taken, _) = capture.wait_advert(SOON, "it takes over", own);
        let (resigned, _) = capture.wait_advert(SOON, "it was said", |advert| advert.priority == 0);
        let state = backup.wait_state("master", SOON);
        assert_eq!(state["reason"], "master-resigned", "{datapath:?}, after {:?}", taken - resigned);
    }
}

#[test]
fn detached_program_is_noticed_before_the_router_takes_over() {
    for datapath in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let (backup, _master, flood) = that_was_left_alone(&lab, datapath);
        let program = backup.host().xdp_program("eth0").expect("it has one");
        detach(program);
        let sent = flood.sent();
        wait_until(SOON, "adverts for twice Master_Down_Interval", || flood.sent() >= sent + 10);
        let state = backup.state();
        assert_eq!((&state["state"], &state["counters"]["transitions"]), (&"backup".into(), &1.into()));
        assert_eq!(state["datapath"], "raw");
        let reason = state["datapath_reason"].as_str().expect("it is told");
        assert!(reason.contains("the XDP program was removed from the interface"), "{reason}");
        assert_eq!(state["master"]["priority"], 105, "it is heard");
        assert_eq!(backup.count_in_log(STOOD_STILL), 0, "{:?}", backup.log());

        flood.stop();
        backup.wait_state("master", SOON);
    }
}

#[test]
fn master_with_a_detached_program_hears_a_better_one() {
    for datapath in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let [router, better] = lab.hosts();
        let daemon = Vrrpd::usual(&router, 100).datapath(datapath).start();
        daemon.wait_state("master", SOON);
        detach(router.xdp_program("eth0").expect("it has one"));
        let _flood = Flood::every(INTERVAL, &better, vec![advert(&better, 150)]);
        daemon.wait_state("backup", SOON);
        assert_eq!(daemon.state()["datapath"], "raw");
    }
}

/// Network cards may take the VLAN tag out of the frame, where the program does not see it and raw sockets do. If the
/// machine has no interface for that VLAN, only the source address indicates it.
#[test]
fn interface_on_which_adverts_come_from_another_subnet_is_left_to_raw_sockets_for_a_while() {
    // Ten seconds, and the time of a busy machine.
    const BACK: Duration = Duration::from_secs(30);
    for datapath in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let (backup, master, flood) = that_was_left_alone(&lab, datapath);
        let source = std::net::Ipv4Addr::new(10, 9, 0, 2);
        let other = AdvertFrame::v3(source.into(), VRID, 200, INTERVAL, &[ADDRESS.into()]).build();
        // An advert that does not count is no reason.
        let idle = AdvertFrame::v3(source.into(), VRID, 50, INTERVAL, &[ADDRESS.into()]).build();
        Injector::on(&master).send(&idle);
        // The kernel reports a change at most twice a second.
        let sent = flood.sent();
        wait_until(SOON, "it is reported, and the next one may be", || flood.sent() >= sent + 15);
        assert_eq!(backup.state()["datapath"], datapath.name().expect("it is given"));

        Injector::on(&master).send(&other);
        backup.wait_log(SOON, "10.9.0.2, which is not in a subnet of the interface");
        let state = backup.state();
        assert_eq!((&state["datapath"], &state["state"]), (&"raw".into(), &"backup".into()));
        wait_until(SOON, "the program is taken off", || backup.host().xdp_program("eth0").is_none());
        wait_until(SOON, "it hears its master", || backup.state()["master"]["priority"] == 105);

        // An untagged one is valid.
        wait_until(SOON, "it hears the other one", || {
            // Its master may advertise again before the answer.
            Injector::on(&master).send(&other);
            backup.state()["master"]["address"] == "10.9.0.2"
        });

        // Then the program is attached again, without an effect on the routers.
        wait_until(BACK, "the program is back", || {
            backup.state()["datapath"] == datapath.name().expect("it is given")
        });
        let sent = flood.sent();
        wait_until(SOON, "adverts for twice Master_Down_Interval", || flood.sent() >= sent + 10);
        let state = backup.state();
        assert_eq!((&state["state"], &state["counters"]["transitions"]), (&"backup".into(), &1.into()));
        flood.stop();
        backup.wait_state("master", SOON);
    }
}

/// Some drivers take the link down when a program is taken off.
#[test]
fn program_that_is_given_up_is_taken_off_when_no_router_of_the_interface_is_master() {
    for datapath in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let [router, other] = lab.hosts();
        let daemon = Vrrpd::usual(&router, 100).datapath(datapath).start();
        daemon.wait_state("master", SOON);
        let program = router.xdp_program("eth0");
        assert!(program.is_some());
        let source = std::net::Ipv4Addr::new(10, 9, 0, 2);
        let foreign = AdvertFrame::v3(source.into(), VRID, 200, INTERVAL, &[ADDRESS.into()]).build();
        Injector::on(&other).send(&foreign);
        daemon.wait_log(SOON, "10.9.0.2, which is not in a subnet of the interface");
        let state = daemon.state();
        assert_eq!((&state["state"], &state["datapath"]), (&"master".into(), &"raw".into()));
        assert_eq!(router.xdp_program("eth0"), program, "it passes on every frame until then");

        daemon.signal(Signal::SIGUSR2);
        daemon.wait_state("backup", SOON);
        wait_until(SOON, "the program is taken off", || router.xdp_program("eth0").is_none());
    }
}

#[test]
fn adverts_discarded_by_the_kernel_are_logged_when_the_daemon_is_awake() {
    for datapath in Datapath::IN_KERNEL {
        let lab = Lab::new();
        let (backup, master, flood) = that_was_left_alone(&lab, datapath);
        let mut wrong = AdvertFrame::v3(master.ipv4().into(), VRID, 200, INTERVAL, &[ADDRESS.into()]);
        wrong.ttl = 1;
        let injector = Injector::on(&master);
        let start = Instant::now();
        for _ in 0..500 {
            injector.send(&wrong.build());
        }
        flood.stop();
        backup.wait_state("master", SOON);
        let said = "advertisements rejected in the kernel router=eth0/51 check=\"ttl\" count=";
        let line = backup.wait_log(SOON, said);
        let count: u64 = line.rsplit('=').next().and_then(|count| count.parse().ok()).expect("a number");
        assert!(count > 0 && count <= 500, "{line}");
        for _ in 0..20 {
            injector.send(&wrong.build());
            backup.state();
        }
        let most = 2 + usize::try_from(start.elapsed().as_secs()).expect("it does not take that long");
        assert!(backup.count_in_log(said) <= most, "at most one a second: {:?}", backup.log());
    }
}
