//! The interfaces of the machine: their state, and the virtual addresses that the daemon adds.
//!
//! All of it uses rtnetlink in its own thread ([`service`]): a request may wait in the kernel for a lock for long, and
//! adverts must not wait with it.

mod address;
mod alias;
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
