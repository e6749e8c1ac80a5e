//! Messages between the processes of a group, over local sockets.

use crate::params::{Family, Vrid};
use crate::time::Duration;

/// How close a member is to being Master, in ascending order. The lowest standing of several members counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Standing {
    /// Does not take part: not started, leaving, or its interface is not usable.
    Unusable,
    /// Follows a master, or has not listened for long enough.
    Listening,
    /// Would be willing, but a promotion of the group failed recently.
    Pausing,
    /// Would be Master if its group were ready.
    Willing,
    /// It is Master.
    Master,
}

/// Orders the members of a group in the same way on every machine with the same virtual routers: by family, VRID, and
/// digest of the virtual addresses, since several LANs may have a router with the same VRID.
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

/// The part of one process in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// Incremented each time the group is given up. A process that hears of a newer term leaves the older one.
    pub term: u64,
    /// The lowest standing of its members.
    pub standing: Standing,
    /// How many members it has.
    pub members: u8,
    /// Its configured group size.
    pub size: u8,
    /// The lowest key of its members.
    pub first: Key,
    /// The longest Master_Down_Interval of its members.
    pub master_down_interval: Duration,
}

impl Standing {
    /// Whether this process is ready for the group to be Master.
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
    /// Changed with every change of the layout; messages with another number are invalid.
    const LAYOUT: u8 = 1;

    /// Serialized in native byte order, since it never leaves the machine.
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

    /// `None` if it is not a valid message of this version.
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
