//! Reports about routers: the JSON of `atropos --state --json` and `--events`, shared by daemon and client.

mod events;

use std::collections::BTreeMap;

pub use events::{CauseReport, EventReport, Happening, NoticeReport, TransitionReport};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vrrpd_common::Instant;
use vrrpd_engine::mismatch::Words;
use vrrpd_engine::priority::Outcome;
use vrrpd_engine::recording::PackedRecording;
use vrrpd_engine::script::{Script, Scripts};
use vrrpd_engine::track::Tracked;

use crate::router_name::RouterName;

/// A route or rule of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/state.md describes each")]
pub struct RouteReport {
    pub kind: String,
    pub text: String,
    pub held: bool,
    pub error: Option<String>,
}

/// A virtual router, as one JSON object. Time spans are in nanoseconds; absent values are null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct RouterReport {
    /// The configured name; empty from a daemon without names.
    #[serde(default)]
    pub name: String,
    pub interface: String,
    pub ifindex: Option<u32>,
    pub vrid: u8,
    pub family: String,
    pub protocol: u8,
    pub pid: u32,
    pub state: String,
    pub since: String,
    pub reason: String,
    #[serde(default)]
    pub faults: Vec<String>,
    pub priority: u8,
    pub effective_priority: u8,
    pub preempt: bool,
    #[serde(default)]
    pub preempt_below: Option<u8>,
    #[serde(default)]
    pub preempt_delay_ns: u64,
    /// Remaining time of a preemption delay.
    #[serde(default)]
    pub preempt_delay_left_ns: Option<u64>,
    #[serde(default)]
    pub start_delay_ns: u64,
    pub forced_backup: bool,
    pub interval_ns: u64,
    pub master_interval_ns: u64,
    pub max_learned_interval_ns: u64,
    /// 0 from a daemon that does not report it and uses 3.
    #[serde(default)]
    pub down_multiplier: u8,
    pub takeover_held_ns: Option<u64>,
    #[serde(default)]
    pub takeover_held_by: Option<String>,
    pub addresses: Vec<String>,
    #[serde(default)]
    pub extra_addresses: Vec<String>,
    #[serde(default)]
    pub routes: Vec<RouteReport>,
    #[serde(default)]
    pub accept: bool,
    #[serde(default)]
    pub accept_error: Option<String>,
    #[serde(default)]
    pub addresses_present: Vec<String>,
    /// Other interfaces with addresses of the router.
    #[serde(default)]
    pub other_interfaces: Vec<OtherInterfaceReport>,
    pub vmac: Option<String>,
    pub vmac_mode: String,
    #[serde(default)]
    pub vmac_reason: Option<String>,
    pub auth: String,
    #[serde(default)]
    pub source: Option<String>,
    #[serde(default)]
    pub multicast_group: Option<String>,
    #[serde(default)]
    pub peers: Vec<PeerReport>,
    pub master: Option<MasterReport>,
    #[serde(default)]
    pub mismatch: Option<MismatchReport>,
    pub datapath: String,
    pub datapath_reason: Option<String>,
    pub group: Option<GroupReport>,
    #[serde(default)]
    pub track: Vec<TrackReport>,
    pub scripts: ScriptsReport,
    pub counters: Counters,
    pub history: Vec<TransitionReport>,
    /// The kernel's record, which the client reads itself.
    #[serde(default)]
    pub kernel: Option<KernelReport>,
}

/// A unicast peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct PeerReport {
    pub address: String,
    pub min_ttl: u8,
    /// The error if the last advert could not be sent to it.
    pub error: Option<String>,
}

/// The kernel's record of a router, without its daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct KernelReport {
    pub role: String,
    #[serde(default = "yes")]
    pub program: bool,
    pub timer_armed: bool,
    pub master_down_in_ns: Option<u64>,
    pub master: Option<MasterSeen>,
    pub adverts: u64,
    pub expiries: u64,
    pub events: u64,
    pub events_withheld: u64,
    pub rejected: BTreeMap<String, u64>,
}

/// Default of keys that older reports do not have.
const fn yes() -> bool {
    true
}

/// The last advert that the kernel has received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct MasterSeen {
    pub address: String,
    pub priority: u8,
    pub interval_ns: u64,
    pub last_advert_age_ns: u64,
}

/// A router in the kernel whose daemon does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct SilentReport {
    pub interface: String,
    pub vrid: u8,
    pub family: String,
    /// Always null: only the daemon knows it.
    pub state: Option<String>,
    pub kernel: KernelReport,
}

/// The master that a Backup follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct MasterReport {
    pub address: String,
    pub priority: u8,
    pub mac: String,
    /// As advertised; [`RouterReport::master_interval_ns`] is the one in use.
    pub interval_ns: u64,
    pub last_advert_age_ns: u64,
    /// Whether it advertises our addresses.
    pub same_addresses: bool,
}

/// An advert of a router with another configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct MismatchReport {
    pub check: String,
    pub source: String,
    pub theirs: String,
    pub ours: String,
    pub advice: String,
    pub last_advert_age_ns: u64,
}

/// The group of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct GroupReport {
    /// Of a `[[group]]`; null with `-M`.
    pub name: Option<String>,
    pub size: u8,
    pub members: u8,
    pub ready: bool,
    pub present: Vec<String>,
    pub missing: Vec<String>,
    /// Why it is not ready.
    pub lacking: Option<String>,
}

/// A check of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct TrackReport {
    pub name: String,
    pub kind: String,
    pub weight: i16,
    /// `holds`, `fails`, `unknown`, `number`
    pub result: String,
    pub number: Option<i32>,
    /// False if its weight is ignored, in a group without `track-weights`.
    pub counts: bool,
}

/// Another interface with addresses of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherInterfaceReport {
    /// Its name.
    pub interface: String,
    /// Whether the interface exists.
    pub exists: bool,
    /// The addresses that a Master has there.
    pub addresses: Vec<String>,
}

/// The scripts of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct ScriptsReport {
    /// `--prepare`
    pub prepare: Option<String>,
    pub up: Option<String>,
    pub down: Option<String>,
    pub fault: Option<String>,
    pub stop: Option<String>,
    pub notify: Option<String>,
}

impl From<&Scripts> for ScriptsReport {
    fn from(scripts: &Scripts) -> Self {
        let text = |script: &Option<Script>| script.as_ref().map(Script::to_string);
        let Scripts { prepare, up, down, fault, stop, notify, .. } = scripts;
        Self {
            prepare: text(prepare),
            up: text(up),
            down: text(down),
            fault: text(fault),
            stop: text(stop),
            notify: text(notify),
        }
    }
}

/// Counters since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct Counters {
    pub adverts_sent: u64,
    pub adverts_received: u64,
    pub garp_sent: u64,
    pub transitions: u64,
    /// By the name of the failed check.
    pub rejected: BTreeMap<String, u64>,
}

/// The recording of a router, for `atropos --record`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingReport {
    /// The router: `eth0/51`.
    pub router: String,
    /// The configured name.
    pub name: String,
    /// What happened.
    pub recording: PackedRecording,
}

impl RecordingReport {
    /// Program and version in recordings: a client of another version cannot unpack them.
    pub const PROGRAM: &str = concat!("vrrpd ", env!("CARGO_PKG_VERSION"));
}

impl MismatchReport {
    /// The report at `now`.
    pub fn new(words: Words, now: Instant) -> Self {
        let Words { at, source, check, theirs, ours, advice } = words;
        Self {
            check: check.to_owned(),
            source: source.to_string(),
            theirs,
            ours,
            advice,
            last_advert_age_ns: now.saturating_since(at).as_nanos(),
        }
    }
}

impl TrackReport {
    /// The report of a check with its present outcome.
    pub fn new(tracked: &Tracked, kind: &str, outcome: Outcome) -> Self {
        Self {
            name: tracked.name.clone(),
            kind: kind.to_owned(),
            weight: tracked.weight.get(),
            result: outcome.name().to_owned(),
            number: match outcome {
                Outcome::Number(number) => Some(number),
                Outcome::Unknown | Outcome::Fails | Outcome::Holds => None,
            },
            counts: !tracked.is_ignored,
        }
    }
}

impl SilentReport {
    /// All keys of a router, null where only the daemon has the value.
    pub fn to_json(&self) -> Value {
        let mut object: Map<String, Value> =
            RouterReport::KEYS.into_iter().map(|key| (key.to_owned(), Value::Null)).collect();
        if let Ok(Value::Object(known)) = serde_json::to_value(self) {
            object.extend(known);
        }
        Value::Object(object)
    }
}

impl RouterReport {
    /// The keys of the JSON object.
    pub const KEYS: [&'static str; 49] = [
        "name",
        "interface",
        "ifindex",
        "vrid",
        "family",
        "protocol",
        "pid",
        "state",
        "since",
        "reason",
        "faults",
        "priority",
        "effective_priority",
        "preempt",
        "preempt_below",
        "preempt_delay_ns",
        "preempt_delay_left_ns",
        "start_delay_ns",
        "forced_backup",
        "interval_ns",
        "master_interval_ns",
        "max_learned_interval_ns",
        "down_multiplier",
        "takeover_held_ns",
        "takeover_held_by",
        "addresses",
        "extra_addresses",
        "accept",
        "accept_error",
        "addresses_present",
        "other_interfaces",
        "routes",
        "vmac",
        "vmac_mode",
        "vmac_reason",
        "auth",
        "source",
        "multicast_group",
        "peers",
        "master",
        "mismatch",
        "datapath",
        "datapath_reason",
        "group",
        "track",
        "scripts",
        "counters",
        "history",
        "kernel",
    ];

    /// The name of the router.
    pub fn name(&self) -> RouterName<'_> {
        RouterName::of_report(&self.interface, self.vrid, &self.family)
    }
}

impl SilentReport {
    /// The name of the router.
    pub fn name(&self) -> RouterName<'_> {
        RouterName::of_report(&self.interface, self.vrid, &self.family)
    }
}
