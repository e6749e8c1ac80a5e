//! The hook in the kernel at which the program of an interface runs.

use crate::config::Datapath;
use crate::sys::bpf;

/// One of the hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// XDP in the driver.
    Native,
    /// XDP after the driver, in every kernel and on every device.
    Generic,
    /// A classifier, after XDP and beside other classifiers. It consumes nothing.
    Tcx,
}

/// The kinds of programs; each has an object of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For [`Tier::Native`] and [`Tier::Generic`].
    Xdp,
    /// For [`Tier::Tcx`].
    Classifier,
}

impl Tier {
    /// The hooks of a data path, in the order in which they are tried.
    pub(super) const fn of(wanted: Datapath) -> &'static [Self] {
        match wanted {
            Datapath::Raw => &[],
            Datapath::Auto | Datapath::Tcx => &[Self::Tcx],
            Datapath::Xdp => &[Self::Native, Self::Tcx, Self::Generic],
            Datapath::XdpNative => &[Self::Native],
            Datapath::XdpGeneric => &[Self::Generic],
        }
    }

    /// The data path that is this hook alone.
    pub const fn alone(self) -> Datapath {
        match self {
            Self::Native => Datapath::XdpNative,
            Self::Generic => Datapath::XdpGeneric,
            Self::Tcx => Datapath::Tcx,
        }
    }

    /// The kind of program that runs there.
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Native | Self::Generic => Kind::Xdp,
            Self::Tcx => Kind::Classifier,
        }
    }

    /// The name in the state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "xdp-native",
            Self::Generic => "xdp-generic",
            Self::Tcx => "tcx",
        }
    }

    /// Name of the program.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Native | Self::Generic => "XDP program",
            Self::Tcx => "classifier",
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tcx => "tcx",
        }
    }

    /// Whether the program gets the VLAN of each packet, regardless of the driver's tag offload.
    pub const fn sees_tags(self) -> bool {
        matches!(self, Self::Tcx)
    }

    pub(super) const fn hook(self) -> u32 {
        match self {
            Self::Native | Self::Generic => bpf::XDP,
            Self::Tcx => bpf::TCX_INGRESS,
        }
    }

    /// `XDP_FLAGS_DRV_MODE`, `XDP_FLAGS_SKB_MODE`, or before all other classifiers.
    pub(super) const fn flags(self) -> u32 {
        match self {
            Self::Native => 1 << 2,
            Self::Generic => 1 << 1,
            Self::Tcx => bpf::TCX_FIRST,
        }
    }
}
