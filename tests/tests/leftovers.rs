//! Virtual MAC addresses and addresses after a crash, and after changes by others.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::time::Duration;

use vrrpd_lab::needs::IP;
use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Capture, Datapath, Host, Lab, Signal, Snapshot, Vrrpd, VrrpdBuilder, wait_until};

const LINK: &str = "vrrp4.51";
/// For operations on hundreds of links.
const PATIENCE: Duration = Duration::from_mins(1);

fn router(host: &Host, priority: u8, mode: &str) -> VrrpdBuilder {
    Vrrpd::usual(host, priority).vmac(mode)
}

fn is_there(host: &Host, link: &str) -> bool {
    host.ip("-oneline link show").contains(&format!(" {link}@"))
}

fn is_up(host: &Host, link: &str) -> bool {
    host.ip("-oneline link show up").contains(&format!(" {link}@"))
}

/// Makes it Backup by an operator's command, beside a Master that it hears.
fn stand_back(router: &Vrrpd, other: &Vrrpd) {
    router.signal(Signal::SIGUSR2);
    wait_until(SOON, "they have changed roles", || {
        let state = router.state();
        // It serves again if the other kernel takes longer for a link than it listens.
        if state["state"] == "master" {
            router.signal(Signal::SIGUSR2);
        }
        state["state"] == "backup" && other.is_master()
    });
}

#[test]
fn recreated_link_is_down_on_a_backup() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let first = router(&a, 150, "macvlan").start();
    first.wait_state("master", SOON);
    let second = router(&b, 100, "macvlan").start();
    second.wait_state("backup", SOON);
    a.ip(&format!("link del {LINK}"));
    wait_until(SOON, "the link is there again", || is_there(&a, LINK) && a.has_address(LINK, CIDR));
    stand_back(&first, &second);
    wait_until(SOON, "the link is down", || !is_up(&a, LINK));
}

#[test]
fn link_on_an_interface_that_came_back_is_down_on_a_backup() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let first = router(&a, 150, "macvlan").start();
    first.wait_state("master", SOON);
    let second = router(&b, 100, "macvlan").start();
    a.ip("link del eth0");
    second.wait_state("master", SOON);
    lab.join(&a, 0, "eth0", "10.0.0.1/24");
    first.wait_state("master", SOON);
    wait_until(SOON, "the address is back", || is_there(&a, LINK) && a.has_address(LINK, CIDR));
    second.wait_state("backup", SOON);
    stand_back(&first, &second);
    wait_until(SOON, "the link is down", || !is_up(&a, LINK));
}

#[test]
fn leftover_link_is_removed_by_a_start_without_a_virtual_mac() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let before = Snapshot::of(&a);
    let killed = router(&a, 150, "macvlan").start();
    killed.wait_state("master", SOON);
    killed.kill();
    let other = router(&b, 200, "macvlan").start();
    other.wait_state("master", SOON);
    let again = router(&a, 150, "none").beside(&killed).start();
    again.wait_state("backup", SOON);
    wait_until(SOON, "the link is gone", || !is_there(&a, LINK));
    assert_eq!(again.terminate(), 0);
    before.assert_as_before(&a);
}

#[test]
fn addresses_that_go_at_once_all_come_back() {
    for mode in ["none", "interface", "macvlan"] {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let addresses: Vec<String> = (100..120).map(|host| format!("10.7.0.{host}/32")).collect();
        let master = router(&a, 150, mode).args(addresses.clone()).start();
        master.wait_state("master", SOON);
        let place = if mode == "macvlan" { LINK } else { "eth0" };
        a.ip(&format!("addr flush dev {place} to 10.7.0.0/16"));
        wait_until(SOON, &format!("{mode}: they are all back"), || {
            let there = a.addresses(place);
            addresses.iter().all(|address| there.contains(address))
        });
        assert_eq!(master.terminate(), 0);
        assert!(a.addresses("eth0").iter().all(|address| !address.starts_with("10.7.")));
    }
}

#[test]
fn sysctls_of_the_interface_below_are_restored_after_a_link_event() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let master = router(&a, 150, "macvlan").start();
    master.wait_state("master", SOON);
    let setting = "/proc/sys/net/ipv4/conf/eth0/arp_ignore";
    let value = || a.namespace().enter(|| fs::read_to_string(setting).expect("is there"));
    assert_eq!(value().trim(), "1");
    a.namespace().sysctl("ipv4/conf/eth0/arp_ignore", "0");
    a.ip("link set eth0 mtu 1400");
    wait_until(SOON, "the setting is right again", || value().trim() == "1");
    assert_eq!(master.state()["counters"]["transitions"], 2);
    assert_eq!(master.terminate(), 0);
    assert_eq!(value().trim(), "0");
}

#[test]
fn renamed_interface_keeps_nothing_and_the_new_one_of_its_name_gets_all() {
    for mode in ["interface", "macvlan"] {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let master = router(&a, 150, mode).start();
        master.wait_state("master", SOON);
        a.ip("link set eth0 down");
        master.wait_state("fault", SOON);
        a.ip("link set eth0 name old0");
        wait_until(SOON, "it says that the interface is gone", || {
            master.state()["reason"] == "interface-removed"
        });
        lab.join(&a, 0, "eth1", "10.0.0.7/24");
        a.ip("link set eth1 down");
        a.ip("link set eth1 name eth0");
        a.ip("link set eth0 up");
        master.wait_state("master", SOON);
        let links = a.ip("-oneline link show");
        assert!(!links.contains("@old0"), "{mode}: {links}");
        assert_eq!(master.terminate(), 0);
        assert!(!is_there(&a, LINK));
        assert!(!a.ip("link show").contains("00:00:5e:00:01"), "{mode}");
    }
}

#[test]
fn interface_that_takes_the_name_of_one_that_is_gone_serves_the_routers_of_that_name_only() {
    const OTHER: &str = "10.1.0.100/24";
    for mode in ["none", "interface", "macvlan"] {
        let mut lab = Lab::new();
        let [a, client] = lab.hosts();
        let network = lab.add_network();
        lab.join(&a, network, "eth1", "10.1.0.1/24");
        lab.join(&client, network, "eth1", "10.1.0.9/24");
        let own = a.mac("eth1");
        let router = |interface: &str, vrid: u8, address: &str| {
            format!(
                "[[router]]\ninterface = \"{interface}\"\nvrid = {vrid}\naddresses = [\"{address}\"]\n\
                 protocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"{mode}\"\n"
            )
        };
        let file = router("eth0", 51, CIDR) + &router("eth1", 52, OTHER);
        let daemon = Vrrpd::on(&a).config(&file).vrid(51).start();
        let state_of = |vrid: u8| daemon.state_of(vrid);
        wait_until(SOON, "both are master", || {
            [51, 52].into_iter().all(|vrid| state_of(vrid)["state"] == "master")
        });

        a.ip("link del eth0");
        wait_until(SOON, "one is gone", || state_of(51)["reason"] == "interface-removed");
        // Older kernels rename only an interface that is down.
        if !a.run(IP.require(), ["link", "set", "eth1", "name", "eth0"]).success() {
            a.ip("link set eth1 down");
            a.ip("link set eth1 name eth0");
            a.ip("link set eth0 up");
        }
        wait_until(SOON, &format!("{mode}: the other one is gone"), || {
            state_of(52)["reason"] == "interface-removed"
        });
        wait_until(SOON, &format!("{mode}: the name has its router"), || state_of(51)["state"] == "master");
        wait_until(SOON, &format!("{mode}: it has its addresses and no others"), || {
            let everywhere = a.ip("-oneline addr show");
            everywhere.contains(CIDR) && !everywhere.contains(OTHER)
        });
        let capture = Capture::on_interface(&client, "eth1");
        for _ in 0..3 {
            capture.wait_advert(SOON, "the router of the name is heard there", |advert| advert.vrid == 51);
            assert!(capture.adverts().iter().all(|(_, advert)| advert.vrid == 51), "{mode}");
            capture.clear();
        }
        assert_eq!(daemon.terminate(), 0);
        assert_eq!(a.mac("eth0"), own, "{mode}");
        assert!(!a.ip("link show").contains("00:00:5e:00:01"), "{mode}");
    }
}

#[test]
fn nothing_stays_on_an_interface_that_was_renamed_before_the_end() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let master = router(&a, 150, "macvlan").start();
    master.wait_state("master", SOON);
    a.ip("link set eth0 down");
    master.wait_state("fault", SOON);
    a.ip("link set eth0 name old0");
    wait_until(SOON, "it says that the interface is gone", || {
        master.state()["reason"] == "interface-removed"
    });
    assert_eq!(master.terminate(), 0);
    assert!(!is_there(&a, LINK));
    for key in ["arp_ignore", "arp_announce"] {
        let value = a.namespace().enter(|| fs::read_to_string(format!("/proc/sys/net/ipv4/conf/old0/{key}")));
        assert_eq!(value.expect("is there").trim(), "0", "{key}");
    }
}

#[test]
fn interfaces_that_get_their_virtual_mac_at_the_same_time_all_get_it_and_keep_their_neighbours() {
    const SIDES: [(&str, u8); 3] = [("eth0", 51), ("eth1", 52), ("eth2", 53)];
    let mut lab = Lab::new();
    let [a] = lab.hosts();
    let mut file = "[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"interface\"\n".to_owned();
    for (side, (interface, vrid)) in SIDES.into_iter().enumerate() {
        if side > 0 {
            let network = lab.add_network();
            lab.join(&a, network, interface, &format!("10.{side}.0.1/24"));
        }
        for host in 10..40 {
            let neighbour = format!("10.{side}.0.{host} lladdr 02:00:00:00:00:{host} dev {interface}");
            a.ip(&format!("neigh add {neighbour} nud permanent"));
        }
        writeln!(
            file,
            "[[router]]\ninterface = \"{interface}\"\nvrid = {vrid}\naddresses = [\"10.{side}.0.100/24\"]"
        )
        .expect("writing to a string works");
    }
    // They become master at the same moment.
    file += "[[group]]\nname = \"edge\"\nmembers = [\"eth0/51\", \"eth1/52\", \"eth2/53\"]\n";
    let before = Snapshot::of(&a);
    let daemon = Vrrpd::on(&a).config(&file).start();
    wait_until(SOON, "all are master", || daemon.states().iter().all(|state| state["state"] == "master"));
    for (interface, vrid) in SIDES {
        assert_eq!(a.mac(interface), [0, 0, 0x5e, 0, 1, vrid], "{interface}: {:#?}", daemon.log());
    }
    assert_eq!(daemon.terminate(), 0);
    before.assert_as_before(&a);
}

#[test]
fn hundreds_of_links_and_the_settings_below_are_as_before_after_sigterm() {
    let mut lab = Lab::new();
    let [a] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    let before = Snapshot::of(&a);
    let mut file =
        "[defaults]\nprotocol = \"v3\"\nvmac = \"macvlan\"\nvmac-fallback = \"refuse\"\n".to_owned();
    for (interface, network, routers) in [("eth0", 0, 255), ("eth1", 1, 45)] {
        for vrid in 1..=routers {
            writeln!(
                file,
                "[[router]]\ninterface = \"{interface}\"\nvrid = {vrid}\naddresses = [\"10.{network}.1.{vrid}/32\"]"
            )
            .expect("writing to a string works");
        }
    }
    let daemon = Vrrpd::on(&a).config(&file).start();
    wait_until(PATIENCE, "all are master", || {
        daemon.states().iter().filter(|state| state["state"] == "master").count() == 300
    });
    let links = || a.ip("-oneline link show").lines().filter(|line| line.contains(" vrrp4.")).count();
    assert_eq!(links(), 300);
    daemon.signal(Signal::SIGTERM);
    // The kernel waits for all processors for each link that is set down and for each that is removed.
    wait_until(PATIENCE, "it has left", || !daemon.is_running());
    assert_eq!(daemon.wait(), 0);
    assert_eq!(daemon.count_in_log("in time"), 0, "{:#?}", daemon.log());
    before.assert_as_before(&a);
}

#[test]
fn link_that_cannot_be_set_up_is_not_left_behind() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    // Two links of an interface with the same MAC address cannot both be up.
    a.ip("link add link eth0 name other address 00:00:5e:00:01:33 type macvlan mode bridge");
    // Otherwise duplicate address detection would run for its link-local address meanwhile.
    a.ip("link set other addrgenmode none");
    a.ip("link set other up");
    let before = Snapshot::of(&a);
    let without = router(&a, 150, "macvlan").start();
    without.wait_log(SOON, "continuing without it");
    without.wait_state("master", SOON);
    assert_eq!(without.terminate(), 0);
    before.assert_as_before(&a);
}

#[test]
fn leftovers_of_a_kill_are_remembered_over_a_failed_start() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let before = Snapshot::of(&a);
    let killed = router(&a, 150, "interface").start();
    killed.wait_state("master", SOON);
    killed.kill();
    // In the place of the socket, which is created late.
    let socket = killed.directory().join("vrrpd_eth0_51.sock");
    fs::remove_file(&socket).expect("the kill has left it");
    fs::create_dir(&socket).expect("it can be made");
    let failed = router(&a, 150, "interface").beside(&killed).run_in_foreground();
    assert_eq!(failed.code, 1, "{failed:?}");
    fs::remove_dir(&socket).expect("it is still there");
    let again = router(&a, 150, "interface").beside(&killed).start();
    // It is Backup for a moment only.
    again.wait_log(SOON, "to=\"backup\"");
    assert_eq!(again.terminate(), 0);
    before.assert_as_before(&a);
}

#[test]
fn virtual_mac_that_a_kill_left_is_given_back_by_another_router_of_the_same_file() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let before = Snapshot::of(&a);
    let file = |vrid: u8| {
        format!(
            "[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\n[[router]]\ninterface = \"eth0\"\nvrid = {vrid}\n\
             addresses = [\"{CIDR}\"]\n"
        )
    };
    let killed = Vrrpd::on(&a).config(&file(51)).start();
    killed.wait_state("master", SOON);
    killed.kill();
    let again = Vrrpd::on(&a).beside(&killed).config(&file(52)).start();
    again.wait_state("master", SOON);
    assert!(a.ip("link show dev eth0").contains("00:00:5e:00:01:34"));
    assert_eq!(again.terminate(), 0);
    before.assert_as_before(&a);
}

#[test]
fn leftovers_of_a_kill_are_removed_by_a_start_without_a_virtual_mac() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let before = Snapshot::of(&a);
    let killed = router(&a, 150, "interface").start();
    killed.wait_state("master", SOON);
    killed.kill();
    let again = router(&a, 150, "none").beside(&killed).start();
    again.wait_state("master", SOON);
    assert_eq!(again.terminate(), 0);
    before.assert_as_before(&a);
}

#[test]
fn address_that_another_program_removes_is_taken_by_the_master_and_given_back_by_the_start_after_a_kill() {
    const OTHER: &str = "10.0.0.101/32";
    let lab = Lab::new();
    let [a] = lab.hosts();
    let before = Snapshot::of(&a);
    a.ip(&format!("addr add {OTHER} dev eth0"));
    let killed = router(&a, 150, "none").address("10.0.0.101").start();
    killed.wait_state("master", SOON);
    let journal = || fs::read_to_string(killed.directory().join("vrrpd_eth0_51.journal")).expect("is there");
    assert!(!journal().contains(OTHER), "it is another's: {}", journal());
    a.ip(&format!("addr del {OTHER} dev eth0"));
    wait_until(SOON, "it has taken it, and the journal has it", || {
        a.has_address("eth0", OTHER) && journal().contains(OTHER)
    });
    killed.assert_in_log("virtual address lost, restoring", 1);
    assert_eq!(killed.state()["state"], "master");
    killed.kill();
    let again = router(&a, 150, "none").beside(&killed).start();
    wait_until(SOON, "it is gone", || !a.has_address("eth0", OTHER));
    assert_eq!(again.terminate(), 0);
    before.assert_as_before(&a);
}

#[test]
fn address_that_a_kill_left_on_another_interface_is_given_back_by_the_guardian_and_by_the_next_start() {
    const OTHER: &str = "10.1.0.100/24";
    let mut lab = Lab::new();
    let [a] = lab.hosts();
    let second = lab.add_network();
    lab.join(&a, second, "eth1", "10.1.0.1/24");
    let before = Snapshot::of(&a);
    let start = || router(&a, 150, "none").args(["10.1.0.100/24 interface eth1"]);
    let killed = start().start();
    killed.wait_state("master", SOON);
    assert!(a.has_address("eth1", OTHER));
    killed.kill_daemon();
    wait_until(SOON, "the guardian gives it back", || !a.has_address("eth1", OTHER));
    let killed = start().start();
    killed.wait_state("master", SOON);
    killed.kill();
    assert!(a.has_address("eth1", OTHER), "nobody is left");
    let again = router(&a, 150, "none").beside(&killed).start();
    wait_until(SOON, "it is gone", || !a.has_address("eth1", OTHER));
    assert_eq!(again.terminate(), 0);
    before.assert_as_before(&a);
}

#[test]
fn journal_that_is_a_link_to_another_file_is_not_read() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let builder = router(&a, 150, "none");
    let directory = builder.directory();
    fs::create_dir(&directory).expect("it can be made");
    let elsewhere = directory.with_file_name("elsewhere");
    fs::write(&elsewhere, "eth0 10.0.0.1/24\n").expect("it can be written");
    symlink(&elsewhere, directory.join("vrrpd_eth0_51.journal")).expect("it can be made");
    let router = builder.start();
    router.wait_state("master", SOON);
    assert!(a.has_address("eth0", "10.0.0.1/24"), "the administrator's own address stays");
}

#[test]
fn pins_are_not_made_in_a_directory_of_another_user_nor_read_from_it() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let builder = || Vrrpd::usual(&a, 100).datapath(Datapath::Generic);
    let first = builder().start();
    let interface = a.namespace().pins("eth0");
    assert!(interface.join("records").exists());
    first.kill();
    // As a user could do on a file system with its default mode.
    chown(&interface, Some(65534), None).expect("root can");
    let router = builder().start();
    let said = format!("chown root {}", interface.display());
    let line = router.wait_log(SOON, "cannot pin maps");
    assert!(line.contains(&said), "{line}");
    chown(&interface, Some(0), None).expect("root can");
    let directory = interface.parent().expect("it is in one");
    chown(directory, Some(65534), None).expect("root can");
    let state = router.atropos(&["--state"]);
    assert!(state.stderr.contains(&format!("chown root {}", directory.display())), "{state:?}");
    chown(directory, Some(0), None).expect("root can");
    assert_eq!(router.terminate(), 0);
    builder().start();
}
