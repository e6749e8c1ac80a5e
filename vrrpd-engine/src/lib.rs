//! The daemon's decisions above the protocol, as pure code: no clock, descriptors, threads or files.
//!
//! Time is an argument. Requests to the system and its answers are data. `tests/no_io.rs` proves that nothing else is
//! used: it checks the imports of the sources and the dependencies of the crate.
//!
//! [`vrrpd_common`] decides for one virtual router and one group; this crate applies that to a machine.

#![forbid(unsafe_code)]

mod absence;
pub mod address;
pub mod budget;
pub mod config;
pub mod engine;
pub mod expected;
pub mod group;
pub mod held_address;
pub mod ids;
pub mod interface;
pub mod kernel;
pub mod leaving;
pub mod ledger;
pub mod link;
pub mod mismatch;
pub mod pace;
pub mod pending_reply;
pub mod plan;
pub mod priority;
pub mod rate_limit;
pub mod recording;
pub mod reload;
pub mod router;
pub mod router_name;
pub mod routing;
pub mod script;
pub mod sending;
pub mod spaced;
pub mod track;
pub mod vmac;

pub use engine::{Engine, Input, Now, Output};
pub use ids::{LinkId, RouterId, Slots, Ticket};
