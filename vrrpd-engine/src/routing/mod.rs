//! Routes and policy rules of a Master, in the syntax of `ip route add` and `ip rule add`.

mod route;
mod rule;
mod words;

pub use route::{NextHop, Route, RouteKind};
pub use rule::{PortRange, Rule, RuleAction};
pub use words::{Prefix, WordError};

/// The protocol number of our routes and rules (`proto 112` in `ip route`), the IP protocol number of VRRP. Only those
/// with it are removed.
pub const PROTOCOL: u8 = 112;
/// The main routing table.
pub const MAIN_TABLE: u32 = 254;
