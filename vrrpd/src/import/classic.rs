//! Imports `vrrpd` command lines of Vrrpd from scripts and lists: each becomes a router.
//!
//! Lines are split as in a shell, with quotes, comments and continuation lines. Variables and substitutions are not
//! evaluated: a command line with them is refused, with its line number.

use std::path::Path;
use std::rc::Rc;

use super::{Group, ImportError, Imported, RemarkKind, Router, SourceLine};
use crate::config::{Argument, Key, RouterOptions, value};

/// The version of Vrrpd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// 1.10 to 1.14
    Before115,
    /// 1.15: `-n` turns the virtual MAC address on, and the interval is 2 s without `-d`.
    V115,
}

/// Whether a text contains a command line of Vrrpd.
pub(super) fn has_command_line(text: &str) -> bool {
    commands(text)
        .iter()
        .any(|command| command.words.iter().any(|word| word == "-v" || word.starts_with("-v")))
}

/// Imports the command lines in a text.
pub(super) fn import(path: &Path, text: &str, release: Release) -> Result<Imported, ImportError> {
    let file: Rc<Path> = path.into();
    let mut imported = Imported::default();
    let mut monitored = Vec::new();
    for command in commands(text) {
        let place = SourceLine { file: Rc::clone(&file), line: command.line };
        let wrong = |message: String| ImportError::Wrong { place: place.clone(), message };
        if let Some(word) = command.words.iter().find(|word| word.contains(['$', '`', '*'])) {
            return Err(wrong(format!("{word} is a shell substitution: write its value instead")));
        }
        let (router, is_monitored) = router(&command, release, &place, &mut imported)?;
        for (key, flag) in [
            (Key::Interface, Key::Interface.flag()),
            (Key::Vrid, Key::Vrid.flag()),
            (Key::Addresses, "virtual address"),
        ] {
            if router.get(key).is_none() {
                return Err(wrong(format!("the command line has no {flag}")));
            }
        }
        if is_monitored {
            monitored.push(imported.routers.len());
        }
        imported.routers.push(router);
    }
    if monitored.len() > 1 {
        imported.groups.push(Group {
            name: "monitored".to_owned(),
            members: monitored,
            settings: Router::default(),
            has_weights: false,
        });
    }
    Ok(imported)
}

/// The router of a command line, and whether it has `-M`.
fn router(
    command: &CommandLine,
    release: Release,
    place: &SourceLine,
    imported: &mut Imported,
) -> Result<(Router, bool), ImportError> {
    let wrong = |message: String| ImportError::Wrong { place: place.clone(), message };
    let mut router = Router::default();
    let mut is_monitored = false;
    let mut has_n = false;
    let mut words = command.words.iter();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            value::address(word).map_err(|error| wrong(error.to_string()))?;
            router.set(Key::Addresses, word.clone());
            continue;
        };
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            // vrrpd has the same letters as Vrrpd.
            let option = Key::with_letter(letter).map(|key| (key, key.declaration().argument));
            if let Some((key, Argument::Value(_))) = option {
                let attached = letters.as_str();
                let value =
                    if attached.is_empty() { words.next().map(String::as_str) } else { Some(attached) };
                let value = value.ok_or_else(|| wrong(format!("-{letter} has no value")))?;
                let mut options = RouterOptions::default();
                options.set(key, value).map_err(|error| wrong(format!("-{letter}: {error}")))?;
                router.set(key, value);
                break;
            }
            if let Some((key, Argument::Switch(value))) = option {
                router.set(key, value);
                continue;
            }
            match letter {
                'n' => has_n = true,
                'M' | 'f' => {
                    let attached = letters.as_str();
                    if attached.is_empty() && words.next().is_none() {
                        return Err(wrong(format!("-{letter} has no value")));
                    }
                    if letter == 'M' {
                        is_monitored = true;
                    } else {
                        imported.remark(
                            place,
                            RemarkKind::Differs,
                            "-f",
                            "the directory is an option of the process: vrrpd --config FILE -f DIR",
                        );
                    }
                    break;
                }
                _ => {
                    imported.remark(
                        place,
                        RemarkKind::LeftOut,
                        &format!("-{letter}"),
                        "not a router option of Vrrpd",
                    );
                }
            }
        }
    }
    let has_vmac = has_n == (release == Release::V115);
    router.set(Key::Vmac, if has_vmac { "interface" } else { "none" });
    if release == Release::V115 && router.get(Key::Interval).is_none() {
        router.set(Key::Interval, "2");
    }
    Ok((router, is_monitored))
}

/// A `vrrpd` command with its arguments.
#[derive(Debug)]
struct CommandLine {
    /// Line number, from 1.
    line: usize,
    words: Vec<String>,
}

/// The `vrrpd` commands of a shell script, also several in a line.
fn commands(text: &str) -> Vec<CommandLine> {
    let mut commands = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut line = line.to_owned();
        while let Some(head) = line.strip_suffix('\\') {
            let Some((_, more)) = lines.next() else { break };
            line = format!("{head} {more}");
        }
        let Some(words) = shlex::split(&line) else { continue };
        let mut words = words.into_iter().peekable();
        while words.by_ref().any(|word| is_vrrpd(&word)) {
            let mut arguments = Vec::new();
            for word in words.by_ref() {
                let ends = matches!(word.as_str(), "&" | "&&" | "||" | ";" | "|")
                    || word.starts_with(['>', '<'])
                    || word.starts_with("2>");
                if ends {
                    break;
                }
                let trimmed = word.trim_end_matches([';', '&']);
                if !trimmed.is_empty() {
                    arguments.push(trimmed.to_owned());
                }
                if trimmed.len() < word.len() {
                    break;
                }
            }
            if !arguments.is_empty() {
                commands.push(CommandLine { line: index + 1, words: arguments });
            }
        }
    }
    commands
}

/// Whether a word is the program: `vrrpd`, or a path to it.
fn is_vrrpd(word: &str) -> bool {
    word.rsplit('/').next() == Some("vrrpd")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::render;

    fn rendered(text: &str, release: Release) -> String {
        render(&import(Path::new("start.sh"), text, release).expect("is a script"))
    }

    #[test]
    fn command_lines_of_a_script_become_routers_and_a_group() {
        let script = "#!/bin/sh\n# vrrpd -v 9 is a comment\nPATH=/sbin:$PATH\n\
            /usr/sbin/vrrpd -i eth0 10.16.1.200 -v 51 -M 2 -U /etc/scripts/MASTER.sh \\\n  -D /etc/scripts/DOWN.sh &\n\
            vrrpd -ieth1 -v52 -sn -M2 '10.17.1.200/24'; echo started\n";
        assert_eq!(
            rendered(script, Release::Before115),
            "[[router]]\ninterface = \"eth0\"\nvrid = 51\nup = \"/etc/scripts/MASTER.sh\"\n\
             down = \"/etc/scripts/DOWN.sh\"\nvmac = \"interface\"\naddresses = [\"10.16.1.200\"]\n\n\
             [[router]]\ninterface = \"eth1\"\nvrid = 52\npreempt = false\nvmac = \"none\"\n\
             addresses = [\"10.17.1.200/24\"]\n\n\
             [[group]]\nname = \"monitored\"\nmembers = [\"eth0/51\", \"eth1/52\"]\n"
        );
    }

    #[test]
    fn release_1_15_advertises_every_two_seconds_and_has_the_virtual_mac_with_n() {
        let text =
            rendered("vrrpd -i eth0 -v 51 10.0.0.1\nvrrpd -n -i eth1 -v 52 -d 1 10.1.0.1\n", Release::V115);
        assert!(text.contains("vmac = \"none\"\ninterval = \"2\""), "{text}");
        assert!(text.contains("interval = \"1\"\nvmac = \"interface\""), "{text}");
    }

    #[test]
    fn shell_substitutions_are_refused_with_their_line() {
        for (text, message) in [
            ("\nvrrpd -i $IF -v 51 10.0.0.1\n", "start.sh:2: $IF is a shell substitution"),
            ("vrrpd -i eth0 -v 256 10.0.0.1\n", "start.sh:1: -v: "),
            ("vrrpd -i eth0 -v 51\n", "start.sh:1: the command line has no virtual address"),
            ("vrrpd -i eth0 10.0.0.1 -v\n", "start.sh:1: -v has no value"),
        ] {
            let error = import(Path::new("start.sh"), text, Release::Before115).expect_err("is refused");
            assert!(error.to_string().starts_with(message), "{error}");
        }
    }
}
