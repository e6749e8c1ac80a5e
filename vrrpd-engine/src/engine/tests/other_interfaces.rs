//! Virtual addresses on other interfaces than the router's own.

use super::*;

/// A router with an address on eth1, and the resources it takes there.
fn with_another_interface() -> (RouterConfig, Interface, Vec<Resource>) {
    let mut config = config("192.0.2.100 198.51.100.1");
    let elsewhere = config.addresses[1];
    config.address_interfaces.insert(elsewhere.address, "eth1".to_owned());
    let eth1 = Interface { index: 7, name: "eth1".to_owned(), ..eth0(Vec::new()) };
    let options = AddressOptions::default();
    let placed = PlacedAddress { on: Place::Interface(7), address: elsewhere, route: true, options };
    (config, eth1, vec![Resource::Address(placed)])
}

fn asks_for(outputs: &[Output], wanted: &Order) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Ask(_, order) if order == wanted))
}

#[test]
fn address_removed_from_an_interface_is_lost_by_the_router_that_is_to_have_it_there() {
    let (config, eth1, _) = with_another_interface();
    let (own, elsewhere) = (config.addresses[0].address, config.addresses[1].address);
    let mut bench = Bench::of(config);
    let id = bench.id;
    let eth0 = bench.link().interface.clone().expect("it is there");
    assert_eq!(bench.engine.holders(&eth0, own), [id]);
    assert_eq!(bench.engine.holders(&eth0, elsewhere), []);
    assert_eq!(bench.engine.holders(&eth1, elsewhere), [id]);
    assert_eq!(bench.engine.holders(&eth1, own), []);
    assert_eq!(bench.engine.routers_elsewhere("eth1"), [id]);
    assert_eq!(bench.engine.routers_elsewhere("eth0"), []);
}

#[test]
fn master_goes_on_without_another_interface_and_takes_its_addresses_when_that_comes() {
    let (config, eth1, resources) = with_another_interface();
    let mut bench = Bench::of(config).begun();
    let id = bench.id;
    let missing = Output::Log(id, Line::InterfaceMissing("eth1".to_owned()));
    let outputs = bench.miss_master();
    assert_eq!(outputs[0], missing);
    bench.done();
    assert!(bench.router().is_settled_master());
    let other = |there: Option<&Interface>| {
        Input::OtherInterface(id, "eth1".to_owned(), there.cloned().map(Box::new))
    };
    let outputs = bench.input(other(Some(&eth1)));
    assert!(
        asks_for(&outputs, &Order::Take { resources: resources.clone(), or_without: true }),
        "{outputs:?}"
    );
    bench.done();
    let outputs = bench.input(other(None));
    assert!(outputs.contains(&missing), "{outputs:?}");
    assert!(asks_for(&outputs, &Order::Release(resources)), "{outputs:?}");
    bench.done();
    assert!(bench.router().is_settled_master());
}

#[test]
fn requested_address_on_another_interface_is_not_requested_again_before_the_answer() {
    let (config, eth1, resources) = with_another_interface();
    let mut bench = Bench::of(config).begun();
    let id = bench.id;
    let other =
        |there: &Interface| Input::OtherInterface(id, "eth1".to_owned(), Some(Box::new(there.clone())));
    bench.input(other(&eth1));
    let outputs = bench.miss_master();
    assert!(outputs.iter().any(|output| matches!(output, Output::Ask(_, order) if order.takes("198.51.100.1".parse().expect("legal")))));
    // The kernel notifies of a change of the interface before it has the address.
    let before = bench.engine.deadline();
    for mtu in [1400, 1300] {
        bench.input(other(&Interface { mtu, ..eth1.clone() }));
        assert_eq!(bench.engine.deadline(), before, "nothing is to be restored");
    }
    let outputs = bench.done();
    assert!(!outputs.iter().any(|output| matches!(output, Output::Ask(..))), "{outputs:?}");
    assert!(bench.router().is_settled_master());
    // An index of another interface is another place.
    let again = Interface { index: 8, ..eth1 };
    let outputs = bench.input(other(&again));
    assert!(!asks_for(&outputs, &Order::Take { resources, or_without: true }), "{outputs:?}");
    assert!(outputs.iter().any(|output| matches!(output, Output::Ask(..))), "{outputs:?}");
}

#[test]
fn addresses_that_come_to_another_interface_after_that_was_renamed_are_given_back() {
    let (config, eth1, resources) = with_another_interface();
    let mut bench = Bench::of(config.clone()).begun();
    let id = bench.id;
    bench.input(Input::OtherInterface(id, "eth1".to_owned(), Some(Box::new(eth1))));
    let outputs = bench.miss_master();
    assert!(!outputs.contains(&Output::Log(id, Line::InterfaceMissing("eth1".to_owned()))), "{outputs:?}");
    let outputs = bench.input(Input::OtherInterface(id, "eth1".to_owned(), None));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Ask(..))), "{outputs:?}");
    let outputs = bench.done();
    assert!(asks_for(&outputs, &Order::Release(resources)), "{outputs:?}");
    // An address lost meanwhile on the router's own interface is restored after that.
    let lost = config.addresses[0];
    bench.input(Input::AddressLost(id, lost.address, Remover::Other));
    let outputs = bench.done();
    assert!(outputs.contains(&Output::Log(id, Line::AddressLost(lost, 0))), "{outputs:?}");
    let takes = |order: &Order| order.takes(lost.address);
    assert!(
        outputs.iter().any(|output| matches!(output, Output::Ask(_, order) if takes(order))),
        "{outputs:?}"
    );
    bench.done();
    assert!(bench.router().is_settled_master());
}

#[test]
fn address_that_cannot_be_removed_from_a_renamed_interface_is_not_tried_again_at_once() {
    let (config, eth1, resources) = with_another_interface();
    let mut bench = Bench::of(config).begun();
    let id = bench.id;
    bench.input(Input::OtherInterface(id, "eth1".to_owned(), Some(Box::new(eth1))));
    bench.miss_master();
    bench.done();
    let outputs = bench.input(Input::OtherInterface(id, "eth1".to_owned(), None));
    assert!(asks_for(&outputs, &Order::Release(resources)), "{outputs:?}");
    let error = SystemError { cause: Cause::Other, text: "busy".to_owned() };
    let outputs = bench.answer(|_| Err(error.clone()));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Ask(..))), "{outputs:?}");
    assert!(bench.router().is_settled_master());
}
