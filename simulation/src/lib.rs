//! Machines, networks and faults in virtual time: the engine of the daemon as it is, in more situations than a laboratory
//! can make. [`daemon`] drives an engine, [`kernel`] answers it, [`world`] is where they live.
//!
//! [`run`] has what must hold and within which time; a run is a function of its seed. [`search`] goes through every order
//! of events instead, within narrow limits. The names of machines and routers in transcripts are numbers: `1/0` is the
//! router of machine 1 on LAN 0.
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
