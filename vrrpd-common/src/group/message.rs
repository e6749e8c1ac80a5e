//! What the processes of a group tell each other, over sockets of one machine.

use crate::params::{Family, Vrid};
use crate::time::Duration;

/// How near a member is to being Master, from far to near. Of several members, the farthest speaks for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Standing {
    /// It takes no part: not started, leaving, or its interface cannot be used.
    Unusable,
    /// It hears a master that it follows, or has not listened for long enough.
    Listening,
    /// It would be willing, but for a promotion of the group that failed a short time ago.
    Pausing,
    /// It would be Master if its group were ready.
    Willing,
    /// It is Master.
    Master,
}

/// What orders the members of a group, alike on every machine that serves the same virtual routers: family, VRID, and,
/// since several LANs may have a router of the same VRID, the digest of the virtual addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Key {
    /// The family.
    pub family: Family,
    /// The virtual router.
    pub vrid: Vrid,
    /// [`AddressDigest::to_bits`](crate::AddressDigest::to_bits).
    pub addresses: u64,
}

/// One process's part of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// Incremented each time the group is given up. A process that hears of a newer term leaves the older one.
    pub term: u64,
    /// The standing of its members: the farthest of all.
    pub standing: Standing,
    /// How many members it has.
    pub members: u8,
    /// How many members it believes the group to have.
    pub size: u8,
    /// The first of its members.
    pub first: Key,
    /// The longest Master_Down_Interval of its members.
    pub master_down_interval: Duration,
}

impl Standing {
    /// Whether nothing is missing on this side for the group to be Master.
    pub const fn is_ready(self) -> bool {
        matches!(self, Self::Willing | Self::Master)
    }

    /// Lower case, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unusable => "unusable",
            Self::Listening => "listening",
            Self::Pausing => "pausing",
            Self::Willing => "willing",
            Self::Master => "master",
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Unusable),
            1 => Some(Self::Listening),
            2 => Some(Self::Pausing),
            3 => Some(Self::Willing),
            4 => Some(Self::Master),
            _ => None,
        }
    }
}

impl Message {
    /// Octets of a message.
    pub const LEN: usize = 32;
    /// Changes with every change of the layout; a message of another number is none.
    const LAYOUT: u8 = 1;

    /// As it goes over a socket, in the machine's order: it never leaves it.
    pub fn to_octets(&self) -> [u8; Self::LEN] {
        let mut octets = [0; Self::LEN];
        let family = match self.first.family {
            Family::Ipv4 => 4,
            Family::Ipv6 => 6,
        };
        let [layout, standing, members, size, first_family, first_vrid, _, _, numbers @ ..] = &mut octets;
        (*layout, *standing, *members, *size) = (Self::LAYOUT, self.standing as u8, self.members, self.size);
        (*first_family, *first_vrid) = (family, self.first.vrid.get());
        let values = [self.term, self.first.addresses, self.master_down_interval.as_nanos()];
        for (place, value) in numbers.chunks_exact_mut(8).zip(values) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        octets
    }

    /// `None` if it is no message, or one of another version's.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        let [Self::LAYOUT, standing, members, size, family, vrid, 0, 0, numbers @ ..] = octets else {
            return None;
        };
        let (numbers, []) = numbers.as_chunks::<8>() else { return None };
        let [term, addresses, master_down_interval] = *numbers else { return None };
        Some(Self {
            term: u64::from_ne_bytes(term),
            standing: Standing::from_number(*standing)?,
            members: *members,
            size: *size,
            first: Key {
                family: match family {
                    4 => Family::Ipv4,
                    6 => Family::Ipv6,
                    _ => return None,
                },
                vrid: Vrid::new(*vrid)?,
                addresses: u64::from_ne_bytes(addresses),
            },
            master_down_interval: Duration::from_nanos(u64::from_ne_bytes(master_down_interval)),
        })
    }
}
