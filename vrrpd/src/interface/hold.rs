//! What a Master holds: the virtual MAC address, and the addresses; taken in this order, given back in the reverse one.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;

use nix::errno::Errno;
use rtnetlink::Handle;
use tracing::warn;
use vrrpd_common::MacAddr;

use super::ask::{Manner, ask};
use super::cache::InterfaceCache;
use super::claimed::Claimed;
use super::service::Order;
use super::{Macvlan, Made, OwnMac, address, macvlan, secondaries};
use crate::config::VirtualAddress;
use crate::datapath::claims::Claim;

/// What a router holds, or is to hold.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The interface that the addresses are on, but for a macvlan link that is not there yet.
    pub index: u32,
    /// The virtual MAC address; `None`: the interface's own serves.
    pub vmac: Option<Vmac>,
    /// When the virtual MAC address cannot be had: go on without it.
    pub or_without: bool,
    /// The addresses.
    pub addresses: Vec<VirtualAddress>,
    /// Subnets that are reached through the interface below anyway.
    pub routed: Vec<VirtualAddress>,
    /// Interfaces that would answer for the addresses as well.
    pub beside: Beside,
}

/// Interfaces on the same port as the one that has the addresses.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The router.
    pub router: String,
    /// Where the addresses are reached.
    pub mac: MacAddr,
    /// The addresses, as far as other interfaces answer for them: IPv4 ones.
    pub addresses: Vec<IpAddr>,
    /// The interfaces, by number.
    pub interfaces: Vec<u32>,
}

/// Where the virtual MAC address is.
#[derive(Clone, Debug)]
pub enum Vmac {
    /// On the interface itself.
    Interface(OwnMac),
    /// On a link above it; its number and name, once it has been made.
    Macvlan(Macvlan, Option<(u32, String)>),
}

/// What came of an order.
#[derive(Debug)]
pub struct Outcome {
    /// Where the virtual MAC address is now, or why not; `None`: it was not asked for.
    pub vmac: Option<io::Result<()>>,
    /// The macvlan link that was made.
    pub made: Option<Made>,
    /// The interface that the addresses are on.
    pub index: u32,
    /// One result for each address.
    pub addresses: Vec<io::Result<()>>,
    /// Addresses were removed, of which the cache knows ahead of the kernel's notifications.
    pub removed: bool,
    /// The interface was down meanwhile.
    pub restarted: bool,
    /// The MAC address that the interface has from now on.
    pub mac: Option<MacAddr>,
    /// How the kernel made link-local addresses on it before.
    pub addr_gen_mode: Option<String>,
}

impl Hold {
    /// On this interface, and nothing yet.
    pub fn nothing(index: u32) -> Self {
        Self {
            index,
            vmac: None,
            or_without: true,
            addresses: Vec::new(),
            routed: Vec::new(),
            beside: Beside::default(),
        }
    }
}

/// Carries out an order. What the cache shows may be older than what the kernel has.
pub(super) async fn perform(
    mut handle: Handle,
    cache: &RefCell<InterfaceCache>,
    claimed: &Claimed,
    order: Order,
) -> Outcome {
    match order {
        Order::Prepare(hold) => prepare(&mut handle, cache, &hold).await,
        Order::Take(hold) => take(&mut handle, cache, claimed, hold).await,
        Order::Release(hold) => release(&mut handle, cache, claimed, &hold).await,
        Order::Discard(hold) => discard(&mut handle, cache, claimed, hold.index).await,
    }
}

impl Outcome {
    /// What was not done, unless it was done before or the interface is gone.
    pub fn failure(self) -> Option<io::Error> {
        let is_over = |error: &io::Error| {
            matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EADDRNOTAVAIL | Errno::ENODEV))
        };
        let results = self.vmac.into_iter().chain(self.addresses);
        results.filter_map(Result::err).find(|error| !is_over(error))
    }

    const fn new(index: u32) -> Self {
        Self {
            vmac: None,
            made: None,
            index,
            addresses: Vec::new(),
            removed: false,
            restarted: false,
            mac: None,
            addr_gen_mode: None,
        }
    }
}

async fn prepare(handle: &mut Handle, cache: &RefCell<InterfaceCache>, hold: &Hold) -> Outcome {
    let mut outcome = Outcome::new(hold.index);
    if let Some(Vmac::Macvlan(link, None)) = &hold.vmac {
        match link.make(handle, cache).await {
            Ok(made) => {
                outcome.made = Some(made);
                outcome.vmac = Some(Ok(()));
            }
            Err(error) => outcome.vmac = Some(Err(error)),
        }
    }
    outcome
}

async fn take(
    handle: &mut Handle,
    cache: &RefCell<InterfaceCache>,
    claimed: &Claimed,
    mut hold: Hold,
) -> Outcome {
    let mut outcome = Outcome::new(hold.index);
    match &mut hold.vmac {
        None => {}
        Some(Vmac::Interface(interface)) => {
            let replaced = interface.replace(handle, &mut outcome.restarted).await;
            outcome.addr_gen_mode.clone_from(&interface.addr_gen_mode);
            outcome.mac = replaced.is_ok().then_some(interface.vmac);
            outcome.vmac = Some(replaced);
        }
        Some(Vmac::Macvlan(link, known)) => {
            let mut up = bring_up(handle, cache, link, known.as_ref(), &mut outcome.made).await;
            if up.is_ok()
                && let Err(error) = claimed.claim(&link.router, link.claim()).await
            {
                let text = format!(
                    "hosts would be told the own MAC address for addresses that the interface owns: {error}"
                );
                up = Err(io::Error::new(error.kind(), text));
            }
            if up.is_err()
                && let Some(index) =
                    outcome.made.as_ref().map(|made| made.index).or(known.as_ref().map(|(index, _)| *index))
            {
                // Half of it is worse than nothing. What went wrong is told; this may fail for the same reason.
                link.disown(handle, index).await;
                let _ = macvlan::take_down(handle, index).await;
            }
            outcome.vmac = Some(up.map(|index| hold.index = index));
        }
    }
    if matches!(outcome.vmac, Some(Err(_))) && !hold.or_without {
        return outcome;
    }
    outcome.index = hold.index;
    hold.beside.correct(claimed).await;
    let answers: Vec<_> = hold
        .addresses
        .iter()
        .map(|address| {
            let route = !hold.routed.iter().any(|there| same_subnet(there, address));
            ask(handle, address::add(hold.index, address, route), Manner::Create)
        })
        .collect();
    for answer in answers {
        outcome.addresses.push(answer.await);
    }
    outcome
}

impl Beside {
    /// Has the interfaces tell hosts where the addresses are.
    async fn correct(&self, claimed: &Claimed) {
        for index in &self.interfaces {
            let claim =
                Claim { index: *index, mac: self.mac, addresses: self.addresses.clone(), asks: false };
            if let Err(error) = claimed.claim(&self.router, claim).await {
                warn!(
                    router = self.router, index, %error,
                    "another interface on the same port answers ARP for the virtual addresses, with its own MAC address; \
                     set its arp_ignore to 1"
                );
            }
        }
    }
}

/// The link, up; made anew if somebody has removed it. What was made is there also when it cannot be set up.
async fn bring_up(
    handle: &mut Handle,
    cache: &RefCell<InterfaceCache>,
    link: &Macvlan,
    known: Option<&(u32, String)>,
    made: &mut Option<Made>,
) -> io::Result<u32> {
    if let Some((index, name)) = known
        && link.bring_up(handle, cache, *index, name).await.is_ok()
    {
        return Ok(*index);
    }
    let made = made.insert(link.make(handle, cache).await?);
    link.bring_up(handle, cache, made.index, &made.name).await?;
    Ok(made.index)
}

async fn release(
    handle: &mut Handle,
    cache: &RefCell<InterfaceCache>,
    claimed: &Claimed,
    hold: &Hold,
) -> Outcome {
    let mut outcome = Outcome::new(hold.index);
    outcome.addresses = remove(handle, hold).await;
    claimed.give_up(&hold.beside.router).await;
    for (address, result) in hold.addresses.iter().zip(&outcome.addresses) {
        if result.is_ok() {
            cache.borrow_mut().address_removed(hold.index, address);
            outcome.removed = true;
        }
    }
    match &hold.vmac {
        None | Some(Vmac::Macvlan(_, None)) => {}
        Some(Vmac::Interface(interface)) => {
            let restored = interface.restore(handle, &mut outcome.restarted).await;
            outcome.mac = restored.is_ok().then_some(interface.own);
            outcome.vmac = Some(restored);
        }
        Some(Vmac::Macvlan(link, Some((index, _)))) => {
            link.disown(handle, *index).await;
            outcome.vmac = Some(macvlan::take_down(handle, *index).await);
        }
    }
    outcome
}

/// Takes the addresses off, and no others with them; one result for each.
async fn remove(handle: &mut Handle, hold: &Hold) -> Vec<io::Result<()>> {
    // On a link of our own there are no others.
    let alone = matches!(hold.vmac, Some(Vmac::Macvlan(..))) || !secondaries::may_follow(&hold.addresses);
    // A setting that cannot be read is left alone, since it could not be restored.
    let promote = !alone && !secondaries::are_promoted(handle, hold.index).await.unwrap_or(true);
    // Nothing is awaited from here on: what another router asks must not come between.
    let mut switched = Vec::new();
    if promote {
        switched.push(ask(handle, secondaries::promote(hold.index, true), Manner::Change));
    }
    // The last one first: it is secondary if there are several of a subnet, and costs no promotion.
    let mut answers: Vec<_> = hold
        .addresses
        .iter()
        .rev()
        .map(|address| ask(handle, address::remove(hold.index, address), Manner::Change))
        .collect();
    if promote {
        switched.push(ask(handle, secondaries::promote(hold.index, false), Manner::Change));
    }
    answers.reverse();
    let mut results = Vec::with_capacity(answers.len());
    for answer in answers {
        results.push(answer.await);
    }
    for answer in switched {
        if let Err(error) = answer.await
            && error.raw_os_error() != Some(Errno::ENODEV as i32)
        {
            warn!(index = hold.index, %error, "promote_secondaries cannot be changed; other addresses may be lost");
        }
    }
    results
}

async fn discard(
    handle: &mut Handle,
    cache: &RefCell<InterfaceCache>,
    claimed: &Claimed,
    link: u32,
) -> Outcome {
    let router = cache.borrow().get(link).and_then(|link| link.vmac_of.clone());
    if let Some(router) = router {
        claimed.give_up(&router).await;
    }
    let mut outcome = Outcome::new(link);
    outcome.vmac = Some(macvlan::discard(handle, cache, link).await);
    outcome
}

/// Whether an address is in the subnet of another one with the same mask.
pub(super) fn same_subnet(there: &VirtualAddress, address: &VirtualAddress) -> bool {
    there.prefix_len == address.prefix_len
        && match (there.address, address.address) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                (one.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(address.prefix_len)
            }
            // Every interface needs the route of its link-local addresses.
            (IpAddr::V6(one), IpAddr::V6(other)) if !other.is_unicast_link_local() => {
                (one.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(address.prefix_len)
            }
            (IpAddr::V4(_) | IpAddr::V6(_), _) => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value;

    #[test]
    fn a_subnet_that_is_there_is_recognised_by_address_and_mask() {
        let same = |one, other| {
            same_subnet(&value::address(one).expect("legal"), &value::address(other).expect("legal"))
        };
        assert!(same("10.0.0.1/24", "10.0.0.100/24"));
        assert!(!same("10.0.0.1/24", "10.0.1.100/24"));
        assert!(!same("10.0.0.1/24", "10.0.0.100/32"));
        assert!(same("2001:db8::1/64", "2001:db8::2/64"));
        assert!(!same("fe80::1/64", "fe80::2/64"));
        assert!(!same("10.0.0.1/24", "fe80::2/64"));
    }
}
