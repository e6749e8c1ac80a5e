//! Groups: routers that are Master together or not at all.

use std::collections::BTreeSet;
use std::ops::Range;

use vrrpd_common::group::MAX_MEMBERS;

use super::document::{Placed, Setting, Table};
use super::mistakes::Complaint;
use super::{GroupConfig, RouterConfig};
use crate::nearest::nearest;
use crate::router_name::{RouterName, UnknownRouter};

/// `[[group]]`
#[derive(Default)]
struct GroupTable<'a> {
    name: Option<(&'a str, &'a Range<usize>)>,
    members: Option<(&'a [Placed<Setting>], &'a Range<usize>)>,
}

/// The keys of a group.
const KEYS: [&str; 2] = ["name", "members"];

/// The groups of these tables; their members are told that they are. `wrong` are names of routers with mistakes of their own.
/// What cannot be is complained of.
pub(super) fn form(
    tables: &[Table],
    routers: &mut [RouterConfig],
    wrong: &[String],
    complaints: &mut Vec<Complaint>,
) -> Vec<GroupConfig> {
    let mut names = BTreeSet::new();
    let mut groups = Vec::with_capacity(tables.len());
    let known: Vec<_> =
        routers.iter().map(|router| router.name().to_string()).chain(wrong.iter().cloned()).collect();
    for table in tables {
        let mut complain = |span: &Range<usize>, message: String| {
            complaints.push(Complaint::new(span.clone(), message));
        };
        let said = read(table, &mut complain);
        if let Some((name, span)) = said.name
            && !names.insert(name)
        {
            complain(span, format!("duplicate group name {name:?}"));
        }
        let Some((settings, span)) = said.members else { continue };
        let count = settings.len();
        if !(2..=MAX_MEMBERS).contains(&count) {
            complain(span, format!("members: expected 2 to {MAX_MEMBERS}, got {count}"));
        }
        let mut members = Vec::with_capacity(count);
        for member in settings {
            let Setting::One(text) = &member.value else {
                complain(&member.span, "members: expected a list of names".to_owned());
                continue;
            };
            // In the one way to write it.
            let name = RouterName::parse(text).map_or_else(|_| text.clone(), |name| name.to_string());
            let is_meant = |router: &&mut RouterConfig| {
                router.name().to_string() == name || router.title.as_ref() == Some(text)
            };
            let found = routers.iter_mut().find(is_meant);
            let name = found.as_ref().map_or(name, |router| router.name().to_string());
            match found {
                Some(router) if router.grouped => {
                    let message = format!("members: {name} is already a member of a group");
                    complain(&member.span, message);
                }
                Some(router) => router.grouped = true,
                None if wrong.contains(&name) => {}
                None => complain(&member.span, format!("members: {}", UnknownRouter::new(&name, &known))),
            }
            members.push(name);
        }
        let size = u8::try_from(count).unwrap_or(u8::MAX);
        groups.extend(said.name.map(|(name, _)| GroupConfig { name: Some(name.to_owned()), size, members }));
    }
    groups
}

/// What a table says of a group.
fn read<'a>(table: &'a Table, complain: &mut impl FnMut(&Range<usize>, String)) -> GroupTable<'a> {
    let mut said = GroupTable::default();
    let mut is_told = false;
    for (key, setting) in &table.entries {
        match (key.value.as_str(), &setting.value) {
            ("name", Setting::One(name)) => said.name = Some((name, &setting.span)),
            ("members", Setting::Many(members)) => said.members = Some((members, &setting.span)),
            ("name", _) => complain(&setting.span, "name: expected a string".to_owned()),
            ("members", _) => complain(&setting.span, "members: expected a list of names".to_owned()),
            (other, _) => {
                let hint =
                    nearest(other, KEYS).map_or_else(String::new, |near| format!("; did you mean {near}?"));
                complain(&key.span, format!("unknown key {other:?}; a group has {}{hint}", KEYS.join(", ")));
                is_told = true;
            }
        }
    }
    for key in KEYS {
        let is_there = table.entries.iter().any(|(name, _)| name.value == key);
        if !is_there && !is_told {
            complain(&table.span, format!("{key}: missing; a group has {}", KEYS.join(" and ")));
        }
    }
    said
}
