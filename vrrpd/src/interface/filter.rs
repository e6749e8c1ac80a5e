//! Packet filters that drop packets to the addresses of a router (Accept_Mode, RFC 9568 §6.1): an nf_tables table for
//! each router, with a chain at the input hook. Forwarded packets, also after destination NAT, do not pass this hook.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, Expressions, Hook, Immediate, InetHookNumber,
    ListAttribute, Lookup, Meta, MetaKey, NfTablesMessage, Operator, Payload, Register, RuleAttribute,
    RuleMessage, SetAttribute, SetElementAttribute, SetElementList, SetElementMessage, SetFlags, SetMessage,
    TableAttribute, TableFlags, TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};
use vrrpd_engine::ledger::Filter;

use crate::guardian::copies::{Keeper, Kept};

/// Messages of nf_tables (`NFNL_SUBSYS_NFTABLES`).
const NFTABLES: u16 = 10;
const CHAIN: &str = "input";
/// -1, before other filters (`NF_IP_PRI_FILTER` is 0).
const PRIORITY: u32 = u32::MAX;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// `ARPHRD_LOOPBACK`
const LOOPBACK: u16 = 772;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const ICMPV6: u8 = 58;
/// Types of neighbour solicitations and advertisements (RFC 4861 §4.3, §4.4).
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Base headers of offsets (`NFT_PAYLOAD_…`).
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

/// The packet filters of a process. The socket is opened with the first one.
#[derive(Debug)]
pub(super) struct Filters {
    keeper: Keeper,
    socket: RefCell<Option<Kept<Socket>>>,
}

/// An address family in a table.
struct Family {
    set: &'static str,
    protocol: u8,
    /// Offset of the destination in the header.
    offset: u32,
    len: u32,
    addresses: Vec<Vec<u8>>,
}

impl Filters {
    /// Without filters.
    pub(super) const fn new(keeper: Keeper) -> Self {
        Self { keeper, socket: RefCell::new(None) }
    }

    /// Drops packets to these addresses, replacing an earlier filter of the router.
    pub(super) fn set(&self, filter: &Filter) -> io::Result<()> {
        let owned = self.commit(table(filter, TableFlags::Owner));
        match owned.as_ref().err().and_then(io::Error::raw_os_error).map(Errno::from_raw) {
            // Before Linux 5.12, tables cannot have an owner.
            Some(Errno::EINVAL | Errno::EOPNOTSUPP) => self.commit(table(filter, TableFlags::empty())),
            _ => owned,
        }
    }

    /// Removes the filter of this router, so that packets are accepted. Also removes one that another process left.
    pub(super) fn remove(&self, filter: &Filter) -> io::Result<()> {
        let delete = NfTablesMessage::DeleteTable(TableMessage { attributes: vec![table_name(filter)] });
        match self.commit(vec![(delete, 0)]) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
            result => result,
        }
    }

    /// Sends a batch, which the kernel executes completely or not at all.
    fn commit(&self, messages: Vec<(NfTablesMessage, u16)>) -> io::Result<()> {
        let mut open = self.socket.borrow_mut();
        let socket = match &mut *open {
            Some(socket) => socket,
            None => open.insert(self.keeper.keep(bound()?)),
        };
        socket.send_to(&batch(messages), &SocketAddr::new(0, 0), 0)?;
        answers(socket)
    }
}

fn bound() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    // The kernel has answered by the time the request was sent.
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// Reads the answers to a batch: only errors, of which the first is the cause.
fn answers(socket: &Socket) -> io::Result<()> {
    let mut result = Ok(());
    loop {
        let (datagram, _) = match socket.recv_from_full() {
            Ok(datagram) => datagram,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return result,
            Err(error) => return Err(error),
        };
        let answer = NetlinkMessage::<NetfilterMessage>::deserialize(&datagram).map_err(io::Error::other)?;
        if let NetlinkPayload::Error(error) = answer.payload
            && error.code.is_some()
            && result.is_ok()
        {
            result = Err(error.to_io());
        }
    }
}

fn batch(messages: Vec<(NfTablesMessage, u16)>) -> Vec<u8> {
    let control = |message| {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFTABLES);
        (NetfilterMessage::new(header, message), 0)
    };
    let inner = messages.into_iter().map(|(message, flags)| {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
        (NetfilterMessage::new(header, message), flags)
    });
    let all = std::iter::once(control(ControlMessage::BatchBegin))
        .chain(inner)
        .chain(std::iter::once(control(ControlMessage::BatchEnd)));
    let mut octets = Vec::new();
    for (message, flags) in all {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.finalize();
        let start = octets.len();
        octets.resize(start + message.buffer_len().next_multiple_of(4), 0);
        if let Some(place) = octets.get_mut(start..) {
            message.serialize(place);
        }
    }
    octets
}

/// The table of `eth0/51` is `vrrpd-eth0/51`.
fn name(filter: &Filter) -> String {
    format!("vrrpd-{}", filter.router)
}

fn table_name(filter: &Filter) -> TableAttribute {
    TableAttribute::Name(name(filter))
}

/// Creates the table, replacing an existing one.
fn table(filter: &Filter, flags: TableFlags) -> Vec<(NfTablesMessage, u16)> {
    let name = name(filter);
    let made = || {
        let attributes = vec![table_name(filter), TableAttribute::Flags(flags)];
        (NfTablesMessage::NewTable(TableMessage { attributes }), NLM_F_CREATE)
    };
    let delete = NfTablesMessage::DeleteTable(TableMessage { attributes: vec![table_name(filter)] });
    let chain = NfTablesMessage::NewChain(ChainMessage {
        attributes: vec![
            ChainAttribute::Table(name.clone()),
            ChainAttribute::Name(CHAIN.to_owned()),
            ChainAttribute::Hook(vec![
                Hook::Number(InetHookNumber::LocalIn.into()),
                Hook::Priority(PRIORITY),
            ]),
            ChainAttribute::Policy(ACCEPT),
            ChainAttribute::Type("filter".to_owned()),
        ],
    });
    let mut messages = vec![made(), (delete, 0), made(), (chain, NLM_F_CREATE)];
    messages.push(rule(&name, [meta(MetaKey::Iftype), is(LOOPBACK.to_ne_bytes().to_vec()), verdict(ACCEPT)]));
    messages.push(rule(
        &name,
        [
            meta(MetaKey::Nfproto),
            is(vec![NFPROTO_IPV6]),
            meta(MetaKey::L4Proto),
            is(vec![ICMPV6]),
            payload(TRANSPORT_HEADER, 0, 1),
            compare(Operator::GreatherThanEqual, vec![NEIGHBOUR_SOLICITATION]),
            compare(Operator::LessThanEqual, vec![NEIGHBOUR_ADVERTISEMENT]),
            verdict(ACCEPT),
        ],
    ));
    for (id, family) in (1..).zip(families(&filter.addresses)) {
        messages.extend(drop_of(&name, id, family));
    }
    messages
}

fn families(addresses: &[IpAddr]) -> impl Iterator<Item = Family> {
    let v4 = |address: &IpAddr| match address {
        IpAddr::V4(address) => Some(address.octets().to_vec()),
        IpAddr::V6(_) => None,
    };
    let v6 = |address: &IpAddr| match address {
        IpAddr::V6(address) => Some(address.octets().to_vec()),
        IpAddr::V4(_) => None,
    };
    let families = [
        Family {
            set: "ipv4",
            protocol: NFPROTO_IPV4,
            offset: 16,
            len: Ipv4Addr::BITS / 8,
            addresses: addresses.iter().filter_map(v4).collect(),
        },
        Family {
            set: "ipv6",
            protocol: NFPROTO_IPV6,
            offset: 24,
            len: Ipv6Addr::BITS / 8,
            addresses: addresses.iter().filter_map(v6).collect(),
        },
    ];
    families.into_iter().filter(|family| !family.addresses.is_empty())
}

/// The set of addresses of a family, and the rule that drops packets to them.
fn drop_of(table: &str, id: u32, family: Family) -> Vec<(NfTablesMessage, u16)> {
    /// Types by which `nft` prints the elements (`TYPE_IPADDR`, `TYPE_IP6ADDR`).
    const TYPES: u32 = 7;
    /// Elements in one message. The length of an attribute has 16 bits, and an element has 28 octets at most.
    const TOGETHER: usize = 1024;
    let Family { set, protocol, offset, len, addresses } = family;
    let set = set.to_owned();
    let made = NfTablesMessage::NewSet(SetMessage {
        attributes: vec![
            SetAttribute::Table(table.to_owned()),
            SetAttribute::Name(set.clone()),
            SetAttribute::Flags(SetFlags::empty()),
            SetAttribute::KeyType(TYPES + u32::from(protocol == NFPROTO_IPV6)),
            SetAttribute::KeyLen(len),
            SetAttribute::Id(id),
        ],
    });
    let element = |octets: &Vec<u8>| {
        ListAttribute::Element(vec![SetElementAttribute::Key(DataAttribute::Value(octets.clone()))])
    };
    let mut messages = vec![(made, NLM_F_CREATE)];
    messages.extend(addresses.chunks(TOGETHER).map(|addresses| {
        let attributes = vec![
            SetElementList::Table(table.to_owned()),
            SetElementList::Set(set.clone()),
            SetElementList::SetId(id),
            SetElementList::Elements(addresses.iter().map(element).collect()),
        ];
        (NfTablesMessage::NewSetElement(SetElementMessage { attributes }), NLM_F_CREATE)
    }));
    let lookup = Expressions::Lookup(vec![
        Lookup::SourceRegister(Register::Reg1),
        Lookup::Set(set),
        Lookup::SetId(id),
    ]);
    messages.push(rule(
        table,
        [
            meta(MetaKey::Nfproto),
            is(vec![protocol]),
            payload(NETWORK_HEADER, offset, len),
            lookup,
            verdict(DROP),
        ],
    ));
    messages
}

fn rule<const N: usize>(table: &str, expressions: [Expressions; N]) -> (NfTablesMessage, u16) {
    let attributes = vec![
        RuleAttribute::Table(table.to_owned()),
        RuleAttribute::Chain(CHAIN.to_owned()),
        RuleAttribute::Expressions(expressions.map(Into::into).into()),
    ];
    (NfTablesMessage::NewRule(RuleMessage { attributes }), NLM_F_CREATE | NLM_F_APPEND)
}

fn meta(key: MetaKey) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(Register::Reg1)])
}

fn payload(header: u32, offset: u32, len: u32) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(header),
        Payload::Offset(offset),
        Payload::Len(len),
    ])
}

fn is(octets: Vec<u8>) -> Expressions {
    compare(Operator::Equal, octets)
}

fn compare(operator: Operator, octets: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(octets)),
    ])
}

fn verdict(code: u32) -> Expressions {
    let verdict = vec![VerdictAttribute::Code(Verdict::Other(code))];
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(verdict)),
    ])
}
