//! The configuration file: `[[router]]` tables whose keys are the options of a router, `[defaults]` for all of
//! them, and `[[group]]` for those that are Master together. Every complaint names line and column.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use thiserror::Error;
use toml::Spanned;

use super::together::{Conflict, Together};
use super::{Configuration, Key, RouterOptions, group};
use crate::script;
use crate::trust;

/// Why a file is no configuration.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read, or others than root and we could have written it.
    #[error(transparent)]
    Untrusted(#[from] trust::Distrust),
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
    Many(Vec<Spanned<Self>>),
}

/// What is wrong, and the octet of the file where.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) at: usize,
    pub(super) message: String,
}

/// Reads a file: at least one router, no router twice, and the groups that they form. Looks at the scripts it names.
pub fn read(path: &Path) -> Result<Configuration, FileError> {
    from_octets(&trust::resolve(path)?.read()?, path)
}

/// The same for the octets of a file. `path` is for errors, and its directory is where scripts are that have no slash in
/// front.
pub fn from_octets(octets: &[u8], path: &Path) -> Result<Configuration, FileError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let (text, parsed) = match str::from_utf8(octets) {
        Ok(text) => (text, parse(text, directory)),
        Err(error) => {
            let right = octets.get(..error.valid_up_to()).unwrap_or_default();
            let message = "what stands here is no UTF-8, which the file has to be".to_owned();
            (str::from_utf8(right).unwrap_or_default(), Err(Complaint { at: right.len(), message }))
        }
    };
    parsed.map_err(|Complaint { at, message }| {
        let (line, column) = place(text, at);
        FileError::Wrong { path: path.to_owned(), line, column, message }
    })
}

/// `directory` is where scripts are that have no slash in front.
fn parse(text: &str, directory: &Path) -> Result<Configuration, Complaint> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Complaint { at, message: better(text.get(at..).unwrap_or_default(), error.message()) }
    })?;
    let (defaults, of_defaults) = options(&file.defaults)?;
    let mut together = Together::default();
    let mut routers = Vec::with_capacity(file.router.len());
    for table in file.router {
        let (own, places) = options(table.get_ref())?;
        let here =
            |key: Option<Key>| key.and_then(|key| places.get(&key)).copied().unwrap_or(table.span().start);
        let place = |key: Key| of_defaults.get(&key).filter(|_| !places.contains_key(&key)).copied();
        let said = own.or(&defaults);
        let name = said.name();
        let mut config = said.resolve().map_err(|error| {
            let router = name.map_or_else(String::new, |name| format!(" (router {name})"));
            Complaint {
                at: place(error.key).unwrap_or_else(|| here(Some(error.key))),
                message: format!("{}: {}{router}", error.key.name(), error.message),
            }
        })?;
        together.add(&config).map_err(|Conflict { key, message }| {
            let key_name = key.map_or_else(String::new, |key| format!("{}: ", key.name()));
            Complaint { at: here(key), message: format!("{key_name}{message}") }
        })?;
        config.resolve_scripts(directory);
        for (key, script) in [(Key::Up, &config.up), (Key::Down, &config.down)] {
            if let Some(path) = script {
                script::check(path).map_err(|error| Complaint {
                    at: place(key).unwrap_or_else(|| here(Some(key))),
                    message: format!("{}: {error}", key.name()),
                })?;
            }
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

/// What is wrong with this text, in better words where it is a mistake that is made often.
fn better(text: &str, message: &str) -> String {
    if text.starts_with("[[defaults]]") {
        return "write [defaults] with one bracket, since they are there once".to_owned();
    }
    let single = ["router", "group"].into_iter().find(|name| text.starts_with(&format!("[{name}]")));
    single.map_or_else(
        || message.to_owned(),
        |name| format!("write [[{name}]] with two brackets, since there can be several"),
    )
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
        if places.insert(key, setting.span().start).is_some() {
            let other = table.keys().filter(|name| Key::named(name.get_ref()) == Some(key));
            return Err(Complaint {
                at: other.map(|name| name.span().start).max().unwrap_or_default(),
                message: format!("{} is there twice, once with an underscore", key.name()),
            });
        }
        let mut set = |text: &str, at: usize| {
            options
                .set(key, text)
                .map_err(|message| Complaint { at, message: format!("{}: {message}", key.name()) })
        };
        match (setting.get_ref(), key) {
            (Setting::One(text), _) => set(text, setting.span().start)?,
            (Setting::Many(settings), Key::Addresses) => {
                for one in settings {
                    let Setting::One(text) = one.get_ref() else {
                        let message = "addresses: a list of texts is wanted, not of lists".to_owned();
                        return Err(Complaint { at: one.span().start, message });
                    };
                    set(text, one.span().start)?;
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
                let mut settings = Vec::new();
                while let Some(setting) = seq.next_element()? {
                    settings.push(setting);
                }
                Ok(Setting::Many(settings))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use vrrpd_common::{Priority, Version};

    fn parse(text: &str) -> Result<Configuration, Complaint> {
        super::parse(text, Path::new("/etc/vrrpd"))
    }

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
        let (line, _, message) = complaint("\n[[defaults]]\npriority = 90\n");
        assert_eq!(line, 2);
        assert!(message.contains("[defaults] with one bracket"), "{message}");
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

    fn router(interface: &str, vrid: u8, more: &str) -> String {
        format!(
            "[[router]]\ninterface = \"{interface}\"\nvrid = {vrid}\naddresses = [\"10.0.0.{vrid}\"]\nvmac = \"none\"\n{more}"
        )
    }

    #[test]
    fn a_script_that_cannot_be_run_is_named_with_its_place() {
        let (line, column, message) = complaint(&router("eth0", 5, "up = \"/nonexistent\"\n"));
        assert_eq!((line, column), (6, 6), "{message}");
        assert!(message.starts_with("up: /nonexistent: "), "{message}");
        let of_defaults = format!("[defaults]\ndown = \"/nonexistent\"\n{}", router("eth0", 5, ""));
        let (line, column, message) = complaint(&of_defaults);
        assert_eq!((line, column), (2, 8), "{message}");
    }

    #[test]
    fn routers_of_an_interface_that_want_different_data_paths_are_refused() {
        let text = format!("{}{}", router("eth0", 5, ""), router("eth0", 6, "xdp = \"auto\"\n"));
        let (line, column, message) = complaint(&text);
        assert_eq!((line, column), (11, 7), "{message}");
        assert!(message.starts_with("xdp: ") && message.contains("eth0/5"), "{message}");
        assert!(
            parse(&format!("{}{}", router("eth0", 5, ""), router("eth1", 6, "xdp = \"auto\"\n"))).is_ok()
        );
        let text = format!("{}{}", router("eth0", 5, "xdp-pass = true\n"), router("eth0", 6, ""));
        let (line, _, message) = complaint(&text);
        assert_eq!(line, 7, "{message}");
    }

    #[test]
    fn a_default_that_does_not_go_with_a_router_is_named_with_its_place_and_the_router() {
        let text = format!("[defaults]\ninterval = \"10ms\"\n{}", router("eth0", 5, "protocol = \"v2\"\n"));
        let (line, column, message) = complaint(&text);
        assert_eq!((line, column), (2, 12), "{message}");
        assert!(message.contains("eth0/5"), "{message}");
    }

    #[test]
    fn a_key_that_is_there_twice_in_two_spellings_is_refused() {
        let (line, column, message) =
            complaint(&router("eth0", 5, "lower_priority = 9\nlower-priority = 8\n"));
        assert_eq!((line, column), (7, 1), "{message}");
        assert!(message.contains("lower-priority") && message.contains("twice"), "{message}");
    }

    #[test]
    fn one_bracket_where_two_belong_is_told_so() {
        for (text, right) in
            [("[router]\nvrid = 5\n", "[[router]]"), ("\n[group]\nname = \"x\"\n", "[[group]]")]
        {
            let (_, _, message) = complaint(text);
            assert!(message.contains(right), "{message}");
        }
    }

    #[test]
    fn a_list_where_one_value_belongs_is_told_so_whatever_is_in_it() {
        for value in ["[1, 2]", "[\"1\"]", "[[1]]"] {
            let (line, _, message) = complaint(&router("eth0", 5, &format!("priority = {value}\n")));
            assert_eq!(line, 6);
            assert!(message.starts_with("priority: one value"), "{message}");
        }
        let (_, _, message) = complaint("[[router]]\naddresses = [1]\n");
        assert!(message.starts_with("addresses: "), "{message}");
    }

    #[test]
    fn a_file_s_complaint_about_magic_packets_has_no_letters_of_the_command_line() {
        for one in ["magic-source = \"10.0.0.5\"", "magic-destination = \"10.0.0.9\""] {
            let (_, _, message) = complaint(&router("eth0", 5, one));
            assert!(message.starts_with("magic-") && !message.contains(" -"), "{message}");
        }
    }

    #[test]
    fn an_address_is_of_one_router_of_an_interface() {
        let same = |interface: &str| {
            let other = router(interface, 6, "").replace("10.0.0.6", "10.0.0.5/24");
            format!("{}{other}", router("eth0", 5, ""))
        };
        let (line, column, message) = complaint(&same("eth0"));
        assert_eq!((line, column), (9, 13), "{message}");
        assert!(message.starts_with("addresses: 10.0.0.5") && message.contains("eth0/5"), "{message}");
        assert!(parse(&same("eth1")).is_ok());
    }

    #[test]
    fn octets_that_are_no_text_are_named_with_their_place() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("vrrpd.toml");
        fs::write(&path, b"[defaults]\n# \xc3\xa4\xff\n").expect("writes");
        let message = read(&path).expect_err("is wrong").to_string();
        assert!(message.contains("vrrpd.toml:2:4: ") && message.contains("UTF-8"), "{message}");
    }
}
