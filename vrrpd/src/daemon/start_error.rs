//! Why a daemon, or a router of a new configuration, cannot start.

use std::io;
use std::net::IpAddr;

use thiserror::Error;
use vrrpd_common::MacAddr;
use vrrpd_engine::engine::Inadmissible;
use vrrpd_engine::ledger::SystemError;

use crate::config::{Datapath, DatapathOption, Settings};
use crate::datapath::refusal::Refusal;
use crate::rundir::RunDirError;

/// Why the daemon cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A capability is missing.
    #[error("must run as root, or with CAP_NET_ADMIN and CAP_NET_RAW: {because}")]
    NotPermitted {
        /// The missing one.
        because: String,
    },
    /// The run directory, or a name in it, cannot be used.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The interface does not exist.
    #[error("{0}: interface not found")]
    NoInterface(String),
    /// The advert exceeds the MTU; adverts must not be fragmented.
    #[error(
        "{router}: an advert with {count} addresses is {octets} octets long, but the MTU of \
         {interface} is {mtu}; divide the addresses among several routers"
    )]
    TooManyAddresses {
        /// The router.
        router: String,
        /// Number of addresses.
        count: usize,
        /// Length of the IP packet in octets.
        octets: usize,
        /// The interface.
        interface: String,
        /// MTU in octets.
        mtu: u32,
    },
    /// The peer address belongs to this machine.
    #[error(
        "{router}: peer {peer} is an own or a broadcast address of {interface}; list the addresses of the other routers"
    )]
    MisplacedPeer {
        /// The router.
        router: String,
        /// The interface.
        interface: String,
        /// The address.
        peer: IpAddr,
    },
    /// The interface is not Ethernet.
    #[error("{0}: not an Ethernet interface (Ethernet, VLAN, bond, bridge and veth are supported)")]
    NotEthernet(String),
    /// The requested data path is not available.
    #[error("{option}: not possible: {reason}")]
    NoDatapath {
        /// The option with its value.
        option: String,
        /// The reason.
        reason: Refusal,
    },
    /// Another virtual router has set its virtual MAC address on the interface.
    #[error(
        "-i {interface}: has the virtual MAC address of another virtual router{holder}; use --vmac macvlan for several on \
         one interface, or -n"
    )]
    VmacTaken {
        /// The interface.
        interface: String,
        /// For the message: `, 00:00:5e:00:01:34`, or empty.
        holder: String,
    },
    /// A crash left the virtual MAC address, and the interface's own one is not known.
    #[error(
        "-i {interface}: has a leftover virtual MAC address {mac}, and its own address is unknown; \
         set it with `ip link set {interface} address`"
    )]
    OwnMacUnknown {
        /// The interface.
        interface: String,
        /// The virtual MAC address.
        mac: MacAddr,
    },
    /// The virtual MAC address is required, and its macvlan link cannot be created.
    #[error(
        "--vmac macvlan: {router}: cannot create macvlan link: {error}; \
         use -n or --vmac-fallback none to continue without it"
    )]
    NoVmac {
        /// The router.
        router: String,
        /// The error.
        error: SystemError,
    },
    /// Another process was configured with another group size.
    #[error(
        "-M {ours}: {peer} was started with -M {theirs}; all processes of the machine must use the same \
         number"
    )]
    GroupSize {
        /// Group size of this process.
        ours: u8,
        /// Name of the other process.
        peer: String,
        /// Group size of the other process.
        theirs: u8,
    },
    /// The group has all its members.
    #[error(
        "-M {size}: the group is complete: {members}; for more processes restart all of them with a \
         higher number"
    )]
    GroupFull {
        /// Size of the group.
        size: u8,
        /// Names of the members.
        members: String,
    },
    /// A system call failed.
    #[error("{what}: {error}")]
    System {
        /// Its purpose.
        what: String,
        /// The error.
        error: io::Error,
    },
}

impl StartError {
    /// Why this router cannot run on its interface; `naming` is the interface as named by the user.
    pub(super) fn inadmissible(config: &Settings, naming: String, why: Inadmissible) -> Self {
        let (router, interface) = (config.name().to_string(), config.interface.clone());
        match why {
            Inadmissible::NoInterface => Self::NoInterface(naming),
            Inadmissible::NotEthernet => Self::NotEthernet(naming),
            Inadmissible::TooManyAddresses { count, octets, mtu } => {
                Self::TooManyAddresses { router, count, octets, interface, mtu }
            }
            Inadmissible::MisplacedPeer(peer) => Self::MisplacedPeer { router, interface, peer },
            Inadmissible::VmacTaken(mac) => Self::VmacTaken { interface, holder: format!(", {mac}") },
            Inadmissible::OwnMacUnknown(mac) => Self::OwnMacUnknown { interface, mac },
        }
    }

    /// The requested data path is not available.
    pub(super) fn no_datapath(option: DatapathOption, wanted: Datapath, reason: Refusal) -> Self {
        Self::NoDatapath { option: option.saying(wanted), reason }
    }
}
