//! The laboratory of the tests: machines made of network namespaces, joined by bridges, with the daemon under test,
//! keepalived as its peer, captures and pings.
//!
//! Nothing in it has a name outside this process: namespaces are held by file descriptors, processes die with the
//! thread that started them, files are in temporary directories. So nothing is left behind, however a test ends,
//! except, after SIGKILL, a temporary directory, and pinned maps below `/sys/fs/bpf/vrrpd` with the number of a former
//! namespace.
//!
//! Helpers panic with a message if they fail, which ends the test or `cargo xtask lab`.
//!
//! Start reading at [`Lab`], then [`Vrrpd`], [`Datapath`], [`Keepalived`], [`Capture`] and [`Pinger`]. [`frame`] builds
//! and parses frames, deliberately without the code under test.
#![allow(clippy::panic, reason = "a laboratory that cannot do what a test asks for ends the test")]
#![allow(clippy::missing_panics_doc, reason = "every helper panics, as the crate's documentation says")]

mod alike;
mod authentication;
mod background;
mod bystander;
pub mod callgrind;
mod capture;
mod card;
mod check_home;
pub mod checksum;
mod core;
pub mod corpus;
mod datapath;
pub mod death;
mod fault;
mod flood;
pub mod frame;
mod keepalived;
pub mod kernel_router;
mod lab;
mod member;
mod monitor;
mod namespace;
pub mod needs;
pub mod oracle;
mod pinger;
mod process;
pub mod program;
pub mod random;
pub mod schema;
mod script;
pub mod site;
mod snapshot;
mod strace;
mod sys;
mod system;
pub mod tap;
mod terminal;
pub mod timers;
pub mod trial;
mod usage;
pub mod usual;
mod vrrpd;
mod wait;

pub use alike::{Role, Twins};
pub use authentication::Authenticated;
pub use background::Background;
pub use bystander::{Bystander, Conduct, classifiers, detach, with_pinned_classifier};
pub use capture::{Capture, Injector, Seen};
pub use card::{Cards, all_cards};
pub use check_home::{CheckHome, Service};
pub use core::dumped_memory;
pub use datapath::Datapath;
pub use fault::Dying;
pub use flood::Flood;
pub use frame::{Advert, AdvertFrame};
pub use keepalived::{Instance, Keepalived, KeepalivedBuilder};
pub use lab::{Host, Lab};
pub use member::Intruder;
pub use monitor::{Monitor, Told, index_of};
pub use namespace::Namespace;
pub use nix::sys::signal::Signal;
pub use pinger::{PingReport, Pinger};
pub use process::{Finished, Process, is_alive};
pub use script::ScriptLog;
pub use snapshot::Snapshot;
pub use strace::Strace;
pub use system::{Content, System};
pub use terminal::Terminal;
pub use usage::{Usage, busy_time, children_of};
pub use vrrpd::{Vrrpd, VrrpdBuilder, atropos, binary, left_files, signal_to, use_binaries_in};
pub use wait::{message, stretched, wait_for, wait_until};
