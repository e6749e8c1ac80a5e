//! Configuration mismatches between routers, in words: whose adverts differ, their value, our value, and what to set.
//! They contain no secrets.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::wire::frame;
use vrrpd_common::{AddressDigest, Advert, Duration, Instant, Reject, Rejection};

use crate::config::RouterConfig;
use crate::rate_limit::RateLimit;

/// Minimum interval of log lines about one kind of mismatch, and how long the state shows the last one.
const MINUTE: Duration = Duration::from_secs(60);
/// Name of the mismatch that is not a [`Reject`]: a valid advert with other addresses.
const ADDRESSES: &str = "addresses";
/// Maximum number of peers named in a line.
const MAX_NAMED: usize = 8;

/// The last advert for a router whose sender has a different configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mismatches {
    last: Option<Box<Mismatch>>,
    /// Per check; `None` stands for addresses.
    said: RateLimit<Option<Reject>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mismatch {
    at: Instant,
    source: IpAddr,
    kind: Kind,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kind {
    /// The advert was discarded.
    Rejected(Rejection),
    /// The advert was valid, but with other addresses than ours.
    Addresses {
        digest: AddressDigest,
        count: u8,
        /// Empty if only the kernel has seen the addresses.
        list: Vec<IpAddr>,
    },
}

/// For an advert without addresses.
const NO_ADDRESSES: &str = "no addresses";

/// A mismatch in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// When the advert was received.
    pub at: Instant,
    /// Its source address.
    pub source: IpAddr,
    /// The failed check: the name of a [`Reject`], or `addresses`.
    pub check: &'static str,
    /// The value in the advert.
    pub theirs: String,
    /// Our value.
    pub ours: String,
    /// What to set.
    pub advice: String,
}

/// A mismatch to log now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What it is.
    pub words: Words,
    /// Number of unlogged mismatches of this kind since the last line.
    pub more: u64,
}

impl Default for Mismatches {
    fn default() -> Self {
        Self { last: None, said: RateLimit::every(MINUTE) }
    }
}

impl Mismatches {
    /// Handles an advert, received at `at`, that was discarded. Returns what to log.
    pub fn rejected(
        &mut self,
        config: &RouterConfig,
        at: Instant,
        source: IpAddr,
        why: Rejection,
    ) -> Option<Warning> {
        if why.reject.is_mismatch() && self.last.as_ref().is_none_or(|last| last.at < at) {
            self.note(config, Mismatch { at, source, kind: Kind::Rejected(why) })
        } else {
            None
        }
    }

    /// Handles a valid advert, received at `at`, with other addresses than ours; `frame` is its frame, if available.
    /// Returns what to log.
    pub fn other_addresses(
        &mut self,
        config: &RouterConfig,
        at: Instant,
        advert: &Advert,
        frame: Option<&[u8]>,
    ) -> Option<Warning> {
        let (source, digest) = (advert.source, advert.addresses);
        let is_known = |last: &&mut Box<Mismatch>| {
            last.source == source
                && matches!(last.kind, Kind::Addresses { digest: known, .. } if known == digest)
        };
        if let Some(last) = self.last.as_mut().filter(is_known) {
            last.at = last.at.max(at);
            return last.warning(config, &mut self.said);
        }
        let list = frame.and_then(frame::addresses).map(|list| list.iter().collect()).unwrap_or_default();
        let kind = Kind::Addresses { digest, count: advert.address_count, list };
        self.note(config, Mismatch { at, source, kind })
    }

    fn note(&mut self, config: &RouterConfig, mismatch: Mismatch) -> Option<Warning> {
        let warning = mismatch.warning(config, &mut self.said);
        self.last = Some(Box::new(mismatch));
        warning
    }

    /// The last mismatch, if it is recent.
    pub fn recent(&self, config: &RouterConfig, now: Instant) -> Option<Words> {
        let last = self.last.as_ref().filter(|last| now.saturating_since(last.at) <= MINUTE)?;
        Some(last.words(config))
    }
}

impl Mismatch {
    /// What to log, each kind at most once a minute.
    fn warning(&self, config: &RouterConfig, said: &mut RateLimit<Option<Reject>>) -> Option<Warning> {
        let kind = match &self.kind {
            Kind::Rejected(rejection) => Some(rejection.reject),
            Kind::Addresses { .. } => None,
        };
        let more = said.admit(self.at, kind)?;
        Some(Warning { words: self.words(config), more })
    }

    fn check(&self) -> &'static str {
        match &self.kind {
            Kind::Rejected(rejection) => rejection.reject.name(),
            Kind::Addresses { .. } => ADDRESSES,
        }
    }

    fn words(&self, config: &RouterConfig) -> Words {
        let (theirs, ours, advice) = match &self.kind {
            Kind::Rejected(rejection) => of_rejection(config, *rejection, self.source),
            Kind::Addresses { count, list, .. } => of_addresses(config, *count, list),
        };
        Words { at: self.at, source: self.source, check: self.check(), theirs, ours, advice }
    }
}

/// Their value, our value, and the advice.
type Said = (String, String, String);

fn of_rejection(config: &RouterConfig, why: Rejection, source: IpAddr) -> Said {
    let Rejection { reject, got, wanted } = why;
    match reject {
        Reject::Interval if got != 0 => (
            format!("interval {got} s"),
            format!("interval {wanted} s"),
            format!("set -d {got} here or -d {wanted} there, or --accept-interval-mismatch on both"),
        ),
        Reject::Version => (
            format!("version {got}"),
            format!("version {wanted}"),
            if matches!(got, 2 | 3) {
                format!("set --protocol v{got} here or version {wanted} there")
            } else {
                "find out what sends this version".to_owned()
            },
        ),
        Reject::Auth if got == Reject::REPLAYED => (
            "a sequence number that is not above the last one".to_owned(),
            "a higher one".to_owned(),
            "set the clock of the sender (or its adverts are being replayed)".to_owned(),
        ),
        Reject::Auth if got == wanted => (
            format!("{}, another secret", authentication(got)),
            authentication(wanted).to_owned(),
            "set the same secret with -a on all routers".to_owned(),
        ),
        Reject::Auth => (
            authentication(got).to_owned(),
            authentication(wanted).to_owned(),
            "set the same -a on all routers".to_owned(),
        ),
        Reject::AddressCount => (
            NO_ADDRESSES.to_owned(),
            addresses(config),
            "set the same addresses on all routers".to_owned(),
        ),
        Reject::AddressList => (
            format!("other addresses, {got} in all"),
            addresses(config),
            "set the same addresses on all routers, another VRID if it is another cluster's, or leave out \
             --require-equal-addresses"
                .to_owned(),
        ),
        Reject::Source if got == Reject::VIRTUAL_ADDRESS => (
            format!("source {source}, a virtual address"),
            addresses(config),
            "give that router an address of its own on the interface, or priority 255 if it owns the virtual one"
                .to_owned(),
        ),
        Reject::Source => (
            format!("source {source}"),
            "the address of a host".to_owned(),
            "give that router an address of its own on the interface".to_owned(),
        ),
        Reject::Destination => (
            "sent to the multicast group".to_owned(),
            format!("unicast from {}", peers(config)),
            "set peers there as well, or leave them out here".to_owned(),
        ),
        Reject::Peer => (
            format!("unicast from {source}"),
            format!("unicast from {}", peers(config)),
            format!("add {source} to the peers here, or remove this router from the peers there"),
        ),
        Reject::Checksum => (
            format!("checksum {got:#06x}"),
            format!("checksum {wanted:#06x}"),
            "look for what damages frames on the way, checksum offloading included".to_owned(),
        ),
        // These errors come from a faulty implementation, not from configuration.
        Reject::Interval
        | Reject::Ttl
        | Reject::Type
        | Reject::Truncated
        | Reject::Fragment
        | Reject::Loopback
        | Reject::NotOurs => {
            (why.to_string(), config.interval.to_string(), "find out what sends such adverts".to_owned())
        }
    }
}

/// The peers of a router, up to [`MAX_NAMED`].
fn peers(config: &RouterConfig) -> String {
    let all = config.peers();
    let mut text: Vec<_> = all.iter().take(MAX_NAMED).map(|peer| peer.address.to_string()).collect();
    if all.len() > MAX_NAMED {
        text.push(format!("{} more", all.len() - MAX_NAMED));
    }
    text.join(", ")
}

fn of_addresses(config: &RouterConfig, count: u8, list: &[IpAddr]) -> Said {
    let is_ours = |address: &IpAddr| config.addresses.iter().any(|ours| ours.address == *address);
    let theirs = if count == 0 {
        NO_ADDRESSES.to_owned()
    } else if list.is_empty() {
        format!("{count} addresses that are not the same")
    } else {
        list.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
    };
    let vrid = config.vrid;
    let advice = if count == 0 || config.addresses.is_empty() {
        "set the same addresses on all routers".to_owned()
    } else if list.is_empty() {
        format!(
            "set the same addresses on all routers; if another cluster uses VRID {vrid} here, choose another VRID"
        )
    } else if list.iter().any(is_ours) {
        "set the same addresses on all routers".to_owned()
    } else {
        format!("another cluster uses VRID {vrid} on this network: choose another VRID")
    };
    (theirs, addresses(config), advice)
}

fn addresses(config: &RouterConfig) -> String {
    if config.addresses.is_empty() {
        return NO_ADDRESSES.to_owned();
    }
    config.addresses.iter().map(|ours| ours.address.to_string()).collect::<Vec<_>>().join(" ")
}

/// The name of an authentication type (RFC 2338 §5.3.6).
const fn authentication(kind: u32) -> &'static str {
    match kind {
        0 => "no authentication",
        1 => "simple text authentication",
        2 => "an Authentication Header",
        _ => "an unknown authentication type",
    }
}

#[cfg(test)]
mod tests {
    use vrrpd_common::{MacAddr, Priority};

    use super::*;
    use crate::config::tests::router;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_rejected_advert_is_logged_once_a_minute_with_advice() {
        let (config, mut mismatches) = (router("192.0.2.100"), Mismatches::default());
        let why = Reject::Version.because(2, 3);
        let warning = mismatches.rejected(&config, at(100), SOURCE, why).expect("is told");
        assert_eq!(warning.more, 0);
        let Words { check, theirs, ours, advice, .. } = warning.words;
        assert_eq!((check, &*theirs, &*ours), ("version", "version 2", "version 3"));
        assert_eq!(advice, "set --protocol v2 here or version 3 there");
        assert_eq!(mismatches.rejected(&config, at(101), SOURCE, why), None);
        let again = mismatches.rejected(&config, at(160), SOURCE, why).expect("a minute later");
        assert_eq!(again.more, 1);
        assert_eq!(mismatches.recent(&config, at(220)).map(|words| words.at), Some(at(160)));
        assert_eq!(mismatches.recent(&config, at(221)), None, "none for more than a minute");
    }

    #[test]
    fn a_damaged_advert_is_no_mismatch() {
        let (config, mut mismatches) = (router("192.0.2.100"), Mismatches::default());
        assert_eq!(mismatches.rejected(&config, at(1), SOURCE, Reject::Ttl.because(64, 255)), None);
        assert_eq!(mismatches.recent(&config, at(1)), None);
    }

    #[test]
    fn addresses_seen_only_by_the_kernel_are_reported_by_their_number() {
        let (config, mut mismatches) = (router("192.0.2.100"), Mismatches::default());
        let advert = Advert {
            vrid: config.vrid,
            source: SOURCE,
            mac: MacAddr([2, 0, 0, 0, 0, 2]),
            priority: Priority(100),
            interval: config.interval,
            addresses: AddressDigest::of([SOURCE]),
            address_count: 3,
        };
        let warning = mismatches.other_addresses(&config, at(1), &advert, None).expect("is told");
        assert_eq!(warning.words.theirs, "3 addresses that are not the same");
        assert_eq!(warning.words.ours, "192.0.2.100");
        assert_eq!(mismatches.other_addresses(&config, at(2), &advert, None), None);
        assert_eq!(mismatches.recent(&config, at(2)).map(|words| words.at), Some(at(2)));
    }
}
