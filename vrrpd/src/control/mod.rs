//! The control socket: one JSON object a line, a request from the client and its reply from the daemon.

pub mod client;
mod clients;
pub mod followers;
pub mod server;

use serde::{Deserialize, Serialize};

use crate::report::{EventReport, RecordingReport, RouterReport};
use crate::router_name::RouterName;

/// Longest request in octets.
const MAX_REQUEST: u64 = 4096;

/// Which routers are meant: those that match all that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// On this interface.
    pub interface: Option<String>,
    /// With this VRID.
    pub vrid: Option<u8>,
    /// With one of these names, as [`RouterName`] prints them or as the user calls the router; empty: any router.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<String>,
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
    /// What happened around the last transitions.
    Record(Selector),
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
    /// To [`Request::Record`].
    Recorded {
        /// The routers chosen.
        routers: Vec<RecordingReport>,
    },
    /// One for each transition, and for what else is noticed.
    Event(Box<EventReport>),
    /// The request was not understood or not allowed.
    Error {
        /// Why.
        message: String,
    },
}

impl Selector {
    /// Whether a router is meant, which the user may call in another way.
    pub fn matches(&self, router: &RouterName<'_>, title: Option<&str>) -> bool {
        let is_named = |name: &String| Some(name.as_str()) == title || *name == router.to_string();
        self.is_of(router) && (self.routers.is_empty() || self.routers.iter().any(is_named))
    }

    /// Whether a router is meant, if it is not known what the user calls it.
    pub fn may_match(&self, router: &RouterName<'_>) -> bool {
        let is_title = |name: &String| RouterName::parse(name).is_err();
        self.matches(router, None) || self.is_of(router) && self.routers.iter().any(is_title)
    }

    fn is_of(&self, router: &RouterName<'_>) -> bool {
        self.interface.as_deref().is_none_or(|wanted| wanted == router.interface)
            && self.vrid.is_none_or(|wanted| wanted == router.vrid)
    }

    /// That router alone.
    pub fn one(router: &RouterName<'_>) -> Self {
        Self { routers: vec![router.to_string()], ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_that_reads_back() {
        let request = Request::Change {
            selector: Selector { interface: Some("eth0".into()), ..Selector::default() },
            change: Change::Reduce,
        };
        let line = serde_json::to_string(&request).expect("can be said");
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Request>(&line).expect("reads back"), request);
    }

    #[test]
    fn a_selector_without_a_word_means_all() {
        let matches =
            |selector: &Selector, name| selector.matches(&RouterName::parse(name).expect("is one"), None);
        assert!(matches(&Selector::default(), "eth0/51"));
        let both = Selector { interface: Some("eth0".into()), vrid: Some(51), ..Selector::default() };
        assert!(matches(&both, "eth0/51") && matches(&both, "eth0/51-ipv6"));
        assert!(!matches(&both, "eth0/52") && !matches(&both, "eth1/51"));
        let one = Selector::one(&RouterName::parse("eth0/51-ipv6").expect("is one"));
        assert!(matches(&one, "eth0/51-ipv6") && !matches(&one, "eth0/51"));
    }

    #[test]
    fn a_router_is_meant_by_what_the_user_calls_it_as_well() {
        let router = RouterName::parse("eth0/51").expect("is one");
        let selector = Selector { routers: vec!["VI_1".to_owned()], ..Selector::default() };
        assert!(selector.matches(&router, Some("VI_1")));
        assert!(!selector.matches(&router, Some("VI_2")) && !selector.matches(&router, None));
        assert!(selector.may_match(&router), "as long as its name is not known");
        let other = Selector { routers: vec!["eth0/52".to_owned()], ..Selector::default() };
        assert!(!other.may_match(&router));
        let elsewhere = Selector { interface: Some("eth1".to_owned()), ..selector };
        assert!(!elsewhere.may_match(&router));
    }

    #[test]
    fn a_selector_with_a_word_that_is_not_understood_means_none_rather_than_all() {
        let line = r#"{"request":"change","change":"backup","selector":{"colour":"red"}}"#;
        assert!(serde_json::from_str::<Request>(line).is_err());
        let line = r#"{"request":"state","interface":"eth0","vrid":null}"#;
        assert!(serde_json::from_str::<Request>(line).is_ok());
    }
}
