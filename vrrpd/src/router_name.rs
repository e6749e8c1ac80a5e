//! Names of virtual routers, and errors about unknown ones.

use std::error::Error;
use std::fmt;

pub use vrrpd_engine::router_name::{NameError, RouterName};

use crate::nearest::{list, nearest};

/// A name that no router has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRouter {
    name: String,
    /// The name that was probably meant.
    near: Option<String>,
    known: Vec<String>,
}

impl Error for UnknownRouter {}

impl UnknownRouter {
    /// For a name that is not among the known ones.
    pub fn new(name: &str, known: &[String]) -> Self {
        let wanted = RouterName::parse(name).ok();
        // The same VRID of the other family is more likely than any other name.
        let twin = known.iter().find(|other| {
            let other = RouterName::parse(other).ok();
            wanted.zip(other).is_some_and(|(a, b)| (a.interface, a.vrid) == (b.interface, b.vrid))
        });
        let near = twin.map(String::as_str).or_else(|| nearest(name, known.iter().map(String::as_str)));
        Self { name: name.to_owned(), near: near.map(str::to_owned), known: known.to_vec() }
    }
}

impl fmt::Display for UnknownRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no router {:?}", self.name)?;
        match &self.near {
            Some(near) => write!(f, "; did you mean {near}?")?,
            None => f.write_str(";")?,
        }
        write!(f, " {}", list("routers", self.known.iter().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_name_is_answered_with_the_nearest_and_all_that_there_are() {
        let known = ["eth0/51", "eth0/52-ipv6", "eth1/7"].map(str::to_owned);
        let unknown = |name: &str, known: &[String]| UnknownRouter::new(name, known).to_string();
        let message = unknown("eth0/52", &known);
        assert_eq!(
            message,
            "no router \"eth0/52\"; did you mean eth0/52-ipv6? routers: eth0/51, eth0/52-ipv6, eth1/7"
        );
        assert!(unknown("eth0/61", &known).contains("did you mean eth0/51?"));
        let far = unknown("wlan5/200", &known);
        assert!(!far.contains("did you mean") && far.contains("eth1/7"), "{far}");
        assert!(unknown("eth0/51", &[]).ends_with("; routers: none"));
    }
}
