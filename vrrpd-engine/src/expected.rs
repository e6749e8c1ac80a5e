//! What adverts of other routers have to look like, but for the secret, which the daemon alone knows.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use vrrpd_common::Auth;
use vrrpd_common::classify::Expect;

use crate::config::{AuthKind, RouterConfig};
use crate::interface::Interface;

/// What a Backup takes: 255 on the link (RFC 9568 §5.1.1.3).
const MIN_TTL: u8 = 255;

/// What of it depends on where the router sends from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    source: Option<IpAddr>,
    broadcast: Option<Ipv4Addr>,
}

impl Expected {
    /// Of a router that sends from this address on this interface.
    pub fn of(source: Option<IpAddr>, interface: Option<&Interface>) -> Self {
        Self { source, broadcast: source.and_then(|source| interface?.broadcast(source)) }
    }

    /// What adverts have to look like for a router of this configuration, whose message holds `auth`.
    pub fn with(self, config: &RouterConfig, auth: Auth) -> Expect {
        Expect {
            version: config.version,
            interval: config.interval,
            auth,
            source: self.source,
            broadcast: self.broadcast,
            min_ttl: MIN_TTL,
            accept_interval_mismatch: config.accept_interval_mismatch,
            accept_no_addresses: config.addresses.is_empty(),
            address_list: config.require_equal_addresses.then(|| config.digest()),
        }
    }

    /// The same with zero for the secret, as far as there is one.
    pub fn without_secret(self, config: &RouterConfig) -> Expect {
        let auth = match config.auth {
            AuthKind::None => Auth::None,
            AuthKind::Simple => Auth::Simple([0; Auth::DATA_LEN]),
            AuthKind::Ah => Auth::Ah,
        };
        self.with(config, auth)
    }
}
