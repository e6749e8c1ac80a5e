//! What a router says on its networks, and what its guardian says and runs in its place.

use std::path::PathBuf;

use super::*;
use crate::config::{AuthKind, Pauses};
use crate::interface::InterfaceAddress;
use crate::script::Script;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// A Master whose interface has one more address, and whose second address is on `eth1`.
fn master() -> Bench {
    let mut config = config("192.0.2.100 198.51.100.1");
    config.address_interfaces = [([198, 51, 100, 1].into(), "eth1".to_owned())].into();
    config.announce.count = 3;
    config.announce.pauses = Pauses { arp: Duration::from_millis(5), na: Duration::ZERO };
    let mut bench = Bench::of(config).begun();
    let router = bench.router();
    router
        .others
        .insert("eth1".to_owned(), Interface { index: 7, name: "eth1".to_owned(), ..eth0(Vec::new()) });
    let interface = bench.link().interface.as_mut().expect("it is there");
    interface.mac = Some(OWN);
    let other = |text: &str| InterfaceAddress { ours: true, ..address(text) };
    interface.addresses.extend([address("192.0.2.2/24"), other("192.0.2.99/24")]);
    bench.miss_master();
    bench.done();
    bench
}

fn mac_of_eth1() -> MacAddr {
    eth0(Vec::new()).mac.expect("it has one")
}

#[test]
fn master_announces_its_addresses_on_each_interface_that_has_some() {
    let bench = master();
    let elsewhere = AnnouncedOn {
        name: "eth1".to_owned(),
        index: 7,
        mac: mac_of_eth1(),
        addresses: vec![[198, 51, 100, 1].into()],
    };
    let all = Announcement {
        count: 3,
        pauses: Pauses { arp: Duration::from_millis(5), na: Duration::ZERO },
        here: Some((OWN, vec![[192, 0, 2, 100].into()])),
        elsewhere: vec![elsewhere],
        with_magic: true,
    };
    let announced = |announced| bench.engine.announcement(bench.id, announced);
    assert_eq!(announced(Announced::All(Occasion::TakeOver)).as_ref(), Some(&all));
    let elsewhere = Announcement { count: 1, here: None, with_magic: false, ..all };
    assert_eq!(announced(Announced::All(Occasion::Elsewhere)), Some(elsewhere), "on the others alone");
}

#[test]
fn interface_s_own_addresses_are_announced_where_its_mac_address_has_changed() {
    let mut bench = Bench::of(RouterConfig { vmac: VmacMode::Interface, ..config("192.0.2.100") });
    let other = |text: &str| InterfaceAddress { ours: true, ..address(text) };
    let tentative = |text: &str| InterfaceAddress { tentative: true, ..address(text) };
    let more = [other("192.0.2.99/24"), tentative("192.0.2.3/24"), address("192.0.2.2/24")];
    bench.link().interface.as_mut().expect("it is there").addresses.extend(more);
    let announced = |bench: &Bench, announced| {
        let announcement = bench.engine.announcement(bench.id, announced).expect("it is there");
        assert_eq!(announcement.elsewhere, []);
        announcement.here.map(|(_, addresses)| addresses)
    };
    let own: Vec<IpAddr> = vec![OURS.into(), [192, 0, 2, 2].into()];
    let with_virtual = [vec![[192, 0, 2, 100].into()], own.clone()].concat();
    assert_eq!(announced(&bench, Announced::All(Occasion::TakeOver)), Some(with_virtual));
    assert_eq!(announced(&bench, Announced::Own), Some(own));
    // Hosts know the other ones of an owner by that MAC address already.
    let mut bench = with_macvlan(VmacFallback::Refuse);
    bench
        .link()
        .interface
        .as_mut()
        .expect("it is there")
        .addresses
        .extend([address("192.0.2.100/24"), address("192.0.2.2/24")]);
    assert_eq!(announced(&bench, Announced::Own), Some(vec![[192, 0, 2, 100].into()]));
    let mut bench = Bench::new();
    bench.link().interface = None;
    assert_eq!(announced(&bench, Announced::All(Occasion::TakeOver)), None, "no MAC address is known");
    bench.engine.remove(bench.id);
    assert_eq!(bench.engine.announcement(bench.id, Announced::Own), None);
}

#[test]
fn guardian_of_a_master_resigns_and_gives_back_what_it_holds() {
    let mut bench = master();
    let id = bench.id;
    let acts = bench.engine.last_acts(id).expect("it is Master");
    let (mac, advert) = acts.resignation.expect("can be made");
    assert_eq!((mac, advert.priority, advert.addresses), (OWN, Priority::RESIGN, 2));
    assert!(acts.holds.iter().any(|held| held.address == virtual_address()), "{acts:?}");
    assert_eq!((acts.script, acts.group_script), (None, None));
    bench.router().config.scripts.notify = Some(Script::new(PathBuf::from("/bin/true")));
    assert!(bench.engine.last_acts(id).expect("it is Master").script.is_some());
    bench.router().config.auth = AuthKind::Ah;
    let acts = bench.engine.last_acts(id).expect("it is Master");
    assert_eq!(acts.resignation, None, "each has a number that only the daemon knows");
    bench.event(Event::Advert(super::advert(200)));
    bench.done();
    assert_eq!(bench.engine.last_acts(id), None, "it is Backup");
    bench.engine.remove(id);
    assert_eq!(bench.engine.last_acts(id), None, "it has left");
}
