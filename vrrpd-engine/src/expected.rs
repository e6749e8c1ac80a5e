//! How adverts of other routers are checked, without the secret, which only the daemon has.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use vrrpd_common::Auth;
use vrrpd_common::classify::Expect;

use crate::config::{AuthKind, RouterConfig};
use crate::interface::Interface;

/// TTL required of multicast, on the link (RFC 9568 §5.1.1.3).
const MIN_TTL: u8 = 255;

/// The part of the checks that depends on the router's own source address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    source: Option<IpAddr>,
    broadcast: Option<Ipv4Addr>,
}

impl Expected {
    /// For a router that sends from this address on this interface.
    pub fn of(source: Option<IpAddr>, interface: Option<&Interface>) -> Self {
        Self { source, broadcast: source.and_then(|source| interface?.broadcast(source)) }
    }

    /// The checks for a router with this configuration, whose messages contain `auth`.
    pub fn with(self, config: &RouterConfig, auth: Auth) -> Expect {
        Expect {
            version: config.version,
            interval: config.interval,
            auth,
            source: self.source,
            broadcast: self.broadcast,
            from_peers: !config.peers().is_empty(),
            min_ttl: MIN_TTL,
            accept_interval_mismatch: config.accept_interval_mismatch,
            accept_no_addresses: config.addresses.is_empty(),
            address_list: config.require_equal_addresses.then(|| config.digest()),
        }
    }

    /// The same with the secret set to zero.
    pub fn without_secret(self, config: &RouterConfig) -> Expect {
        let auth = match config.auth {
            AuthKind::None => Auth::None,
            AuthKind::Simple => Auth::Simple([0; Auth::DATA_LEN]),
            AuthKind::Ah => Auth::Ah,
        };
        self.with(config, auth)
    }
}
