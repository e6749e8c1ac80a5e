//! The validated configuration, with the same types for command line and file.
//!
//! `options` has the table of all options of a router. [`value`] parses the text of one option, [`RouterOptions`]
//! collects the options of one router, and [`RouterOptions::resolve`] turns them into a valid [`RouterConfig`].

mod authentication;
mod configuration;
mod document;
pub mod file;
mod foreign;
mod group;
mod mistakes;
mod options;
mod refused;
mod resolve;
mod together;
pub mod track;
pub mod value;

pub use authentication::{Authentication, Password};
pub use configuration::{Configuration, DatapathOption, RouterConfig};
pub use file::{FileError, exposed_secret, load};
pub use mistakes::Mistakes;
pub use options::{Argument, Declaration, Key, NO_VMAC, OptionError, RouterOptions, Toml};
pub use refused::{RefusedScript, ScriptRefusal, refused_scripts};
pub use resolve::{LONGEST_PREEMPT_DELAY, LONGEST_START_DELAY};
pub use vrrpd_engine::config::{
    Announce, AuthKind, Datapath, Destination, GroupConfig, Magic, Pauses, Peer, RouterConfig as Settings,
    VirtualAddress, VmacFallback, VmacMode,
};
pub use vrrpd_engine::held_address::HeldAddress;
pub use vrrpd_engine::script::{Script, ScriptStyle, ScriptUser, Scripts};
pub use vrrpd_engine::track::CheckConfig;
