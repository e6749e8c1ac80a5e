//! Executes the engine's requests: takes the virtual MAC address and the addresses of a router in order, and gives them
//! back in reverse. `take` and `release` have an arm for each kind of [`Resource`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use nix::errno::Errno;
use rtnetlink::Handle;
use tracing::warn;
use vrrpd_engine::ledger::{
    Answers, Cause, Macvlan, Made, Order, Outcome, PlacedAddress, Resource, SystemError,
};

use super::ask::{Manner, ask};
use super::cache::InterfaceCache;
use super::claimed::Claimed;
use super::filter::Filters;
use super::{address, macvlan, own_mac, routing, secondaries};
use crate::datapath::claims::Claim;

/// Executes a request. The cache may be older than the state of the kernel.
pub(super) async fn perform(
    mut handle: Handle,
    cache: &RefCell<InterfaceCache>,
    claimed: &Claimed,
    filters: &Filters,
    order: Order,
) -> Outcome {
    match order {
        Order::Prepare(link) => prepare(&mut handle, cache, &link).await,
        Order::Take { resources, or_without } => {
            take(&mut handle, cache, (claimed, filters), resources, or_without).await
        }
        Order::Release(resources) => release(&mut handle, cache, (claimed, filters), &resources).await,
        Order::Discard(link) => discard(&mut handle, cache, claimed, link).await,
    }
}

/// Converts an error of the kernel.
pub(super) fn system_error(error: &io::Error) -> SystemError {
    SystemError { cause: cause(error), text: error.to_string() }
}

fn cause(error: &io::Error) -> Cause {
    if error.kind() == io::ErrorKind::Unsupported {
        return Cause::Unsupported;
    }
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENODEV) => Cause::NoInterface,
        Some(Errno::EEXIST) => Cause::Exists,
        Some(Errno::EADDRNOTAVAIL | Errno::ESRCH | Errno::ENOENT) => Cause::Absent,
        Some(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS | Errno::EPERM | Errno::EACCES) => {
            Cause::Unsupported
        }
        Some(_) | None => Cause::Other,
    }
}

async fn prepare(handle: &mut Handle, cache: &RefCell<InterfaceCache>, link: &Macvlan) -> Outcome {
    match macvlan::make(link, handle, cache).await {
        Ok(made) => Outcome { made: Some(made), ..Outcome::of(Ok(())) },
        Err(error) => Outcome::of(Err(system_error(&error))),
    }
}

async fn take(
    handle: &mut Handle,
    cache: &RefCell<InterfaceCache>,
    (claimed, filters): (&Claimed, &Filters),
    resources: Vec<Resource>,
    or_without: bool,
) -> Outcome {
    let mut outcome = Outcome::default();
    // There may be hundreds: all requests are sent before the first answer is awaited.
    let mut answers = Vec::new();
    for resource in resources {
        let result = match resource {
            Resource::Mac(mut interface) => {
                let replaced = own_mac::replace(&mut interface, handle, &mut outcome.restarted).await;
                outcome.mac = replaced.is_ok().then_some((interface.index, interface.vmac));
                outcome.addr_gen_mode = interface.addr_gen_mode;
                replaced
            }
            Resource::Link(link) => take_link(&link, handle, cache, claimed, &mut outcome).await,
            Resource::Answers(beside) => {
                correct(&beside, claimed).await;
                Ok(())
            }
            // Not required to be Master.
            Resource::Filter(filter) => {
                outcome.results.push(filters.set(&filter).map_err(|error| system_error(&error)));
                continue;
            }
            Resource::Address(PlacedAddress { on, address, route, options }) => {
                let index = on.number(outcome.link);
                let message = address::add(index, &address, route, &options);
                let answer = ask(handle, message, Manner::Create);
                // Before the answer, behind which there may be a notification of its removal already.
                cache.borrow_mut().address_added(index, address.address);
                answers.push((outcome.results.len(), Some((index, address.address)), answer));
                // Placeholder until the answer arrives.
                Ok(())
            }
            Resource::Route(_) | Resource::Rule(_) => match routing::add(&resource) {
                Ok(message) => {
                    answers.push((outcome.results.len(), None, ask(handle, message, Manner::Create)));
                    Ok(())
                }
                Err(error) => {
                    // Not required to be Master.
                    outcome.results.push(Err(system_error(&error)));
                    continue;
                }
            },
        };
        let is_refused = result.is_err();
        outcome.results.push(result.map_err(|error| system_error(&error)));
        if is_refused && !or_without {
            break;
        }
    }
    for (place, added, answer) in answers {
        let result = answer.await.map_err(|error| system_error(&error));
        if let (Err(_), Some((index, address))) = (&result, added) {
            cache.borrow_mut().address_refused(index, address);
        }
        if let Some(known) = outcome.results.get_mut(place) {
            *known = result;
        }
    }
    outcome
}

async fn take_link(
    link: &Macvlan,
    handle: &mut Handle,
    cache: &RefCell<InterfaceCache>,
    claimed: &Claimed,
    outcome: &mut Outcome,
) -> io::Result<()> {
    let mut up = bring_up(link, handle, cache, &mut outcome.made).await;
    if up.is_ok()
        && let Err(error) = claimed.claim(&link.router, macvlan::claim(link)).await
    {
        let text =
            format!("hosts would be told the own MAC address for addresses that the interface owns: {error}");
        up = Err(io::Error::new(error.kind(), text));
    }
    let there = outcome.made.as_ref().map(|made| made.index).or(link.made.as_ref().map(|(index, _)| *index));
    if let (Err(_), Some(index)) = (&up, there) {
        // Undone, since a partial result is worse than none. The original error is reported; this one may have the same
        // cause.
        macvlan::disown(link, handle, index).await;
        let _ = macvlan::take_down(handle, index).await;
    }
    outcome.link = Some(up?);
    Ok(())
}

/// Loads classifiers that correct the ARP answers of other interfaces on the same port.
async fn correct(beside: &Answers, claimed: &Claimed) {
    for index in &beside.interfaces {
        let claim =
            Claim { index: *index, mac: beside.mac, addresses: beside.addresses.clone(), asks: false };
        if let Err(error) = claimed.claim(&beside.router, claim).await {
            warn!(
                router = beside.router, index, %error,
                "another interface on the port answers ARP for the virtual addresses: set its arp_ignore to 1"
            );
        }
    }
}

/// Sets the link up, and creates it again if another program removed it. A created link is reported even if it cannot
/// be set up.
async fn bring_up(
    link: &Macvlan,
    handle: &mut Handle,
    cache: &RefCell<InterfaceCache>,
    made: &mut Option<Made>,
) -> io::Result<u32> {
    if let Some((index, name)) = &link.made
        && macvlan::bring_up(link, handle, cache, *index, name).await.is_ok()
    {
        return Ok(*index);
    }
    let made = made.insert(macvlan::make(link, handle, cache).await?);
    macvlan::bring_up(link, handle, cache, made.index, &made.name).await?;
    Ok(made.index)
}

async fn release(
    handle: &mut Handle,
    cache: &RefCell<InterfaceCache>,
    (claimed, filters): (&Claimed, &Filters),
    resources: &[Resource],
) -> Outcome {
    let mut outcome = Outcome { results: vec![Ok(()); resources.len()], ..Outcome::default() };
    remove_routing(handle, resources, &mut outcome).await;
    remove_addresses(handle, cache, resources, &mut outcome).await;
    for (place, resource) in resources.iter().enumerate().rev() {
        let result = match resource {
            Resource::Mac(interface) => {
                let restored = own_mac::restore(interface, handle, &mut outcome.restarted).await;
                outcome.mac = restored.is_ok().then_some((interface.index, interface.own));
                restored
            }
            Resource::Link(link) => {
                claimed.give_up(&link.router).await;
                match &link.made {
                    Some((index, _)) => {
                        macvlan::disown(link, handle, *index).await;
                        macvlan::take_down(handle, *index).await
                    }
                    None => Ok(()),
                }
            }
            Resource::Answers(beside) => {
                claimed.give_up(&beside.router).await;
                Ok(())
            }
            Resource::Filter(filter) => filters.remove(filter),
            Resource::Address(_) | Resource::Route(_) | Resource::Rule(_) => continue,
        };
        if let Some(known) = outcome.results.get_mut(place) {
            *known = result.map_err(|error| system_error(&error));
        }
    }
    outcome
}

/// Removes routes and rules in reverse order.
async fn remove_routing(handle: &mut Handle, resources: &[Resource], outcome: &mut Outcome) {
    let mut answers = Vec::new();
    for (place, resource) in resources.iter().enumerate().rev().filter(|(_, resource)| resource.is_routing())
    {
        let asked = routing::remove(resource).map(|message| ask(handle, message, Manner::Change));
        answers.push((place, asked));
    }
    for (place, asked) in answers {
        let result = match asked {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        if let Some(known) = outcome.results.get_mut(place) {
            *known = result.map_err(|error| system_error(&error));
        }
    }
}

/// Removes addresses, interface by interface. One that another program has taken away and added again is left.
async fn remove_addresses(
    handle: &mut Handle,
    cache: &RefCell<InterfaceCache>,
    resources: &[Resource],
    outcome: &mut Outcome,
) {
    let mut by_interface: BTreeMap<u32, Vec<(usize, PlacedAddress)>> = BTreeMap::new();
    let mut link = None;
    for (place, resource) in resources.iter().enumerate() {
        match resource {
            Resource::Address(placed) => {
                let index = placed.on.number(None);
                if !cache.borrow().is_another_s(index, &placed.address) {
                    by_interface.entry(index).or_default().push((place, *placed));
                } else if let Some(known) = outcome.results.get_mut(place) {
                    *known = Err(system_error(&Errno::EADDRNOTAVAIL.into()));
                }
            }
            Resource::Link(above) => link = above.made.as_ref().map(|(index, _)| *index),
            Resource::Mac(_)
            | Resource::Answers(_)
            | Resource::Filter(_)
            | Resource::Route(_)
            | Resource::Rule(_) => {}
        }
    }
    for (index, there) in by_interface {
        let addresses: Vec<_> = there.iter().map(|(_, placed)| placed.address).collect();
        // Our own link has no other addresses.
        let is_alone = link == Some(index) || !secondaries::may_follow(&addresses);
        let results = remove(handle, index, &there, is_alone).await;
        let mut has_removed = false;
        for ((place, placed), result) in there.into_iter().zip(results) {
            if result.is_ok() {
                cache.borrow_mut().address_removed(index, &placed.address);
                has_removed = true;
            }
            if let Some(known) = outcome.results.get_mut(place) {
                *known = result.map_err(|error| system_error(&error));
            }
        }
        outcome.removed_from.extend(has_removed.then_some(index));
    }
}

/// Removes addresses from an interface, and no others with them; one result each.
async fn remove(
    handle: &mut Handle,
    index: u32,
    addresses: &[(usize, PlacedAddress)],
    is_alone: bool,
) -> Vec<io::Result<()>> {
    // A setting that cannot be read is not changed, since it could not be restored.
    let promote = !is_alone && !secondaries::are_promoted(handle, index).await.unwrap_or(true);
    // No await from here on, so that no other router's request comes in between.
    let mut switched = Vec::new();
    if promote {
        switched.push(ask(handle, secondaries::promote(index, true), Manner::Change));
    }
    // In reverse order: a secondary address costs no promotion.
    let removals = addresses
        .iter()
        .rev()
        .map(|(_, placed)| address::remove(index, &placed.address, placed.options.peer));
    let mut answers: Vec<_> = removals.map(|message| ask(handle, message, Manner::Change)).collect();
    if promote {
        switched.push(ask(handle, secondaries::promote(index, false), Manner::Change));
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
            warn!(index, %error, "cannot set promote_secondaries: secondary addresses may be lost");
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
    let discarded = macvlan::discard(handle, cache, link).await;
    Outcome::of(discarded.map_err(|error| system_error(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_kernel_has_the_right_cause() {
        for (errno, expected) in [
            (Errno::ENODEV, Cause::NoInterface),
            (Errno::EEXIST, Cause::Exists),
            (Errno::EADDRNOTAVAIL, Cause::Absent),
            (Errno::ESRCH, Cause::Absent),
            (Errno::ENOENT, Cause::Absent),
            (Errno::EOPNOTSUPP, Cause::Unsupported),
            (Errno::EINVAL, Cause::Unsupported),
            (Errno::EPERM, Cause::Unsupported),
            (Errno::ENOBUFS, Cause::Other),
            (Errno::ENOMEM, Cause::Other),
            (Errno::EBUSY, Cause::Other),
        ] {
            assert_eq!(cause(&errno.into()), expected, "{errno}");
        }
        assert_eq!(cause(&io::Error::other("no answer")), Cause::Other);
        assert_eq!(cause(&io::Error::from(io::ErrorKind::Unsupported)), Cause::Unsupported);
    }
}
