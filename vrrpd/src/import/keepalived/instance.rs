//! Translates a `vrrp_instance` to a router.

use std::fmt::Write as _;

use super::super::{ImportError, Imported, RemarkKind, Router};
use super::address::Address;
use super::announcements::Garp;
use super::defaults::Defaults;
use super::keywords::{LEFT_OUT, NEEDS_VALUE, WITHOUT_EFFECT, reason};
use super::routing::routing;
use super::scripts::Notify;
use super::tracking::BLOCKS;
use super::tree::Node;
use super::unicast::Delivery;
use crate::config::{Key, LONGEST_PREEMPT_DELAY, value};

/// Number of characters of `auth_pass` that keepalived uses.
const PASSWORD_LEN: usize = 8;

/// Settings of an instance that several lines determine.
#[derive(Default)]
struct Instance {
    addresses: Vec<(Node, Address)>,
    excluded: Vec<(Node, Address)>,
    /// Tracked interfaces of routes and rules.
    uses: Vec<String>,
    is_master: bool,
    is_native_ipv6: bool,
    accept: Option<bool>,
    nopreempt: Option<Node>,
    preempt_delay: Option<Node>,
    version: Option<bool>,
    is_strict: Option<bool>,
    auth_type: Option<Node>,
    auth_pass: Option<Node>,
    interval: Option<Node>,
    scripts: Notify,
    delivery: Delivery,
    tracks: Vec<Node>,
    garp: Garp,
}

/// The router; `None` if it cannot run here.
pub(super) fn translate(
    node: &Node,
    defaults: &Defaults,
    imported: &mut Imported,
) -> Result<Option<Router>, ImportError> {
    let name = node.argument().unwrap_or_default();
    let mut router = Router::default();
    match value::title(name) {
        Ok(name) => router.set(Key::Name, name),
        Err(error) => imported.remark(&node.place, RemarkKind::LeftOut, "vrrp_instance", error.to_string()),
    }
    let mut instance = Instance::default();
    for line in node.children() {
        instance.line(line, &mut router, imported)?;
    }
    for (key, keyword) in [(Key::Interface, "interface"), (Key::Vrid, "virtual_router_id")] {
        if router.get(key).is_none() {
            return Err(
                node.wrong(format!("vrrp_instance {name} has no valid {keyword}; keepalived refuses it too"))
            );
        }
    }
    if instance.addresses.is_empty() && instance.is_v3(defaults) {
        return Err(node.wrong(format!(
            "vrrp_instance {name} has no virtual_ipaddress; keepalived refuses it too in version 3"
        )));
    }
    if !instance.addresses(node, &mut router, imported)
        || !instance.delivery.carry_over(&mut router, instance.is_ipv6(), defaults, imported)
    {
        return Ok(None);
    }
    if !instance.accepts(defaults) {
        router.set(Key::Accept, "false");
    }
    instance.finish(&mut router, defaults, imported);
    Ok(Some(router))
}

impl Instance {
    fn line(&mut self, line: &Node, router: &mut Router, imported: &mut Imported) -> Result<(), ImportError> {
        let argument = line.argument().unwrap_or_default();
        check_value(line)?;
        match line.keyword() {
            "interface" => match value::interface(argument) {
                Ok(interface) => router.set(Key::Interface, interface),
                Err(error) => return Err(line.wrong(error.to_string())),
            },
            "virtual_router_id" => match value::vrid(argument) {
                Ok(_) => router.set(Key::Vrid, argument),
                Err(error) => return Err(line.wrong(error.to_string())),
            },
            "priority" => match value::priority(argument) {
                Ok(_) => router.set(Key::Priority, argument),
                Err(_) => imported.remark(
                    &line.place,
                    RemarkKind::LeftOut,
                    "priority",
                    format!("{argument:?} is not a number from 1 to 255; keepalived takes 100 instead"),
                ),
            },
            "state" => self.is_master = argument == "MASTER",
            "native_ipv6" => self.is_native_ipv6 = true,
            "accept" => self.accept = Some(true),
            "no_accept" => self.accept = Some(false),
            "dont_track_primary" => router.set(Key::TrackInterface, "false"),
            "nopreempt" => self.nopreempt = Some(line.clone()),
            "preempt_delay" => self.preempt_delay = Some(line.clone()),
            "version" => self.version = Some(argument == "3"),
            "strict_mode" => self.is_strict = Some(!matches!(argument, "off" | "false" | "no")),
            "advert_int" => self.interval = Some(line.clone()),
            "down_timer_adverts" => {
                if let Some(count) = down_multiplier(line, imported) {
                    router.set(Key::DownMultiplier, count);
                }
            }
            "use_vmac" => {
                router.set(Key::Vmac, "macvlan");
                match value::interface(argument) {
                    Ok(name) => router.set(Key::VmacName, name),
                    Err(_) if argument.is_empty() => {}
                    Err(error) => {
                        imported.remark(&line.place, RemarkKind::LeftOut, "use_vmac", error.to_string());
                    }
                }
            }
            "vmac_xmit_base" => imported.remark(
                &line.place,
                RemarkKind::Differs,
                "vmac_xmit_base",
                "advertisements are sent from the virtual MAC address, not from that of the interface",
            ),
            "authentication" => {
                for child in line.children() {
                    check_value(child)?;
                    match child.keyword() {
                        "auth_type" => self.auth_type = Some(child.clone()),
                        "auth_pass" => self.auth_pass = Some(child.clone()),
                        keyword => imported.remark(
                            &child.place,
                            RemarkKind::LeftOut,
                            keyword,
                            "unknown to keepalived too, which ignores it",
                        ),
                    }
                }
            }
            "virtual_ipaddress" | "virtual_ipaddress_excluded" => {
                let list = match line.keyword() {
                    "virtual_ipaddress" => &mut self.addresses,
                    _ => &mut self.excluded,
                };
                for entry in line.children() {
                    match Address::read(&entry.words) {
                        Ok(address) => list.push((entry.clone(), address)),
                        Err(message) => imported.remark(
                            &entry.place,
                            RemarkKind::LeftOut,
                            entry.keyword(),
                            format!("{message}; keepalived ignores it too"),
                        ),
                    }
                }
            }
            "virtual_routes" => self.uses.extend(routing(Key::Routes, line, router, imported)),
            "virtual_rules" => self.uses.extend(routing(Key::Rules, line, router, imported)),
            _ if self.scripts.take(line) || self.delivery.take(line) || self.garp.take(line, imported) => {}
            keyword if BLOCKS.contains(&keyword) => self.tracks.push(line.clone()),
            keyword if WITHOUT_EFFECT.contains(&keyword) => {}
            keyword => {
                imported.remark(&line.place, RemarkKind::LeftOut, keyword, reason(&LEFT_OUT, keyword));
            }
        }
        Ok(())
    }

    /// Translates the addresses; false if none is left that this router could have.
    fn addresses(&self, node: &Node, router: &mut Router, imported: &mut Imported) -> bool {
        if self.addresses.is_empty() {
            router.set(Key::Family, if self.is_ipv6() { "ipv6" } else { "ipv4" });
        }
        for (line, address) in &self.addresses {
            if address.is_ipv6() == self.is_ipv6() {
                address_line(Key::Addresses, line, address, router, imported);
            } else {
                imported.remark(
                    &line.place,
                    RemarkKind::LeftOut,
                    &address.text,
                    "the addresses of a router are of one family; keepalived ignores this one too",
                );
            }
        }
        for (line, address) in &self.excluded {
            address_line(Key::ExtraAddresses, line, address, router, imported);
        }
        if !self.addresses.is_empty() && router.get(Key::Addresses).is_none() {
            imported.remark(
                &node.place,
                RemarkKind::LeftOut,
                "vrrp_instance",
                "none of its addresses can be carried over",
            );
            return false;
        }
        true
    }

    /// Whether packets to the addresses are accepted; never in strict version 2.
    fn accepts(&self, defaults: &Defaults) -> bool {
        let is_strict = self.is_strict(defaults);
        self.accept.unwrap_or(!is_strict) && (!is_strict || self.is_v3(defaults))
    }

    fn finish(&self, router: &mut Router, defaults: &Defaults, imported: &mut Imported) {
        // keepalived does not track the instance's own interface twice.
        let tracks_own = router.get(Key::TrackInterface).is_none();
        let addresses = self.addresses.iter().chain(&self.excluded).map(|(_, address)| address);
        let places = addresses
            .filter(|address| !address.is_untracked)
            .filter_map(|address| address.interface.as_ref());
        for interface in places.chain(&self.uses) {
            // Before `track_interface`, whose weights do not count then.
            if router.get(Key::Interface) != Some(interface) && value::interface(interface).is_ok() {
                router.track(format!("interface={interface}"));
            }
        }
        let own = router.get(Key::Interface).filter(|_| tracks_own).unwrap_or_default().to_owned();
        for block in &self.tracks {
            for word in defaults.tracks.tracked(block, &own, imported) {
                router.track(word);
            }
        }
        let is_v3 = self.is_v3(defaults);
        router.set(Key::Protocol, if is_v3 { "v3" } else { "v2" });
        if router.get(Key::Vmac).is_none() {
            router.set(Key::Vmac, "none");
        } else if router.get(Key::VmacName).is_none() {
            let family = if self.is_ipv6() { "6" } else { "" };
            let vrid = router.get(Key::Vrid).unwrap_or_default();
            router.set(Key::VmacName, format!("vrrp{family}.{vrid}"));
        }
        self.interval(router, is_v3, imported);
        if let Some(line) = &self.nopreempt {
            if self.is_master {
                imported.remark(
                    &line.place,
                    RemarkKind::Differs,
                    "nopreempt",
                    "has no effect with `state MASTER`, as in keepalived: this router preempts",
                );
            } else {
                router.set(Key::Preempt, "false");
            }
        }
        self.preempt_delay(router, imported);
        if let Some(count) = &defaults.down_multiplier
            && router.get(Key::DownMultiplier).is_none()
        {
            router.set(Key::DownMultiplier, count.clone());
        }
        if let Some(delay) = &defaults.start_delay {
            router.set(Key::StartDelay, delay.clone());
        }
        self.authentication(router, is_v3, self.is_strict(defaults), imported);
        self.scripts.carry_over(router, defaults, imported);
        self.garp.carry_over(&defaults.garp, router);
    }

    /// The family is that of the first address.
    fn is_ipv6(&self) -> bool {
        self.addresses.first().map_or(self.is_native_ipv6, |(_, address)| address.is_ipv6())
    }

    fn is_v3(&self, defaults: &Defaults) -> bool {
        self.is_ipv6() || self.version.unwrap_or(defaults.is_v3)
    }

    fn is_strict(&self, defaults: &Defaults) -> bool {
        self.is_strict.unwrap_or(defaults.is_strict)
    }

    fn interval(&self, router: &mut Router, is_v3: bool, imported: &mut Imported) {
        let Some(line) = &self.interval else { return };
        let text = line.argument().unwrap_or_default();
        let Ok(seconds) = text.parse::<f64>() else {
            imported.remark(
                &line.place,
                RemarkKind::LeftOut,
                "advert_int",
                format!("{text:?} is not a number of seconds; keepalived takes 1 instead"),
            );
            return;
        };
        let longest = if is_v3 { 40.95 } else { 255.0 };
        if !is_v3 && seconds.fract() != 0.0 || !(0.01..=longest).contains(&seconds) {
            let range = if is_v3 { "0.01 to 40.95 seconds" } else { "whole seconds from 1 to 255" };
            imported.remark(
                &line.place,
                RemarkKind::LeftOut,
                "advert_int",
                format!("{text} is not possible in version {}: {range}", if is_v3 { 3 } else { 2 }),
            );
            return;
        }
        router.set(Key::Interval, text);
    }

    /// keepalived ignores it without preemption, and with `state MASTER`.
    fn preempt_delay(&self, router: &mut Router, imported: &mut Imported) {
        let Some(line) = &self.preempt_delay else { return };
        let mut remark = |kind, why: String| imported.remark(&line.place, kind, "preempt_delay", why);
        let text = line.argument().unwrap_or_default();
        match value::duration(text) {
            _ if self.is_master => remark(
                RemarkKind::Differs,
                "has no effect with `state MASTER`, as in keepalived: this router preempts at once"
                    .to_owned(),
            ),
            _ if self.nopreempt.is_some() => {
                remark(RemarkKind::Differs, "has no effect with nopreempt, as in keepalived".to_owned());
            }
            Ok(delay) if delay <= LONGEST_PREEMPT_DELAY => router.set(Key::PreemptDelay, text),
            Ok(_) | Err(_) => remark(
                RemarkKind::LeftOut,
                format!("{text:?} is not a number of seconds from 0 to 1000; keepalived ignores it too"),
            ),
        }
    }

    fn authentication(&self, router: &mut Router, is_v3: bool, is_strict: bool, imported: &mut Imported) {
        let Some(kind) = &self.auth_type else { return };
        if is_v3 || is_strict {
            let why = if is_v3 { "version 3 has no authentication" } else { "vrrp_strict turns it off" };
            imported.remark(
                &kind.place,
                RemarkKind::Differs,
                "auth_type",
                format!("{why}; keepalived drops it too"),
            );
            return;
        }
        let password = self.auth_pass.as_ref().and_then(Node::argument).unwrap_or_default();
        let octets = &password.as_bytes()[..password.len().min(PASSWORD_LEN)];
        match kind.argument().unwrap_or_default() {
            "PASS" | "AH" if password.is_empty() => imported.remark(
                &kind.place,
                RemarkKind::LeftOut,
                "auth_type",
                "auth_pass missing; keepalived uses no authentication either",
            ),
            "PASS" => match std::str::from_utf8(octets) {
                Ok(text) => router.set(Key::Auth, format!("pw/{text}")),
                Err(_) => imported.remark(
                    &kind.place,
                    RemarkKind::LeftOut,
                    "auth_pass",
                    "its first 8 octets, which keepalived uses, end within a character",
                ),
            },
            "AH" => {
                let mut key = "ah/0x".to_owned();
                for octet in octets {
                    let _ = write!(key, "{octet:02x}");
                }
                router.set(Key::Auth, key);
            }
            other => imported.remark(
                &kind.place,
                RemarkKind::LeftOut,
                "auth_type",
                format!("{other:?} is neither PASS nor AH; keepalived uses no authentication either"),
            ),
        }
    }
}

/// The number of missed adverts until a master counts as down.
pub(super) fn down_multiplier(line: &Node, imported: &mut Imported) -> Option<String> {
    let text = line.argument().unwrap_or_default();
    if value::down_multiplier(text).is_ok() {
        return Some(text.to_owned());
    }
    let why = format!("{text:?} is not a number from 1 to 100; keepalived ignores it too");
    imported.remark(&line.place, RemarkKind::LeftOut, line.keyword(), why);
    None
}

/// Translates an address of the router.
fn address_line(key: Key, line: &Node, address: &Address, router: &mut Router, imported: &mut Imported) {
    if !address.others.is_empty() {
        let why = format!("{} is added without it", address.text);
        imported.remark(&line.place, RemarkKind::LeftOut, &address.others.join(" "), why);
    }
    let interface = router.get(Key::Interface).unwrap_or_default();
    let setting = match address.interface.as_deref().filter(|other| *other != interface) {
        Some(other) => format!("{} interface {other}", address.setting()),
        None => address.setting(),
    };
    router.set(key, setting);
}

/// An error if keepalived requires a value and there is none.
fn check_value(line: &Node) -> Result<(), ImportError> {
    if line.argument().is_none() && NEEDS_VALUE.contains(&line.keyword()) {
        return Err(line.wrong(format!("{} has no value; keepalived refuses it too", line.keyword())));
    }
    Ok(())
}
