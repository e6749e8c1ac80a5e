//! The control socket: JSON lines, a request of the client and the reply of the daemon.

pub mod client;
mod clients;
pub mod followers;
pub mod server;

use serde::{Deserialize, Serialize};

use crate::report::{EventReport, RecordingReport, RouterReport};
use crate::router_name::RouterName;

/// Maximum length of a request in octets.
const MAX_REQUEST: u64 = 4096;

/// Selects the routers that match all given criteria.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// On this interface.
    pub interface: Option<String>,
    /// With this VRID.
    pub vrid: Option<u8>,
    /// One of these names, in the form of [`RouterName`] or as configured; empty: any router.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<String>,
}

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum Request {
    /// State of the routers.
    State(Selector),
    /// Change something.
    Change {
        /// The routers to change.
        selector: Selector,
        /// The change.
        change: Change,
    },
    /// Every event from now on.
    Events(Selector),
    /// Recordings of the routers.
    Record(Selector),
}

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Go to Backup and stay there.
    Backup,
    /// End that.
    Master,
    /// Lower the priority.
    Reduce,
    /// Raise the priority.
    Increase,
}

/// A reply of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply")]
pub enum Reply {
    /// To [`Request::State`], and after a change.
    State {
        /// The selected routers.
        routers: Vec<RouterReport>,
    },
    /// To [`Request::Record`].
    Recorded {
        /// The selected routers.
        routers: Vec<RecordingReport>,
    },
    /// A transition or notice.
    Event(Box<EventReport>),
    /// The request was not understood or not permitted.
    Error {
        /// The reason.
        message: String,
    },
}

impl Selector {
    /// Whether a router with this name, and this configured name, is selected.
    pub fn matches(&self, router: &RouterName<'_>, title: Option<&str>) -> bool {
        let is_named = |name: &String| Some(name.as_str()) == title || *name == router.to_string();
        self.is_of(router) && (self.routers.is_empty() || self.routers.iter().any(is_named))
    }

    /// Whether a router may be selected whose configured name is unknown.
    pub fn may_match(&self, router: &RouterName<'_>) -> bool {
        let is_title = |name: &String| RouterName::parse(name).is_err();
        self.matches(router, None) || self.is_of(router) && self.routers.iter().any(is_title)
    }

    fn is_of(&self, router: &RouterName<'_>) -> bool {
        self.interface.as_deref().is_none_or(|wanted| wanted == router.interface)
            && self.vrid.is_none_or(|wanted| wanted == router.vrid)
    }

    /// Selects only this router.
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
    fn a_router_is_selected_by_its_configured_name_as_well() {
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
    fn an_invalid_selector_selects_no_router() {
        let line = r#"{"request":"change","change":"backup","selector":{"colour":"red"}}"#;
        assert!(serde_json::from_str::<Request>(line).is_err());
        let line = r#"{"request":"state","interface":"eth0","vrid":null}"#;
        assert!(serde_json::from_str::<Request>(line).is_ok());
    }
}
