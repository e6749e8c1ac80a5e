//! The Virtual Router Redundancy Protocol, pure.
//!
//! Everything here is a function of its arguments: no clock, no socket, no file, no allocation. The daemon, the BPF
//! programs and the tests compile the same code.
//!
//! Start reading at [`classify`], which turns the octets of a frame into an [`Advert`] or the reason why it is not one,
//! and at [`router`], which turns adverts and deadlines into actions of the daemon.
//!
//! Sources are cited as RFC 9568 (VRRPv3, with its errata), RFC 3768 and RFC 2338 (VRRPv2).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod abi;
pub mod advert;
pub mod classify;
pub mod election;
pub mod group;
pub mod mac;
pub mod octets;
pub mod params;
pub mod reject;
pub mod router;
pub mod time;
pub mod timers;
pub mod watch;
pub mod wire;

pub use advert::{AddressDigest, Advert};
pub use classify::classify;
pub use mac::MacAddr;
pub use params::{Auth, Family, Interval, Priority, Version, Vrid};
pub use reject::{Reject, Rejection};
pub use time::{Duration, Instant};
