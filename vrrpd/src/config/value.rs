//! Parsers for the text of one option; errors say what is expected.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use thiserror::Error;
use vrrpd_common::group;
use vrrpd_common::params::Auth;
use vrrpd_common::wire::vrrp::ChecksumStyle;
use vrrpd_common::{Duration, Family, Priority, Version, Vrid};
use vrrpd_engine::held_address::{HeldAddress, HeldAddressError};
use vrrpd_engine::routing::{Route, Rule, WordError};

use super::{
    Authentication, Datapath, Password, Script, ScriptStyle, ScriptUser, VirtualAddress, VmacFallback,
    VmacMode,
};
use crate::ah::AuthKey;
use crate::nearest::nearest;

/// The result of parsing a value.
pub type Parsed<T> = Result<T, ValueError>;

/// Maximum length of a router's name, in characters.
const MAX_TITLE: usize = 64;

/// Maximum length of an interface name in Linux, without the terminating NUL.
pub const MAX_INTERFACE_NAME: usize = 15;

/// Maximum size of a group.
const MAX_PROCESSES: u8 = 9;
const _: () = assert!(MAX_PROCESSES as usize == group::MAX_PEERS + 1);

/// Why a text is not a valid value: a sentence without the option's name. It quotes the text, unless that may be a
/// secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each says in words what it is")]
pub enum ValueError {
    #[error("invalid interface name {0:?}: expected 1 to {MAX_INTERFACE_NAME} characters, such as eth0.190")]
    Interface(String),
    #[error("invalid name {0:?}: expected 1 to {MAX_TITLE} printable characters without /, such as VI_1")]
    Title(String),
    #[error("invalid VRID {0:?}: expected 1 to 255")]
    Vrid(String),
    #[error("invalid priority {0:?}: expected 1 to 255 (255: owner of the addresses)")]
    Priority(String),
    #[error("invalid group size {0:?}: expected 1 to {MAX_PROCESSES} processes")]
    GroupSize(String),
    #[error("invalid address {text:?}: {error}")]
    Address { text: String, error: HeldAddressError },
    #[error(
        "invalid peer {0:?}: expected the address of a host, for example 10.16.1.3 or 10.16.1.3,min-ttl=250"
    )]
    Peer(String),
    #[error("invalid TTL {0:?}: expected 1 to 255")]
    Ttl(String),
    #[error("invalid TTL {0:?}: expected 0 to 255 (0: any)")]
    MinTtl(String),
    #[error("invalid multicast group {0:?}: expected for example 224.0.0.18 or ff02::12")]
    MulticastGroup(String),
    #[error("invalid {what} {text:?}: {error}")]
    Routing { what: &'static str, text: String, error: WordError },
    #[error("invalid host address {0:?}: expected for example 10.16.1.254")]
    Host(String),
    #[error("invalid duration {0:?}: expected for example 1, 0.25, 250ms or 10s")]
    Duration(String),
    #[error("invalid value {0:?}: expected true or false")]
    Boolean(String),
    #[error("path missing")]
    NoPath,
    #[error("path of the script missing")]
    NoScript,
    #[error(
        "invalid user {0:?}: expected USER or USER:GROUP, names or numbers, such as nobody or 1000:daemon"
    )]
    ScriptUser(String),
    #[error("invalid count {0:?}: expected 1 to 255")]
    Count(String),
    #[error("invalid count {0:?}: expected 0 to 255")]
    CountOrNone(String),
    #[error("invalid multiplier {0:?}: expected 1 to 100")]
    DownMultiplier(String),
    #[error("invalid weight {0:?}: expected -254 to 254")]
    Weight(String),
    #[error("invalid name {0:?}: expected text without = and ,")]
    TrackName(String),
    #[error("invalid value {text:?}: expected {expected}")]
    Track { text: String, expected: &'static str },
    #[error("invalid check {text:?}: expected KIND=VALUE, with one of {}", kinds.join(", "))]
    TrackKind { text: String, kinds: &'static [&'static str] },
    #[error("invalid count {text:?}: expected 1 to {most}")]
    Results { text: String, most: u32 },
    #[error("invalid number of processes {0:?}: expected 0 or more")]
    Processes(String),
    #[error("invalid status {0:?}: expected 100 to 599")]
    Status(String),
    #[error("invalid duration {0:?}: expected 10ms or more")]
    TooShort(String),
    #[error("value missing")]
    Empty,
    #[error("invalid {what} {text:?}: {}", choices(text, words))]
    Choice { text: String, what: &'static str, words: Vec<&'static str> },
    #[error("invalid authentication: expected none, pw/TEXT or ah/0xHEX")]
    Auth,
    #[error("invalid password: expected 1 to {max} octets, got {0}", max = Auth::DATA_LEN)]
    PasswordLen(usize),
    #[error("invalid key: expected 0x and two hexadecimal digits for each octet")]
    KeyPrefix,
    #[error("invalid key: expected hexadecimal digits only, 0 to 9 and a to f")]
    KeyDigit,
    #[error("invalid key: expected two digits for each octet, got {0} digits")]
    KeyHalfOctet(usize),
    #[error("invalid key: expected 1 to {max} octets, got {0}", max = AuthKey::MAX_LEN)]
    KeyLen(usize),
}

/// An interface name that Linux accepts.
pub fn interface(text: &str) -> Parsed<String> {
    let legal = (1..=MAX_INTERFACE_NAME).contains(&text.len())
        && text != "."
        && text != ".."
        && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    if legal { Ok(text.to_owned()) } else { Err(ValueError::Interface(text.to_owned())) }
}

/// 1 to 255.
pub fn vrid(text: &str) -> Parsed<Vrid> {
    text.parse().ok().and_then(Vrid::new).ok_or_else(|| ValueError::Vrid(text.to_owned()))
}

/// 1 to 255.
pub fn priority(text: &str) -> Parsed<Priority> {
    match text.parse() {
        Ok(priority @ 1..) => Ok(Priority(priority)),
        Ok(0) | Err(_) => Err(ValueError::Priority(text.to_owned())),
    }
}

/// The size of a group: 1 to 9.
pub fn group_size(text: &str) -> Parsed<u8> {
    match text.parse() {
        Ok(size) if (1..=MAX_PROCESSES).contains(&size) => Ok(size),
        Ok(_) | Err(_) => Err(ValueError::GroupSize(text.to_owned())),
    }
}

/// `10.16.1.200`, `10.16.1.200/24`, `fe80::1`, `2001:db8::1/64`.
pub fn address(text: &str) -> Parsed<VirtualAddress> {
    let wrong =
        |error| ValueError::Address { text: text.to_owned(), error: HeldAddressError::Address(error) };
    text.parse().map_err(wrong)
}

/// `192.0.2.0/24 via 10.0.0.1 metric 50`
pub fn route(text: &str) -> Parsed<Route> {
    text.parse().map_err(|error| ValueError::Routing { what: "route", text: text.to_owned(), error })
}

/// `from 10.0.0.100 table 10`
pub fn rule(text: &str) -> Parsed<Rule> {
    text.parse().map_err(|error| ValueError::Routing { what: "rule", text: text.to_owned(), error })
}

/// An address with optional `ip address add` options: `10.16.1.200/24 label eth0:vip`.
pub fn held_address(text: &str) -> Parsed<HeldAddress> {
    let wrong = |error| ValueError::Address { text: text.to_owned(), error };
    let held: HeldAddress = text.parse().map_err(wrong)?;
    held.interface.as_deref().map(interface).transpose()?;
    Ok(held)
}

/// A time span: seconds, optionally with a fraction (`1`, `0.25`), or a number with its unit (`250ms`, `10s`).
pub fn duration(text: &str) -> Parsed<Duration> {
    let wrong = || ValueError::Duration(text.to_owned());
    if let Some(seconds) = decimal_seconds(text) {
        return Ok(seconds);
    }
    let span = humantime::parse_duration(text).map_err(|_| wrong())?;
    u64::try_from(span.as_nanos()).map(Duration::from_nanos).map_err(|_| wrong())
}

/// Parses a decimal number of seconds exactly, to the nanosecond, without floating point.
fn decimal_seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|octet| octet.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) || fraction.len() > 9
    {
        return None;
    }
    let seconds: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::from_secs(seconds) + Duration::from_nanos(nanos))
}

/// `v2`, `v3`; also the number alone.
pub fn version(text: &str) -> Parsed<Version> {
    match text {
        "2" => Ok(Version::V2),
        "3" => Ok(Version::V3),
        _ => choice(text, "protocol version", &[("v2", Version::V2), ("v3", Version::V3)]),
    }
}

/// `none`; `pw/` with up to 8 octets, sent as written; `ah/0x` with up to 64 octets in hexadecimal.
///
/// Errors do not quote the text, which is a secret.
pub fn auth(text: &str) -> Parsed<Authentication> {
    match (text, text.split_once('/')) {
        ("none", _) => Ok(Authentication::None),
        (_, Some(("pw", password))) => self::password(password).map(Authentication::Simple),
        (_, Some(("ah", hex))) => key(hex).map(Authentication::Ah),
        _ => Err(ValueError::Auth),
    }
}

fn password(text: &str) -> Parsed<Password> {
    Password::new(text.as_bytes()).ok_or(ValueError::PasswordLen(text.len()))
}

fn key(text: &str) -> Parsed<AuthKey> {
    let digits = text.strip_prefix("0x").ok_or(ValueError::KeyPrefix)?;
    let values: Option<Vec<u8>> =
        digits.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
    let values = values.ok_or(ValueError::KeyDigit)?;
    let (octets, half) = values.as_chunks();
    if !half.is_empty() {
        return Err(ValueError::KeyHalfOctet(values.len()));
    }
    let octets: Vec<u8> = octets.iter().map(|[high, low]| high << 4 | low).collect();
    AuthKey::new(&octets).ok_or(ValueError::KeyLen(octets.len()))
}

/// `pseudo-header`, `message`.
pub fn checksum(text: &str) -> Parsed<ChecksumStyle> {
    let styles =
        [("pseudo-header", ChecksumStyle::WithPseudoHeader), ("message", ChecksumStyle::MessageOnly)];
    choice(text, "checksum style", &styles)
}

/// `ipv4`, `ipv6`.
pub fn family(text: &str) -> Parsed<Family> {
    let families = [Family::Ipv4, Family::Ipv6].map(|family| (family.name(), family));
    choice(text, "address family", &families)
}

/// The values of `--xdp`.
pub const XDP_MODES: &[(&str, Datapath)] = &[
    ("auto", Datapath::Xdp),
    ("native", Datapath::XdpNative),
    ("generic", Datapath::XdpGeneric),
    ("off", Datapath::Raw),
];
/// The values of `--datapath`.
pub const DATAPATHS: &[(&str, Datapath)] = &[
    ("auto", Datapath::Auto),
    ("xdp-native", Datapath::XdpNative),
    ("xdp-generic", Datapath::XdpGeneric),
    ("tcx", Datapath::Tcx),
    ("raw", Datapath::Raw),
];

/// One of [`XDP_MODES`].
pub fn xdp(text: &str) -> Parsed<Datapath> {
    choice(text, "XDP mode", XDP_MODES)
}

/// One of [`DATAPATHS`].
pub fn datapath(text: &str) -> Parsed<Datapath> {
    choice(text, "data path", DATAPATHS)
}

/// `interface`, `macvlan`, `none`.
pub fn vmac(text: &str) -> Parsed<VmacMode> {
    let modes = [VmacMode::Interface, VmacMode::Macvlan, VmacMode::None].map(|mode| (mode.name(), mode));
    choice(text, "virtual MAC mode", &modes)
}

/// `none`, `refuse`.
pub fn vmac_fallback(text: &str) -> Parsed<VmacFallback> {
    let ways = [("none", VmacFallback::None), ("refuse", VmacFallback::Refuse)];
    choice(text, "virtual MAC fallback", &ways)
}

/// One of a few words; the error lists them and suggests the nearest one.
pub(super) fn choice<T: Copy>(text: &str, what: &'static str, choices: &[(&'static str, T)]) -> Parsed<T> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words = choices.iter().map(|(word, _)| *word).collect();
    Err(ValueError::Choice { text: text.to_owned(), what, words })
}

/// `expected a, b or c`, and the nearest of them.
fn choices(text: &str, words: &[&str]) -> String {
    let near = nearest(text, words.iter().copied());
    let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
    let (last, others) = words.split_last().unwrap_or((&"", &[]));
    format!("expected {} or {last}{hint}", others.join(", "))
}

/// `true` or `false`.
pub fn boolean(text: &str) -> Parsed<bool> {
    text.parse().map_err(|_| ValueError::Boolean(text.to_owned()))
}

/// A configured name: printable, and not of the form INTERFACE/VRID.
pub fn title(text: &str) -> Parsed<String> {
    let legal = (1..=MAX_TITLE).contains(&text.chars().count())
        && text.trim() == text
        && !text.contains(|c: char| c == '/' || c.is_control());
    if legal { Ok(text.to_owned()) } else { Err(ValueError::Title(text.to_owned())) }
}

/// The path of a script.
pub fn script(text: &str) -> Parsed<Script> {
    if text.is_empty() { Err(ValueError::NoScript) } else { Ok(Script::new(PathBuf::from(text))) }
}

/// The path of a file.
pub fn path(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() { Err(ValueError::NoPath) } else { Ok(PathBuf::from(text)) }
}

/// `USER` or `USER:GROUP`, names or numbers. Their existence is checked with the script.
pub fn script_user(text: &str) -> Parsed<ScriptUser> {
    let (user, group) =
        text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group.to_owned())));
    let is_name = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
    if !is_name(user) || group.as_deref().is_some_and(|group| !is_name(group)) {
        return Err(ValueError::ScriptUser(text.to_owned()));
    }
    Ok(ScriptUser { user: user.to_owned(), group })
}

/// `vrrpd` or `keepalived`
pub fn script_style(text: &str) -> Parsed<ScriptStyle> {
    let styles = [ScriptStyle::Vrrpd, ScriptStyle::Keepalived].map(|style| (style.name(), style));
    choice(text, "script style", &styles)
}

/// The address of a host, without prefix length.
pub fn host(text: &str) -> Parsed<IpAddr> {
    let wrong = || ValueError::Host(text.to_owned());
    if text.contains('/') {
        return Err(wrong());
    }
    address(text).map(|address| address.address).map_err(|_| wrong())
}

/// A peer, and the minimum TTL of its adverts if given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerOption {
    /// Its address.
    pub address: IpAddr,
    /// `min-ttl=N`
    pub min_ttl: Option<u8>,
}

/// `10.16.1.3`, `10.16.1.3,min-ttl=250`.
pub fn peer(text: &str) -> Parsed<PeerOption> {
    let wrong = || ValueError::Peer(text.to_owned());
    let mut parts = text.split(',').map(str::trim);
    let address = host(parts.next().unwrap_or_default()).map_err(|_| wrong())?;
    if address.is_loopback() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(wrong());
    }
    let mut peer = PeerOption { address, min_ttl: None };
    for part in parts {
        match part.split_once('=') {
            Some(("min-ttl" | "min_ttl", number)) if peer.min_ttl.is_none() => {
                peer.min_ttl = Some(min_ttl(number)?);
            }
            Some(_) | None => return Err(wrong()),
        }
    }
    Ok(peer)
}

/// 1 to 255.
pub fn ttl(text: &str) -> Parsed<u8> {
    match text.parse() {
        Ok(ttl @ 1..) => Ok(ttl),
        Ok(0) | Err(_) => Err(ValueError::Ttl(text.to_owned())),
    }
}

/// 0 to 255.
pub fn min_ttl(text: &str) -> Parsed<u8> {
    text.parse().map_err(|_| ValueError::MinTtl(text.to_owned()))
}

/// A multicast address.
pub fn multicast_group(text: &str) -> Parsed<IpAddr> {
    let group: Option<IpAddr> = text.parse().ok();
    group.filter(IpAddr::is_multicast).ok_or_else(|| ValueError::MulticastGroup(text.to_owned()))
}

/// 1 to 255.
pub fn garp_count(text: &str) -> Parsed<u8> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        Ok(0) | Err(_) => Err(ValueError::Count(text.to_owned())),
    }
}

/// 1 to 100, as in keepalived.
pub fn down_multiplier(text: &str) -> Parsed<u8> {
    match text.parse() {
        Ok(count @ 1..=100) => Ok(count),
        Ok(_) | Err(_) => Err(ValueError::DownMultiplier(text.to_owned())),
    }
}

/// Announcements of an address upon a lower-priority advert: 0 to 255.
pub fn garp_lower_count(text: &str) -> Parsed<u8> {
    text.parse().map_err(|_| ValueError::CountOrNone(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_without_a_length_is_a_host_s() {
        assert_eq!(address("10.16.1.200").expect("legal").prefix_len, 32);
        assert_eq!(address("fe80::1").expect("legal").prefix_len, 128);
        assert_eq!(address("10.16.1.200/24").expect("legal").to_string(), "10.16.1.200/24");
    }

    #[test]
    fn address_that_no_host_can_have_is_refused() {
        for text in [
            "10.16.1",
            "10.16.1.200/33",
            "10.16.1.200/0",
            "fe80::1/129",
            "224.0.0.18",
            "0.0.0.0",
            "ff02::12",
            "::",
            "10.0.0.1/",
            "eth0",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn peer_is_a_host_with_or_without_a_ttl() {
        let address = "10.16.1.3".parse().expect("an address");
        assert_eq!(peer("10.16.1.3"), Ok(PeerOption { address, min_ttl: None }));
        assert_eq!(peer("10.16.1.3,min-ttl=0"), Ok(PeerOption { address, min_ttl: Some(0) }));
        for text in [
            "",
            "router2",
            "10.16.1.3/24",
            "224.0.0.18",
            "255.255.255.255",
            "127.0.0.1",
            "::1",
            "10.16.1.3,",
            "10.16.1.3,min-ttl",
            "10.16.1.3,min-ttl=256",
            "10.16.1.3,ttl=2",
            "10.16.1.3,min-ttl=1,min-ttl=2",
        ] {
            assert!(peer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn multicast_group_is_no_host() {
        assert!(multicast_group("224.0.0.18").is_ok() && multicast_group("ff02::12").is_ok());
        assert!(multicast_group("10.16.1.3").is_err() && multicast_group("all").is_err());
    }

    #[test]
    fn duration_reads_seconds_fractions_and_units() {
        assert_eq!(duration("1"), Ok(Duration::from_secs(1)));
        assert_eq!(duration("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(duration(".5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        for text in ["", ".", "-1", "ms", "1e3", "0x10", "1.0000000001"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn password_is_sent_unchanged() {
        for text in ["0x31", "12345678", "a/b"] {
            let password = auth(&format!("pw/{text}")).expect("is legal");
            let mut data = [0; Auth::DATA_LEN];
            data[..text.len()].copy_from_slice(text.as_bytes());
            assert_eq!(password.in_message(), Auth::Simple(data));
        }
        assert_eq!(auth("none"), Ok(Authentication::None));
    }

    #[test]
    fn key_is_read_from_hexadecimal_digits() {
        let secret = AuthKey::new(b"secret").map(Authentication::Ah).ok_or(ValueError::Auth);
        assert_eq!(auth("ah/0x736563726574"), secret);
        assert_eq!(auth("ah/0x73656372657400"), secret, "as keepalived fills its passwords up");
        assert_ne!(auth("ah/0x00736563726574"), secret);
        assert_eq!(auth("ah/0xfF"), auth("ah/0xFf"));
        assert!(auth(&format!("ah/0x{}", "1f".repeat(64))).is_ok());
    }

    #[test]
    fn an_unknown_key_is_refused_with_a_suggestion() {
        for (text, said) in [
            ("ah/", "0x"),
            ("ah/secret", "0x"),
            ("ah/0x", "expected 1 to 64 octets, got 0"),
            ("ah/0x123", "got 3 digits"),
            ("ah/0x12zz", "0 to 9 and a to f"),
            ("ah", "ah/0xHEX"),
        ] {
            let message = auth(text).expect_err("is wrong").to_string();
            assert!(message.contains(said), "{text}: {message}");
        }
        let message = auth(&format!("ah/0x{}", "1f".repeat(65))).expect_err("is too long").to_string();
        assert!(message.contains("got 65"), "{message}");
    }

    #[test]
    fn a_password_or_key_that_is_wrong_is_not_repeated() {
        for text in ["pw/hush-hush", "hush", "pw/", "ah/hush", "ah/0xhush", "ah/0xc0c0c"] {
            let message = auth(text).expect_err("is wrong").to_string();
            assert!(!message.contains("hush") && !message.contains("c0c0"), "{message}");
        }
    }

    #[test]
    fn mistyped_word_is_answered_with_the_nearest_one_and_all_that_there_are() {
        let message = vmac("mcvlan").expect_err("is wrong").to_string();
        assert!(message.ends_with("expected interface, macvlan or none; did you mean macvlan?"), "{message}");
        assert!(!vmac("bridge").expect_err("is wrong").to_string().contains("did you mean"));
        assert!(xdp("Natve").expect_err("is wrong").to_string().contains("did you mean native?"));
    }

    #[test]
    fn interface_name_cannot_leave_the_directory_of_pid_files() {
        assert!(interface("eth0.190").is_ok());
        for text in ["", "..", "a/b", "eth0:1", "sixteen-letters-", "a b"] {
            assert!(interface(text).is_err(), "{text}");
        }
    }
}
