//! Route check: a route in the main table, watched by netlink.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::link::LinkFlags;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{MulticastGroup, new_connection, new_multicast_connection};
use tokio::time::sleep;
use vrrpd_engine::track::{Finding, RoutePrefix};

use super::reporter::Reporter;
use crate::lane::Lane;

/// Retry interval after the kernel refused a dump.
const AGAIN: Duration = Duration::from_secs(1);

/// Reports whether there is a route to this prefix, whenever that may have changed.
pub(super) async fn watch(prefix: RoutePrefix, reporter: Reporter, lane: Lane) {
    loop {
        if let Err(error) = follow(prefix, &reporter, &lane).await {
            tracing::warn!(route = %prefix, %error, "cannot read routes, retrying");
        }
        sleep(AGAIN).await;
    }
}

async fn follow(prefix: RoutePrefix, reporter: &Reporter, lane: &Lane) -> io::Result<()> {
    // The kernel does not report routes that are removed with their interface or its address.
    let groups = match prefix.address {
        IpAddr::V4(_) => [MulticastGroup::Link, MulticastGroup::Ipv4Route, MulticastGroup::Ipv4Ifaddr],
        IpAddr::V6(_) => [MulticastGroup::Link, MulticastGroup::Ipv6Route, MulticastGroup::Ipv6Ifaddr],
    };
    let (connection, _handle, mut changes) = new_multicast_connection(&groups)?;
    let _connection = AbortOnDrop(tokio::spawn(connection));
    // Subscribed before reading, so that changes in between arrive as notifications.
    loop {
        // In a thread, since the kernel may block the request.
        let routes = lane.run(format!("reading routes to {prefix}"), move || read(prefix)).await??;
        if routes.is_empty() {
            reporter.tell(Finding::Fails, "no such route");
        } else {
            reporter.tell(Finding::Holds, "route present");
        }
        loop {
            let Some((message, _)) = changes.next().await else {
                return Err(io::Error::other("notifications of routes ended"));
            };
            let is_news = match message.payload {
                NetlinkPayload::InnerMessage(message) => concerns(&message, prefix, &routes),
                NetlinkPayload::Overrun(_) => true,
                _ => false,
            };
            if is_news {
                break;
            }
        }
    }
}

/// Whether a notification may change the routes to the prefix; `routes` are the interfaces of the present ones.
fn concerns(message: &RouteNetlinkMessage, prefix: RoutePrefix, routes: &BTreeSet<u32>) -> bool {
    match message {
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => is_to(route, prefix),
        RouteNetlinkMessage::NewLink(link) => {
            !link.header.flags.contains(LinkFlags::Up) && routes.contains(&link.header.index)
        }
        RouteNetlinkMessage::DelLink(link) => routes.contains(&link.header.index),
        RouteNetlinkMessage::DelAddress(address) => routes.contains(&address.header.index),
        _ => false,
    }
}

/// The interfaces of the routes to a prefix, 0 for a route without; may block.
fn read(prefix: RoutePrefix) -> io::Result<BTreeSet<u32>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = new_connection()?;
        let _connection = AbortOnDrop(tokio::spawn(connection));
        let mut request = RouteMessage::default();
        request.header.address_family = match prefix.address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        let mut found = BTreeSet::new();
        let mut routes = std::pin::pin!(handle.route().get(request).execute());
        while let Some(route) = routes.try_next().await.map_err(io::Error::other)? {
            if is_to(&route, prefix) {
                found.extend(interfaces(&route));
            }
        }
        Ok(found)
    })
}

/// The interfaces of a route and its next hops.
fn interfaces(route: &RouteMessage) -> Vec<u32> {
    let mut interfaces = Vec::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interfaces.push(*index),
            RouteAttribute::MultiPath(hops) => {
                interfaces.extend(hops.iter().map(|hop| hop.interface_index));
            }
            _ => {}
        }
    }
    if interfaces.is_empty() {
        interfaces.push(0);
    }
    interfaces
}

/// Whether it is a usable route to this prefix in the main table.
fn is_to(route: &RouteMessage, prefix: RoutePrefix) -> bool {
    let mut table = u32::from(route.header.table);
    let mut destination = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                destination = Some(IpAddr::V4(*address));
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                destination = Some(IpAddr::V6(*address));
            }
            _ => {}
        }
    }
    let is_same = destination.map_or(prefix.len == 0, |destination| destination == prefix.address);
    table == u32::from(RouteHeader::RT_TABLE_MAIN)
        && route.header.destination_prefix_length == prefix.len
        && route.header.kind == RouteType::Unicast
        && is_same
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
