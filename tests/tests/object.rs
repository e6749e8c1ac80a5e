//! One object in the kernel for all interfaces of a process: it is loaded once, has a place for each router, and gives way to a
//! larger one when a reload adds more routers than there are places.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use vrrpd_lab::usual::{SOON, routers_file};
use vrrpd_lab::{AdvertFrame, Datapath, Flood, Host, Lab, Strace, Vrrpd, wait_until};

const DATAPATHS: [Datapath; 3] = [Datapath::Generic, Datapath::Native, Datapath::Tcx];
/// Adverts come much more often than they say, so that a busy machine makes no failover.
const INTERVAL: Duration = Duration::from_millis(10);

/// What a process has open of the kernel's BPF objects: the numbers of programs or maps, by the line of `fdinfo`.
fn numbers(pid: i32, line: &str) -> BTreeSet<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it runs");
    let texts = files.flatten().filter_map(|file| fs::read_to_string(file.path()).ok());
    texts
        .flat_map(|text| {
            text.lines().filter_map(|found| found.strip_prefix(line).map(str::to_owned)).collect::<Vec<_>>()
        })
        .collect()
}

/// Routers 1 to `last` on `eth0`, and 51.
fn file(last: u8, datapath: Datapath) -> String {
    let (key, value) = datapath.option().expect("it is named");
    let more = format!("{key} = \"{value}\"");
    let routers: Vec<_> = (1..=last).chain([51]).map(|vrid| (vrid, format!("10.1.0.{vrid}"))).collect();
    let routers: Vec<_> =
        routers.iter().map(|(vrid, address)| (*vrid, address.as_str(), more.as_str())).collect();
    routers_file(&routers)
}

/// Starts the routers of a file that says which data path they have.
fn start(host: &Host, text: &str) -> Vrrpd {
    Vrrpd::on(host).config(text).datapath(Datapath::Default).start()
}

#[test]
fn program_is_loaded_once_for_all_interfaces_and_each_hears_its_own_master() {
    for datapath in DATAPATHS {
        let mut lab = Lab::new();
        let [host, master] = lab.hosts();
        let network = lab.add_network();
        lab.join(&host, network, "eth1", "10.1.0.1/24");
        lab.join(&master, network, "eth1", "10.1.0.2/24");
        let (key, value) = datapath.option().expect("it is named");
        let router = |interface: &str| format!("interface = \"{interface}\"\n{key} = \"{value}\"");
        let (first, second) = (router("eth0"), router("eth1"));
        // The same VRID on both: what is heard on one interface is not taken for the other.
        let daemon = start(&host, &routers_file(&[(51, "10.0.0.51", &first), (51, "10.1.0.51", &second)]));
        let of = |interface: &str| {
            let states = daemon.states();
            states.into_iter().find(|state| state["interface"] == interface).expect("it has a router there")
        };
        let advert = |address: &str, own: &str| {
            let (source, address) = (own.parse().expect("an address"), address.parse().expect("an address"));
            AdvertFrame::v3(source, 51, 150, Duration::from_millis(100), &[address]).build()
        };
        let flood = Flood::every_on(
            "eth1",
            Duration::from_millis(100),
            &master,
            vec![advert("10.1.0.51", "10.1.0.2")],
        );
        wait_until(SOON, "eth0 has no master, eth1 has one", || {
            of("eth0")["state"] == "master" && of("eth1")["counters"]["adverts_received"].as_u64() >= Some(10)
        });
        let (eth0, eth1) = (of("eth0"), of("eth1"));
        assert_eq!((&eth0["counters"]["adverts_received"], &eth1["state"]), (&0.into(), &"backup".into()));
        assert_eq!(
            (eth0["datapath"].as_str(), eth1["datapath"].as_str()),
            (datapath.name(), datapath.name())
        );
        assert_eq!((&eth0["kernel"]["adverts"], &eth0["kernel"]["role"]), (&0.into(), &"master".into()));
        assert_eq!(eth1["kernel"]["master"]["priority"], 150);
        // One program for frames and one for commands.
        let programs = numbers(daemon.pid(), "prog_id:\t");
        assert_eq!(programs.len(), 2, "{datapath:?}: {programs:?}");
        flood.stop();
    }
}

#[test]
fn routers_for_which_there_is_no_place_come_with_a_reload_and_no_advert_is_lost() {
    for datapath in DATAPATHS {
        let lab = Lab::new();
        let [host, master] = lab.hosts();
        let advert = AdvertFrame::v3(
            master.ipv4().into(),
            51,
            150,
            Duration::from_millis(100),
            &["10.1.0.51".parse().expect("an address")],
        );
        let flood = Flood::every(INTERVAL, &master, vec![advert.build()]);
        let daemon = start(&host, &file(1, datapath));
        let heard = || daemon.state_of(51)["counters"]["adverts_received"].as_u64().expect("it counts");
        wait_until(SOON, "it hears the master", || heard() >= 10);
        let (heard_before, sent_before) = (heard(), flood.sent());
        let before = numbers(daemon.pid(), "prog_id:\t");
        // Sixteen places are there for two routers.
        for last in [40, 14, 45, 1] {
            daemon.reload(&file(last, datapath));
            wait_until(SOON, "all routers are there", || daemon.states().len() == usize::from(last) + 1);
            let others = daemon.states().into_iter().filter(|state| state["vrid"] != 51);
            assert!(
                others.into_iter().all(|state| state["datapath"].as_str() == datapath.name()),
                "{datapath:?}"
            );
        }
        let state = daemon.state_of(51);
        assert_eq!((&state["state"], &state["counters"]["transitions"]), (&"backup".into(), &1.into()));
        assert_eq!(state["datapath"].as_str(), datapath.name());
        assert_ne!(numbers(daemon.pid(), "prog_id:\t"), before, "a larger object was loaded");
        assert_eq!(numbers(daemon.pid(), "prog_id:\t").len(), 2, "and the smaller one is gone");
        assert_eq!(daemon.count_in_log("falling back to raw sockets"), 0);
        let sent = flood.stop();
        // One may have been heard before it was counted as sent. What packet sockets and the program both heard counts twice.
        wait_until(SOON, "every advert was heard", || heard() - heard_before + 1 >= sent - sent_before);
    }
}

/// The kernel may be slow to attach, replace and detach programs, and a Master has to advertise meanwhile.
#[test]
fn programs_are_attached_replaced_and_taken_off_outside_the_event_loop() {
    for datapath in DATAPATHS {
        let lab = Lab::new();
        let [host] = lab.hosts();
        let daemon = start(&host, &file(1, datapath));
        daemon.wait_state_of(51, "master", SOON);
        let strace = Strace::calls_of(&host, daemon.pid(), "bpf");
        let reload = |last: u8, with: Datapath| {
            daemon.reload(&file(last, with));
            let name = with.name().expect("it is named");
            wait_until(SOON, "all routers are there", || {
                let states = daemon.states();
                states.len() == usize::from(last) + 1 && states.iter().all(|state| state["datapath"] == name)
            });
        };
        // There is no place for so many routers: the program is replaced. Then it is taken off, and attached again.
        reload(40, datapath);
        reload(1, Datapath::Raw);
        reload(1, datapath);
        let calls = strace.lines();
        for slow in ["BPF_LINK_CREATE", "BPF_LINK_UPDATE", "BPF_LINK_DETACH"] {
            let made: Vec<_> = calls.iter().filter(|call| call.contains(slow)).collect();
            assert!(!made.is_empty(), "{datapath:?}: no {slow} in {calls:#?}");
            // The event loop runs in the first thread.
            let on_the_loop = format!("{} ", daemon.pid());
            assert!(!made.iter().any(|call| call.starts_with(&on_the_loop)), "{datapath:?}: {made:?}");
        }
    }
}
