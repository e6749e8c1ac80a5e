//! What the priority of routers, or their being able to serve, depends on: processes, commands, interfaces, files, other hosts.
//!
//! Looking is the daemon's; here is what follows from it. A [`CheckConfig`] says what is looked at and how results are judged,
//! [`Judge`] makes an [`Outcome`](crate::priority::Outcome) of the results of one check, and [`Checks`] is the table of all
//! checks of a process: routers that track the same thing share one. The effect of outcomes on a router is in
//! [`crate::priority`].

mod config;
mod judge;
mod table;

pub use config::{
    CheckConfig, CheckKind, Command, HttpRequest, Polling, ProcessName, RoutePrefix, Rules, Tracked,
};
pub use judge::{Finding, Judge};
pub use table::{Change, Checks, Plan};
