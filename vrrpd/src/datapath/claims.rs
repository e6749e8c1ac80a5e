//! Corrects what an interface claims about virtual addresses with another MAC address than its own. It may own them,
//! while a macvlan link on it has the virtual MAC address (RFC 9568 §8.1.2, §8.2.2). Or another interface on the same
//! port has them, and this one answers ARP for them as every interface of the machine does. Classifiers in the kernel
//! correct its frames.

use std::fmt;
use std::net::IpAddr;

use aya::maps::{HashMap, MapError};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use vrrpd_common::MacAddr;

use super::classifier::{self, Classifier};
use super::clsact::Direction;
use super::names;
use super::program::{aside, for_want_of_rights};
use super::refusal::Refusal;
use crate::guardian::copies::Keeper;

/// The programs, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("VRRPD_BPF_OBJECTS"), "/claims.bpf.o"));
/// The programs for frames that the interface sends and receives.
const OUT: (&str, Direction) = (names::CLAIMS_OUT, Direction::Egress);
const IN: (&str, Direction) = (names::CLAIMS_IN, Direction::Ingress);
/// The map of addresses.
const ADDRESSES: &str = "OWNED";

/// The addresses that one router claims on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Index of the interface.
    pub index: u32,
    /// The MAC address that the addresses have: that of the virtual router, or of the interface beside that has them.
    pub mac: MacAddr,
    /// The addresses, at most 256.
    pub addresses: Vec<IpAddr>,
    /// The interface has the addresses too, so it sends ARP requests from them, and receives the answers.
    pub asks: bool,
}

/// The classifiers on one interface, for one virtual router; dropping it detaches them. If the daemon dies, the kernel
/// detaches them from Linux 6.6 on; before, they stay until [`classifier::remove_left`].
pub struct Claims {
    _classifiers: Vec<Classifier>,
    _ebpf: Ebpf,
}

impl Claims {
    /// Attaches them to the interface for a router, such as `eth0/51`. Each step waits for an RCU grace period: call
    /// this in another thread.
    ///
    /// # Errors
    /// Why they cannot be attached, such as missing capabilities.
    pub fn attach(router: &str, claim: &Claim, keeper: &Keeper) -> Result<Self, Refusal> {
        aside(|| Self::load(router, claim, keeper)).map_err(for_want_of_rights)
    }

    fn load(router: &str, claim: &Claim, keeper: &Keeper) -> Result<Self, Refusal> {
        let [a, b, c, d, e, f] = claim.mac.0;
        let mut ebpf = EbpfLoader::new()
            // The programs do not need the kernel's BTF types.
            .btf(None)
            .override_global("VIRTUAL_MAC", &[a, b, c, d, e, f, 0, 0], true)
            .load(OBJECT)
            .map_err(|error| Refusal::of_loading(&error))?;
        let addresses = ebpf.map_mut(ADDRESSES).ok_or(Refusal::NoMap(ADDRESSES))?;
        let mut addresses: HashMap<_, [u8; 16], u8> =
            addresses.try_into().map_err(|error: MapError| Refusal::library(error))?;
        for address in &claim.addresses {
            addresses.insert(key(*address), 0, 0).map_err(Refusal::library)?;
        }
        let name = classifier::name_of(router);
        let mut classifiers = Vec::with_capacity(2);
        for (program, direction) in claim.asks.then_some(IN).into_iter().chain([OUT]) {
            classifiers.push(Classifier::attach(&mut ebpf, program, claim.index, direction, &name, keeper)?);
        }
        Ok(Self { _classifiers: classifiers, _ebpf: ebpf })
    }
}

/// The key of an address in the map: an IPv4 address is `::ffff:a.b.c.d`.
fn key(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_known_as_a_mapped_one() {
        let address: IpAddr = "10.0.0.1".parse().expect("an address");
        assert_eq!(key(address), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
    }
}
