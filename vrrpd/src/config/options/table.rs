//! Macros that turn the table of options into types and functions.

/// Storage for the values of an option.
pub(in crate::config) trait Slot: Clone {
    type Value;

    fn put(&mut self, value: Self::Value);

    fn is_empty(&self) -> bool;
}

impl<T: Clone> Slot for Option<T> {
    type Value = T;

    fn put(&mut self, value: T) {
        *self = Some(value);
    }

    fn is_empty(&self) -> bool {
        self.is_none()
    }
}

impl<T: Clone> Slot for Vec<T> {
    type Value = T;

    fn put(&mut self, value: T) {
        self.push(value);
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// The type of an option after defaults were applied; an option without a default may still be missing.
macro_rules! complete_type {
    ($slot:ty) => {
        $slot
    };
    ($slot:ty, $default:expr) => {
        <$slot as Slot>::Value
    };
}

macro_rules! complete_value {
    ($slot:expr) => {
        $slot
    };
    ($slot:expr, $default:expr) => {
        $slot.unwrap_or($default)
    };
}

macro_rules! options {
    ($(
        $(#[doc = $help:literal])+
        $key:ident = $name:literal, $flag:literal, $argument:expr, $toml:ident, $read:path;
        $field:ident: $slot:ty $(= $default:expr)?;
    )+) => {
        /// An option of a virtual router.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Key {
            $($(#[doc = $help])+ $key,)+
        }

        /// The given options of one router; `None` if not given.
        #[derive(Clone, Debug, Default)]
        pub struct RouterOptions {
            $($(#[doc = $help])+ pub $field: $slot,)+
        }

        /// The options of one router, with defaults applied.
        pub(super) struct Complete {
            $(pub(super) $field: complete_type!($slot $(, $default)?),)+
        }

        impl Key {
            /// Every option, in the order of `--help`.
            pub const ALL: &[Self] = &[$(Self::$key),+];

            /// Its entry in the table.
            pub const fn declaration(self) -> Declaration {
                use Argument::{Optional, Positional, Repeated, Switch, Value};
                match self {
                    $(Self::$key => Declaration {
                        name: $name,
                        flag: $flag,
                        argument: $argument,
                        toml: Toml::$toml,
                        help: concat!($($help),+).trim_ascii(),
                    },)+
                }
            }
        }

        impl RouterOptions {
            /// Parses the text of an option, in command-line syntax. `Addresses` and `Peers` append a value.
            pub fn set(&mut self, key: Key, text: &str) -> value::Parsed<()> {
                match key {
                    $(Key::$key => Slot::put(&mut self.$field, $read(text)?),)+
                }
                Ok(())
            }

            /// These options, with missing ones taken from `defaults`.
            #[must_use]
            pub fn or(mut self, defaults: &Self) -> Self {
                $(if Slot::is_empty(&self.$field) {
                    self.$field.clone_from(&defaults.$field);
                })+
                self
            }

            pub(super) fn complete(self) -> Complete {
                Complete { $($field: complete_value!(self.$field $(, $default)?),)+ }
            }
        }
    };
}
