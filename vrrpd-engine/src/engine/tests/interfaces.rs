//! Interfaces that change, appear and disappear.

use super::*;
use crate::interface::InterfaceAddress;

const LINK: LinkId = LinkId::FIRST;

impl Bench {
    /// The interface in its present state, with a change.
    fn link_is(&mut self, change: impl FnOnce(&mut Interface)) -> Vec<Output> {
        let mut interface = self.link().interface.clone().expect("it is there");
        change(&mut interface);
        self.input(Input::LinkIs(LINK, Box::new(interface)))
    }
}

/// A Master with a macvlan link.
fn macvlan_master() -> Bench {
    let mut bench = with_macvlan(VmacFallback::None);
    bench.input(Input::Prepare(bench.id));
    let made = Some(Made { index: 9, name: "vrrp4.51".to_owned(), settings: String::new() });
    let (ticket, _) = bench.asked.take().expect("the system was asked");
    bench.input(Input::Answered(ticket, Outcome { made, ..Outcome::of(Ok(())) }));
    let mut bench = bench.begun();
    bench.miss_master();
    bench.done();
    bench
}

fn macvlan_link(bench: &mut Bench) -> Interface {
    let mac = Some(bench.router().vmac.address());
    let vmac_of = Some(bench.router().config.name().to_string());
    Interface { index: 9, name: "vrrp4.51".to_owned(), mac, vmac_of, ..eth0(Vec::new()) }
}

#[test]
fn an_interface_that_is_as_before_is_no_news() {
    let mut bench = Bench::backup();
    assert_eq!(bench.link_is(|_| {}), [Output::TellStations(LINK)]);
    let id = bench.id;
    bench.engine.remove(id);
    assert_eq!(bench.link_is(|there| there.mtu = 1400), [], "no router is on it");
    assert_eq!(bench.link().mtu(), 1400);
}

#[test]
fn an_interface_that_comes_up_is_joined_and_its_carrier_logged() {
    let mut bench = Bench::backup();
    bench.link_is(|there| there.admin_up = false);
    bench.not_in_kernel();
    assert_eq!(bench.router().state_told(), StateName::Fault);
    let outputs = bench.link_is(|there| {
        there.admin_up = true;
        there.carrier_unknown = true;
    });
    assert_eq!(outputs[..2], [Output::CarrierUnknown(LINK), Output::Join(LINK)]);
    bench.not_in_kernel();
    assert_eq!(bench.router().state_told(), StateName::Backup);
}

#[test]
fn an_interface_that_may_take_adverts_again_is_tried_before_the_pause_is_over() {
    for change in [|there: &mut Interface| there.mtu = 9000, |there: &mut Interface| there.carrier = true] {
        let mut bench = Bench::backup();
        bench.link().interface.as_mut().expect("it is there").carrier = false;
        bench.link().mtu_has_fallen();
        bench.input(Input::CannotSend(bench.id));
        bench.not_in_kernel();
        assert!(bench.router().sending.is_pausing());
        bench.link_is(change);
        assert!(!bench.router().sending.is_pausing());
        assert_ne!(bench.link().sure_mtu(), 0, "its MTU is known");
    }
}

#[test]
fn a_master_without_virtual_mac_address_announces_another_one_of_its_interface() {
    let mut bench = Bench::master();
    let id = bench.id;
    let outputs = bench.link_is(|there| there.mac = Some(MacAddr([2, 0, 0, 0, 0, 7])));
    let priority = bench.router().machine.priority();
    assert_eq!(
        outputs,
        [
            Output::WriteJournal,
            Output::KeepOwnMacs,
            Output::TellStations(LINK),
            Output::TellGuardian(id),
            Output::SendAdvert(id, priority),
            Output::Announce(id, Announced::All(Occasion::TakeOver)),
        ]
    );
    let mut bench = Bench::backup();
    let outputs = bench.link_is(|there| there.mac = Some(MacAddr([2, 0, 0, 0, 0, 7])));
    assert_eq!(outputs.last(), Some(&Output::TellStations(LINK)), "a Backup answers with none");
}

#[test]
fn the_virtual_mac_address_of_a_master_is_restored() {
    let config = RouterConfig { vmac: VmacMode::Interface, ..config("192.0.2.100") };
    let mut bench = Bench::of(config);
    let id = bench.id;
    bench.router().vmac.note_own(&eth0(Vec::new()));
    let mut bench = bench.begun();
    bench.miss_master();
    bench.done();
    let vmac = bench.router().vmac.address();
    bench.link_is(|there| there.mac = Some(vmac));
    let outputs = bench.link_is(|there| there.mac = Some(MacAddr([2, 0, 0, 0, 0, 7])));
    assert!(outputs.contains(&Output::Log(id, Line::MacChanged("eth0".to_owned()))), "{outputs:?}");
    assert!(matches!(&bench.asked, Some((_, Order::Take { .. }))), "{:?}", bench.asked);
}

#[test]
fn an_interface_that_goes_is_closed_and_its_routers_are_in_fault() {
    let mut bench = Bench::backup();
    let id = bench.id;
    assert_eq!(bench.input(Input::LinkGone(LINK, 7)), [], "it is another one");
    let outputs = bench.input(Input::LinkGone(LINK, 2));
    assert_eq!(outputs, [Output::Close(LINK), Output::Expect(id, None), Output::ReadRecord(id)]);
    bench.not_in_kernel();
    assert_eq!(bench.router().state_told(), StateName::Fault);
    assert_eq!(bench.input(Input::LinkGone(LINK, 2)), [], "it was gone");
}

#[test]
fn the_macvlan_link_of_a_master_is_kept_as_it_is_to_be() {
    let mut bench = macvlan_master();
    let id = bench.id;
    let link = macvlan_link(&mut bench);
    assert_eq!(bench.engine.concerned(&link), Some(Concerned::Router(id)));
    assert_eq!(bench.engine.holders(&link, [192, 0, 2, 100].into()), [id]);
    assert_eq!(bench.engine.concerned(&eth0(Vec::new())), Some(Concerned::Link(LINK)));
    let stranger = Interface { name: "eth9".to_owned(), ..eth0(Vec::new()) };
    assert_eq!(bench.engine.concerned(&stranger), None);
    assert_eq!(bench.input(Input::MacvlanIs(id, Box::new(link.clone()))), [], "it is");
    let down = Interface { admin_up: false, ..link.clone() };
    let outputs = bench.input(Input::MacvlanIs(id, Box::new(down)));
    assert_eq!(outputs[0], Output::Log(id, Line::MacvlanDown(link.name.clone())));
    assert!(matches!(outputs[1], Output::Ask(..)), "{outputs:?}");
    bench.done();
    bench.now += Duration::from_secs(60);
    let other = Interface { mac: Some(MacAddr([2, 0, 0, 0, 0, 7])), ..link.clone() };
    let outputs = bench.input(Input::MacvlanIs(id, Box::new(other)));
    assert_eq!(outputs[0], Output::Log(id, Line::MacvlanMacChanged(link.name.clone())));
    bench.done();
    bench.now += Duration::from_secs(60);
    let outputs = bench.input(Input::MacvlanGone(id));
    assert_eq!(outputs[0], Output::Log(id, Line::MacvlanLost));
}

#[test]
fn a_macvlan_link_that_a_backup_loses_is_made_again() {
    let mut bench = with_macvlan(VmacFallback::None).begun();
    let id = bench.id;
    let outputs = bench.input(Input::MacvlanGone(id));
    assert!(matches!(outputs[..], [Output::Ask(_, Order::Prepare(_))]), "{outputs:?}");
}

#[test]
fn a_master_with_a_macvlan_link_enforces_its_settings_when_the_interface_changes() {
    let mut bench = macvlan_master();
    bench.link_is(|there| there.carrier_unknown = true);
    assert!(matches!(&bench.asked, Some((_, Order::Take { .. }))), "{:?}", bench.asked);
    let mut bench = Bench::master();
    bench.link_is(|there| there.carrier_unknown = true);
    assert_eq!(bench.asked, None, "it has none");
}

#[test]
fn addresses_on_a_backup_added_by_others_are_logged_once() {
    let mut bench = Bench::backup();
    let id = bench.id;
    let theirs: InterfaceAddress = address("192.0.2.100/24");
    let line = Output::Log(id, Line::AddressesPresent(vec![virtual_address()]));
    let outputs = bench.link_is(|there| there.addresses.push(theirs));
    assert_eq!(outputs, [Output::TellStations(LINK), line.clone()]);
    assert!(!bench.link_is(|_| {}).contains(&line), "that was said");
    bench.link_is(|there| there.addresses.truncate(1));
    let outputs = bench.link_is(|there| there.addresses.push(theirs));
    assert!(outputs.contains(&line), "they have come back");
}

#[test]
fn journal_names_an_address_whose_notification_comes_before_the_answer() {
    let mut bench = Bench::backup();
    bench.engine.marks = false;
    let records = |bench: &mut Bench| {
        let interface = bench.link().interface.clone();
        bench.router().records(interface.as_ref()).len()
    };
    assert_eq!(records(&mut bench), 1, "what it is about to take");
    bench.miss_master();
    let there = vec![address("192.0.2.1/24"), address("192.0.2.100/24")];
    bench.input(Input::LinkIs(LinkId::FIRST, Box::new(eth0(there))));
    assert_eq!(records(&mut bench), 1, "the system was asked for it");
    let outputs = bench.answer(|_| Err(refused(Cause::Exists)));
    assert!(outputs.contains(&Output::WriteJournal), "{outputs:?}");
    assert_eq!(records(&mut bench), 0, "another program has added it");
}
