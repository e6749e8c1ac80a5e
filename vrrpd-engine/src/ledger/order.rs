//! What the system is asked to do, and what it answers: plain data, so that another process can carry it out.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::MacAddr;

use super::resource::{Macvlan, Resource};

/// What to do for a router. The answer is one [`Outcome`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Make the macvlan link that the router needs before it can be Master, and leave it down.
    Prepare(Box<Macvlan>),
    /// Take these, in this order.
    Take {
        /// What to take: the virtual MAC address and the filter come before the addresses, and these before routes and rules.
        resources: Vec<Resource>,
        /// Take the rest when the virtual MAC address is refused.
        or_without: bool,
    },
    /// Give these back: routes and rules first, then addresses, then the filter and the virtual MAC address. Each is listed as it was taken.
    Release(Vec<Resource>),
    /// Remove the macvlan link of this number, and put the settings of the interface below back.
    Discard(u32),
}

impl Order {
    /// The macvlan link that it makes or sets up.
    pub fn link(&self) -> Option<&Macvlan> {
        match self {
            Self::Prepare(link) => Some(link),
            Self::Take { resources, .. } => resources.iter().find_map(|resource| match resource {
                Resource::Link(link) => Some(&**link),
                Resource::Mac(_)
                | Resource::Answers(_)
                | Resource::Filter(_)
                | Resource::Address(_)
                | Resource::Route(_)
                | Resource::Rule(_) => None,
            }),
            Self::Release(_) | Self::Discard(_) => None,
        }
    }

    /// Whether it changes the MAC address of an interface, which may be down for that.
    pub fn changes_mac(&self) -> bool {
        match self {
            Self::Take { resources, .. } | Self::Release(resources) => {
                resources.iter().any(|resource| matches!(resource, Resource::Mac(_)))
            }
            Self::Prepare(_) | Self::Discard(_) => false,
        }
    }

    /// Whether it adds routes or rules.
    pub fn takes_routing(&self) -> bool {
        matches!(self, Self::Take { resources, .. } if resources.iter().any(Resource::is_routing))
    }

    /// Whether it gives other things back than this address.
    pub fn leaves(&self, address: IpAddr) -> bool {
        matches!(self, Self::Release(resources) if !resources.iter().any(|resource| resource.is_address(address)))
    }

    /// Whether it puts this address on an interface.
    pub fn takes(&self, address: IpAddr) -> bool {
        matches!(self, Self::Take { resources, .. } if resources.iter().any(|resource| resource.is_address(address)))
    }
}

/// What came of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// One result for each resource of the order, in its order. Shorter when the rest was not tried, since the virtual MAC
    /// address was refused.
    pub results: Vec<Result<(), SystemError>>,
    /// The macvlan link that was made.
    pub made: Option<Made>,
    /// The macvlan link that is up, by number: where the order has [`Place::Link`](super::Place::Link).
    pub link: Option<u32>,
    /// The interface with this number has this MAC address now; notifications that say so follow.
    pub mac: Option<(u32, MacAddr)>,
    /// How the kernel made link-local addresses on that interface before it got the virtual MAC address.
    pub addr_gen_mode: Option<String>,
    /// The interfaces from which addresses were removed; notifications that say so follow.
    pub removed_from: Vec<u32>,
    /// The interface was down meanwhile, since its driver changes the MAC address only then.
    pub restarted: bool,
}

impl Outcome {
    /// The outcome of an order that consists of one step.
    pub fn of(result: Result<(), SystemError>) -> Self {
        Self { results: vec![result], ..Self::default() }
    }

    /// The first result that is an error, except for what was gone already.
    pub fn failure(&self) -> Option<&SystemError> {
        self.results.iter().filter_map(|result| result.as_ref().err()).find(|error| !error.is_gone())
    }
}

/// A macvlan link that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The settings of the interface below before it had a link of ours: `KEY=VALUE`, separated by spaces.
    pub settings: String,
}

/// Why the system did not do something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemError {
    /// What follows from it.
    pub cause: Cause,
    /// As people read it.
    pub text: String,
}

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The interface does not exist any more (`ENODEV`). Its own notification follows.
    NoInterface,
    /// It exists already (`EEXIST`).
    Exists,
    /// It does not exist (`EADDRNOTAVAIL`; of a route `ESRCH`, of a rule `ENOENT`).
    Absent,
    /// The interface or the kernel does not support it, or we lack the permission: it fails each time.
    Unsupported,
    /// Anything else: it may succeed later.
    Other,
}

impl SystemError {
    /// An error that is the same each time.
    pub const fn unsupported(text: String) -> Self {
        Self { cause: Cause::Unsupported, text }
    }

    /// Whether there is nothing left to give back.
    pub const fn is_gone(&self) -> bool {
        matches!(self.cause, Cause::NoInterface | Cause::Absent)
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for SystemError {}
