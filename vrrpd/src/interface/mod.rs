//! The interfaces of the machine: what they are like, and the virtual addresses that the daemon puts on them.
//!
//! All of it goes through rtnetlink in a thread of its own ([`service`]): a request waits in the kernel for a lock that
//! others may hold for long, and adverts must not wait with it.

mod address;
pub(crate) mod ask;
pub mod at_once;
mod cache;
mod claimed;
mod filter;
mod hold;
mod macvlan;
mod own_mac;
mod routing;
mod secondaries;
pub mod service;
mod stack;
mod sysctl;

pub use stack::refusal;
pub use vrrpd_engine::interface::{Interface, InterfaceAddress, Obstacle};
