//! The laboratory in which Vrrpd is tested: machines made of network namespaces, joined by bridges, on which the
//! daemon under test, keepalived as its peer, captures and pings run.
//!
//! Nothing here has a name outside this process: namespaces are held by file descriptors, processes die with the
//! thread that started them, files live in temporary directories. So whatever ends a test, nothing stays behind but,
//! after a kill -9, a temporary directory.
//!
//! Helpers panic when what they were asked to do cannot be done, with a message that says what was wanted: in a
//! test, and in `cargo xtask lab`, that is the end of the run.
//!
//! Start reading at [`Lab`], then [`Vrrpd`], [`Keepalived`], [`Capture`] and [`Pinger`]. Frames are built and read
//! by [`frame`], on purpose without the code under test.
#![allow(clippy::panic, reason = "a laboratory that cannot do what a test asks for ends the test")]
#![allow(clippy::missing_panics_doc, reason = "every helper panics, as the crate's documentation says")]

mod background;
mod capture;
pub mod checksum;
pub mod frame;
mod keepalived;
mod lab;
mod namespace;
pub mod needs;
mod pinger;
mod process;
pub mod schema;
mod script;
mod sys;
pub mod timers;
pub mod usual;
mod vrrpd;
mod wait;

pub use background::Background;
pub use capture::{Capture, Injector, Seen};
pub use frame::{Advert, AdvertFrame};
pub use keepalived::{Instance, Keepalived, KeepalivedBuilder};
pub use lab::{Host, Lab};
pub use namespace::Namespace;
pub use nix::sys::signal::Signal;
pub use pinger::{PingReport, Pinger};
pub use process::{Finished, Process, is_alive};
pub use script::ScriptLog;
pub use vrrpd::{Vrrpd, VrrpdBuilder, atropos, binary, left_files, use_binaries_in};
pub use wait::{wait_for, wait_until};
