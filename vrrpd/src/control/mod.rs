//! The control socket: one JSON object a line, a request from the client and its reply from the daemon.

pub mod client;
pub mod followers;
pub mod server;

use serde::{Deserialize, Serialize};

use crate::report::{EventReport, RouterReport};

/// Longest request in octets.
const LONGEST_REQUEST: u64 = 4096;

/// Which routers are meant: those that match all that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// On this interface.
    pub interface: Option<String>,
    /// With this VRID.
    pub vrid: Option<u8>,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum Request {
    /// How the routers are.
    State(Selector),
    /// Change something.
    Change {
        /// On these.
        selector: Selector,
        /// This.
        change: Change,
    },
    /// Every transition from now on.
    Events(Selector),
}

/// What a client can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Stand back.
    Backup,
    /// Take part again.
    Master,
    /// Lower the priority.
    Reduce,
    /// Raise the priority.
    Increase,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply")]
pub enum Reply {
    /// To [`Request::State`], and after a change.
    State {
        /// The routers chosen.
        routers: Vec<RouterReport>,
    },
    /// One for each transition.
    Event(EventReport),
    /// The request was not understood or not allowed.
    Error {
        /// Why.
        message: String,
    },
}

impl Selector {
    /// Whether a router is meant.
    pub fn matches(&self, interface: &str, vrid: u8) -> bool {
        self.interface.as_deref().is_none_or(|wanted| wanted == interface)
            && self.vrid.is_none_or(|wanted| wanted == vrid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_that_reads_back() {
        let request = Request::Change {
            selector: Selector { interface: Some("eth0".into()), vrid: None },
            change: Change::Reduce,
        };
        let line = serde_json::to_string(&request).expect("can be said");
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Request>(&line).expect("reads back"), request);
    }

    #[test]
    fn a_selector_without_a_word_means_all() {
        assert!(Selector::default().matches("eth0", 51));
        let one = Selector { interface: Some("eth0".into()), vrid: Some(51) };
        assert!(one.matches("eth0", 51) && !one.matches("eth0", 52) && !one.matches("eth1", 51));
    }
}
