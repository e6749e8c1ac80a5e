//! `-a`: authentication of version 2.

use std::fmt;

use vrrpd_common::params::Auth;
use vrrpd_engine::config::AuthKind;

use crate::ah::AuthKey;
use crate::sys::secret::Secret;

/// The password of version 2 adverts, zero-padded. Each advert contains it in clear text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password(Secret);

impl Password {
    /// `None` if empty or too long.
    pub fn new(octets: &[u8]) -> Option<Self> {
        if (1..=Auth::DATA_LEN).contains(&octets.len()) { Secret::new(octets).map(Self) } else { None }
    }
}

/// The value of `-a`. No output shows more than [`Authentication::kind`].
#[derive(Clone, PartialEq, Eq)]
pub enum Authentication {
    /// No authentication.
    None,
    /// A password in the message, zero-padded.
    Simple(Password),
    /// An Authentication Header with this key.
    Ah(AuthKey),
}

impl Authentication {
    /// The authentication data in the message.
    pub fn in_message(&self) -> Auth {
        match self {
            Self::None => Auth::None,
            Self::Simple(Password(password)) => {
                let mut data = [0; Auth::DATA_LEN];
                data.copy_from_slice(&password.expose()[..Auth::DATA_LEN]);
                Auth::Simple(data)
            }
            Self::Ah(_) => Auth::Ah,
        }
    }

    /// The key of the Authentication Header.
    pub const fn key(&self) -> Option<&AuthKey> {
        match self {
            Self::None | Self::Simple(_) => None,
            Self::Ah(key) => Some(key),
        }
    }

    /// The kind, without the secret.
    pub const fn kind(&self) -> AuthKind {
        match self {
            Self::None => AuthKind::None,
            Self::Simple(_) => AuthKind::Simple,
            Self::Ah(_) => AuthKind::Ah,
        }
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())
    }
}
