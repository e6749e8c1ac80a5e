//! What must hold for every input that comes from outside: from the network, a file, a user or another process.
//!
//! Each module has a function `check`, which takes any octets and panics when a property does not hold, and a function
//! `seeds`, which makes inputs to begin with. The crate in `fuzz/` runs the checks under a coverage-guided fuzzer
//! (`cargo xtask fuzz`); `tests/replay.rs` runs them over the committed inputs in every `cargo test`.
//!
//! Start reading at [`TARGETS`].
#![allow(clippy::panic, reason = "a property that does not hold ends the run")]
#![allow(clippy::missing_panics_doc, reason = "every check panics when a property does not hold")]

pub mod config;
pub mod control;
pub mod frame;
pub mod machine;

/// Something that takes input from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name, on the command line and of its directories.
    pub name: &'static str,
    /// Panics when a property does not hold for this input.
    pub check: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: [Target; 4] = [
    Target { name: "frame", check: frame::check, seeds: frame::seeds },
    Target { name: "machine", check: machine::check, seeds: machine::seeds },
    Target { name: "config", check: config::check, seeds: config::seeds },
    Target { name: "control", check: control::check, seeds: control::seeds },
];
