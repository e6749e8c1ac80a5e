//! A request of a router that the system has not answered.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ids::Ticket;
use crate::interface::Remover;
use crate::ledger::Order;

/// A request that the system has not answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// Identifies the request.
    pub ticket: Ticket,
    /// The request.
    pub order: Order,
    /// Addresses removed while the request was pending, and by which process.
    pub lost: Vec<(IpAddr, Remover)>,
}
