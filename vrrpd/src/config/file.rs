//! The configuration file: `[[router]]` tables whose keys are the options of a router, `[defaults]` for all of
//! them, and `[[group]]` for those that are Master together. Every complaint names line and column.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use thiserror::Error;
use toml::Spanned;

use super::{Configuration, Key, RouterOptions, Vmac, group};

/// Why a file is no configuration.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Something in it is wrong.
    #[error("{path}:{line}:{column}: {message}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong and what would be right.
        message: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Table,
    #[serde(default)]
    router: Vec<Spanned<Table>>,
    #[serde(default)]
    group: Vec<group::Table>,
}

type Table = BTreeMap<Spanned<String>, Spanned<Setting>>;

/// What a key can be set to. Every scalar is read as the command line would read its text.
#[derive(Debug)]
enum Setting {
    One(String),
    Many(Vec<Spanned<String>>),
}

/// What is wrong, and the octet of the file where.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) at: usize,
    pub(super) message: String,
}

/// Reads a file: at least one router, no router twice, and the groups that they form.
pub fn read(path: &Path) -> Result<Configuration, FileError> {
    let text =
        fs::read_to_string(path).map_err(|error| FileError::Unreadable { path: path.to_owned(), error })?;
    parse(&text).map_err(|Complaint { at, message }| {
        let (line, column) = place(&text, at);
        FileError::Wrong { path: path.to_owned(), line, column, message }
    })
}

fn parse(text: &str) -> Result<Configuration, Complaint> {
    let file: File = toml::from_str(text).map_err(|error| Complaint {
        at: error.span().map_or(0, |span| span.start),
        message: error.message().to_owned(),
    })?;
    let (defaults, _) = options(&file.defaults)?;
    let mut names = BTreeSet::new();
    let mut with_vmac = BTreeSet::new();
    let mut routers = Vec::with_capacity(file.router.len());
    for table in file.router {
        let (own, places) = options(table.get_ref())?;
        let config = own.or(&defaults).resolve().map_err(|error| Complaint {
            at: places.get(&error.key).copied().unwrap_or(table.span().start),
            message: format!("{}: {}", error.key.name(), error.message),
        })?;
        if !names.insert(config.name().to_string()) {
            let message = format!("{} is there twice; a VRID is unique on an interface", config.name());
            return Err(Complaint { at: table.span().start, message });
        }
        if config.vmac == Vmac::Interface && !with_vmac.insert(config.interface.clone()) {
            let message = format!(
                "vmac: {} takes the virtual MAC address of one virtual router only; use macvlan or none for the others",
                config.interface
            );
            return Err(Complaint {
                at: places.get(&Key::Vmac).copied().unwrap_or(table.span().start),
                message,
            });
        }
        routers.push(config);
    }
    if routers.is_empty() {
        return Err(Complaint {
            at: 0,
            message: "no [[router]] in this file; at least one is needed".to_owned(),
        });
    }
    let groups = group::form(&file.group, &mut routers)?;
    Ok(Configuration { routers, groups })
}

/// The options of a table and where each stands.
fn options(table: &Table) -> Result<(RouterOptions, BTreeMap<Key, usize>), Complaint> {
    let mut options = RouterOptions::default();
    let mut places = BTreeMap::new();
    for (name, setting) in table {
        let key = Key::named(name.get_ref()).ok_or_else(|| Complaint {
            at: name.span().start,
            message: format!("unknown key {:?}; a router has {}", name.get_ref(), key_names()),
        })?;
        places.insert(key, setting.span().start);
        let mut set = |text: &str, at: usize| {
            options
                .set(key, text)
                .map_err(|message| Complaint { at, message: format!("{}: {message}", key.name()) })
        };
        match (setting.get_ref(), key) {
            (Setting::One(text), _) => set(text, setting.span().start)?,
            (Setting::Many(texts), Key::Addresses) => {
                for text in texts {
                    set(text.get_ref(), text.span().start)?;
                }
            }
            (Setting::Many(_), _) => {
                let message = format!("{}: one value is wanted, not a list", key.name());
                return Err(Complaint { at: setting.span().start, message });
            }
        }
    }
    Ok((options, places))
}

/// Every key of a router, for a complaint.
fn key_names() -> String {
    let mut names = String::new();
    for key in Key::ALL {
        if !names.is_empty() {
            names.push_str(", ");
        }
        names.push_str(key.name());
    }
    names
}

/// Line and column of an octet, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rfind('\n').map_or(before, |newline| &before[newline + 1..]);
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Setting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true, false or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Setting, E> {
                Ok(Setting::One(text.to_owned()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Setting, E> {
                Ok(Setting::One(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Setting, E> {
                Ok(Setting::One(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Setting, E> {
                Ok(Setting::One(value.to_string()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Setting, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(Setting::Many(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vrrpd_common::{Priority, Version};

    fn complaint(text: &str) -> (usize, usize, String) {
        let complaint = parse(text).expect_err("is wrong");
        let (line, column) = place(text, complaint.at);
        (line, column, complaint.message)
    }

    #[test]
    fn routers_take_what_they_do_not_say_from_the_defaults() {
        let Configuration { routers, .. } = parse(
            "[defaults]\ninterval = \"10ms\"\nprotocol = \"v3\"\npriority = 150\n\
             [[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.1/24\", \"10.0.0.2\"]\n\
             [[router]]\ninterface = \"eth1\"\nvrid = 52\naddresses = [\"fe80::1\"]\npriority = 90\n",
        )
        .expect("is right");
        assert_eq!(routers.len(), 2);
        assert_eq!(routers[0].version, Version::V3);
        assert_eq!(routers[0].interval.as_centis(), 1);
        assert_eq!(routers[0].addresses.len(), 2);
        assert_eq!((routers[0].priority, routers[1].priority), (Priority(150), Priority(90)));
    }

    #[test]
    fn numbers_are_read_as_on_the_command_line() {
        let Configuration { routers, .. } = parse(
            "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.1\"]\ninterval = 0.25\n\
             protocol = \"v3\"\npreempt = false\n",
        )
        .expect("is right");
        assert_eq!(routers[0].interval.as_centis(), 25);
        assert!(!routers[0].preempt);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place() {
        let (line, column, message) = complaint("[[router]]\ninterface = \"eth0\"\n  intervall = 1\n");
        assert_eq!((line, column), (3, 3));
        assert!(message.contains("intervall") && message.contains("interval,"), "{message}");
        let (line, _, message) = complaint("[router]\n");
        assert_eq!(line, 1, "{message}");
        let (line, _, message) = complaint("\n[[routers]]\n");
        assert_eq!(line, 2, "{message}");
    }

    #[test]
    fn a_bad_value_is_named_with_its_place() {
        let (line, column, message) =
            complaint("[[router]]\ninterface = \"eth0\"\nvrid = 256\naddresses = [\"10.0.0.1\"]\n");
        assert_eq!((line, column), (3, 8));
        assert!(message.starts_with("vrid:") && message.contains("1 to 255"), "{message}");
        let (line, column, _) = complaint(
            "[[router]]\ninterface = \"eth0\"\nvrid = 5\naddresses = [\"10.0.0.1\",\n  \"10.0.0\"]\n",
        );
        assert_eq!((line, column), (5, 3));
    }

    #[test]
    fn a_value_that_does_not_go_with_another_is_named_with_its_place() {
        let (line, _, message) = complaint(
            "[[router]]\ninterface = \"eth0\"\nvrid = 5\naddresses = [\"10.0.0.1\"]\ninterval = \"500ms\"\n",
        );
        assert_eq!(line, 5);
        assert!(message.contains("whole seconds"), "{message}");
    }

    #[test]
    fn a_router_cannot_be_there_twice() {
        let router = "[[router]]\ninterface = \"eth0\"\nvrid = 5\naddresses = [\"10.0.0.1\"]\n";
        let (line, _, message) = complaint(&format!("{router}{router}"));
        assert_eq!(line, 5, "{message}");
        assert!(message.contains("eth0/5"), "{message}");
    }

    const TWO: &str = "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.1\"]\n\
        [[router]]\ninterface = \"eth1\"\nvrid = 52\naddresses = [\"fe80::1\"]\n";

    #[test]
    fn members_of_a_group_are_named_as_everywhere() {
        let text = format!("{TWO}[[group]]\nname = \"edge\"\nmembers = [\"eth1/52-ipv6\", \"eth0/51\"]\n");
        let Configuration { routers, groups } = parse(&text).expect("is right");
        assert!(routers.iter().all(|router| router.grouped));
        assert_eq!((groups.len(), groups[0].name.as_deref(), groups[0].size), (1, Some("edge"), 2));
        assert_eq!(groups[0].members, ["eth1/52-ipv6", "eth0/51"]);
        let Configuration { routers, groups } = parse(TWO).expect("is right");
        assert!(groups.is_empty() && routers.iter().all(|router| !router.grouped));
    }

    #[test]
    fn a_group_that_cannot_be_is_complained_of_with_its_place() {
        let with = |group: &str| complaint(&format!("{TWO}[[group]]\nname = \"edge\"\n{group}\n"));
        let (line, column, message) = with("members = [\"eth0/51\",\n  \"eth1/52\"]");
        assert_eq!((line, column), (12, 3), "{message}");
        assert!(message.contains("no router \"eth1/52\""), "{message}");
        let (line, column, message) = with("members = [\"eth0/51\"]");
        assert_eq!((line, column), (11, 11), "{message}");
        assert!(message.contains("2 to 64"), "{message}");
        let (line, _, message) = with("members = [\"eth0/51\", \"eth0/51\"]");
        assert_eq!(line, 11, "{message}");
        let both = "members = [\"eth0/51\", \"eth1/52-ipv6\"]";
        let (line, _, message) = with(&format!("{both}\n[[group]]\nname = \"core\"\n{both}"));
        assert_eq!(line, 14, "{message}");
        assert!(message.contains("member already"), "{message}");
        let (line, _, message) = with(&format!("{both}\n[[group]]\nname = \"edge\"\nmembers = []"));
        assert_eq!(line, 13, "{message}");
        let (line, _, message) = with("member = []");
        assert_eq!(line, 11, "{message}");
        assert_eq!(with("").0, 9, "members are missing");
    }

    #[test]
    fn a_file_without_routers_and_a_file_that_is_no_toml_are_refused() {
        assert_eq!(complaint("").0, 1);
        assert_eq!(complaint("[defaults]\nvrid = = 1\n").0, 2);
    }
}
