//! A policy rule.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use vrrpd_common::Family;

use super::words::{Prefix, WordError, Words, number, table};

/// The default preference: just before the main table (32766). The kernel would choose a different one each time.
const PREFERENCE: u32 = 32765;

/// The action of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleAction {
    /// Look up this table.
    Table(u32),
    /// Continue with the rule of this preference.
    Goto(u32),
    /// Drop packets.
    Blackhole,
    /// Drop packets with an ICMP host unreachable error.
    Unreachable,
    /// Drop packets with an ICMP prohibited error.
    Prohibit,
}

/// A range of ports, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// A parsed rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The text of the rule, with single spaces.
    pub text: String,
    /// Its family.
    pub family: Family,
    /// The match is inverted (`not`).
    pub inverted: bool,
    /// Source prefix.
    pub from: Option<Prefix>,
    /// Destination prefix.
    pub to: Option<Prefix>,
    /// Incoming interface.
    pub iif: Option<String>,
    /// Outgoing interface, for packets of sockets bound to it.
    pub oif: Option<String>,
    /// Firewall mark and its mask.
    pub mark: Option<(u32, u32)>,
    /// Type of service.
    pub tos: u8,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Source ports.
    pub source_ports: Option<PortRange>,
    /// Destination ports.
    pub destination_ports: Option<PortRange>,
    /// The preference.
    pub preference: u32,
    /// What becomes of them.
    pub action: RuleAction,
}

impl FromStr for Rule {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let mut words = Words::of(text);
        let mut rule = Self {
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            family: Family::Ipv4,
            inverted: false,
            from: None,
            to: None,
            iif: None,
            oif: None,
            mark: None,
            tos: 0,
            protocol: None,
            source_ports: None,
            destination_ports: None,
            preference: PREFERENCE,
            action: RuleAction::Prohibit,
        };
        let mut family = None;
        let mut action = None;
        while let Some(word) = words.next() {
            match word {
                "-4" | "inet" => family = Some(Family::Ipv4),
                "-6" | "inet6" => family = Some(Family::Ipv6),
                "not" => rule.inverted = true,
                "from" | "to" => {
                    let prefix = prefix(&mut words, word)?;
                    if let Some(prefix) = prefix {
                        if family.replace(prefix.family()).is_some_and(|before| before != prefix.family()) {
                            return Err(words.wrong("from and to must be of the same family"));
                        }
                        let place = if word == "from" { &mut rule.from } else { &mut rule.to };
                        *place = Some(prefix).filter(|prefix| prefix.len > 0);
                    }
                }
                "iif" | "dev" => rule.iif = Some(words.value(word)?.to_owned()),
                "oif" => rule.oif = Some(words.value(word)?.to_owned()),
                "fwmark" => rule.mark = Some(words.read(word, "a number, or NUMBER/MASK", mark)?),
                "tos" | "dsfield" => {
                    let tos = words.number(word)?;
                    rule.tos = u8::try_from(tos)
                        .map_err(|_| words.wrong("expected a type of service of 0 to 0xff"))?;
                }
                "ipproto" => {
                    rule.protocol =
                        Some(words.read(word, "tcp, udp, icmp, ipv6-icmp or 1 to 255", protocol)?);
                }
                "sport" => rule.source_ports = Some(words.read(word, "a port, or FIRST-LAST", ports)?),
                "dport" => rule.destination_ports = Some(words.read(word, "a port, or FIRST-LAST", ports)?),
                "preference" | "pref" | "priority" | "order" => rule.preference = words.number(word)?,
                "table" | "lookup" => {
                    action = Some(RuleAction::Table(words.read(
                        word,
                        "a number, main, local or default",
                        table,
                    )?));
                }
                "goto" => action = Some(RuleAction::Goto(words.number(word)?)),
                "blackhole" => action = Some(RuleAction::Blackhole),
                "unreachable" => action = Some(RuleAction::Unreachable),
                "prohibit" => action = Some(RuleAction::Prohibit),
                other => {
                    return Err(words.wrong(format!(
                        "unknown word {other:?}: expected not, from, to, iif, oif, fwmark, tos, ipproto, sport, dport, preference, \
                         table, goto, blackhole, unreachable or prohibit"
                    )));
                }
            }
        }
        rule.family = family.unwrap_or(Family::Ipv4);
        rule.action =
            action.ok_or_else(|| words.wrong("table, goto, blackhole, unreachable or prohibit missing"))?;
        Ok(rule)
    }
}

/// `all`, or a prefix.
fn prefix(words: &mut Words<'_>, word: &str) -> Result<Option<Prefix>, WordError> {
    let read = |text: &str| match text {
        "all" | "any" | "default" => Some(None),
        prefix => Prefix::read(prefix).map(Some),
    };
    words.read(word, "all or a prefix such as 192.0.2.0/24", read)
}

fn mark(text: &str) -> Option<(u32, u32)> {
    let (mark, mask) = text.split_once('/').map_or((text, None), |(mark, mask)| (mark, Some(mask)));
    Some((number(mark)?, mask.map_or(Some(u32::MAX), number)?))
}

fn protocol(text: &str) -> Option<u8> {
    match text {
        "icmp" => Some(1),
        "tcp" => Some(6),
        "udp" => Some(17),
        "ipv6-icmp" => Some(58),
        number => number.parse().ok().filter(|number| *number > 0),
    }
}

fn ports(text: &str) -> Option<PortRange> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = PortRange { first: first.parse().ok()?, last: last.parse().ok()? };
    (0 < range.first && range.first <= range.last).then_some(range)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Rule, WordError> {
        text.parse()
    }

    #[test]
    fn rules_have_the_words_of_ip_rule() {
        let rule = read("from 10.0.0.100  table 10").expect("right");
        assert_eq!((rule.to_string(), rule.preference), ("from 10.0.0.100 table 10".to_owned(), 32765));
        assert_eq!((rule.family, rule.action), (Family::Ipv4, RuleAction::Table(10)));
        let rule =
            read("not to 2001:db8::/32 fwmark 0x10/0xff iif eth0 ipproto tcp dport 80-90 pref 7 prohibit")
                .expect("right");
        assert_eq!((rule.family, rule.inverted, rule.preference), (Family::Ipv6, true, 7));
        assert_eq!((rule.mark, rule.protocol), (Some((0x10, 0xff)), Some(6)));
        assert_eq!(rule.destination_ports, Some(PortRange { first: 80, last: 90 }));
        assert_eq!(read("inet6 from all lookup main").expect("right").family, Family::Ipv6);
    }

    #[test]
    fn a_wrong_word_is_named_with_its_column() {
        for (text, error) in [
            ("from 10.0.0.100", "column 6: table, goto,"),
            ("form 10.0.0.100 table 10", "column 1: unknown word \"form\""),
            ("from 10.0.0.1/24 table 10", "column 6: invalid from \"10.0.0.1/24\""),
            ("from 10.0.0.1 to fe80::1 table 10", "column 18: from and to must be of the same family"),
            ("from 10.0.0.1 table", "column 15: table has no value"),
            ("fwmark x table 10", "column 8: invalid fwmark \"x\""),
            ("dport 0 table 10", "column 7: invalid dport \"0\""),
        ] {
            let wrong = read(text).expect_err(text).to_string();
            assert!(wrong.starts_with(error), "{text}: {wrong}");
        }
    }
}
