//! Scripts for transitions, and their users.

use super::super::{Imported, RemarkKind, Router};
use super::defaults::Defaults;
use super::tree::Node;
use crate::config::Key;

/// The lines of an instance or group that name scripts.
#[derive(Clone, Debug, Default)]
pub(super) struct Notify {
    master: Option<Node>,
    backup: Option<Node>,
    fault: Option<Node>,
    stop: Option<Node>,
    every: Option<Node>,
}

impl Notify {
    /// Handles a line; `false`: another kind of line.
    pub(super) fn take(&mut self, line: &Node) -> bool {
        let place = match line.keyword() {
            "notify_master" => &mut self.master,
            "notify_backup" => &mut self.backup,
            "notify_fault" => &mut self.fault,
            "notify_stop" => &mut self.stop,
            "notify" => &mut self.every,
            _ => return false,
        };
        *place = Some(line.clone());
        true
    }

    /// Sets the scripts of a router, with keepalived's behaviour.
    pub(super) fn carry_over(&self, router: &mut Router, defaults: &Defaults, imported: &mut Imported) {
        let Self { master, backup, fault, stop, every } = self;
        let keys = [Key::Up, Key::Down, Key::Fault, Key::Stop, Key::Notify];
        let keys = keys.into_iter().zip([master, backup, fault, stop, every]);
        let mut user: Option<String> = None;
        let mut has_scripts = false;
        for (key, line) in keys.filter_map(|(key, line)| Some((key, line.as_ref()?))) {
            let script = words(line.script());
            if script.first().is_none_or(|program| !program.starts_with('/')) {
                imported.remark(
                    &line.place,
                    RemarkKind::LeftOut,
                    line.keyword(),
                    "the path of a script begins with a slash; keepalived looks for others in its PATH",
                );
                continue;
            }
            router.set_script(key, script);
            has_scripts = true;
            let own = user_of(line.behind_script()).or_else(|| defaults.script_user.clone());
            let own = own.unwrap_or_else(|| "root".to_owned());
            match &user {
                None => user = Some(own),
                Some(user) if *user != own => imported.remark(
                    &line.place,
                    RemarkKind::LeftOut,
                    line.keyword(),
                    format!("the scripts of a router run as one user: this one as {user}, not as {own}"),
                ),
                Some(_) => {}
            }
        }
        router.extend(Key::Fifo, defaults.fifo.clone());
        if has_scripts {
            router.set(Key::ScriptStyle, "keepalived");
            router.extend(Key::ScriptUser, user.filter(|user| user != "root"));
        }
    }
}

/// `USER:GROUP` from the words `USER` and `GROUP`.
pub(super) fn user_of(words: &[String]) -> Option<String> {
    match words {
        [] => None,
        [user] => Some(user.clone()),
        [user, group, ..] => Some(format!("{user}:{group}")),
    }
}

/// Program and arguments of a command, split as keepalived does without a shell: quotes keep blanks, a backslash keeps
/// the next character.
pub(super) fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', _) => word.get_or_insert_default().extend(characters.next()),
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (end, Some(begin)) if end == begin => quote = None,
            (blank, None) if blank.is_ascii_whitespace() => words.extend(word.take()),
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_apart_as_keepalived_does_it() {
        for (command, wanted) in [
            ("/a/b", &["/a/b"][..]),
            ("  /a/b  c\td ", &["/a/b", "c", "d"]),
            (r#"/a 'b c' d\ e "f g" $HOME"#, &["/a", "b c", "d e", "f g", "$HOME"]),
            ("/a b; echo c", &["/a", "b;", "echo", "c"]),
            ("/a ''", &["/a", ""]),
            ("", &[]),
        ] {
            assert_eq!(words(command), wanted, "{command}");
        }
    }
}
