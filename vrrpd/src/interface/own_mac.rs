//! Replaces the interface's own MAC address by the virtual one while a router is Master.
//!
//! Most drivers change it while the interface is up. Otherwise the interface is set down and up again, and what the
//! kernel removes meanwhile is restored: routes, IPv6 addresses, permanent neighbours.

use std::io;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::LinkFlags;
use rtnetlink::packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteProtocol};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, LinkUnspec};
use tracing::{info, warn};
use vrrpd_common::{Family, MacAddr};
use vrrpd_engine::ledger::OwnMac;

use super::ask::{Manner, ask, dump, failure};
use super::stack;
use super::sysctl::Setting;

/// How long a link that was set down and up again may take to have a carrier.
const CARRIER: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// With a virtual MAC address, the kernel must not derive a link-local address from it.
const NO_ADDRESS_OF_THE_MAC: Setting = Setting { family: Family::Ipv6, key: "addr_gen_mode", value: "1" };

/// Sets the virtual MAC address; frames to the interface's own one are still accepted. If the interface has a different
/// one afterwards, the change is undone and an error. Notes whether the interface was set down.
pub(super) async fn replace(
    interface: &mut OwnMac,
    handle: &mut Handle,
    restarted: &mut bool,
) -> io::Result<()> {
    if let Some(obstacle) = &interface.obstacle {
        return Err(stack::refusal(obstacle));
    }
    // A value that we have set ourselves is not kept: another program may have removed only the virtual address.
    if interface.addr_gen_mode.is_none() {
        interface.addr_gen_mode = NO_ADDRESS_OF_THE_MAC.read(&interface.name);
    }
    if let Err(error) = set(interface, handle, interface.vmac, restarted).await {
        undo(interface, handle, restarted).await;
        return Err(error);
    }
    // A driver without a MAC filter needs no exception.
    let _ = ask(handle, RouteNetlinkMessage::NewNeighbour(exception(interface)), Manner::Create).await;
    Ok(())
}

/// Restores the interface's own MAC address. Notes whether the interface was set down.
pub(super) async fn restore(interface: &OwnMac, handle: &mut Handle, restarted: &mut bool) -> io::Result<()> {
    let _ = ask(handle, RouteNetlinkMessage::DelNeighbour(exception(interface)), Manner::Change).await;
    set(interface, handle, interface.own, restarted).await
}

/// Undoes a change that failed and may have been made in part.
async fn undo(interface: &OwnMac, handle: &mut Handle, restarted: &mut bool) {
    let undone = match mac(handle, interface.index).await {
        Ok(now) if now == Some(interface.own) => Ok(()),
        Ok(_) => restore(interface, handle, restarted).await,
        Err(error) => Err(error),
    };
    put_back_generation(interface);
    if let Err(error) = undone
        && error.raw_os_error() != Some(Errno::ENODEV as i32)
    {
        warn!(interface = interface.name, own = %interface.own, %error, "cannot restore MAC address");
    }
}

/// The own MAC address as an entry in the driver's MAC filter.
fn exception(interface: &OwnMac) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = interface.index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(interface.own.0.to_vec()));
    message
}

/// Changes the MAC address and verifies it: a driver may report success and keep the old one, as a bond with
/// `fail_over_mac` does.
async fn set(interface: &OwnMac, handle: &mut Handle, mac: MacAddr, restarted: &mut bool) -> io::Result<()> {
    let neighbours = permanent_neighbours(handle, interface.index).await?;
    let message = || {
        let link = LinkUnspec::new_with_index(interface.index).address(mac.0.to_vec()).build();
        RouteNetlinkMessage::SetLink(link)
    };
    let changed = match ask(handle, message(), Manner::Change).await {
        Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {
            *restarted = true;
            set_while_down(interface, handle, message(), mac).await
        }
        result => result,
    };
    // The kernel removes them even if the change fails.
    put_back_neighbours(interface, handle, neighbours).await;
    changed?;
    verify(handle, interface.index, mac).await
}

async fn put_back_neighbours(interface: &OwnMac, handle: &mut Handle, neighbours: Vec<NeighbourMessage>) {
    for neighbour in neighbours {
        put_back(handle, RouteNetlinkMessage::NewNeighbour(neighbour), &interface.name, "neighbour").await;
    }
}

/// For drivers that require the interface to be down.
async fn set_while_down(
    interface: &OwnMac,
    handle: &mut Handle,
    message: RouteNetlinkMessage,
    mac: MacAddr,
) -> io::Result<()> {
    info!(interface = interface.name, %mac, "interface taken down to change its MAC address");
    let routes = routes(handle, interface.index).await?;
    let addresses = ipv6_addresses(handle, interface.index).await?;
    let link = |up: bool| {
        let link = LinkUnspec::new_with_index(interface.index);
        RouteNetlinkMessage::SetLink(if up { link.up() } else { link.down() }.build())
    };
    if mac == interface.vmac {
        keep_addresses_from_the_mac(interface);
    }
    ask(handle, link(false), Manner::Change).await?;
    let changed = ask(handle, message, Manner::Change).await;
    // The interface must not stay down, even after an error.
    ask(handle, link(true), Manner::Change).await?;
    for address in addresses {
        put_back(handle, RouteNetlinkMessage::NewAddress(address), &interface.name, "address").await;
    }
    for route in routes {
        put_back(handle, RouteNetlinkMessage::NewRoute(route), &interface.name, "route").await;
    }
    if mac == interface.own {
        put_back_generation(interface);
    }
    changed?;
    wait_for_carrier(interface, handle).await
}

/// Restores `addr_gen_mode`.
fn put_back_generation(interface: &OwnMac) {
    if let Some(before) = &interface.addr_gen_mode
        && let Err(error) = NO_ADDRESS_OF_THE_MAC.set(&interface.name, before)
    {
        warn!(interface = interface.name, %error, "cannot restore sysctl");
    }
}

fn keep_addresses_from_the_mac(interface: &OwnMac) {
    if let Err(error) = NO_ADDRESS_OF_THE_MAC.enforce(&interface.name) {
        warn!(
            interface = interface.name, %error,
            "cannot set addr_gen_mode: link-local address of the virtual MAC address appears"
        );
    }
}

async fn wait_for_carrier(interface: &OwnMac, handle: &Handle) -> io::Result<()> {
    let until = Instant::now() + CARRIER;
    while Instant::now() < until {
        let mut link = handle.link().get().match_index(interface.index).execute();
        let link = link.try_next().await.map_err(failure)?.ok_or(Errno::ENODEV)?;
        if link.header.flags.contains(LinkFlags::LowerUp) {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Returns an error unless the interface has this MAC address.
pub(super) async fn verify(handle: &Handle, index: u32, wanted: MacAddr) -> io::Result<()> {
    match mac(handle, index).await? {
        Some(now) if now == wanted => Ok(()),
        Some(now) => Err(kept(wanted, now)),
        None => Err(Errno::ENODEV.into()),
    }
}

/// The error for an interface that has a different MAC address than was set.
pub(super) fn kept(wanted: MacAddr, now: MacAddr) -> io::Error {
    let text = format!("the driver reports success for MAC address {wanted}, but the interface has {now}");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// The present MAC address of an interface in the kernel.
async fn mac(handle: &Handle, index: u32) -> io::Result<Option<MacAddr>> {
    let mut link = handle.link().get().match_index(index).execute();
    let link = link.try_next().await.map_err(failure)?.ok_or(Errno::ENODEV)?;
    Ok(stack::mac_of(&link))
}

async fn put_back(handle: &mut Handle, message: RouteNetlinkMessage, interface: &str, what: &str) {
    if let Err(error) = ask(handle, message, Manner::Replace).await {
        warn!(interface, %error, what, "cannot restore route, address or neighbour");
    }
}

/// Permanent neighbour entries, which the kernel removes when the MAC address changes.
async fn permanent_neighbours(handle: &Handle, index: u32) -> io::Result<Vec<NeighbourMessage>> {
    let mut request = handle.neighbours().get();
    request.message_mut().attributes.push(NeighbourAttribute::IfIndex(index));
    let all = dump(|| request.execute()).await?;
    Ok(all
        .into_iter()
        .filter(|neighbour| {
            neighbour.header.ifindex == index
                && neighbour.header.state == NeighbourState::Permanent
                && !neighbour.header.flags.contains(NeighbourFlags::Own)
        })
        .map(|mut neighbour| {
            neighbour.attributes.retain(|attribute| {
                matches!(
                    attribute,
                    NeighbourAttribute::Destination(_) | NeighbourAttribute::LinkLayerAddress(_)
                )
            });
            neighbour
        })
        .collect())
}

/// The routes of an interface, except those that the kernel creates itself.
async fn routes(handle: &Handle, index: u32) -> io::Result<Vec<RouteMessage>> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut all = RouteMessage::default();
        all.header.address_family = family;
        let routes = dump(|| handle.route().get(all).execute()).await?;
        found.extend(routes.into_iter().filter(|route| {
            let through = route.attributes.iter().any(|attribute| match attribute {
                RouteAttribute::Oif(oif) => *oif == index,
                RouteAttribute::MultiPath(hops) => hops.iter().any(|hop| hop.interface_index == index),
                _ => false,
            });
            through && !matches!(route.header.protocol, RouteProtocol::Kernel | RouteProtocol::Ra)
        }));
    }
    for route in &mut found {
        // Attributes that the kernel reports but does not accept.
        route.header.flags = RouteFlags::empty();
        // A nexthop object is lost with the link; its content is reported beside its ID.
        route
            .attributes
            .retain(|attribute| !matches!(attribute, RouteAttribute::CacheInfo(_) | RouteAttribute::NhId(_)));
    }
    // Gateways are reached by routes that must be added first.
    found.sort_by_key(|route| {
        route.attributes.iter().any(|attribute| {
            matches!(
                attribute,
                RouteAttribute::Gateway(_) | RouteAttribute::Via(_) | RouteAttribute::MultiPath(_)
            )
        })
    });
    Ok(found)
}

/// The permanent IPv6 addresses of an interface, which the kernel removes when it goes down.
async fn ipv6_addresses(handle: &Handle, index: u32) -> io::Result<Vec<AddressMessage>> {
    let all = dump(|| handle.address().get().set_link_index_filter(index).execute()).await?;
    let flags = |message: &AddressMessage| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        })
    };
    Ok(all
        .into_iter()
        .filter(|message| message.header.family == AddressFamily::Inet6 && message.header.index == index)
        .filter(|message| flags(message).is_some_and(|flags| flags.contains(AddressFlags::Permanent)))
        .map(|mut message| {
            let kept = flags(&message).unwrap_or(AddressFlags::empty())
                & (AddressFlags::Noprefixroute | AddressFlags::Homeaddress | AddressFlags::Mcautojoin);
            message.attributes.retain(|attribute| {
                matches!(
                    attribute,
                    AddressAttribute::Address(_)
                        | AddressAttribute::Local(_)
                        | AddressAttribute::CacheInfo(_)
                        | AddressAttribute::Protocol(_)
                )
            });
            // Duplicate address detection has been done on this link.
            message.attributes.push(AddressAttribute::Flags(kept | AddressFlags::Nodad));
            message
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::process::Command;

    use nix::sched::{CloneFlags, unshare};

    /// Runs `ip` in the network namespace of this thread.
    fn ip(arguments: &str) -> String {
        let output = Command::new("ip").args(arguments.split_whitespace()).output();
        let output = output.expect("iproute2 is needed: apt-get install iproute2");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`ip {arguments}`: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Everything that belongs to an interface, except its MAC address.
    fn belongings() -> BTreeSet<String> {
        let shown = [
            "-oneline addr show dev eth0",
            "-4 route show table all dev eth0",
            "-6 route show table all dev eth0",
            "neigh show dev eth0 nud permanent",
            "-4 route show table all 198.51.100.0/24",
        ]
        .map(|what| {
            // A restored address has no duplicate address detection.
            let shown = ip(what).replace(" nodad", "");
            shown.lines().map(|line| format!("{what}: {}", line.trim())).collect::<Vec<_>>()
        });
        shown.concat().into_iter().collect()
    }

    #[test]
    fn two_interfaces_with_many_neighbours_are_read_at_the_same_time() {
        let checked = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("network namespaces need root");
            let mut lines = String::new();
            for (device, peer, network) in [("eth0", "peer0", 0), ("eth1", "peer1", 1)] {
                ip(&format!("link add {device} type veth peer name {peer}"));
                ip(&format!("link set {device} up"));
                lines.extend((0..1000).map(|host| {
                    let address = format!("10.{network}.{}.{}", host / 250, host % 250);
                    format!("neigh add {address} lladdr 02:00:00:00:00:77 dev {device} nud permanent\n")
                }));
            }
            let batch = tempfile::NamedTempFile::new().expect("a temporary file");
            std::fs::write(&batch, lines).expect("writable");
            ip(&format!("-batch {}", batch.path().display()));
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().expect("netlink");
                tokio::spawn(connection);
                let of = |name: &str| {
                    let index = nix::net::if_::if_nametoindex(name).expect("it is there");
                    permanent_neighbours(&handle, index)
                };
                let (one, other) = futures_util::join!(of("eth0"), of("eth1"));
                assert_eq!((one.expect("a table").len(), other.expect("a table").len()), (1000, 1000));
            });
        });
        if let Err(panic) = checked.join() {
            std::panic::resume_unwind(panic);
        }
    }

    /// No driver at hand requires its interface to be down, so this starts after that refusal.
    #[test]
    fn interface_that_was_down_for_its_mac_has_everything_back() {
        // In another thread, since entering a namespace is permanent.
        let checked = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("network namespaces need root");
            for setting in ["all", "default"] {
                std::fs::write(format!("/proc/sys/net/ipv6/conf/{setting}/accept_dad"), "0")
                    .expect("writable");
            }
            for arguments in [
                "link add eth0 address 02:00:00:00:00:01 type veth peer name peer0",
                "link add eth1 type veth peer name peer1",
                "link set peer0 up",
                "link set eth0 up",
                "link set peer1 up",
                "link set eth1 up",
                "addr add 10.0.0.1/24 dev eth0",
                "addr add 10.1.0.1/24 dev eth1",
                "addr add 2001:db8::1/64 dev eth0 nodad",
                "addr add 10.0.0.2/24 dev eth0 label eth0:0",
                "route add 192.0.2.0/24 via 10.0.0.254 dev eth0",
                "route add default via 10.0.0.254 dev eth0 metric 50 table 77",
                "route add 198.51.100.0/24 nexthop via 10.0.0.253 dev eth0 nexthop via 10.1.0.253 dev eth1",
                "route add 203.0.113.7/32 dev eth0 scope link",
                "-6 route add 2001:db8:7::/48 via 2001:db8::fe dev eth0",
                "-6 route add 2001:db8:8::/48 dev eth0 metric 7",
                "neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent",
                "neigh add 2001:db8::77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent",
            ] {
                ip(arguments);
            }
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (mut connection, mut handle, _) = rtnetlink::new_connection().expect("netlink");
                connection.set_forward_ack(true);
                tokio::spawn(connection);
                let before = belongings();
                let index = nix::net::if_::if_nametoindex("eth0").expect("it is there");
                let eth0 = OwnMac {
                    index,
                    name: "eth0".into(),
                    own: MacAddr([2, 0, 0, 0, 0, 1]),
                    vmac: MacAddr([0, 0, 0x5e, 0, 1, 51]),
                    obstacle: None,
                    addr_gen_mode: NO_ADDRESS_OF_THE_MAC.read("eth0"),
                };
                for mac in [eth0.vmac, eth0.own] {
                    let link = LinkUnspec::new_with_index(index).address(mac.0.to_vec()).build();
                    let neighbours = permanent_neighbours(&handle, index).await.expect("a dump");
                    set_while_down(&eth0, &mut handle, RouteNetlinkMessage::SetLink(link), mac)
                        .await
                        .expect("a veth takes it");
                    put_back_neighbours(&eth0, &mut handle, neighbours).await;
                    assert!(ip("link show dev eth0").contains(&mac.to_string()));
                    // The kernel adds the local routes of IPv6 addresses asynchronously.
                    let until = Instant::now() + Duration::from_secs(5);
                    while belongings() != before && Instant::now() < until {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                    assert_eq!(belongings(), before, "with {mac}");
                }
                assert_eq!(NO_ADDRESS_OF_THE_MAC.read("eth0"), eth0.addr_gen_mode);
            });
        });
        if let Err(panic) = checked.join() {
            std::panic::resume_unwind(panic);
        }
    }
}
