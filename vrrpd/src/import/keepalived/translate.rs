//! Translates the blocks of keepalived.conf.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::{Group, ImportError, Imported, Remark, RemarkKind, Router, SourceLine};
use super::command::user_of;
use super::defaults::Defaults;
use super::instance;
use super::keywords::{self, GLOBAL_LEFT_OUT, GLOBAL_WITHOUT_EFFECT, reason};
use super::scripts::Notify;
use super::tracking::{self, BLOCKS, Definitions};
use super::tree::Node;
use crate::config::{LONGEST_START_DELAY, value as read};

/// Top-level blocks and lines that are left out, with the reason.
const LEFT_OUT: [(&[&str], &str); 5] = [
    (
        &["virtual_server", "virtual_server_group", "SSL"],
        "IPVS load balancing is not part of this daemon; keepalived can continue to do it with this block alone",
    ),
    (
        &["static_ipaddress", "static_routes", "static_rules", "track_group"],
        "addresses, routes and rules that do not depend on VRRP belong in the network configuration of the system",
    ),
    (&["bfd_instance"], "BFD is not supported"),
    (&["net_namespace", "net_namespace_ipvs"], "start vrrpd in that namespace: ip netns exec NAME vrrpd …"),
    (&["interface_up_down_delays"], "a link that goes down counts at once"),
];

/// The routers and groups of a configuration; `remarks` are those about its text.
pub(super) fn translate(file: &Path, nodes: &[Node], remarks: Vec<Remark>) -> Result<Imported, ImportError> {
    if nodes.iter().all(|node| node.keyword() != "vrrp_instance") {
        let place = SourceLine { file: file.into(), line: 1 };
        return Err(ImportError::Wrong { place, message: "no vrrp_instance found".to_owned() });
    }
    let mut imported = Imported { remarks, ..Imported::default() };
    let mut defaults = Defaults::default();
    for node in nodes.iter().filter(|node| node.keyword() == "global_defs") {
        for child in node.children() {
            global(child, &mut defaults, &mut imported);
        }
    }
    for node in nodes.iter().filter(|node| node.keyword() == "garp_group") {
        defaults.garp.take_group(node, &mut imported);
    }
    defaults.tracks = Definitions::read(nodes, defaults.script_user.as_deref(), &mut imported);
    let mut instances = BTreeMap::new();
    for node in nodes {
        match node.keyword() {
            "global_defs"
            | "vrrp_sync_group"
            | "garp_group"
            | "linkbeat_use_polling"
            | "linkbeat_interfaces"
            | "instance"
            | "use_pid_dir"
            | "child_wait_time" => {}
            "vrrp_instance" => {
                let name = node.argument().ok_or_else(|| node.wrong("vrrp_instance has no name"))?.to_owned();
                if instances.contains_key(&name) {
                    // keepalived starts without the second one.
                    imported.remark(
                        &node.place,
                        RemarkKind::LeftOut,
                        "vrrp_instance",
                        format!("duplicate name {name}; keepalived uses the first"),
                    );
                    continue;
                }
                if let Some(router) = instance::translate(node, &defaults, &mut imported)? {
                    instances.insert(name, imported.routers.len());
                    imported.routers.push(router);
                }
            }
            keyword if tracking::is_definition(keyword) => {}
            keyword => {
                imported.remark(&node.place, RemarkKind::LeftOut, keyword, reason(&LEFT_OUT, keyword));
            }
        }
    }
    for node in nodes.iter().filter(|node| node.keyword() == "vrrp_sync_group") {
        group(node, &instances, &defaults, &mut imported);
    }
    imported.remarks.sort_by_key(|remark| (remark.place.file.clone(), remark.place.line));
    Ok(imported)
}

fn global(node: &Node, defaults: &mut Defaults, imported: &mut Imported) {
    let value = node.argument().unwrap_or_default();
    match node.keyword() {
        "vrrp_version" => defaults.is_v3 = value == "3",
        "vrrp_strict" => defaults.is_strict = true,
        "vrrp_startup_delay" => match read::duration(value) {
            Ok(delay) if delay <= LONGEST_START_DELAY => defaults.start_delay = Some(value.to_owned()),
            Ok(_) | Err(_) => imported.remark(
                &node.place,
                RemarkKind::LeftOut,
                "vrrp_startup_delay",
                format!("{value:?} is not a number of seconds from 0 to 3600; keepalived ignores it too"),
            ),
        },
        "vrrp_down_timer_adverts" => {
            defaults.down_multiplier =
                instance::down_multiplier(node, imported).or(defaults.down_multiplier.take());
        }
        "script_user" => defaults.script_user = user_of(node.words.get(1..).unwrap_or_default()),
        // The one for VRRP only takes precedence.
        "vrrp_notify_fifo" => defaults.fifo = Some(value.to_owned()),
        "notify_fifo" => defaults.fifo = defaults.fifo.take().or_else(|| Some(value.to_owned())),
        "vrrp_mcast_group4" => defaults.group4 = Some(node.clone()),
        "vrrp_mcast_group6" => defaults.group6 = Some(node.clone()),
        _ if defaults.garp.take_global(node, imported) => {}
        keyword if GLOBAL_WITHOUT_EFFECT.contains(&keyword) => {}
        keyword => {
            imported.remark(&node.place, RemarkKind::LeftOut, keyword, reason(&GLOBAL_LEFT_OUT, keyword));
        }
    }
}

fn group(node: &Node, instances: &BTreeMap<String, usize>, defaults: &Defaults, imported: &mut Imported) {
    let name = node.argument().unwrap_or_default();
    let mut members = Vec::new();
    let mut scripts = Notify::default();
    let (mut settings, mut has_weights) = (Router::default(), false);
    for child in node.children() {
        match child.keyword() {
            "group" => {
                for member in
                    child.children().iter().flat_map(|line| line.words.iter().map(move |word| (line, word)))
                {
                    match instances.get(member.1) {
                        Some(index) => members.push(*index),
                        None => imported.remark(
                            &member.0.place,
                            RemarkKind::LeftOut,
                            member.1,
                            format!("the group {name} has a member that is no vrrp_instance"),
                        ),
                    }
                }
            }
            _ if scripts.take(child) => {}
            "global_tracking" => {}
            "sync_group_tracking_weight" => has_weights = true,
            keyword if BLOCKS.contains(&keyword) => {
                let tracked = defaults.tracks.tracked(child, "", imported);
                for word in tracked {
                    settings.track(word);
                }
            }
            keyword => {
                let reason = reason(&keywords::LEFT_OUT, keyword);
                imported.remark(&child.place, RemarkKind::LeftOut, keyword, reason);
            }
        }
    }
    if members.len() > 1 {
        scripts.carry_over(&mut settings, defaults, imported);
        imported.groups.push(Group { name: name.to_owned(), members, settings, has_weights });
    } else if let Some(router) = members.first().and_then(|index| imported.routers.get_mut(*index)) {
        for (_, word) in settings.settings {
            router.track(word);
        }
    }
}
