//! Who a script runs as.

use nix::unistd::{Gid, Group, Uid, User};
use thiserror::Error;
use vrrpd_engine::script::ScriptUser;

/// The numbers of a user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(super) user: Uid,
    pub(super) group: Gid,
}

/// Why scripts cannot run as a user.
#[derive(Debug, Error)]
pub enum UserError {
    /// There is none of this name.
    #[error("no user {0:?} on this system")]
    NoUser(String),
    /// The same.
    #[error("no group {0:?} on this system")]
    NoGroup(String),
    /// A number that no name belongs to has no primary group.
    #[error("no user has the number {0}, so its group is not known: expected {0}:GROUP")]
    NoPrimaryGroup(u32),
    /// The system does not answer.
    #[error("user {user}: {error}")]
    Unknown {
        /// Who was asked for.
        user: String,
        /// Why not.
        error: nix::Error,
    },
    /// Only root can run scripts as somebody else.
    #[error("only root can run scripts as {0}; this daemon has uid {1}")]
    NotRoot(String, u32),
}

/// The numbers of this user and its group.
///
/// # Errors
/// There is no such user or group, or this process may not become that user.
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
}
