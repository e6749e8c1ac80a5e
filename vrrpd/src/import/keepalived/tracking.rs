//! Translates `vrrp_script`, `vrrp_track_process` and `track_file`, and their users, to checks with the same behaviour.
//!
//! A script that only tests whether a process runs becomes a check of that process. keepalived's `fall` failures, an
//! interval apart, become a delay.

use std::collections::BTreeMap;

use super::super::{Check, Imported, RemarkKind, Setting};
use super::command::{user_of, words};
use super::tree::Node;
use crate::config::value;

/// Maximum weight here; keepalived's priorities have the same range.
const MAX_WEIGHT: i32 = 254;
/// Blocks with the checks of an instance or group.
pub(super) const BLOCKS: [&str; 4] = ["track_script", "track_process", "track_file", "track_interface"];

/// Kinds of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Script,
    Process,
    File,
}

/// All definitions, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Definitions(BTreeMap<(Kind, String), Definition>);

/// The definition of a check in keepalived.
#[derive(Clone, Debug)]
struct Definition {
    /// Its name in vrrpd.
    name: String,
    /// The keys of its `[[track]]` table, without name, weight and `inverted`.
    settings: Vec<(&'static str, Setting)>,
    weight: Weight,
}

/// A weight; reversed, it has the opposite sign, and 0 requires a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Weight {
    number: i32,
    is_reversed: bool,
}

impl Kind {
    /// The kind that a top-level block defines.
    fn of(keyword: &str) -> Option<Self> {
        match keyword {
            "vrrp_script" => Some(Self::Script),
            "vrrp_track_process" | "track_process" => Some(Self::Process),
            "vrrp_track_file" | "track_file" => Some(Self::File),
            _ => None,
        }
    }
}

/// Whether a top-level block defines a check.
pub(super) fn is_definition(keyword: &str) -> bool {
    Kind::of(keyword).is_some()
}

impl Definitions {
    /// Reads the blocks of a file.
    pub(super) fn read(nodes: &[Node], script_user: Option<&str>, imported: &mut Imported) -> Self {
        let mut definitions = Self::default();
        for (node, kind) in nodes.iter().filter_map(|node| Some((node, Kind::of(node.keyword())?))) {
            let Some(name) = node.argument() else {
                imported.remark(&node.place, RemarkKind::LeftOut, node.keyword(), "name missing");
                continue;
            };
            let key = (kind, name.to_owned());
            if definitions.0.contains_key(&key) {
                let message = format!("duplicate name {name}; keepalived uses the first");
                imported.remark(&node.place, RemarkKind::LeftOut, node.keyword(), message);
                continue;
            }
            let name = definitions.free_name(name);
            let read = match kind {
                Kind::Script => script(node, script_user, imported),
                Kind::Process => process(node, imported),
                Kind::File => file(node, imported),
            };
            if let Some((settings, weight)) = read {
                definitions.0.insert(key, Definition { name, settings, weight });
            }
        }
        definitions
    }

    /// A name that no other check has, without characters with a meaning here.
    fn free_name(&self, wanted: &str) -> String {
        let mut name: String = wanted
            .chars()
            .map(|letter| if matches!(letter, '=' | ',') || letter.is_control() { '-' } else { letter })
            .collect();
        while self.0.values().any(|known| known.name == name) {
            name.push('+');
        }
        name
    }

    /// Translates a `track_…` block to the `track` option of a router or group; adds the checks that it needs.
    /// `own_interface` is left out.
    pub(super) fn tracked(&self, block: &Node, own_interface: &str, imported: &mut Imported) -> Vec<String> {
        let mut tracked = Vec::new();
        for line in block.children() {
            let name = line.keyword();
            let said = weight(line.words.get(1..).unwrap_or_default(), line, imported);
            if block.keyword() == "track_interface" {
                tracked.extend(interface(line, name, own_interface, said, imported));
                continue;
            }
            let kind = Kind::of(block.keyword()).unwrap_or(Kind::Script);
            let Some(definition) = self.0.get(&(kind, name.to_owned())) else {
                let message = format!("{name} is not defined, or was left out");
                imported.remark(&line.place, RemarkKind::LeftOut, block.keyword(), message);
                continue;
            };
            let used = definition.used_as(kind, said);
            if imported.checks.iter().all(|check| check.name != used.check.name) {
                imported.checks.push(used.check);
            }
            tracked.push(used.word);
        }
        tracked
    }
}

/// A check with the weight of its use.
struct Used {
    check: Check,
    word: String,
}

impl Definition {
    fn used_as(&self, kind: Kind, said: Option<Weight>) -> Used {
        let own = self.weight.here();
        let wanted = said.unwrap_or(self.weight);
        let weight = wanted.here();
        let mut settings = self.settings.clone();
        let mut name = self.name.clone();
        if wanted.is_reversed && kind != Kind::File {
            settings.push(("inverted", Setting::Bare("true".to_owned())));
            name.push_str(" reversed");
        }
        let of_check = if wanted.is_reversed == self.weight.is_reversed { own } else { weight };
        let default = i32::from(kind == Kind::File);
        if of_check != default {
            settings.push(("weight", Setting::Bare(of_check.to_string())));
        }
        let word = if weight == of_check { name.clone() } else { format!("{name},weight={weight}") };
        Used { check: Check { name, settings }, word }
    }
}

impl Weight {
    /// The weight in vrrpd; for an inverted check with the opposite sign.
    fn here(self) -> i32 {
        let number = self.number.clamp(-MAX_WEIGHT, MAX_WEIGHT);
        if self.is_reversed { -number } else { number }
    }
}

/// `weight N [reverse]` among words; an invalid number is read as in keepalived.
fn weight(words: &[String], line: &Node, imported: &mut Imported) -> Option<Weight> {
    let [keyword, number, rest @ ..] = words else { return None };
    if keyword != "weight" {
        imported.remark(&line.place, RemarkKind::LeftOut, keyword, "unknown to keepalived too");
        return None;
    }
    let is_reversed = rest.first().is_some_and(|word| word == "reverse");
    Some(Weight { number: whole(number), is_reversed })
}

/// The leading integer of a text, as keepalived reads it.
fn whole(text: &str) -> i32 {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    let number = digits.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    if text.starts_with('-') { -number } else { number }
}

/// `interface=NAME`, with its weight.
fn interface(
    line: &Node,
    name: &str,
    own: &str,
    said: Option<Weight>,
    imported: &mut Imported,
) -> Option<String> {
    if name == own {
        return None;
    }
    if let Err(error) = value::interface(name) {
        imported.remark(&line.place, RemarkKind::LeftOut, "track_interface", error.to_string());
        return None;
    }
    let weight = said.unwrap_or(Weight { number: 0, is_reversed: false });
    if weight.is_reversed {
        let name = format!("{name} down");
        let settings = vec![
            ("interface", Setting::Text(line.keyword().to_owned())),
            ("inverted", Setting::Bare("true".to_owned())),
        ];
        if imported.checks.iter().all(|check| check.name != name) {
            imported.checks.push(Check { name: name.clone(), settings });
        }
        return Some(format!("{name},weight={}", weight.here()));
    }
    match weight.here() {
        0 => Some(format!("interface={name}")),
        number => Some(format!("interface={name},weight={number}")),
    }
}

type Read = Option<(Vec<(&'static str, Setting)>, Weight)>;

/// `vrrp_script`
fn script(node: &Node, script_user: Option<&str>, imported: &mut Imported) -> Read {
    let (mut interval, mut timeout, mut rise, mut fall) = (1, None, 1, 1);
    let mut command = Vec::new();
    let mut user = script_user.map(str::to_owned);
    let mut said = Weight { number: 0, is_reversed: false };
    let mut is_failing = false;
    for line in node.children() {
        match line.keyword() {
            // Further words are not used.
            "script" => command = words(line.script()),
            "interval" => interval = positive(line, imported),
            "timeout" => timeout = Some(positive(line, imported)),
            "rise" => rise = positive(line, imported),
            "fall" => fall = positive(line, imported),
            "weight" => said = weight(&line.words, line, imported).unwrap_or(said),
            "user" => user = user_of(line.words.get(1..).unwrap_or_default()),
            "init_fail" => is_failing = true,
            keyword => {
                let message = "unknown to keepalived too, which ignores it";
                imported.remark(&line.place, RemarkKind::LeftOut, keyword, message);
            }
        }
    }
    if command.is_empty() {
        imported.remark(&node.place, RemarkKind::LeftOut, "vrrp_script", "script missing");
        return None;
    }
    let mut settings = Vec::new();
    let seconds = |seconds: u32| Setting::Text(format!("{seconds}s"));
    if let Some(process) = asked_for(&command) {
        settings.push(("process", Setting::Text(process.to_owned())));
        for (key, results) in [("down-delay", fall), ("up-delay", rise)] {
            if results > 1 {
                settings.push((key, seconds(interval.saturating_mul(results - 1))));
            }
        }
    } else {
        settings.push(("command", Setting::List(command)));
        settings.push(("interval", seconds(interval)));
        settings.extend(timeout.map(|timeout| ("timeout", seconds(timeout))));
        for (key, results) in [("rise", rise), ("fall", fall)] {
            if results > 1 {
                settings.push((key, Setting::Bare(results.to_string())));
            }
        }
        if let Some(user) = user.filter(|user| user != "root") {
            let (user, group) =
                user.split_once(':').map_or((&*user, None), |(user, group)| (user, Some(group)));
            settings.push(("user", Setting::Text(user.to_owned())));
            settings.extend(group.map(|group| ("group", Setting::Text(group.to_owned()))));
        }
    }
    if is_failing {
        settings.push(("initially", Setting::Text("failing".to_owned())));
    }
    Some((settings, said))
}

/// A number of at least 1; like keepalived, replaces invalid ones by 1.
fn positive(line: &Node, imported: &mut Imported) -> u32 {
    let text = line.argument().unwrap_or_default();
    let number = whole(text);
    if text.parse::<u32>().is_err() || number < 1 {
        let message =
            format!("{text:?} is not a whole number from 1 on; keepalived uses {} too", number.max(1));
        imported.remark(&line.place, RemarkKind::Differs, line.keyword(), message);
    }
    u32::try_from(number.max(1)).unwrap_or(1)
}

/// The process that a command tests for, if that is all it does.
fn asked_for(command: &[String]) -> Option<&str> {
    let (program, arguments) = command.split_first()?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let name = match (program.rsplit('/').next()?, &arguments[..]) {
        ("killall", ["-0", name] | ["-s", "0", name] | ["-q", "-0", name] | ["-0", "-q", name])
        | ("pidof", [name]) => name,
        ("pgrep", ["-x", name]) if name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) => {
            name
        }
        _ => return None,
    };
    let is_name =
        !name.is_empty() && !name.starts_with('-') && !name.contains(|c: char| c == '/' || c.is_control());
    is_name.then_some(*name)
}

/// `vrrp_track_process`. Without a weight, keepalived's instances are in state fault while it fails, although its
/// manual says that the default is 1.
fn process(node: &Node, imported: &mut Imported) -> Read {
    let mut settings = Vec::new();
    let mut said = Weight { number: 0, is_reversed: false };
    let (mut up, mut down) = (None, None);
    let mut name = None;
    for line in node.children() {
        let value = line.argument().unwrap_or_default();
        match line.keyword() {
            "process" if line.words.len() > 2 => {
                let message = "a process is identified by its name, without parameters; track a command, such as pgrep -f";
                imported.remark(&line.place, RemarkKind::LeftOut, "process", message);
                return None;
            }
            "process" => name = Some(value.rsplit('/').next().unwrap_or_default().to_owned()),
            "full_command" | "param_match" => {
                let message = "a process is identified by its name, without parameters";
                imported.remark(&line.place, RemarkKind::LeftOut, line.keyword(), message);
                return None;
            }
            "weight" => said = weight(&line.words, line, imported).unwrap_or(said),
            "quorum" | "quorum_max" => {
                let key = if line.keyword() == "quorum" { "quorum" } else { "quorum-max" };
                settings.push((key, Setting::Bare(whole(value).max(0).to_string())));
            }
            "fork_delay" => up = duration(line, imported),
            "terminate_delay" => down = duration(line, imported),
            "delay" => {
                up = duration(line, imported);
                down.clone_from(&up);
            }
            keyword => {
                let message = "unknown to keepalived too, which ignores it";
                imported.remark(&line.place, RemarkKind::LeftOut, keyword, message);
            }
        }
    }
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        imported.remark(&node.place, RemarkKind::LeftOut, node.keyword(), "process missing");
        return None;
    };
    settings.insert(0, ("process", Setting::Text(name)));
    settings.extend(down.map(|down| ("down-delay", Setting::Text(down))));
    settings.extend(up.map(|up| ("up-delay", Setting::Text(up))));
    Some((settings, said))
}

/// Seconds with a fraction.
fn duration(line: &Node, imported: &mut Imported) -> Option<String> {
    let text = line.argument().unwrap_or_default();
    if value::duration(text).is_ok() {
        return Some(text.to_owned());
    }
    let message = format!("{text:?} is not a number of seconds");
    imported.remark(&line.place, RemarkKind::LeftOut, line.keyword(), message);
    None
}

/// `track_file`
fn file(node: &Node, imported: &mut Imported) -> Read {
    let mut said = Weight { number: 1, is_reversed: false };
    let mut path = None;
    for line in node.children() {
        match line.keyword() {
            "file" => path = line.argument().map(str::to_owned),
            "weight" => said = weight(&line.words, line, imported).unwrap_or(said),
            "init_file" => {
                let message = "the file is not written; one that is not there counts as 0";
                imported.remark(&line.place, RemarkKind::LeftOut, "init_file", message);
            }
            keyword => {
                let message = "unknown to keepalived too, which ignores it";
                imported.remark(&line.place, RemarkKind::LeftOut, keyword, message);
            }
        }
    }
    let Some(path) = path else {
        imported.remark(&node.place, RemarkKind::LeftOut, node.keyword(), "file missing");
        return None;
    };
    Some((vec![("file", Setting::Text(path))], said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_only_ask_for_a_process_are_known() {
        for (command, process) in [
            ("killall -0 haproxy", Some("haproxy")),
            ("/usr/bin/killall -0 haproxy", Some("haproxy")),
            ("pidof nginx", Some("nginx")),
            ("/usr/bin/pgrep -x keepalived_exporter", Some("keepalived_exporter")),
            ("pgrep haproxy", None),
            ("pgrep -x ha.*", None),
            ("pgrep -f haproxy", None),
            ("killall -0 haproxy nginx", None),
            ("killall -0 haproxy > /dev/null", None),
            ("killall haproxy", None),
            ("killall -0 /usr/sbin/haproxy", None),
            ("/etc/check.sh", None),
        ] {
            assert_eq!(asked_for(&words(command)), process, "{command}");
        }
    }

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        for (text, number) in [("5", 5), ("-20", -20), ("+7", 7), ("1.5", 1), ("x", 0), ("", 0)] {
            assert_eq!(whole(text), number, "{text}");
        }
    }
}
