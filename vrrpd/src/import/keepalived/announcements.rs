//! keepalived's settings for gratuitous ARP and neighbour advertisements.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::super::{Imported, RemarkKind, Router};
use super::tree::Node;
use crate::config::{Key, value};

/// Maximum number of announcements at a time in vrrpd.
const MOST: u32 = 255;
/// Seconds that keepalived accepts.
const SECONDS: RangeInclusive<u32> = 0..=4294;
/// Maximum seconds that keepalived accepts between announcements on other interfaces.
const MOST_ELSEWHERE: u32 = 86_400;
/// Seconds that keepalived accepts for a pause.
const PAUSE: RangeInclusive<f64> = 0.000_001..=4_294.967_295;

/// The settings of an instance, or of `global_defs` for all instances. A missing value was not given.
#[derive(Clone, Debug, Default)]
pub(super) struct Garp {
    /// Announcements of an address each time.
    repeat: Option<String>,
    /// Seconds until the repetition; 0: none.
    delay: Option<String>,
    /// Seconds between refreshes; 0: none.
    refresh: Option<String>,
    /// Announcements of an address for each refresh.
    refresh_repeat: Option<String>,
    /// Announcements of an address upon a lower-priority advert.
    lower_repeat: Option<String>,
    /// Seconds until the repetition after that; 0: none.
    lower_delay: Option<String>,
    /// Seconds between announcements on other interfaces; 0: none.
    elsewhere: Option<String>,
    /// Pauses on interfaces without their own.
    pauses: Pauses,
    /// Pauses of interfaces in a `garp_group`.
    groups: BTreeMap<String, Pauses>,
}

/// Seconds between two frames on an interface.
#[derive(Clone, Debug, Default)]
struct Pauses {
    arp: Option<String>,
    na: Option<String>,
}

impl Garp {
    /// Handles a line of an instance; false: another kind of line.
    pub(super) fn take(&mut self, line: &Node, imported: &mut Imported) -> bool {
        self.take_as(line.keyword(), line, imported)
    }

    /// The same, with the keyword that instances use.
    fn take_as(&mut self, keyword: &str, line: &Node, imported: &mut Imported) -> bool {
        let (place, read) = match keyword {
            "garp_master_repeat" => (&mut self.repeat, count(line, 1, imported)),
            "garp_master_refresh_repeat" => (&mut self.refresh_repeat, count(line, 1, imported)),
            "garp_lower_prio_repeat" => (&mut self.lower_repeat, count(line, 0, imported)),
            "garp_master_delay" => (&mut self.delay, seconds(line, imported)),
            "garp_master_refresh" => (&mut self.refresh, seconds(line, imported)),
            "garp_lower_prio_delay" => (&mut self.lower_delay, seconds(line, imported)),
            "garp_extra_if" => (&mut self.elsewhere, elsewhere(line, imported)),
            _ => return false,
        };
        if read.is_some() {
            *place = read;
        }
        true
    }

    /// Handles a line of `global_defs`; false: another kind of line.
    pub(super) fn take_global(&mut self, line: &Node, imported: &mut Imported) -> bool {
        let Some(keyword) = line.keyword().strip_prefix("vrrp_") else { return false };
        match keyword {
            "min_garp" => {
                if !matches!(line.argument(), Some("off" | "false" | "no")) {
                    (self.repeat, self.delay) = (Some("1".to_owned()), Some("0".to_owned()));
                }
                true
            }
            "garp_interval" | "gna_interval" => self.pauses.take(keyword, line, imported),
            _ => self.take_as(keyword, line, imported),
        }
    }

    /// Handles a `garp_group`.
    pub(super) fn take_group(&mut self, group: &Node, imported: &mut Imported) {
        let mut pauses = Pauses::default();
        let mut interfaces: Vec<String> = Vec::new();
        for line in group.children() {
            match line.keyword() {
                keyword if pauses.take(keyword, line, imported) => {}
                "interface" => interfaces.extend(line.argument().map(str::to_owned)),
                "interfaces" => {
                    interfaces.extend(line.children().iter().flat_map(|line| line.words.iter().cloned()));
                    imported.remark(
                        &line.place,
                        RemarkKind::Differs,
                        "interfaces",
                        "the pauses apply to each of these interfaces separately",
                    );
                }
                keyword => imported.remark(
                    &line.place,
                    RemarkKind::LeftOut,
                    keyword,
                    "unknown to keepalived too, which ignores it",
                ),
            }
        }
        self.groups.extend(interfaces.into_iter().map(|interface| (interface, pauses.clone())));
    }

    /// Sets the options of the router; `defaults` apply where the instance has no value. As in keepalived, the global
    /// values for lower-priority adverts precede the instance's values for becoming master.
    pub(super) fn carry_over(&self, defaults: &Self, router: &mut Router) {
        let choose = |said: [&Option<String>; 3], else_: &str| -> String {
            said.into_iter().flatten().next().map_or_else(|| else_.to_owned(), Clone::clone)
        };
        let repeat = choose([&self.repeat, &defaults.repeat, &None], "5");
        let delay = choose([&self.delay, &defaults.delay, &None], "5");
        let refresh = choose([&self.refresh, &defaults.refresh, &None], "0");
        let refresh_repeat = choose([&self.refresh_repeat, &defaults.refresh_repeat, &None], "1");
        let lower_repeat = choose([&self.lower_repeat, &defaults.lower_repeat, &defaults.repeat], "5");
        let lower_delay = choose([&self.lower_delay, &defaults.lower_delay, &defaults.delay], "5");
        router.set(Key::GarpCount, repeat.clone());
        router.set(Key::GarpDelay, delay);
        if refresh != "0" {
            router.set(Key::GarpInterval, refresh);
            if refresh_repeat != repeat {
                router.set(Key::GarpRefreshCount, refresh_repeat);
            }
        }
        if lower_repeat != repeat {
            router.set(Key::GarpLowerCount, lower_repeat);
        }
        router.set(Key::GarpLowerDelay, lower_delay);
        let elsewhere = self.elsewhere.as_ref().or(defaults.elsewhere.as_ref());
        router.extend(Key::GarpElsewhereInterval, elsewhere.filter(|seconds| *seconds != "0").cloned());
        let group = router.get(Key::Interface).and_then(|interface| defaults.groups.get(interface));
        let pauses = &defaults.pauses;
        for (key, own, other) in [
            (Key::GarpPause, group.and_then(|group| group.arp.as_ref()), &pauses.arp),
            (Key::NaPause, group.and_then(|group| group.na.as_ref()), &pauses.na),
        ] {
            if let Some(pause) = own.or(other.as_ref()) {
                router.set(key, pause.clone());
            }
        }
    }
}

impl Pauses {
    /// Handles `garp_interval` or `gna_interval`; false: another kind of line.
    fn take(&mut self, keyword: &str, line: &Node, imported: &mut Imported) -> bool {
        let place = match keyword {
            "garp_interval" => &mut self.arp,
            "gna_interval" => &mut self.na,
            _ => return false,
        };
        let text = line.argument().unwrap_or_default();
        let is_pause = text.parse().is_ok_and(|seconds: f64| PAUSE.contains(&seconds));
        if is_pause && value::duration(text).is_ok() {
            *place = Some(text.to_owned());
        } else {
            left_out(line, &format!("{text:?} is not a number of seconds above 0"), imported);
        }
        true
    }
}

/// A number of announcements; less than `least` becomes `least`, as in keepalived.
fn count(line: &Node, least: u32, imported: &mut Imported) -> Option<String> {
    let text = line.argument().unwrap_or_default();
    let Ok(number) = text.parse::<u32>() else {
        left_out(line, &format!("{text:?} is not a number"), imported);
        return None;
    };
    if number > MOST {
        let differs = format!("addresses are announced at most {MOST} times");
        imported.remark(&line.place, RemarkKind::Differs, line.keyword(), differs);
    }
    Some(number.clamp(least, MOST).to_string())
}

fn seconds(line: &Node, imported: &mut Imported) -> Option<String> {
    let text = line.argument().unwrap_or_default();
    if text.parse().is_ok_and(|number| SECONDS.contains(&number)) {
        return Some(text.to_owned());
    }
    let (least, most) = (SECONDS.start(), SECONDS.end());
    left_out(line, &format!("{text:?} is not a whole number of seconds from {least} to {most}"), imported);
    None
}

/// The seconds of `garp_extra_if [all] SECONDS`. Without `all`, keepalived announces only on virtual MAC interfaces of
/// addresses, which do not exist here.
fn elsewhere(line: &Node, imported: &mut Imported) -> Option<String> {
    let (is_all, text) = match line.words.get(1..).unwrap_or_default() {
        [all, text, ..] if all == "all" => (true, text.as_str()),
        words => (false, words.first().map_or("", String::as_str)),
    };
    match text.parse() {
        Ok(0..=MOST_ELSEWHERE) if !is_all => Some("0".to_owned()),
        Ok(seconds @ 0..=MOST_ELSEWHERE) => Some(seconds.to_string()),
        _ => {
            let why = format!("{text:?} is not a whole number of seconds up to {MOST_ELSEWHERE}");
            left_out(line, &why, imported);
            None
        }
    }
}

fn left_out(line: &Node, why: &str, imported: &mut Imported) {
    imported.remark(
        &line.place,
        RemarkKind::LeftOut,
        line.keyword(),
        format!("{why}; keepalived ignores it too"),
    );
}
