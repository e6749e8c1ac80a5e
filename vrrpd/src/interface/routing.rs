//! Netlink requests that add and remove routes and policy rules.

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteScope, RouteType, RouteVia,
};
use rtnetlink::packet_route::rule::{
    RuleAction as Action, RuleAttribute, RuleFlags, RuleMessage, RulePortRange,
};
use rtnetlink::packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage};
use vrrpd_common::Family;
use vrrpd_engine::ledger::Resource;
use vrrpd_engine::routing::{NextHop, PROTOCOL, PortRange, Prefix, Route, RouteKind, Rule, RuleAction};

/// Scopes of routes (`RT_SCOPE_…`).
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;

/// Adds it; to be sent with [`Create`](super::ask::Manner::Create). `ENODEV` if an interface does not exist.
pub(super) fn add(resource: &Resource) -> io::Result<RouteNetlinkMessage> {
    match resource {
        Resource::Rule(rule) => Ok(RouteNetlinkMessage::NewRule(rule_message(rule))),
        Resource::Route(route) => Ok(RouteNetlinkMessage::NewRoute(route_message(route)?)),
        Resource::Mac(_)
        | Resource::Link(_)
        | Resource::Answers(_)
        | Resource::Filter(_)
        | Resource::Address(_) => Err(Errno::EINVAL.into()),
    }
}

/// Removes it, if it has our protocol number; fails with `ESRCH` or `ENOENT` if it does not exist.
pub(super) fn remove(resource: &Resource) -> io::Result<RouteNetlinkMessage> {
    Ok(match add(resource)? {
        RouteNetlinkMessage::NewRoute(route) => RouteNetlinkMessage::DelRoute(route),
        RouteNetlinkMessage::NewRule(rule) => RouteNetlinkMessage::DelRule(rule),
        other => other,
    })
}

const fn family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

/// The table number in the header, if it fits.
fn small_table(table: u32) -> u8 {
    u8::try_from(table).unwrap_or(0)
}

fn route_message(route: &Route) -> io::Result<RouteMessage> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.family);
    message.header.table = small_table(route.table);
    message.header.protocol = RouteProtocol::from(PROTOCOL);
    message.header.tos = route.tos;
    message.header.kind = match route.kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Local => RouteType::Local,
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Prohibit => RouteType::Prohibit,
        RouteKind::Throw => RouteType::Throw,
    };
    message.header.scope = RouteScope::from(route.scope.unwrap_or_else(|| scope(route)));
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    if let Some(Prefix { address, len }) = route.destination {
        message.header.destination_prefix_length = len;
        attributes.push(RouteAttribute::Destination(route_address(address)));
    }
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(route_address(source))));
    let metrics = [route.mtu.map(RouteMetric::Mtu), route.advmss.map(RouteMetric::Advmss)];
    let metrics: Vec<_> = metrics.into_iter().flatten().collect();
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    match &route.next_hops[..] {
        [] => {}
        [hop] => {
            attributes.extend(gateway(route.family, hop));
            attributes.extend(device(hop)?.map(RouteAttribute::Oif));
            if hop.onlink {
                message.header.flags |= RouteFlags::Onlink;
            }
        }
        hops => {
            let hops = hops.iter().map(|hop| next_hop(route.family, hop)).collect::<io::Result<_>>()?;
            attributes.push(RouteAttribute::MultiPath(hops));
        }
    }
    Ok(message)
}

/// As `ip route add` chooses it.
fn scope(route: &Route) -> u8 {
    let is_direct = !route.next_hops.is_empty() && route.next_hops.iter().all(|hop| hop.via.is_none());
    match (route.family, route.kind) {
        (Family::Ipv4, RouteKind::Local) => SCOPE_HOST,
        (Family::Ipv4, RouteKind::Unicast) if is_direct => SCOPE_LINK,
        (Family::Ipv4 | Family::Ipv6, _) => 0,
    }
}

fn next_hop(family: Family, hop: &NextHop) -> io::Result<RouteNextHop> {
    let mut message = RouteNextHop::default();
    message.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    message.interface_index = device(hop)?.unwrap_or_default();
    message.attributes.extend(gateway(family, hop));
    if hop.onlink {
        message.flags |= RouteNextHopFlags::Onlink;
    }
    Ok(message)
}

/// The gateway. One of the other family has a different attribute.
fn gateway(of: Family, hop: &NextHop) -> Option<RouteAttribute> {
    Some(match (of, hop.via?) {
        (Family::Ipv4, IpAddr::V6(via)) => RouteAttribute::Via(RouteVia::Inet6(via)),
        (Family::Ipv6, IpAddr::V4(via)) => RouteAttribute::Via(RouteVia::Inet(via)),
        (Family::Ipv4 | Family::Ipv6, via) => RouteAttribute::Gateway(route_address(via)),
    })
}

fn device(hop: &NextHop) -> io::Result<Option<u32>> {
    Ok(hop.device.as_deref().map(if_nametoindex).transpose()?)
}

const fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn rule_message(rule: &Rule) -> RuleMessage {
    /// `FRA_PROTOCOL`
    const FRA_PROTOCOL: u16 = 21;
    let mut message = RuleMessage::default();
    message.header.family = family(rule.family);
    message.header.tos = rule.tos;
    if rule.inverted {
        message.header.flags |= RuleFlags::Invert;
    }
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Other(DefaultNla::new(FRA_PROTOCOL, vec![PROTOCOL])));
    attributes.push(RuleAttribute::Priority(rule.preference));
    if let Some(Prefix { address, len }) = rule.from {
        message.header.src_len = len;
        attributes.push(RuleAttribute::Source(address));
    }
    if let Some(Prefix { address, len }) = rule.to {
        message.header.dst_len = len;
        attributes.push(RuleAttribute::Destination(address));
    }
    attributes.extend(rule.iif.clone().map(RuleAttribute::Iifname));
    attributes.extend(rule.oif.clone().map(RuleAttribute::Oifname));
    if let Some((mark, mask)) = rule.mark {
        attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
    }
    attributes.extend(rule.protocol.map(|protocol| RuleAttribute::IpProtocol(IpProtocol::from(protocol))));
    let range = |PortRange { first, last }| RulePortRange { start: first, end: last };
    attributes.extend(rule.source_ports.map(range).map(RuleAttribute::SourcePortRange));
    attributes.extend(rule.destination_ports.map(range).map(RuleAttribute::DestinationPortRange));
    message.header.action = match rule.action {
        RuleAction::Table(table) => {
            message.header.table = small_table(table);
            attributes.push(RuleAttribute::Table(table));
            Action::ToTable
        }
        RuleAction::Goto(preference) => {
            attributes.push(RuleAttribute::Goto(preference));
            Action::Goto
        }
        RuleAction::Blackhole => Action::Blackhole,
        RuleAction::Unreachable => Action::Unreachable,
        RuleAction::Prohibit => Action::Prohibit,
    };
    message
}
