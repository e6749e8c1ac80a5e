//! What the daemon decides above the protocol, as pure code: no clock, no descriptor, no thread, no file.
//!
//! Time is an argument. What is asked of the system, and what the system answers, is data. `tests/no_io.rs` proves that
//! nothing else is used: it lists what the sources import and what the crate depends on.
//!
//! [`vrrpd_common`] decides for one virtual router and one group; this crate decides what becomes of that on a machine.

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
pub mod ledger;
pub mod link;
pub mod mismatch;
pub mod pace;
pub mod plan;
pub mod priority;
pub mod rate_limit;
pub mod recording;
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
