//! Groups: routers that are Master together or not at all.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::Spanned;
use vrrpd_common::group::MAX_MEMBERS;

use super::RouterConfig;
use super::file::Complaint;
use crate::router_name;

/// A group, as the user wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// What a file calls it; `None`: the one group of all processes with `-M`.
    pub name: Option<String>,
    /// How many members it has to have, those of other processes included.
    pub size: u8,
    /// The members in this process, as [`RouterConfig::name`] calls them.
    pub members: Vec<String>,
}

impl GroupConfig {
    /// Whether it has the same members, in any order and whatever it is called.
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        let set = |group: &Self| group.members.iter().cloned().collect::<BTreeSet<_>>();
        self.size == other.size && set(self) == set(other)
    }

    /// The group of all processes with `-M`, to which this one adds a router.
    pub fn of_processes(size: u8, router: &RouterConfig) -> Self {
        Self { name: None, size, members: vec![router.name().to_string()] }
    }
}

/// `[[group]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    name: Spanned<String>,
    members: Spanned<Vec<Spanned<String>>>,
}

/// The groups of these tables; their members are told that they are.
pub(super) fn form(tables: &[Table], routers: &mut [RouterConfig]) -> Result<Vec<GroupConfig>, Complaint> {
    let mut names = BTreeSet::new();
    let mut groups = Vec::with_capacity(tables.len());
    for Table { name, members } in tables {
        if !names.insert(name.get_ref()) {
            let message = format!("group {:?} is there twice", name.get_ref());
            return Err(Complaint { at: name.span().start, message });
        }
        let count = members.get_ref().len();
        if !(2..=MAX_MEMBERS).contains(&count) {
            let message = format!("members: a group has 2 to {MAX_MEMBERS}, this one {count}");
            return Err(Complaint { at: members.span().start, message });
        }
        for member in members.get_ref() {
            let complaint = |message| Complaint { at: member.span().start, message };
            let name = member.get_ref();
            let Some(router) = routers.iter_mut().find(|router| router.name().to_string() == *name) else {
                let known: Vec<_> = routers.iter().map(|router| router.name().to_string()).collect();
                return Err(complaint(format!("members: {}", router_name::unknown(name, &known))));
            };
            if router.grouped {
                let message =
                    format!("members: {name} is a member already; a router is so once, of one group");
                return Err(complaint(message));
            }
            router.grouped = true;
        }
        let size = u8::try_from(count).unwrap_or(u8::MAX);
        let members = members.get_ref().iter().map(|member| member.get_ref().clone()).collect();
        groups.push(GroupConfig { name: Some(name.get_ref().clone()), size, members });
    }
    Ok(groups)
}
