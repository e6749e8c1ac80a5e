//! Simulation of machines, networks and faults in virtual time around the daemon's engine, for more situations than a
//! laboratory can create. [`daemon`] drives an engine, [`kernel`] answers it, [`world`] contains them.
//!
//! [`run`] has the properties and their time limits; a run is a function of its seed. [`search`] tries every order of
//! events instead, within narrow limits. Transcripts name machines and routers by number: `1/0` is the router of
//! machine 1 on LAN 0.
//!
//! Start reading at [`run::run`].
#![forbid(unsafe_code)]
#![allow(
    clippy::missing_panics_doc,
    reason = "what panics here is a mistake in the simulation, and ends the run"
)]

pub mod cases;
pub mod daemon;
pub mod fault;
pub mod kernel;
pub mod many;
pub mod plan;
pub mod random;
pub mod run;
pub mod search;
pub mod watch;
pub mod world;
