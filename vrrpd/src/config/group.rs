//! Groups: routers that are Master together or not at all.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use vrrpd_common::group::MAX_MEMBERS;
use vrrpd_engine::priority::Weight;

use super::document::{Placed, Setting, Table};
use super::mistakes::Complaint;
use super::track::{self, Declarations};
use super::{CheckConfig, GroupConfig, Key, RouterConfig, Scripts, value};
use crate::nearest::nearest;
use crate::router_name::{RouterName, UnknownRouter};

/// `[[group]]`
#[derive(Default)]
struct GroupTable<'a> {
    name: Option<(&'a str, &'a Range<usize>)>,
    members: Option<(&'a [Placed<Setting>], &'a Range<usize>)>,
    /// The checks that all members use.
    track: Option<&'a Placed<Setting>>,
    /// Weights of the members' checks are used.
    has_weights: bool,
}

/// The keys of a group, in addition to [`Key::OF_GROUPS`].
const KEYS: [&str; 4] = ["name", "members", "track", "track-weights"];
/// The required keys.
const NEEDED: [&str; 2] = ["name", "members"];

/// Input for groups other than their tables and routers.
pub(super) struct Form<'a> {
    pub(super) directory: &'a Path,
    /// The checks of the file.
    pub(super) tracks: &'a Declarations,
    /// Names of routers with mistakes.
    pub(super) wrong: &'a [String],
    /// A router has a mistake in its name, so an unknown member may be that one.
    pub(super) has_nameless: bool,
}

impl Form<'_> {
    /// The groups of these tables, with their scripts; marks their members, and adds the group's checks to them.
    /// Mistakes are reported.
    pub(super) fn groups(
        &self,
        tables: &[Table],
        scripts: Vec<Scripts>,
        routers: &mut [RouterConfig],
        checks: &mut Vec<CheckConfig>,
        complaints: &mut Vec<Complaint>,
    ) -> Vec<GroupConfig> {
        let wrong = self.wrong;
        let mut names = BTreeSet::new();
        let mut groups = Vec::with_capacity(tables.len());
        let known = routers.iter().map(|router| router.title().into_owned());
        let known: Vec<_> = known.chain(wrong.iter().cloned()).collect();
        for (table, scripts) in tables.iter().zip(scripts) {
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
                // The canonical name.
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
                    None if self.has_nameless || wrong.contains(&name) => {}
                    None => complain(&member.span, format!("members: {}", UnknownRouter::new(&name, &known))),
                }
                members.push(name);
            }
            let size = u8::try_from(count).unwrap_or(u8::MAX);
            self.track(&said, routers, &members, checks, complaints);
            groups.extend(said.name.map(|(name, _)| GroupConfig {
                name: Some(name.to_owned()),
                size,
                members,
                scripts,
            }));
        }
        groups
    }

    /// Members use the checks of their group; without `track-weights`, their weighted checks are ignored.
    fn track(
        &self,
        said: &GroupTable<'_>,
        routers: &mut [RouterConfig],
        members: &[String],
        checks: &mut Vec<CheckConfig>,
        complaints: &mut Vec<Complaint>,
    ) {
        let (words, places): (Vec<_>, Vec<_>) = said
            .track
            .map(|setting| track::read_list(setting, complaints))
            .unwrap_or_default()
            .into_iter()
            .unzip();
        let span = |index: usize| places.get(index).cloned().unwrap_or_default();
        let (tracked, more) = self.tracks.resolve(&words, self.directory, span, complaints);
        track::add(checks, more);
        for router in routers.iter_mut().filter(|router| members.contains(&router.name().to_string())) {
            for of_group in &tracked {
                if router.track.iter().all(|own| own.name != of_group.name) {
                    router.track.push(of_group.clone());
                }
            }
            for own in &mut router.track {
                own.is_ignored = !said.has_weights && own.weight != Weight::NONE;
            }
        }
    }
}

/// Reads the table of a group.
fn read<'a>(table: &'a Table, complain: &mut impl FnMut(&Range<usize>, String)) -> GroupTable<'a> {
    let mut said = GroupTable::default();
    let mut is_told = false;
    for (key, setting) in &table.entries {
        match (key.value.as_str(), &setting.value) {
            ("name", Setting::One(name)) => said.name = Some((name, &setting.span)),
            ("members", Setting::Many(members)) => said.members = Some((members, &setting.span)),
            ("track", _) => said.track = Some(setting),
            ("track-weights" | "track_weights", Setting::One(text)) => match value::boolean(text) {
                Ok(has_weights) => said.has_weights = has_weights,
                Err(error) => complain(&setting.span, format!("track-weights: {error}")),
            },
            ("track-weights" | "track_weights", _) => {
                complain(&setting.span, "track-weights: expected true or false".to_owned());
            }
            ("name", _) => complain(&setting.span, "name: expected a string".to_owned()),
            ("members", _) => complain(&setting.span, "members: expected a list of names".to_owned()),
            (other, _) if Key::named(other).is_some_and(|key| Key::OF_GROUPS.contains(&key)) => {}
            (other, _) => {
                let keys: Vec<_> = KEYS.into_iter().chain(Key::OF_GROUPS.map(Key::name)).collect();
                let near = nearest(other, keys.iter().copied());
                let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                complain(&key.span, format!("unknown key {other:?}; a group has {}{hint}", keys.join(", ")));
                is_told = true;
            }
        }
    }
    for key in NEEDED {
        let is_there = table.entries.iter().any(|(name, _)| name.value == key);
        if !is_there && !is_told {
            complain(&table.span, format!("{key}: missing; a group has {}", NEEDED.join(" and ")));
        }
    }
    said
}
