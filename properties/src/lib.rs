//! Properties that must hold for every input from outside: from the network, a file, a user or another process.
//!
//! Each module has a function `check`, which accepts any octets and panics if a property does not hold, and a function
//! `seeds`, which creates initial inputs. The crate in `fuzz/` runs the checks under a coverage-guided fuzzer (`cargo
//! xtask fuzz`); `tests/replay.rs` runs them over the committed inputs in every `cargo test`.
//!
//! Start reading at [`TARGETS`].
#![allow(clippy::panic, reason = "a property that does not hold ends the run")]
#![allow(clippy::missing_panics_doc, reason = "every check panics when a property does not hold")]

pub mod config;
pub mod control;
pub mod frame;
pub mod machine;

/// An input from outside with its properties.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name on the command line and of its directories.
    pub name: &'static str,
    /// Panics if a property does not hold for this input.
    pub check: fn(&[u8]),
    /// Initial inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: [Target; 4] = [
    Target { name: "frame", check: frame::check, seeds: frame::seeds },
    Target { name: "machine", check: machine::check, seeds: machine::seeds },
    Target { name: "config", check: config::check, seeds: config::seeds },
    Target { name: "control", check: control::check, seeds: control::seeds },
];
