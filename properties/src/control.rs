//! Input from other processes and from files of older versions. The first octet selects the source, the rest is the
//! input.
//!
//! * What can be parsed gives the same after it was serialized and parsed again.
//! * What cannot be parsed is answered with a reason.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vrrpd::config::VirtualAddress;
use vrrpd::config::value;
use vrrpd::control::{Change, Reply, Request, Selector};
use vrrpd::guardian;
use vrrpd::{logging, peers, render};
use vrrpd_common::group::{Key, Message, Standing};
use vrrpd_common::{Duration, Family, MacAddr, Vrid};
use vrrpd_engine::RouterId;
use vrrpd_engine::ledger::Journal;
use vrrpd_engine::recording;

/// Checks these properties.
pub fn check(octets: &[u8]) {
    let Some((speaker, said)) = octets.split_first() else { return };
    match speaker {
        b'c' => client(said),
        b'd' => daemon(said),
        b'g' => ward(said),
        b'm' => member(said),
        b'i' => introduction(said),
        b'j' => journal(said),
        b'l' => log_filter(said),
        b'r' => recording(said),
        b'v' => values(said),
        _ => {}
    }
}

/// A request on the control socket.
fn client(said: &[u8]) {
    reads_back::<Request>(said);
}

/// A reply of a daemon, and its output for people.
fn daemon(said: &[u8]) {
    let Some(reply) = reads_back::<Reply>(said) else { return };
    if let Reply::State { routers } = reply {
        for router in &routers {
            let _ = (render::details(router), render::classic(router));
        }
        let _ = (render::states(&routers), render::stats(&routers), render::state_file(&routers));
    }
}

/// A recording: each replay gives the same result, or it is refused with its line.
fn recording(said: &[u8]) {
    let Ok(text) = str::from_utf8(said) else { return };
    let replayed = recording::transcript(text);
    assert_eq!(replayed, recording::transcript(text));
    if let Err(error) = replayed {
        assert!((1..=text.lines().count().max(1)).contains(&error.line), "{error}");
    }
}

/// A message from the daemon to its guardian.
fn ward(said: &[u8]) {
    let Ok(message) = serde_json::from_slice::<guardian::GuardianMessage>(said) else { return };
    let again = serde_json::to_string(&message).expect("can be said");
    let understood: guardian::GuardianMessage = serde_json::from_str(&again).expect("understood before");
    assert_eq!(format!("{understood:?}"), format!("{message:?}"));
}

/// A message between processes of a group.
fn member(said: &[u8]) {
    let Some(message) = Message::from_octets(said) else { return };
    assert_eq!(message.to_octets(), said);
}

/// The first packet of a process of a group.
fn introduction(said: &[u8]) {
    if let Some((namespace, name)) = peers::introduction(said) {
        let again = format!("{namespace} {name}");
        assert_eq!(peers::introduction(again.as_bytes()), Some((namespace, name)));
    }
}

/// A journal of an earlier daemon.
fn journal(said: &[u8]) {
    let Ok(text) = str::from_utf8(said) else { return };
    let journal = Journal::parse(text);
    for interface in journal.interfaces() {
        let _ = journal.own_mac(&interface);
        for address in journal.addresses_on(&interface) {
            let again = format!("{interface} {address}");
            assert!(Journal::parse(&again).addresses_on(&interface).eq([address]), "{again:?}");
        }
    }
    assert_eq!(Journal::parse(&journal.to_string()), journal);
}

/// `--log-level`
fn log_filter(said: &[u8]) {
    let Ok(text) = str::from_utf8(said) else { return };
    if let Err(message) = logging::parse_filter(text) {
        has_reason(&message.to_string());
    }
}

/// The values of options.
fn values(said: &[u8]) {
    let Ok(text) = str::from_utf8(said) else { return };
    value_reads_back(text, value::address, VirtualAddress::to_string);
    value_reads_back(text, value::interface, String::clone);
    value_reads_back(text, value::vrid, Vrid::to_string);
    let _ = text.parse::<MacAddr>().map(|mac| assert_eq!(mac.to_string().parse(), Ok(mac)));
    let errors = [
        value::duration(text).err(),
        value::priority(text).err(),
        value::version(text).err(),
        value::auth(text).err(),
        value::host(text).err(),
        value::xdp(text).err(),
        value::datapath(text).err(),
        value::vmac(text).err(),
        value::vmac_fallback(text).err(),
        value::checksum(text).err(),
        value::garp_count(text).err(),
        value::group_size(text).err(),
    ];
    errors.iter().flatten().for_each(|error| has_reason(&error.to_string()));
}

fn value_reads_back<T: PartialEq + Debug>(
    text: &str,
    parse: fn(&str) -> value::Parsed<T>,
    say: fn(&T) -> String,
) {
    match parse(text) {
        Ok(value) => assert_eq!(parse(&say(&value)), Ok(value)),
        Err(error) => has_reason(&error.to_string()),
    }
}

fn has_reason(message: &str) {
    assert!(!message.trim().is_empty());
}

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(said: &[u8]) -> Option<T> {
    match serde_json::from_slice::<T>(said) {
        Ok(value) => {
            let line = serde_json::to_string(&value).expect("can be said");
            assert!(!line.contains('\n'), "one line");
            assert_eq!(serde_json::from_str::<T>(&line).expect("understood before"), value);
            Some(value)
        }
        Err(error) => {
            has_reason(&error.to_string());
            None
        }
    }
}

/// Valid inputs from every source.
pub fn seeds() -> Vec<Vec<u8>> {
    let selectors = [
        Selector::default(),
        Selector {
            interface: Some("eth0".to_owned()),
            vrid: Some(51),
            routers: vec!["eth0/51-ipv6".to_owned()],
        },
    ];
    let requests = selectors.into_iter().flat_map(|selector| {
        let changes = [Change::Backup, Change::Master, Change::Reduce, Change::Increase];
        let changes = changes.map(|change| Request::Change { selector: selector.clone(), change });
        [Request::State(selector.clone()), Request::Record(selector.clone()), Request::Events(selector)]
            .into_iter()
            .chain(changes)
    });
    let requests = requests.map(|request| json(b'c', &request));
    let replies = [
        Reply::Error { message: "no".to_owned() },
        Reply::State { routers: Vec::new() },
        Reply::Recorded { routers: Vec::new() },
    ];
    let replies = replies.map(|reply| json(b'd', &reply));
    let wards = [
        guardian::GuardianMessage::Charge {
            directory: "/run/vrrpd".into(),
            base: "vrrpd_eth0_51".to_owned(),
        },
        guardian::GuardianMessage::Over(RouterId::FIRST),
        guardian::GuardianMessage::Farewell,
    ];
    let wards = wards.iter().map(|message| json(b'g', message));
    let key = Key { family: Family::Ipv4, vrid: Vrid::new(51).expect("a VRID"), addresses: 7 };
    let standings =
        [Standing::Unusable, Standing::Listening, Standing::Pausing, Standing::Willing, Standing::Master];
    let members = standings.map(|standing| {
        let master_down_interval = Duration::from_secs(3);
        let message = Message { term: 1, standing, members: 1, size: 2, first: key, master_down_interval };
        [&b"m"[..], &message.to_octets()].concat()
    });
    let texts = [
        r#"g{"Master":{"router":0,"name":"eth0/51","interface":2,"holds":[2,[]],"marks":true,"resignation":[1,0],
           "script":{"run":{"path":"/bin/true","arguments":["a","b","c","d"],"environment":[["A","B"]]},
           "limit_ns":60000000000,"claim":"x"}}}"#,
        "i4026531840 eth0/51",
        "jeth0 10.0.0.1/24\neth0 mac 02:00:00:00:00:0a\neth1 link eth1/52\neth1 fe80::1/64\n",
        "linfo,vrrpd::datapath=debug",
        "v10.0.0.1/24",
        "vfe80::1/64",
        "v02:00:00:00:00:0a",
        "v250ms",
        "vah/0x736563726574",
        "vpw/secret",
        "veth0.190",
    ];
    let texts = texts.map(|text| text.as_bytes().to_vec());
    requests.chain(replies).chain(wards).chain(members).chain(texts).collect()
}

fn json(speaker: u8, message: &impl Serialize) -> Vec<u8> {
    [vec![speaker], serde_json::to_vec(message).expect("can be said")].concat()
}
