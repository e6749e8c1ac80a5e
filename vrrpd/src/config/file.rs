//! The configuration file: `[[router]]` tables whose keys are the options of a router, `[defaults]` for all of
//! them, and `[[group]]` for those that are Master together. Every mistake is told, with its line and column.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::document::{self, Document, Placed, Setting, Table};
use super::mistakes::{Complaint, Mistakes};
use super::together::{Conflict, Together};
use super::{Configuration, Key, RouterConfig, RouterOptions, group};
use crate::nearest::nearest;
use crate::script;
use crate::trust;

/// Why a file is no configuration.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read, or others than root and we could have written it.
    #[error(transparent)]
    Untrusted(#[from] trust::Distrust),
    /// Reading it failed.
    #[error("{}: cannot be read", .0.display())]
    Unread(PathBuf),
    /// Something in it is wrong.
    #[error(transparent)]
    Wrong(#[from] Mistakes),
}

impl FileError {
    /// A line for each mistake, for logs.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Wrong(mistakes) => mistakes.lines(),
            Self::Untrusted(_) | Self::Unread(_) => vec![self.to_string()],
        }
    }

    /// Each mistake for people, with its line of the file.
    pub fn shown(&self, colour: bool) -> Vec<String> {
        match self {
            Self::Wrong(mistakes) => mistakes.shown(colour),
            Self::Untrusted(_) | Self::Unread(_) => self.lines(),
        }
    }
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
            let complaint = Complaint::new(right.len()..right.len(), message);
            (str::from_utf8(right).unwrap_or_default(), Err(vec![complaint]))
        }
    };
    parsed.map_err(|complaints| Mistakes::new(path, text, complaints).into())
}

/// `directory` is where scripts are that have no slash in front.
fn parse(text: &str, directory: &Path) -> Result<Configuration, Vec<Complaint>> {
    let mut complaints = Vec::new();
    let document = document::read(text, &mut complaints);
    let mut reader = Reader { directory, complaints, together: Together::default(), wrong: Vec::new() };
    let routers = reader.routers(&document);
    let Reader { mut complaints, wrong, .. } = reader;
    if document.routers.is_empty() && complaints.is_empty() {
        let message = "no [[router]] in this file; at least one is needed".to_owned();
        complaints.push(Complaint::new(0..0, message));
    }
    let mut routers = routers;
    let groups = group::form(&document.groups, &mut routers, &wrong, &mut complaints);
    if complaints.is_empty() { Ok(Configuration { routers, groups }) } else { Err(complaints) }
}

/// What a table says, and where.
#[derive(Default)]
struct Said {
    options: RouterOptions,
    places: BTreeMap<Key, Range<usize>>,
    /// Keys that something is wrong with already.
    wrong: BTreeSet<Key>,
    /// Whether it has a key that is none: what seems to be missing may be that one.
    has_unknown: bool,
}

struct Reader<'a> {
    directory: &'a Path,
    complaints: Vec<Complaint>,
    together: Together,
    /// Names of routers with mistakes, as far as they are known.
    wrong: Vec<String>,
}

impl Reader<'_> {
    /// The routers that are right; of the others it is complained.
    fn routers(&mut self, document: &Document) -> Vec<RouterConfig> {
        let defaults = document.defaults.as_ref().map(|table| self.options(table)).unwrap_or_default();
        let mut routers = Vec::with_capacity(document.routers.len());
        for table in &document.routers {
            let before = self.complaints.len();
            let own = self.options(table);
            let name = own.options.clone().or(&defaults.options).name();
            match self.router(&own, &defaults, table, document.is_whole) {
                Some(config) if self.complaints.len() == before => routers.push(config),
                Some(_) | None => self.wrong.extend(name),
            }
        }
        routers
    }

    /// The router of a table, as far as it is right by itself. What does not go with others before it, and scripts that cannot
    /// be run, are complained of.
    fn router(&mut self, own: &Said, defaults: &Said, table: &Table, is_whole: bool) -> Option<RouterConfig> {
        let header = || table.span.clone();
        let place = |key: Key| own.places.get(&key).or_else(|| defaults.places.get(&key)).cloned();
        let said = own.options.clone().or(&defaults.options);
        let name = said.name();
        for (key, script) in [(Key::Up, &said.up), (Key::Down, &said.down)] {
            if let Some(path) = script
                && let Err(error) = script::check(&self.directory.join(path))
            {
                let span = place(key).unwrap_or_else(header);
                self.complaints.push(Complaint::new(span, format!("{}: {error}", key.name())));
            }
        }
        let mut config = match said.resolve() {
            Ok(config) => config,
            Err(errors) => {
                let router = name.map_or_else(String::new, |name| format!(" (router {name})"));
                for error in errors {
                    let is_there = place(error.key).is_some();
                    let is_told = own.wrong.contains(&error.key) || defaults.wrong.contains(&error.key);
                    if is_told || !is_there && (own.has_unknown || !is_whole) {
                        continue;
                    }
                    let span = place(error.key).unwrap_or_else(header);
                    let message = format!("{}: {}{router}", error.key.name(), error.message);
                    self.complaints.push(Complaint::new(span, message));
                }
                return None;
            }
        };
        if let Err(Conflict { key, message }) = self.together.add(&config) {
            let span = key.and_then(|key| own.places.get(&key)).cloned().unwrap_or_else(header);
            let key = key.map_or_else(String::new, |key| format!("{}: ", key.name()));
            self.complaints.push(Complaint::new(span, format!("{key}{message}")));
        }
        config.resolve_scripts(self.directory);
        Some(config)
    }

    /// What a table says.
    fn options(&mut self, table: &Table) -> Said {
        let mut said = Said::default();
        for (name, setting) in &table.entries {
            let Some(key) = Key::named(&name.value) else {
                let names = Key::ALL.map(Key::name);
                let message = format!("unknown key {:?}; a router has {}", name.value, names.join(", "));
                let near = nearest(&name.value, names);
                self.complaints.push(Complaint::new(name.span.clone(), message).meant(near));
                said.has_unknown = true;
                continue;
            };
            if said.places.insert(key, setting.span.clone()).is_some() {
                let message = format!("{} is there twice, once with an underscore", key.name());
                self.complaints.push(Complaint::new(name.span.clone(), message));
                continue;
            }
            let before = self.complaints.len();
            self.set(&mut said.options, key, setting);
            if self.complaints.len() > before {
                said.wrong.insert(key);
            }
        }
        said
    }

    /// Sets an option to what the file says.
    fn set(&mut self, options: &mut RouterOptions, key: Key, setting: &Placed<Setting>) {
        let mut complain = |span: &Range<usize>, message: String| {
            self.complaints.push(Complaint::new(span.clone(), format!("{}: {message}", key.name())));
        };
        match (&setting.value, key) {
            (Setting::One(text), _) => {
                if let Err(message) = options.set(key, text) {
                    complain(&setting.span, message);
                }
            }
            (Setting::Many(settings), Key::Addresses) => {
                for one in settings {
                    let Setting::One(text) = &one.value else {
                        complain(&one.span, "a list of texts is wanted, not of lists".to_owned());
                        continue;
                    };
                    if let Err(message) = options.set(key, text) {
                        complain(&one.span, message);
                    }
                }
            }
            (Setting::Many(_), _) => complain(&setting.span, "one value is wanted, not a list".to_owned()),
            (Setting::Other(kind), _) => {
                complain(&setting.span, format!("a text, a number, true or false is wanted, not {kind}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mistakes::place;
    use super::*;
    use std::fs;
    use vrrpd_common::{Priority, Version};

    fn parse(text: &str) -> Result<Configuration, Vec<Complaint>> {
        super::parse(text, Path::new("/etc/vrrpd"))
    }

    fn complaints(text: &str) -> Vec<(usize, usize, String)> {
        let placed = |complaint: Complaint| {
            let (line, column) = place(text, complaint.span.start);
            (line, column, complaint.message)
        };
        parse(text).expect_err("is wrong").into_iter().map(placed).collect()
    }

    /// The first one.
    fn complaint(text: &str) -> (usize, usize, String) {
        complaints(text).into_iter().next().expect("there is one")
    }

    #[test]
    fn every_mistake_of_a_file_is_told_at_once() {
        let text = "[defaults]\ninterval = \"x\"\n\n[[router]]\ninterfase = \"eth0\"\nvrid = 256\n\
            addresses = [\"10.0.0\", \"10.0.0.2/33\"]\n\n[[router]]\ninterface = \"eth0\"\nvrid = 5\n\
            priority = 0\nup = \"/nonexistent\"\n\n[[router]]\ninterface = \"eth1\"\nvrid = 7\n\
            addresses = [\"10.0.0.7\"]\nup = \"/nonexistent\"\nscript-timeout = 5\n\n[[group]]\nname = \"edge\"\n\
            members = [\"eth1/7\", \"eth0/5\", \"eth2/7\"]\nsize = 3\n\n[[gruop]]\n";
        let places = complaints(text);
        let found: Vec<_> = places.iter().map(|(line, column, _)| (*line, *column)).collect();
        let wanted = [
            (27, 3),
            (2, 12),
            (5, 1),
            (6, 8),
            (7, 14),
            (7, 24),
            (12, 12),
            (13, 6),
            (9, 1),
            (19, 6),
            (25, 1),
            (24, 32),
        ];
        assert_eq!(found, wanted, "{places:#?}");
    }

    #[test]
    fn what_is_no_toml_does_not_hide_what_else_is_wrong() {
        let text = format!("{}priority 150\n{}", router("eth0", 5, ""), router("eth0", 6, "intervall = 1\n"));
        let found = complaints(&text);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert_eq!((found[0].0, found[1].0, found[1].1), (6, 12, 1), "{found:#?}");
        // What is not closed takes the lines below along, and is told once.
        for open in
            ["addresses = [\"10.0.0.1\"", "addresses = [\n  \"10.0.0.1\",\n  10.0.0.2,\n]", "up = \"a"]
        {
            let text = format!(
                "[[router]]\n{open}\npriority = 150\nvmac = \"none\"\n{}",
                router("eth0", 6, "x = 1\n")
            );
            let found = complaints(&text);
            assert!(found.len() <= 2 && found[0].0 <= 4, "{found:#?}");
            assert!(found.iter().all(|(_, _, message)| !message.contains("is missing")), "{found:#?}");
        }
        let found = complaints(&format!("[[router]\nvrid = 5\n\n{}", router("eth0", 6, "x = 1\n")));
        assert_eq!((found.len(), found[0].0, found[1].0), (2, 1, 9), "{found:#?}");
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
