//! Scripts for transitions, and their users.

use super::super::{Imported, RemarkKind, Router};
use super::command::{user_of, words};
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
