//! The data path that the daemons under test are to use.

use std::env;

/// Set to `raw`, `generic`, `native` or `tcx`: what daemons use for which a test does not say it. `cargo xtask test` runs the
/// tests that depend on it once with each.
const VARIABLE: &str = "VRRPD_LAB_DATAPATH";

/// How a daemon is to receive adverts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datapath {
    /// Without an option.
    Default,
    /// `--datapath=raw`
    Raw,
    /// `--xdp`: the best mode that works.
    Auto,
    /// `--xdp=generic`
    Generic,
    /// `--xdp=native`
    Native,
    /// `--datapath=tcx`
    Tcx,
}

impl Datapath {
    /// Both ways in which an XDP program handles adverts.
    pub const IN_KERNEL: [Self; 2] = [Self::Generic, Self::Native];

    /// That of daemons for which a test says nothing else.
    pub fn usual() -> Self {
        match env::var(VARIABLE).as_deref() {
            Err(_) | Ok("raw") => Self::Raw,
            Ok("generic") => Self::Generic,
            Ok("native") => Self::Native,
            Ok("tcx") => Self::Tcx,
            Ok(other) => panic!("{VARIABLE} is {other:?}; raw, generic, native or tcx is wanted"),
        }
    }

    /// What the state has to call it; `None` where that depends on the machine.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Raw => Some("raw"),
            Self::Default | Self::Auto => None,
            Self::Generic => Some("xdp-generic"),
            Self::Native => Some("xdp-native"),
            Self::Tcx => Some("tcx"),
        }
    }

    /// The option, which is also the key in a configuration file, and its value; `None`: none is given.
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
