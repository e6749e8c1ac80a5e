//! What the rules do to packets, as the kernel carries them out.

#![expect(clippy::panic, reason = "a rule that this test does not know has to be shown")]

use netlink_packet_netfilter::NetfilterMessageInner;
use netlink_packet_netfilter::nftables::ExpressionAttribute;

use super::*;

const V4: &str = "10.0.0.100";
const V6: &str = "2001:db8::9";
const ETHERNET: u16 = 1;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const ECHO_REQUEST: u8 = 128;

/// A packet at the input hook.
struct Packet {
    /// `ARPHRD_…` of the interface that it came by.
    came_by: u16,
    destination: IpAddr,
    protocol: u8,
    /// The first octet behind the header of IP.
    first: u8,
}

impl Packet {
    fn to(destination: &str, protocol: u8, first: u8) -> Self {
        let destination = destination.parse().expect("an address");
        Self { came_by: ETHERNET, destination, protocol, first }
    }

    fn header(&self) -> Vec<u8> {
        match self.destination {
            IpAddr::V4(address) => [&[0xa5; 16][..], &address.octets()].concat(),
            IpAddr::V6(address) => [&[0xa5; 24][..], &address.octets()].concat(),
        }
    }

    /// What a register holds then.
    fn meta(&self, key: MetaKey) -> Vec<u8> {
        match key {
            MetaKey::Iftype => self.came_by.to_ne_bytes().to_vec(),
            MetaKey::L4Proto => vec![self.protocol],
            MetaKey::Nfproto if self.destination.is_ipv4() => vec![NFPROTO_IPV4],
            MetaKey::Nfproto => vec![NFPROTO_IPV6],
            key => panic!("the kernel knows {key:?}, this test does not"),
        }
    }
}

/// The messages that the octets of a batch hold.
fn messages(octets: &[u8]) -> Vec<NetfilterMessageInner> {
    let (mut rest, mut messages) = (octets, Vec::new());
    while !rest.is_empty() {
        let message = NetlinkMessage::<NetfilterMessage>::deserialize(rest).expect("a message");
        let length = usize::try_from(message.header.length).expect("it fits");
        rest = &rest[length.next_multiple_of(4)..];
        match message.payload {
            NetlinkPayload::InnerMessage(message) => messages.push(message.inner),
            other => panic!("not a message of netfilter: {other:?}"),
        }
    }
    messages
}

/// What the kernel has once this was carried out: rules, and the elements of sets.
#[derive(Default)]
struct Table {
    rules: Vec<Vec<Expressions>>,
    sets: Vec<(String, Vec<u8>)>,
}

impl Table {
    fn of(addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        let filter = Filter { router: "eth0/51".to_owned(), addresses };
        let mut made = Self::default();
        for message in messages(&batch(table(&filter, TableFlags::Owner))) {
            match message {
                NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) => made.rule(rule),
                NetfilterMessageInner::NfTables(NfTablesMessage::NewSetElement(elements)) => {
                    made.elements(elements);
                }
                _ => {}
            }
        }
        made
    }

    fn rule(&mut self, rule: RuleMessage) {
        let lists = rule.attributes.into_iter().filter_map(|attribute| match attribute {
            RuleAttribute::Expressions(expressions) => Some(expressions),
            _ => None,
        });
        let expressions = lists.flatten().flat_map(|element| match element {
            ListAttribute::Element(attributes) => attributes,
            other => panic!("not an expression: {other:?}"),
        });
        let data = expressions.filter_map(|attribute| match attribute {
            ExpressionAttribute::Data(expression) => Some(expression),
            _ => None,
        });
        self.rules.push(data.collect());
    }

    fn elements(&mut self, message: SetElementMessage) {
        let mut name = None;
        for attribute in message.attributes {
            match attribute {
                SetElementList::Set(set) => name = Some(set),
                SetElementList::Elements(elements) => {
                    for element in elements {
                        let ListAttribute::Element(attributes) = element else { panic!("{element:?}") };
                        let [SetElementAttribute::Key(DataAttribute::Value(octets))] = &attributes[..] else {
                            panic!("{attributes:?}");
                        };
                        self.sets.push((name.clone().expect("the set comes first"), octets.clone()));
                    }
                }
                _ => {}
            }
        }
    }

    fn drops(&self, packet: &Packet) -> bool {
        let verdict = self.rules.iter().find_map(|rule| self.verdict(rule, packet));
        verdict.unwrap_or(ACCEPT) == DROP
    }

    /// What a rule says of a packet that it is about.
    fn verdict(&self, rule: &[Expressions], packet: &Packet) -> Option<u32> {
        let mut register = Vec::new();
        for expression in rule {
            match expression {
                Expressions::Meta(attributes) => {
                    let [Meta::Key(key), Meta::DestinationRegister(Register::Reg1)] = attributes[..] else {
                        panic!("{attributes:?}");
                    };
                    register = packet.meta(key);
                }
                Expressions::Payload(attributes) => {
                    let [
                        Payload::DestinationRegister(Register::Reg1),
                        Payload::Base(base),
                        Payload::Offset(offset),
                        Payload::Len(len),
                    ] = attributes[..]
                    else {
                        panic!("{attributes:?}");
                    };
                    let header = match base {
                        NETWORK_HEADER => packet.header(),
                        TRANSPORT_HEADER => vec![packet.first],
                        base => panic!("{base}"),
                    };
                    let [offset, len] = [offset, len].map(|number| usize::try_from(number).expect("it fits"));
                    register = header[offset..offset + len].to_vec();
                }
                Expressions::Cmp(attributes) => {
                    let [
                        Cmp::SourceRegister(Register::Reg1),
                        Cmp::Op(operator),
                        Cmp::Data(DataAttribute::Value(value)),
                    ] = &attributes[..]
                    else {
                        panic!("{attributes:?}");
                    };
                    let holds = match operator {
                        Operator::Equal => register == *value,
                        Operator::GreatherThanEqual => register >= *value,
                        Operator::LessThanEqual => register <= *value,
                        operator => panic!("{operator:?}"),
                    };
                    if !holds {
                        return None;
                    }
                }
                Expressions::Lookup(attributes) => {
                    let set = attributes.iter().find_map(|attribute| match attribute {
                        Lookup::Set(set) => Some(set),
                        _ => None,
                    });
                    let set = set.expect("it names a set");
                    if !self.sets.iter().any(|(name, octets)| name == set && *octets == register) {
                        return None;
                    }
                }
                Expressions::Immediate(attributes) => {
                    let [
                        Immediate::DestinationRegister(Register::Verdict),
                        Immediate::Data(DataAttribute::Verdict(verdict)),
                    ] = &attributes[..]
                    else {
                        panic!("{attributes:?}");
                    };
                    let [VerdictAttribute::Code(code)] = verdict[..] else { panic!("{verdict:?}") };
                    return Some(code.into());
                }
                expression => panic!("{expression:?}"),
            }
        }
        None
    }
}

#[test]
fn packets_to_the_addresses_are_dropped_and_others_are_not() {
    let table = Table::of(&[V4, "10.0.0.101", V6, "fe80::33"]);
    for dropped in [V4, "10.0.0.101", V6, "fe80::33"] {
        for protocol in [ICMP, TCP, ICMPV6] {
            let packet = Packet::to(dropped, protocol, ECHO_REQUEST);
            assert!(table.drops(&packet), "{dropped} protocol {protocol}");
        }
    }
    for accepted in ["10.0.0.1", "10.0.0.102", "224.0.0.18", "2001:db8::1", "ff02::1:ff00:9"] {
        assert!(!table.drops(&Packet::to(accepted, TCP, 0)), "{accepted}");
    }
}

#[test]
fn neighbour_discovery_is_accepted_and_nothing_else_of_icmpv6() {
    let table = Table::of(&[V4, V6]);
    for message in 0..=u8::MAX {
        let is_neighbours = [NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT].contains(&message);
        assert_eq!(table.drops(&Packet::to(V6, ICMPV6, message)), !is_neighbours, "type {message}");
        // The kernel would answer this with an ICMP error.
        assert!(table.drops(&Packet::to(V4, ICMPV6, message)), "protocol 58 over IPv4, {message}");
        assert!(table.drops(&Packet::to(V6, TCP, message)), "{message} of another protocol");
    }
}

#[test]
fn packets_of_the_machine_to_itself_are_accepted() {
    let table = Table::of(&[V4, V6]);
    for address in [V4, V6] {
        let packet = Packet { came_by: LOOPBACK, ..Packet::to(address, TCP, 0) };
        assert!(!table.drops(&packet), "{address}");
    }
}

#[test]
fn family_without_addresses_has_no_rule() {
    assert_eq!(Table::of(&[V4]).rules.len(), 3);
    assert_eq!(Table::of(&[V6]).rules.len(), 3);
    assert_eq!(Table::of(&[V4, V6]).rules.len(), 4);
}

#[test]
fn more_addresses_than_an_attribute_holds_are_all_dropped() {
    let addresses: Vec<_> = (0..5000).map(|number| format!("2001:db8::{number:x}")).collect();
    let table = Table::of(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(table.sets.len(), addresses.len());
    assert!(addresses.iter().all(|address| table.drops(&Packet::to(address, TCP, 0))));
}

/// A table that was left is replaced in the same transaction, so no packet finds none.
#[test]
fn table_takes_the_place_of_one_that_is_there() {
    let filter = Filter { router: "eth0/51".to_owned(), addresses: vec![V4.parse().expect("an address")] };
    let messages = messages(&batch(table(&filter, TableFlags::empty())));
    let named =
        |table: &TableMessage| table.attributes.contains(&TableAttribute::Name("vrrpd-eth0/51".to_owned()));
    let [
        NetfilterMessageInner::None(ControlMessage::BatchBegin),
        NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(there)),
        NetfilterMessageInner::NfTables(NfTablesMessage::DeleteTable(old)),
        NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(new)),
        NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(_)),
        ..,
        NetfilterMessageInner::None(ControlMessage::BatchEnd),
    ] = &messages[..]
    else {
        panic!("{messages:?}");
    };
    assert!([there, old, new].into_iter().all(named));
}
