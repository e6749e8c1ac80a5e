//! Tracking: checks of processes, commands, interfaces, files and other hosts that change a router's priority or cause
//! a fault.
//!
//! The daemon performs the checks; this module evaluates the results. A [`CheckConfig`] says what is checked and how
//! results are evaluated, [`Judge`] turns the results of one check into an [`Outcome`](crate::priority::Outcome), and
//! [`Checks`] is the table of all checks of a process, shared by its routers. [`crate::priority`] applies outcomes to a
//! router.

mod config;
mod judge;
mod table;

pub use config::{
    CheckConfig, CheckKind, Command, HttpRequest, Polling, ProcessName, RoutePrefix, Rules, Tracked,
};
pub use judge::{Finding, Judge};
pub use table::{Change, Checks, Plan};
