//! What the daemon tells its guardian, and the guardian's one answer.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vrrpd_engine::RouterId;
use vrrpd_engine::ledger::PlacedAddress;
use vrrpd_engine::script::Call;

use crate::transmit::routed::Route;

/// The guardian's message when it watches; any other text is an error.
pub(super) const READY: &[u8] = b"ready";
/// [`GuardianMessage::Dying`], serialized.
pub(super) const DYING: &[u8] = b"\"Dying\"";

/// Messages to the guardian.
#[derive(Debug, Serialize, Deserialize)]
pub enum GuardianMessage {
    /// From now on there may be something to undo, as recorded in the journal of this name in this directory.
    Charge {
        /// The run directory.
        directory: PathBuf,
        /// Base name of the daemon's files.
        base: String,
    },
    /// A router is Master.
    Master(Box<Mastery>),
    /// The router is not Master any more.
    Over(RouterId),
    /// Hold the attached descriptor under this number.
    Hold(u64),
    /// Close the descriptor with this number.
    LetGo(u64),
    /// The daemon crashes: it does nothing more, and ends when its core has been written.
    Dying,
    /// Everything has been given back.
    Farewell,
}

/// The resignation and scripts of a Master in case its daemon dies.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mastery {
    /// The router.
    pub router: RouterId,
    /// Its name, for the log.
    pub name: String,
    /// Index of the interface that it sends on.
    pub interface: u32,
    /// Its addresses on interfaces.
    pub holds: Vec<PlacedAddress>,
    /// The kernel stores our mark with addresses.
    pub marks: bool,
    /// The advert with priority 0; `None` if only the daemon can create it.
    pub resignation: Option<Resignation>,
    /// Its scripts, and those of its group.
    pub scripts: Vec<LastScript>,
}

/// An advert with priority 0, ready to send.
#[derive(Debug, Serialize, Deserialize)]
pub enum Resignation {
    /// A frame for the interface.
    Group(Vec<u8>),
    /// A packet to each of the peers.
    Peers {
        /// Their source.
        route: Route,
        /// The frames, each with its destination.
        packets: Vec<(IpAddr, Vec<u8>)>,
    },
}

/// The scripts of a router or group for the case that the daemon dies.
#[derive(Debug, Serialize, Deserialize)]
pub struct LastScript {
    /// The scripts.
    pub call: Call,
    /// Timeout of each script in nanoseconds.
    pub limit_ns: u64,
    /// The claim that orders these scripts before those of the next daemon.
    pub claim: String,
}
