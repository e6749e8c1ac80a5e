//! Routers that start, change their configuration and leave.

use super::*;
use crate::config::{Destination, Magic, Peer};
use crate::interface::{InterfaceAddress, OtherInterfaces};
use crate::ledger::{Journal, Leftover};

type Change = fn(&mut Interface);

/// An engine without routers on eth0 with these addresses.
fn empty(addresses: Vec<InterfaceAddress>) -> Bench {
    let mut engine = Engine::new(true);
    let mut link = Link::new("eth0".to_owned());
    link.interface = Some(eth0(addresses));
    engine.add_link(link);
    let now = Instant::ZERO + Duration::from_secs(1000);
    Bench { engine, id: RouterId::FIRST, now, asked: None }
}

impl Bench {
    fn begin(&mut self, config: RouterConfig) -> Result<Vec<Output>, Inadmissible> {
        self.begin_after(config, "")
    }

    fn begin_after(&mut self, config: RouterConfig, journal: &str) -> Result<Vec<Output>, Inadmissible> {
        let now = self.time();
        let journal = Journal::parse(journal);
        let admitted = self.engine.admit(now, &config, false, &journal);
        let begun = self.engine.begin(now, config, OtherInterfaces::new(), &journal);
        assert_eq!(admitted.err(), begun.err(), "what is admitted can begin");
        begun.map(|id| {
            self.id = id;
            self.outputs()
        })
    }
}

#[test]
fn a_router_is_created_with_the_state_of_its_interface_and_waits_for_its_start() {
    let mut bench = empty(vec![address("192.0.2.1/24")]);
    let magic = Some(Magic { source: [10, 0, 0, 1].into(), destination: [10, 0, 0, 2].into() });
    let outputs = bench.begin(RouterConfig { magic, ..config("192.0.2.100") }).expect("it can");
    let id = bench.id;
    assert_eq!(
        outputs,
        [Output::Log(id, Line::MagicSource([10, 0, 0, 1].into())), Output::Expect(id, Some(OURS.into()))]
    );
    assert_eq!(bench.router().state_told(), StateName::Init);
    let mut bench = bench.begun();
    assert_eq!(bench.router().state_told(), StateName::Backup);
}

#[test]
fn a_router_that_cannot_be_changes_nothing() {
    let long =
        |count: u8| (1..=count).map(|n| VirtualAddress { address: [10, 0, 0, n].into(), prefix_len: 24 });
    let peer = Peer { address: OURS.into(), min_ttl: 255 };
    let own_peer = Destination::Peers { peers: vec![peer], ttl: 255 };
    let mac = VmacMode::Interface;
    let cases: [(RouterConfig, Change, Inadmissible); 6] = [
        (
            RouterConfig { interface: "eth1".to_owned(), ..config("192.0.2.100") },
            |_| {},
            Inadmissible::NoInterface,
        ),
        (config("192.0.2.100"), |there| there.mac = None, Inadmissible::NotEthernet),
        (
            RouterConfig { addresses: long(20).collect(), ..config("192.0.2.100") },
            |there| there.mtu = 68,
            Inadmissible::TooManyAddresses { count: 20, octets: 108, mtu: 68 },
        ),
        (
            RouterConfig { destination: own_peer, ..config("192.0.2.100") },
            |_| {},
            Inadmissible::MisplacedPeer(OURS.into()),
        ),
        (
            RouterConfig { vmac: mac, ..config("192.0.2.100") },
            |there| there.mac = Some(MacAddr([0, 0, 0x5e, 0, 1, 99])),
            Inadmissible::VmacTaken(MacAddr([0, 0, 0x5e, 0, 1, 99])),
        ),
        (
            RouterConfig { vmac: mac, ..config("192.0.2.100") },
            |there| there.mac = Some(MacAddr([0, 0, 0x5e, 0, 1, 51])),
            Inadmissible::OwnMacUnknown(MacAddr([0, 0, 0x5e, 0, 1, 51])),
        ),
    ];
    for (config, change, why) in cases {
        let mut bench = empty(vec![address("192.0.2.1/24")]);
        change(bench.link().interface.as_mut().expect("it is there"));
        assert_eq!(bench.begin(config).expect_err("it cannot"), why);
        assert!(bench.engine.routers().is_empty() && bench.outputs().is_empty());
    }
}

#[test]
fn an_interface_that_is_not_there_is_admitted_where_it_comes_back() {
    let mut bench = empty(Vec::new());
    bench.link().interface = None;
    let admit = |bench: &Bench, is_awaited| {
        bench.engine.admit(bench.time(), &config("192.0.2.100"), is_awaited, &Journal::default())
    };
    assert_eq!(admit(&bench, false), Err(Inadmissible::NoInterface));
    assert_eq!(admit(&bench, true), Ok(()));
    let mut bench = Bench::backup();
    bench.link().interface = None;
    assert_eq!(admit(&bench, false), Ok(()), "its routers wait for it");
}

#[test]
fn leftovers_of_an_earlier_daemon_are_removed_by_their_router() {
    let left = InterfaceAddress { ours: true, ..address("192.0.2.100/24") };
    let mut bench = empty(vec![address("192.0.2.1/24"), left]);
    let mac = MacAddr([0, 0, 0x5e, 0, 1, 51]);
    bench.link().interface.as_mut().expect("it is there").mac = Some(mac);
    let config = RouterConfig { vmac: VmacMode::Interface, ..config("192.0.2.100") };
    let found = Leftover::Mac { interface: "eth0".to_owned(), mac };
    assert!(!bench.engine.sees_to(&found), "it is nobody's");
    let outputs = bench.begin_after(config, "eth0 mac 02:00:00:00:00:01\n").expect("it can");
    let id = bench.id;
    assert_eq!(
        outputs[..2],
        [Output::Log(id, Line::AddressLeft(virtual_address())), Output::Log(id, Line::MacLeft(mac))]
    );
    assert!(bench.engine.sees_to(&found));
    bench.event(Event::Startup);
    bench.not_in_kernel();
    assert!(matches!(&bench.asked, Some((_, Order::Release(_)))), "{:?}", bench.asked);
}

#[test]
fn a_router_goes_on_with_other_values() {
    let mut bench = Bench::backup();
    let id = bench.id;
    let same = |priority| Box::new(RouterConfig { priority: Priority(priority), ..config("192.0.2.100") });
    let priority = bench.router().config.priority.0;
    let outputs = bench.input(Input::Exchange(id, same(priority)));
    assert_eq!(outputs, [Output::Expect(id, Some(OURS.into())), Output::ReadRecord(id)]);
    assert_eq!(bench.not_in_kernel(), []);
    bench.input(Input::Exchange(id, same(150)));
    bench.not_in_kernel();
    assert_eq!(bench.router().machine.priority(), Priority(150));
}

#[test]
fn a_change_of_priority_by_the_operator_is_confirmed() {
    let mut bench = Bench::backup();
    let id = bench.id;
    let before = bench.router().machine.priority();
    let outputs = bench.input(Input::Step(id, Step::Increase));
    bench.not_in_kernel();
    let after = bench.router().machine.priority();
    assert!(after > before);
    assert_eq!(outputs[0], Output::Log(id, Line::PriorityChanged(before, after)));
}

#[test]
fn a_leaving_router_is_removed_after_giving_everything_back_and_sending_its_last_frames() {
    let mut bench = Bench::master();
    let id = bench.id;
    let see_off = |bench: &mut Bench, is_spoken| bench.input(Input::SeeOff { router: id, is_spoken });
    assert_eq!(see_off(&mut bench, true), [], "it stays");
    bench.input(Input::Leave(id));
    let outputs = bench.not_in_kernel();
    assert!(outputs.contains(&Output::SendAdvert(id, Priority::RESIGN)), "{outputs:?}");
    assert_eq!(see_off(&mut bench, true), [], "it holds its address");
    bench.done();
    assert_eq!(see_off(&mut bench, false), [], "its resignation waits");
    assert_eq!(see_off(&mut bench, true), [Output::Forget(id)]);
    let other = bench.engine.add(Router::new(config("192.0.2.101"), LinkId::FIRST, TimeOfDay::default()));
    assert_eq!(see_off(&mut bench, false), [Output::Forget(id)], "others use the sockets of the interface");
    assert_eq!(bench.engine.remove(id).map(|router| router.is_leaving()), Some(true));
    assert_eq!(bench.engine.routers_on(LinkId::FIRST), [other]);
}

#[test]
fn routers_of_an_interface_are_in_the_kernel_unless_they_have_another_group_and_are_forgotten_there_with_it()
{
    let mut bench = Bench::backup();
    let id = bench.id;
    assert_eq!(bench.input(Input::InKernel { link: LinkId::FIRST, in_kernel: true, sees_tags: false }), []);
    assert!(bench.router().in_kernel);
    bench.router().config.destination = Destination::Peers { peers: Vec::new(), ttl: 255 };
    bench.input(Input::InKernel { link: LinkId::FIRST, in_kernel: true, sees_tags: false });
    assert!(bench.router().in_kernel);
    bench.router().config.destination = Destination::Group("239.1.2.3".parse().expect("legal"));
    bench.input(Input::InKernel { link: LinkId::FIRST, in_kernel: true, sees_tags: false });
    assert!(!bench.router().in_kernel);
    assert_eq!(bench.input(Input::KernelForgot(LinkId::FIRST)), []);
    assert!(!bench.engine.router(id).expect("it is there").kernel.is_told());
}

#[test]
fn a_router_that_begins_while_the_daemon_runs_does_not_wait_as_after_the_start_of_the_machine() {
    let delayed = || {
        let start_delay = Duration::from_secs(60);
        Bench::of(RouterConfig { start_delay, ..config("192.0.2.100") })
    };
    let mut waits = delayed();
    waits.event(Event::Startup);
    waits.not_in_kernel();
    assert!(waits.router().machine.is_in_start_delay());
    let mut skips = delayed();
    assert_eq!(skips.input(Input::SkipStartDelay(skips.id)), []);
    skips.event(Event::Startup);
    skips.not_in_kernel();
    assert!(!skips.router().machine.is_in_start_delay());
    assert_eq!(skips.miss_master(), [take(1)]);
    assert!(!waits.miss_master().contains(&take(1)), "its delay is not over");
}
