//! The scripts of a router or group: which of them a transition runs, with arguments and environment.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vrrpd_common::Duration;
use vrrpd_common::router::{StateName, Transition};

/// A program with configured arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Its path.
    pub program: PathBuf,
    /// Passed before the daemon's own arguments. They may contain a secret, so they are not recorded.
    #[serde(skip)]
    pub arguments: Vec<String>,
}

/// The user that scripts run as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptUser {
    /// Name or number.
    pub user: String,
    /// Name or number; `None`: the primary group of the user.
    pub group: Option<String>,
}

/// When scripts are run, and with which arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScriptStyle {
    /// `down` replaces a missing `fault`, and a missing `stop` of a Master; every script gets `TYPE NAME STATE
    /// PRIORITY`.
    #[default]
    Vrrpd,
    /// Each script is run for its own state only, and only `notify` gets `TYPE NAME STATE PRIORITY`.
    Keepalived,
}

/// All scripts of a router or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scripts {
    /// `--prepare`: before the router takes its addresses; not for groups.
    pub prepare: Option<Script>,
    /// `--prepare-timeout`: maximum wait for `prepare`.
    pub prepare_timeout: Duration,
    /// `-U`: on becoming Master.
    pub up: Option<Script>,
    /// `-D`: on becoming Backup.
    pub down: Option<Script>,
    /// `--fault`: upon a fault.
    pub fault: Option<Script>,
    /// `--stop`: when the router leaves.
    pub stop: Option<Script>,
    /// `--notify`: on every transition, after the others.
    pub notify: Option<Script>,
    /// `--fifo`: gets a line for every transition.
    pub fifo: Option<PathBuf>,
    /// `--script-user`; `None`: the user of the daemon.
    pub user: Option<ScriptUser>,
    /// `--script-style`
    pub style: ScriptStyle,
    /// `--script-timeout`
    pub timeout: Duration,
}

/// The router or group that scripts are called for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// `INSTANCE` for a router, `GROUP` for a group.
    pub kind: &'static str,
    /// Its name for people.
    pub name: String,
    /// The effective priority; 0 for a group.
    pub priority: u8,
    /// Variables in addition to those of the transition.
    pub environment: Environment,
}

/// The state of a group whose members are in these states: their common state; Fault if any is in Fault; Backup if only
/// some are Master. `None` while members start or leave.
pub fn state_of_group(members: impl IntoIterator<Item = StateName>) -> Option<StateName> {
    let mut state = None;
    for member in members {
        state = match (state, member) {
            (None, first) => Some(first),
            (Some(StateName::Init), StateName::Init) => Some(StateName::Init),
            (Some(StateName::Init), _) | (Some(_), StateName::Init) => return None,
            (Some(StateName::Fault), _) | (_, StateName::Fault) => Some(StateName::Fault),
            (Some(one), other) if one == other => Some(one),
            (Some(_), _) => Some(StateName::Backup),
        };
    }
    state
}

/// Environment variables `VRRP_…`.
pub type Environment = Vec<(Cow<'static, str>, String)>;

/// One run of a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The script.
    pub program: PathBuf,
    /// All its arguments.
    pub arguments: Vec<String>,
    /// Who it runs as; `None`: the user of the daemon.
    pub user: Option<ScriptUser>,
    /// All its variables but `PATH`.
    pub environment: Environment,
}

/// The scripts to run for a transition, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// `MASTER`, `BACKUP`, `FAULT` or `STOP`
    pub state: Cow<'static, str>,
    /// The scripts.
    pub runs: Vec<Run>,
    /// The line for the FIFO, if configured.
    pub line: Option<FifoLine>,
}

/// A line for a FIFO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FifoLine {
    /// The FIFO.
    pub path: PathBuf,
    /// `TYPE "NAME" STATE PRIORITY` and a newline, as keepalived writes it.
    pub text: String,
}

/// Default of `prepare_timeout`.
pub const PREPARE_TIMEOUT: Duration = Duration::from_millis(500);

/// State name passed to [`Scripts::prepare`].
pub const PREPARE: &str = "PREPARE";
const MASTER: &str = "MASTER";
const BACKUP: &str = "BACKUP";
const FAULT: &str = "FAULT";
const STOP: &str = "STOP";

impl Scripts {
    /// No scripts, with this timeout.
    pub const fn none(timeout: Duration) -> Self {
        let style = ScriptStyle::Vrrpd;
        Self {
            prepare: None,
            prepare_timeout: PREPARE_TIMEOUT,
            up: None,
            down: None,
            fault: None,
            stop: None,
            notify: None,
            fifo: None,
            user: None,
            style,
            timeout,
        }
    }

    /// Whether there is no script and no FIFO.
    pub fn is_empty(&self) -> bool {
        self.each().next().is_none() && self.fifo.is_none()
    }

    /// All configured scripts.
    pub fn each(&self) -> impl Iterator<Item = &Script> {
        let of_states = [&self.up, &self.down, &self.fault, &self.stop, &self.notify];
        std::iter::once(&self.prepare).chain(of_states).flatten()
    }

    /// The paths of all programs and of the FIFO, mutable.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let Self { prepare, up, down, fault, stop, notify, fifo, .. } = self;
        let scripts = [prepare, up, down, fault, stop, notify].into_iter().flatten();
        scripts.map(|script| &mut script.program).chain(fifo)
    }

    /// Makes relative paths absolute, starting from `directory`.
    pub fn resolve(&mut self, directory: &Path) {
        self.paths_mut().for_each(|path| *path = directory.join(&path));
    }

    /// The scripts to run for this transition.
    pub fn call(&self, transition: Transition, subject: &Subject) -> Option<Call> {
        let (script, state) = self.of_state(transition.from, transition.to);
        let is_notify_told = transition.to == StateName::Init && transition.from != StateName::Init;
        let word = if is_notify_told { STOP } else { state? };
        let run = |script: &Script, state: &'static str, told: bool| {
            self.run(script, transition, state, told, subject)
        };
        let own =
            script.zip(state).map(|(script, state)| run(script, state, self.style == ScriptStyle::Vrrpd));
        let notify = self.notify.as_ref().map(|script| run(script, word, true));
        let runs: Vec<_> = own.into_iter().chain(notify).collect();
        let line = self.fifo.as_ref().map(|path| {
            let Subject { kind, name, priority, .. } = subject;
            FifoLine { path: path.clone(), text: format!("{kind} \"{name}\" {word} {priority}\n") }
        });
        let is_nothing = runs.is_empty() && line.is_none();
        (!is_nothing).then(|| Call { state: state.unwrap_or(word).into(), runs, line })
    }

    /// One run of a script. `told`: with the daemon's arguments.
    pub(crate) fn run(
        &self,
        script: &Script,
        transition: Transition,
        state: &str,
        told: bool,
        subject: &Subject,
    ) -> Run {
        let mut arguments = script.arguments.clone();
        if told {
            let Subject { kind, name, priority, .. } = subject;
            arguments.extend([(*kind).to_owned(), name.clone(), state.to_owned(), priority.to_string()]);
        }
        let mut environment = vec![
            ("VRRP_STATE".into(), state.to_owned()),
            ("VRRP_PREVIOUS_STATE".into(), transition.from.name().to_uppercase()),
            ("VRRP_PRIORITY".into(), subject.priority.to_string()),
            ("VRRP_REASON".into(), transition.reason.name().to_owned()),
        ];
        environment.extend(subject.environment.iter().cloned());
        Run { program: script.program.clone(), arguments, user: self.user.clone(), environment }
    }

    /// The script of the new state, and the name of that state.
    fn of_state(&self, from: StateName, to: StateName) -> (Option<&Script>, Option<&'static str>) {
        let down = self.down.as_ref().filter(|_| self.style == ScriptStyle::Vrrpd);
        match (from, to) {
            (_, StateName::Master) => (self.up.as_ref(), Some(MASTER)),
            (_, StateName::Backup) => (self.down.as_ref(), Some(BACKUP)),
            (_, StateName::Fault) => (self.fault.as_ref().or(down), Some(FAULT)),
            (StateName::Init, StateName::Init) => (None, None),
            (_, StateName::Init) if self.stop.is_some() => (self.stop.as_ref(), Some(STOP)),
            (StateName::Master, StateName::Init) => (down, Some(BACKUP)),
            (StateName::Backup | StateName::Fault, StateName::Init) => (None, None),
        }
    }
}

impl Script {
    /// A script without arguments of its own.
    pub const fn new(program: PathBuf) -> Self {
        Self { program, arguments: Vec::new() }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
    }
}

impl ScriptStyle {
    /// The name in options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vrrpd => "vrrpd",
            Self::Keepalived => "keepalived",
        }
    }
}

impl fmt::Display for ScriptUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        self.group.iter().try_for_each(|group| write!(f, ":{group}"))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::GroupConfig;
    use vrrpd_common::router::Reason;

    use super::*;

    const STATES: [StateName; 4] = [StateName::Init, StateName::Backup, StateName::Master, StateName::Fault];

    fn scripts(style: ScriptStyle, named: &str) -> Scripts {
        let script = |name: &str| {
            let script = Script { program: name.into(), arguments: vec!["own".to_owned()] };
            named.split(' ').any(|known| known == name).then_some(script)
        };
        Scripts {
            prepare: script("prepare"),
            prepare_timeout: PREPARE_TIMEOUT,
            up: script("up"),
            down: script("down"),
            fault: script("fault"),
            stop: script("stop"),
            notify: script("notify"),
            fifo: None,
            user: None,
            style,
            timeout: Duration::from_secs(60),
        }
    }

    /// The scripts that are run, each with its last argument.
    fn called(scripts: &Scripts, from: StateName, to: StateName) -> Vec<String> {
        let subject =
            Subject { kind: "INSTANCE", name: "VI_1".to_owned(), priority: 150, environment: Vec::new() };
        let call = scripts.call(Transition { from, to, reason: Reason::StartUp, cause: None }, &subject);
        let runs = call.map(|call| call.runs).unwrap_or_default();
        runs.iter().map(|run| format!("{} {}", run.program.display(), run.arguments.join(" "))).collect()
    }

    #[test]
    fn down_replaces_a_missing_fault_and_a_missing_stop_of_a_master() {
        let scripts = scripts(ScriptStyle::Vrrpd, "up down");
        let told = |from, to| called(&scripts, from, to);
        assert_eq!(told(StateName::Backup, StateName::Master), ["up own INSTANCE VI_1 MASTER 150"]);
        assert_eq!(told(StateName::Init, StateName::Backup), ["down own INSTANCE VI_1 BACKUP 150"]);
        assert_eq!(told(StateName::Backup, StateName::Fault), ["down own INSTANCE VI_1 FAULT 150"]);
        assert_eq!(told(StateName::Master, StateName::Init), ["down own INSTANCE VI_1 BACKUP 150"]);
        assert!(told(StateName::Backup, StateName::Init).is_empty());
        assert!(told(StateName::Fault, StateName::Init).is_empty());
    }

    #[test]
    fn fault_and_stop_are_run_instead_of_down() {
        let scripts = scripts(ScriptStyle::Vrrpd, "up down fault stop");
        for from in [StateName::Backup, StateName::Master, StateName::Fault] {
            assert_eq!(called(&scripts, from, StateName::Init), ["stop own INSTANCE VI_1 STOP 150"]);
        }
        assert_eq!(
            called(&scripts, StateName::Master, StateName::Fault),
            ["fault own INSTANCE VI_1 FAULT 150"]
        );
    }

    #[test]
    fn notify_is_run_on_each_transition_after_the_script_of_the_state() {
        let scripts = scripts(ScriptStyle::Vrrpd, "up notify");
        let told = |from, to| called(&scripts, from, to);
        assert_eq!(
            told(StateName::Backup, StateName::Master),
            ["up own INSTANCE VI_1 MASTER 150", "notify own INSTANCE VI_1 MASTER 150"]
        );
        assert_eq!(told(StateName::Master, StateName::Backup), ["notify own INSTANCE VI_1 BACKUP 150"]);
        for from in [StateName::Backup, StateName::Master, StateName::Fault] {
            assert_eq!(told(from, StateName::Init), ["notify own INSTANCE VI_1 STOP 150"]);
        }
    }

    #[test]
    fn in_the_style_of_keepalived_each_script_has_its_state_and_only_notify_has_arguments() {
        let all = scripts(ScriptStyle::Keepalived, "up down fault stop notify");
        assert_eq!(
            called(&all, StateName::Backup, StateName::Master),
            ["up own", "notify own INSTANCE VI_1 MASTER 150"]
        );
        assert_eq!(
            called(&all, StateName::Master, StateName::Init),
            ["stop own", "notify own INSTANCE VI_1 STOP 150"]
        );
        let few = scripts(ScriptStyle::Keepalived, "up down");
        assert!(called(&few, StateName::Master, StateName::Fault).is_empty());
        assert!(called(&few, StateName::Master, StateName::Init).is_empty());
    }

    #[test]
    fn a_group_is_master_with_all_its_members_and_in_fault_with_one() {
        use StateName::{Backup, Fault, Init, Master};
        for (members, state) in [
            ([Master, Master], Some(Master)),
            ([Master, Backup], Some(Backup)),
            ([Backup, Backup], Some(Backup)),
            ([Fault, Master], Some(Fault)),
            ([Backup, Fault], Some(Fault)),
            ([Init, Backup], None),
            ([Fault, Init], None),
            ([Init, Init], Some(Init)),
        ] {
            assert_eq!(state_of_group(members), state, "{members:?}");
        }
    }

    #[test]
    fn scripts_of_a_group_get_type_group() {
        let group = GroupConfig {
            name: Some("edge".to_owned()),
            size: 2,
            members: vec!["eth0/51".to_owned(), "eth1/51".to_owned()],
            scripts: scripts(ScriptStyle::Keepalived, "notify"),
        };
        let (from, to) = (StateName::Backup, StateName::Master);
        let transition = Transition { from, to, reason: Reason::Group, cause: None };
        let call = group.call(transition).expect("it has a script");
        assert_eq!(call.runs[0].arguments, ["own", "GROUP", "edge", "MASTER", "0"]);
        assert!(call.runs[0].environment.contains(&("VRRP_MEMBERS".into(), "eth0/51 eth1/51".to_owned())));
    }

    #[test]
    fn fifo_gets_a_line_for_each_transition_and_the_end() {
        let all = Scripts { fifo: Some("/run/fifo".into()), ..Scripts::none(Duration::from_secs(60)) };
        let subject =
            Subject { kind: "INSTANCE", name: "VI_1".to_owned(), priority: 150, environment: Vec::new() };
        let line = |from, to| {
            let transition = Transition { from, to, reason: Reason::StartUp, cause: None };
            all.call(transition, &subject)?.line.map(|line| line.text)
        };
        assert!(!all.is_empty());
        assert_eq!(
            line(StateName::Backup, StateName::Master).as_deref(),
            Some("INSTANCE \"VI_1\" MASTER 150\n")
        );
        for from in [StateName::Backup, StateName::Master, StateName::Fault] {
            assert_eq!(line(from, StateName::Init).as_deref(), Some("INSTANCE \"VI_1\" STOP 150\n"));
        }
        assert_eq!(line(StateName::Init, StateName::Init), None);
    }

    #[test]
    fn without_scripts_no_transition_calls_any() {
        for style in [ScriptStyle::Vrrpd, ScriptStyle::Keepalived] {
            let none = scripts(style, "");
            assert!(none.is_empty());
            for (from, to) in STATES.into_iter().flat_map(|from| STATES.map(|to| (from, to))) {
                assert!(called(&none, from, to).is_empty(), "{from:?} {to:?}");
            }
        }
    }
}
