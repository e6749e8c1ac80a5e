//! Why a daemon, or a router of a new configuration, cannot begin.

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
    /// Sockets and addresses are root's.
    #[error("must run as root, or with CAP_NET_ADMIN and CAP_NET_RAW: {because}")]
    NotPermitted {
        /// What is missing.
        because: String,
    },
    /// The directory or a name in it is not to be had.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// There is no such interface.
    #[error("{0}: interface not found")]
    NoInterface(String),
    /// An advert is not divided.
    #[error(
        "{router}: an advert with {count} addresses is {octets} octets long, but the MTU of \
         {interface} is {mtu}; divide the addresses among several routers"
    )]
    TooManyAddresses {
        /// The router.
        router: String,
        /// Its addresses.
        count: usize,
        /// Octets of the IP packet.
        octets: usize,
        /// The interface.
        interface: String,
        /// What it takes.
        mtu: u32,
    },
    /// A peer is another host.
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
    /// VRRP is defined for Ethernet here.
    #[error("{0}: not an Ethernet interface (Ethernet, VLAN, bond, bridge and veth are supported)")]
    NotEthernet(String),
    /// The data path that was asked for is not to be had.
    #[error("{option}: not possible: {reason}")]
    NoDatapath {
        /// The option with its value.
        option: String,
        /// Why.
        reason: Refusal,
    },
    /// Two virtual MAC addresses for one interface.
    #[error(
        "-i {interface}: has the virtual MAC address of another virtual router{holder}; use --vmac macvlan for several on \
         one interface, or -n"
    )]
    VmacTaken {
        /// The interface.
        interface: String,
        /// What is known of it: `, 00:00:5e:00:01:34`, or empty.
        holder: String,
    },
    /// A crash has left the virtual MAC address, and what the interface had before is not known.
    #[error(
        "-i {interface}: has a leftover virtual MAC address {mac}, and its own address is unknown; \
         set it with `ip link set {interface} address`"
    )]
    OwnMacUnknown {
        /// The interface.
        interface: String,
        /// The virtual one.
        mac: MacAddr,
    },
    /// There is to be a virtual MAC address or nothing.
    #[error(
        "--vmac macvlan: {router}: cannot create macvlan link: {error}; \
         use -n or --vmac-fallback none to continue without it"
    )]
    NoVmac {
        /// The router.
        router: String,
        /// Why.
        error: SystemError,
    },
    /// Another process was told another size of the group.
    #[error(
        "-M {ours}: {peer} was started with -M {theirs}; all processes of the machine must use the same \
         number"
    )]
    GroupSize {
        /// What this one was told.
        ours: u8,
        /// The other one.
        peer: String,
        /// What that one was told.
        theirs: u8,
    },
    /// All members of the group are there.
    #[error(
        "-M {size}: the group is complete: {members}; for more processes restart all of them with a \
         higher number"
    )]
    GroupFull {
        /// How many members it has.
        size: u8,
        /// Who they are.
        members: String,
    },
    /// A system call failed.
    #[error("{what}: {error}")]
    System {
        /// What it was for.
        what: String,
        /// With this error.
        error: io::Error,
    },
}

impl StartError {
    /// Why this router cannot begin on its interface, which the user named in this way.
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

    /// The data path that was asked for by name is not to be had.
    pub(super) fn no_datapath(option: DatapathOption, wanted: Datapath, reason: Refusal) -> Self {
        Self::NoDatapath { option: option.saying(wanted), reason }
    }
}
