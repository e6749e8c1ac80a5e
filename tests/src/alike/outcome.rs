//! The results that are compared between keepalived and vrrpd, and their differences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use super::Difference;
use crate::Advert;

/// The result of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Additions (+) and removals (-) since before the start.
    pub(super) machine: BTreeSet<String>,
    /// Calls of the script, by its first argument.
    pub(super) calls: BTreeMap<String, Vec<String>>,
    /// Lines of the FIFO, by their subject.
    pub(super) fifo: BTreeMap<String, Vec<String>>,
    /// Advertisements of each router.
    pub(super) wire: BTreeMap<u8, Vec<String>>,
}

impl Outcome {
    pub(super) fn lines(&self) -> impl Iterator<Item = &String> {
        let lists = self.calls.values().chain(self.fifo.values()).chain(self.wire.values());
        self.machine.iter().chain(lists.flatten())
    }

    /// The result without these differences. Consecutive equal lines are reduced to one, for advertisements and where a
    /// difference made them equal.
    pub(super) fn without(self, differences: &[Difference]) -> Self {
        let alike = |line: &str| {
            differences.iter().fold(line.to_owned(), |line, (known, word)| line.replace(known, word))
        };
        let list = |lines: Vec<String>, repeats: bool| {
            let mut kept: Vec<(String, bool)> = Vec::new();
            for line in lines {
                let now = alike(&line);
                let is_changed = now != line;
                let repeated = kept
                    .last_mut()
                    .filter(|(last, was_changed)| *last == now && (is_changed || *was_changed || !repeats));
                match repeated {
                    Some((_, was_changed)) => *was_changed |= is_changed,
                    None if now.is_empty() => {}
                    None => kept.push((now, is_changed)),
                }
            }
            kept.into_iter().map(|(line, _)| line).collect::<Vec<_>>()
        };
        let lists = |lists: BTreeMap<String, Vec<String>>| {
            let lists = lists.into_iter().map(|(name, lines)| (name, list(lines, true)));
            lists.filter(|(_, lines)| !lines.is_empty()).collect()
        };
        Self {
            machine: self.machine.iter().map(|line| alike(line)).filter(|line| !line.is_empty()).collect(),
            calls: lists(self.calls),
            fifo: lists(self.fifo),
            wire: self.wire.into_iter().map(|(vrid, lines)| (vrid, list(lines, false))).collect(),
        }
    }
}

/// The content of an advertisement, and how it is sent. `mac` is the MAC address of the interface.
pub(super) fn described(advert: &Advert, mac: [u8; 6]) -> String {
    let from =
        if advert.source_mac == mac { "interface".to_owned() } else { format!("{:02x?}", advert.source_mac) };
    format!(
        "priority {} v{} interval {:?} auth {} {:?} addresses {:?} from {from} {} to {} ttl {} class {:#x} sum {}",
        advert.priority,
        advert.version,
        advert.interval,
        advert.auth_type,
        advert.auth_data,
        advert.addresses,
        advert.source,
        advert.destination,
        advert.ttl,
        advert.traffic_class,
        advert.checksum_is_right
    )
}

pub(super) fn differences([keepalived, vrrpd]: &[Outcome; 2]) -> String {
    let mut text = String::new();
    if keepalived.machine != vrrpd.machine {
        compare("machine", &keepalived.machine, &vrrpd.machine, &mut text);
    }
    if keepalived.calls != vrrpd.calls {
        compare("calls", &keepalived.calls, &vrrpd.calls, &mut text);
    }
    if keepalived.fifo != vrrpd.fifo {
        compare("FIFO", &keepalived.fifo, &vrrpd.fifo, &mut text);
    }
    if keepalived.wire != vrrpd.wire {
        compare("advertisements", &keepalived.wire, &vrrpd.wire, &mut text);
    }
    text
}

fn compare(what: &str, keepalived: &dyn fmt::Debug, vrrpd: &dyn fmt::Debug, text: &mut String) {
    writeln!(text, "{what} of keepalived: {keepalived:#?}\n{what} of vrrpd: {vrrpd:#?}")
        .expect("writing to a string works");
}
