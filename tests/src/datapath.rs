//! The data path of the daemons under test.

use std::env;

/// `raw`, `generic`, `native` or `tcx`: the data path of daemons for which a test does not specify one. `cargo xtask
/// test` runs the tests that depend on it once with each.
const VARIABLE: &str = "VRRPD_LAB_DATAPATH";

/// The data path of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datapath {
    /// Without an option.
    Default,
    /// `--datapath=raw`
    Raw,
    /// `--xdp`: the best mode available.
    Auto,
    /// `--xdp=generic`
    Generic,
    /// `--xdp=native`
    Native,
    /// `--datapath=tcx`
    Tcx,
}

impl Datapath {
    /// Both modes of XDP.
    pub const IN_KERNEL: [Self; 2] = [Self::Generic, Self::Native];

    /// The data path of daemons for which a test specifies none.
    pub fn usual() -> Self {
        match env::var(VARIABLE).as_deref() {
            Err(_) | Ok("raw") => Self::Raw,
            Ok("generic") => Self::Generic,
            Ok("native") => Self::Native,
            Ok("tcx") => Self::Tcx,
            Ok(other) => panic!("{VARIABLE} is {other:?}; raw, generic, native or tcx is wanted"),
        }
    }

    /// Its name in the state; `None` if that depends on the machine.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Raw => Some("raw"),
            Self::Default | Self::Auto => None,
            Self::Generic => Some("xdp-generic"),
            Self::Native => Some("xdp-native"),
            Self::Tcx => Some("tcx"),
        }
    }

    /// The option, which is also the configuration key, and its value; `None`: no option.
    pub const fn option(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Default => None,
            Self::Raw => Some(("datapath", "raw")),
            Self::Auto => Some(("xdp", "auto")),
            Self::Generic => Some(("xdp", "generic")),
            Self::Native => Some(("xdp", "native")),
            Self::Tcx => Some(("datapath", "tcx")),
        }
    }
}
