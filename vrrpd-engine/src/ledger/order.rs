//! Requests to the system and its answers: plain data, so that another process can execute them.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::MacAddr;

use super::resource::{Macvlan, Place, Resource};

/// A request for a router, answered by one [`Outcome`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Create the macvlan link of the router, and leave it down.
    Prepare(Box<Macvlan>),
    /// Take these resources, in this order.
    Take {
        /// The virtual MAC address and the packet filter come before the addresses, and these before routes and rules.
        resources: Vec<Resource>,
        /// Take the rest even if the virtual MAC address is refused.
        or_without: bool,
    },
    /// Give these resources back: routes and rules first, then addresses, then the packet filter and the virtual MAC
    /// address. Each is as it was taken.
    Release(Vec<Resource>),
    /// Remove the macvlan link with this index, and restore the settings of the interface below.
    Discard(u32),
}

impl Order {
    /// The macvlan link that the request creates or sets up.
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

    /// Whether it changes the MAC address of an interface, which may go down for that.
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

    /// Whether it gives back addresses, but not this one.
    pub fn leaves(&self, address: IpAddr) -> bool {
        matches!(self, Self::Release(resources) if !resources.iter().any(|resource| resource.is_address(address)))
    }

    /// Whether it adds this address.
    pub fn takes(&self, address: IpAddr) -> bool {
        matches!(self, Self::Take { resources, .. } if resources.iter().any(|resource| resource.is_address(address)))
    }

    /// Whether it adds this address in this place.
    pub fn takes_on(&self, on: Place, address: IpAddr) -> bool {
        let is_it = |resource: &Resource| matches!(resource, Resource::Address(held) if held.on == on && held.address.address == address);
        matches!(self, Self::Take { resources, .. } if resources.iter().any(is_it))
    }
}

/// The answer to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// One result for each resource, in order. The list ends early if the virtual MAC address was refused and the rest
    /// was not tried.
    pub results: Vec<Result<(), SystemError>>,
    /// The macvlan link that was created.
    pub made: Option<Made>,
    /// Index of the macvlan link that is up, for [`Place::Link`](super::Place::Link).
    pub link: Option<u32>,
    /// The new MAC address of the interface with this index, ahead of the notification.
    pub mac: Option<(u32, MacAddr)>,
    /// The `addr_gen_mode` of that interface before it got the virtual MAC address.
    pub addr_gen_mode: Option<String>,
    /// The interfaces from which addresses were removed, ahead of the notifications.
    pub removed_from: Vec<u32>,
    /// The interface was taken down for a moment, since its driver changes the MAC address only then.
    pub restarted: bool,
}

impl Outcome {
    /// The answer to a request of one step.
    pub fn of(result: Result<(), SystemError>) -> Self {
        Self { results: vec![result], ..Self::default() }
    }

    /// The first error, except for resources that were gone already.
    pub fn failure(&self) -> Option<&SystemError> {
        self.results.iter().filter_map(|result| result.as_ref().err()).find(|error| !error.is_gone())
    }
}

/// A macvlan link that was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Interface index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The original settings of the interface below: `KEY=VALUE`, separated by spaces.
    pub settings: String,
}

/// An error of the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemError {
    /// Its kind.
    pub cause: Cause,
    /// Its text for people.
    pub text: String,
}

/// The kind of an error, by its consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The interface does not exist any more (`ENODEV`). Its notification follows.
    NoInterface,
    /// The resource exists already (`EEXIST`).
    Exists,
    /// The resource does not exist (`EADDRNOTAVAIL`; of a route `ESRCH`, of a rule `ENOENT`).
    Absent,
    /// Not supported by the interface or kernel, or not permitted: permanent.
    Unsupported,
    /// Any other error, which may be temporary.
    Other,
}

impl SystemError {
    /// A permanent error.
    pub const fn unsupported(text: String) -> Self {
        Self { cause: Cause::Unsupported, text }
    }

    /// Whether nothing is left to give back.
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
