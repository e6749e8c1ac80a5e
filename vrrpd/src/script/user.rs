//! The user that a script runs as.

use nix::unistd::{Gid, Group, Uid, User};
use thiserror::Error;
use tokio::process::Command;
use vrrpd_engine::script::ScriptUser;
use vrrpd_engine::track;

/// A numeric user and group ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(super) user: Uid,
    pub(super) group: Gid,
}

/// Why scripts cannot run as a user.
#[derive(Debug, Error)]
pub enum UserError {
    /// Unknown user.
    #[error("no user {0:?} on this system")]
    NoUser(String),
    /// Unknown group.
    #[error("no group {0:?} on this system")]
    NoGroup(String),
    /// A numeric user without a name has no primary group.
    #[error("uid {0} has no name, so its primary group is unknown: expected {0}:GROUP")]
    NoPrimaryGroup(u32),
    /// The look-up failed.
    #[error("user {user}: {error}")]
    Unknown {
        /// The name.
        user: String,
        /// The error.
        error: nix::Error,
    },
    /// Only root can run scripts as another user.
    #[error("only root can run scripts as {0}; this daemon has uid {1}")]
    NotRoot(String, u32),
}

impl Identity {
    /// Runs a command as this user, without this process's supplementary groups.
    pub fn apply(self, command: &mut Command) {
        command.uid(self.user.as_raw()).gid(self.group.as_raw());
    }
}

/// The user of a tracked command; `None`: the daemon's.
pub fn user_of(command: &track::Command) -> Option<ScriptUser> {
    let track::Command { user, group, .. } = command;
    let own = || nix::unistd::geteuid().to_string();
    (user.is_some() || group.is_some())
        .then(|| ScriptUser { user: user.clone().unwrap_or_else(own), group: group.clone() })
}

/// The numeric IDs of this user and group.
///
/// # Errors
/// The user or group is unknown, or this process may not become that user.
pub fn identify(wanted: &ScriptUser) -> Result<Identity, UserError> {
    let ScriptUser { user, group } = wanted;
    let unknown = |error| UserError::Unknown { user: wanted.to_string(), error };
    let number = user.parse().ok().map(Uid::from_raw);
    let entry = number.map_or_else(|| User::from_name(user), User::from_uid).map_err(unknown)?;
    let uid = match (number, &entry) {
        (_, Some(entry)) => entry.uid,
        (Some(number), None) => number,
        (None, None) => return Err(UserError::NoUser(user.clone())),
    };
    let gid = match (group, entry) {
        (Some(group), _) => {
            if let Ok(number) = group.parse() {
                Gid::from_raw(number)
            } else {
                let entry = Group::from_name(group).map_err(unknown)?;
                entry.ok_or_else(|| UserError::NoGroup(group.clone()))?.gid
            }
        }
        (None, Some(entry)) => entry.gid,
        (None, None) => return Err(UserError::NoPrimaryGroup(uid.as_raw())),
    };
    let own = nix::unistd::geteuid();
    if !own.is_root() && (uid != own || gid != nix::unistd::getegid()) {
        return Err(UserError::NotRoot(wanted.to_string(), own.as_raw()));
    }
    Ok(Identity { user: uid, group: gid })
}

#[cfg(test)]
mod tests {
    use vrrpd_common::Duration;

    use super::*;

    fn identity(user: &str, group: Option<&str>) -> Result<Identity, UserError> {
        identify(&ScriptUser { user: user.to_owned(), group: group.map(str::to_owned) })
    }

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let own = Identity { user: nix::unistd::geteuid(), group: nix::unistd::getegid() };
        assert!(own.user.is_root(), "run this test as root");
        for (user, group) in [("root", None), ("0", None), ("root", Some("root")), ("0", Some("0"))] {
            assert_eq!(
                identity(user, group).expect("is there"),
                Identity { user: Uid::from_raw(0), group: Gid::from_raw(0) }
            );
        }
    }

    #[test]
    fn user_and_group_that_are_missing_are_named() {
        let said = |user, group| identity(user, group).expect_err("is missing").to_string();
        assert_eq!(said("no-such-user", None), "no user \"no-such-user\" on this system");
        assert_eq!(said("root", Some("no-such-group")), "no group \"no-such-group\" on this system");
        let number = said("3999999999", None);
        assert!(number.contains("3999999999:GROUP"), "{number}");
        let both = identity("3999999999", Some("7")).expect("needs no entry");
        assert_eq!((both.user.as_raw(), both.group.as_raw()), (3_999_999_999, 7));
    }
    #[test]
    fn a_tracked_command_has_a_user_a_group_or_both_by_name_or_number() {
        let whom = |user: Option<&str>, group: Option<&str>| {
            let polling = track::Polling { interval: Duration::ZERO, timeout: Duration::ZERO };
            let [user, group] = [user, group].map(|name| name.map(str::to_owned));
            let command =
                track::Command { program: "true".into(), arguments: Vec::new(), user, group, polling };
            user_of(&command)
                .map(|user| identify(&user).map(|found| (found.user.as_raw(), found.group.as_raw())))
        };
        let found = |user, group| whom(user, group).expect("is another").expect("is there");
        assert!(whom(None, None).is_none());
        assert_eq!(found(Some("root"), None), (0, 0));
        assert_eq!(found(Some("3999999999"), Some("7")), (3_999_999_999, 7));
        assert_eq!(found(None, Some("7")), (0, 7), "the daemon's user");
        assert!(whom(Some("no-such-user"), None).is_some_and(|found| found.is_err()));
    }
}
