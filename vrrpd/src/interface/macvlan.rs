//! The macvlan link of a virtual router: it has the virtual MAC address and, while the router is Master, the virtual
//! addresses. On a Backup it is down, so the machine answers nothing for the addresses and accepts no frame to that MAC
//! address.
//!
//! The link's alias names its owner and the previous settings of the interface below, so the next start can restore
//! everything after a crash.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;

use futures_util::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, MacVlanMode};
use rtnetlink::{Handle, LinkMacVlan, LinkUnspec};
use tokio::sync::Mutex;
use tracing::warn;
use vrrpd_common::Family;
use vrrpd_engine::held_address::AddressOptions;
use vrrpd_engine::ledger::{Macvlan, Made};

use super::ask::{Manner, ask, failure};
use super::cache::InterfaceCache;
use super::sysctl::{MACVLAN_IPV4, MACVLAN_IPV6, PARENT_IPV4, Setting};
use super::{Interface, address, alias, own_mac, stack};
use crate::config::VirtualAddress;
use crate::config::value::MAX_INTERFACE_NAME;
use crate::datapath::claims::Claim;

/// Serializes setting links down and removing them. The kernel waits for all processors within such a request, some 20
/// ms, and other requests wait as well; one at a time, other requests come in between.
static TURN: Mutex<()> = Mutex::const_new(());

/// Maximum number of links whose names differ only in the number.
const NAMES: u32 = 1000;

/// A link of ours in the kernel.
struct Found {
    name: String,
    parent: Option<u32>,
    alias: String,
}

impl Found {
    /// The original settings of the interface below.
    fn settings(&self) -> &str {
        alias::settings(&self.alias)
    }
}

/// Creates the link, down, after removing one of an earlier daemon.
pub(super) async fn make(
    wanted: &Macvlan,
    handle: &mut Handle,
    cache: &RefCell<InterfaceCache>,
) -> io::Result<Made> {
    if let Some(obstacle) = &wanted.obstacle {
        return Err(stack::refusal(obstacle));
    }
    // Before the first await, since another router may set them.
    let now = describe_parent(wanted);
    let left = cache.borrow().links_of(&wanted.router);
    let settings = if let Some(known) = &wanted.settings {
        known.clone()
    } else {
        // Another link of ours on the interface has its original settings.
        let others = cache.borrow().links_above(wanted.parent);
        let one = one_above(handle, wanted.parent, left.iter().chain(&others)).await?;
        one.map_or(now, |found| found.settings().to_owned())
    };
    for index in left {
        remove(handle, index).await?;
    }
    let (index, name) = create(wanted, handle).await?;
    let alias = alias::of(&wanted.router, &settings);
    let named = LinkUnspec::new_with_index(index).alias(alias).build();
    if let Err(error) = ask(handle, RouteNetlinkMessage::SetLink(named), Manner::Change).await {
        // Without its mark it would never be removed.
        remove(handle, index).await?;
        return Err(error);
    }
    cache.borrow_mut().made(link(wanted, index, name.clone()));
    Ok(Made { index, name, settings })
}

/// The state of a link just created.
fn link(wanted: &Macvlan, index: u32, name: String) -> Interface {
    Interface {
        index,
        name,
        admin_up: false,
        carrier: false,
        mtu: u32::MAX,
        mac: Some(wanted.mac),
        permanent_mac: None,
        carrier_unknown: false,
        vmac_of: Some(wanted.router.clone()),
        below: Some(wanted.parent),
        vrf: None,
        beside: Vec::new(),
        obstacle: None,
        xdp_program: None,
        addresses: Vec::new(),
    }
}

async fn create(wanted: &Macvlan, handle: &mut Handle) -> io::Result<(u32, String)> {
    for number in 0..NAMES {
        let name = match number {
            0 => wanted.name.clone(),
            number => format!("{}.{number}", wanted.name),
        };
        if name.len() > MAX_INTERFACE_NAME {
            break;
        }
        let link = LinkMacVlan::new(&name, wanted.parent, MacVlanMode::Bridge)
            .address(wanted.mac.0.to_vec())
            .build();
        match ask(handle, RouteNetlinkMessage::NewLink(link), Manner::Create).await {
            Ok(()) => {
                let mut made = handle.link().get().match_name(name.clone()).execute();
                let made = made.try_next().await.map_err(failure)?.ok_or(Errno::ENODEV)?;
                let index = made.header.index;
                return match stack::mac_of(&made) {
                    Some(mac) if mac != wanted.mac => {
                        remove(handle, index).await?;
                        Err(own_mac::kept(wanted.mac, mac))
                    }
                    Some(_) | None => Ok((index, name)),
                };
            }
            Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EEXIST.into())
}

/// Prepares link and interface for the addresses, and sets the link up.
pub(super) async fn bring_up(
    wanted: &Macvlan,
    handle: &mut Handle,
    cache: &RefCell<InterfaceCache>,
    index: u32,
    name: &str,
) -> io::Result<()> {
    enforce(wanted, name);
    // Before the addresses, since their routes go into the table of the link's VRF. No effect if it is in the VRF
    // already.
    let mut up = LinkUnspec::new_with_index(index).controller(wanted.vrf.unwrap_or(0)).up();
    // The kernel lowers its MTU together with that of the interface below, but does not raise it.
    if let Some(mtu) = cache.borrow().get(wanted.parent).map(|parent| parent.mtu)
        && cache.borrow().get(index).is_some_and(|link| link.mtu != mtu)
    {
        up = up.mtu(mtu);
    }
    // Another process may have changed it.
    let is_to_change = cache.borrow().get(index).is_some_and(|link| link.mac != Some(wanted.mac));
    if is_to_change {
        up = up.address(wanted.mac.0.to_vec());
    }
    ask(handle, RouteNetlinkMessage::SetLink(up.build()), Manner::Change).await?;
    if is_to_change {
        own_mac::verify(handle, index, wanted.mac).await?;
    }
    own(wanted, handle, index).await
}

/// Adds the addresses that the interface below has, so that the link accepts packets to them and answers for them.
async fn own(wanted: &Macvlan, handle: &mut Handle, index: u32) -> io::Result<()> {
    for owned in &wanted.owned {
        let (owned, route) = on_link(owned);
        match ask(handle, address::add(index, &owned, route, &AddressOptions::default()), Manner::Create)
            .await
        {
            Err(error) if error.raw_os_error() != Some(Errno::EEXIST as i32) => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The classifiers that the interface below needs for these addresses.
pub(super) fn claim(wanted: &Macvlan) -> Claim {
    let addresses = wanted.owned.iter().map(|owned| owned.address).collect();
    Claim { index: wanted.parent, mac: wanted.mac, addresses, asks: true }
}

/// Removes these addresses from the link.
pub(super) async fn disown(wanted: &Macvlan, handle: &mut Handle, index: u32) {
    for owned in &wanted.owned {
        let (owned, _) = on_link(owned);
        // They may be gone with the link.
        let _ = ask(handle, address::remove(index, &owned, None), Manner::Change).await;
    }
}

/// Sets the sysctls for ARP, also after others have changed them.
fn enforce(wanted: &Macvlan, name: &str) {
    let (own, parent): (&'static [Setting], &'static [Setting]) = match wanted.family {
        Family::Ipv4 => (&MACVLAN_IPV4, &PARENT_IPV4),
        Family::Ipv6 => (&MACVLAN_IPV6, &[]),
    };
    let of = |interface, settings: &'static [Setting]| {
        settings.iter().filter_map(move |setting| {
            Some((setting.enforce(interface).err()?, setting.assignment(interface)))
        })
    };
    let refused: Vec<_> = of(name, own).chain(of(&wanted.parent_name, parent)).collect();
    if let Some((error, _)) = refused.first() {
        let settings = refused.iter().map(|(_, setting)| setting.as_str()).collect::<Vec<_>>().join(" ");
        warn!(
            router = wanted.router, %error, settings,
            "cannot set arp_ignore, arp_announce: the interface may answer ARP with its own MAC address"
        );
    }
}

/// The present values of the interface's settings that will be changed.
fn describe_parent(wanted: &Macvlan) -> String {
    let settings: Vec<_> = PARENT_IPV4
        .iter()
        .filter_map(|setting| Some(format!("{}={}", setting.key, setting.read(&wanted.parent_name)?)))
        .collect();
    settings.join(" ")
}

/// An address of the interface below as added to the link, and whether with a subnet route: subnets stay reachable
/// through the interface below, but each interface needs its own link-local route.
fn on_link(owned: &VirtualAddress) -> (VirtualAddress, bool) {
    match owned.address {
        IpAddr::V4(_) => (VirtualAddress { prefix_len: 32, ..*owned }, false),
        IpAddr::V6(address) if address.is_unicast_link_local() => (*owned, true),
        IpAddr::V6(_) => (VirtualAddress { prefix_len: 128, ..*owned }, false),
    }
}

/// Removes the link, and restores the settings of the interface below, which may have been renamed, unless another link
/// of ours needs them.
pub(super) async fn discard(
    handle: &mut Handle,
    cache: &RefCell<InterfaceCache>,
    index: u32,
) -> io::Result<()> {
    let Some(this) = find(handle, index).await? else { return Ok(()) };
    remove(handle, index).await?;
    if let Some(parent) = this.parent {
        // After the removal, so that of two links removed at once the last one restores the settings. The newest first,
        // since they are removed in order of creation.
        let others = cache.borrow().links_above(parent);
        let others = others.iter().rev().filter(|other| **other != index);
        if one_above(handle, parent, others).await?.is_some() {
            return Ok(());
        }
    }
    let Some(parent_name) = name_of(handle, this.parent).await else { return Ok(()) };
    for pair in this.settings().split(' ') {
        let Some((key, value)) = pair.split_once('=') else { continue };
        if let Some(setting) = PARENT_IPV4.iter().find(|setting| setting.key == key)
            && let Err(error) = setting.set(&parent_name, value)
        {
            warn!(interface = parent_name, link = this.name, %error, "cannot restore sysctl");
        }
    }
    Ok(())
}

/// The name of an interface; `None` if it is gone.
async fn name_of(handle: &Handle, index: Option<u32>) -> Option<String> {
    let mut links = handle.link().get().match_index(index?).execute();
    let link = links.try_next().await.ok()??;
    link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    })
}

async fn remove(handle: &mut Handle, index: u32) -> io::Result<()> {
    let _turn = TURN.lock().await;
    let link = LinkUnspec::new_with_index(index).build();
    match ask(handle, RouteNetlinkMessage::DelLink(link), Manner::Change).await {
        Err(error) if error.raw_os_error() != Some(Errno::ENODEV as i32) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Sets the link down, so that the machine does not use its MAC address any more.
pub(super) async fn take_down(handle: &mut Handle, index: u32) -> io::Result<()> {
    let _turn = TURN.lock().await;
    let down = LinkUnspec::new_with_index(index).down().build();
    ask(handle, RouteNetlinkMessage::SetLink(down), Manner::Change).await
}

/// The first of these links that exists on this interface. There may be hundreds, so single ones are looked up instead
/// of a dump.
async fn one_above(
    handle: &Handle,
    parent: u32,
    links: impl Iterator<Item = &u32>,
) -> io::Result<Option<Found>> {
    for index in links {
        let found = find(handle, *index).await?;
        if let Some(found) = found.filter(|found| found.parent == Some(parent)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The link with this index, if it has our mark.
async fn find(handle: &Handle, index: u32) -> io::Result<Option<Found>> {
    let link = match handle.link().get().match_index(index).execute().try_next().await.map_err(failure) {
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => None,
        answer => answer?,
    };
    let (mut name, mut parent, mut alias) = (None, None, None);
    for attribute in link.into_iter().flat_map(|link| link.attributes) {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text),
            LinkAttribute::Link(index) => parent = Some(index),
            LinkAttribute::IfAlias(text) => alias = Some(text),
            _ => {}
        }
    }
    let alias = alias.filter(|alias| alias::owner(alias).is_some());
    Ok(name.zip(alias).map(|(name, alias)| Found { name, parent, alias }))
}
