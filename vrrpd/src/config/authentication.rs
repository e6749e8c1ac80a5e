//! `-a`: how adverts of version 2 are authenticated.

use std::fmt;

use vrrpd_common::params::Auth;

use crate::association::Key;

/// What `-a` says. No output ever shows more than [`Authentication::name`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all.
    None,
    /// By a password in the message, zero-padded.
    Simple([u8; Auth::DATA_LEN]),
    /// By an Authentication Header, with this key.
    Ah(Key),
}

impl Authentication {
    /// As the message says it.
    pub const fn in_message(&self) -> Auth {
        match self {
            Self::None => Auth::None,
            Self::Simple(password) => Auth::Simple(*password),
            Self::Ah(_) => Auth::Ah,
        }
    }

    /// The key of the Authentication Header.
    pub const fn key(&self) -> Option<&Key> {
        match self {
            Self::None | Self::Simple(_) => None,
            Self::Ah(key) => Some(key),
        }
    }

    /// `none`, `pw`, `ah`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Simple(_) => "pw",
            Self::Ah(_) => "ah",
        }
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
