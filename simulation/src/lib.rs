//! Machines, networks and faults in virtual time: the state machine and the groups of `vrrpd-common` as they are, in
//! more situations than a laboratory can make.
//!
//! [`run`] has what must hold and within which time. A run is a function of its seed.
#![forbid(unsafe_code)]

pub mod cases;
pub mod fault;
pub mod many;
pub mod plan;
pub mod process;
pub mod random;
pub mod run;
pub mod search;
pub mod watch;
pub mod world;
