//! State of the live view and the effect of its keys. No terminal, clock or daemon.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use vrrpd::control::{Change, Selector};
use vrrpd::report::{KernelReport, RouterReport, SilentReport};
use vrrpd::router_name::RouterName;

use super::gather::{Answer, News, Survey, Wanted};

/// A router: interface, VRID, family.
type Key = (String, u8, String);

fn name((interface, vrid, family): &Key) -> RouterName<'_> {
    RouterName::of_report(interface, *vrid, family)
}

/// A known router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// The last report of its daemon.
    pub(super) report: Option<RouterReport>,
    /// The kernel's record.
    pub(super) kernel: Option<KernelReport>,
    /// Why its daemon does not answer.
    pub(super) trouble: Option<String>,
    socket: PathBuf,
}

/// What to do upon a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    Leave,
    Change(Wanted),
}

/// The state of the view.
#[derive(Debug)]
pub(super) struct Model {
    rows: BTreeMap<Key, Row>,
    selected: Option<Key>,
    /// A change that waits for confirmation.
    pending: Option<Wanted>,
    /// The selected routers and the directory.
    scope: String,
    /// The last line: a question, an answer, or an error.
    said: Option<String>,
    trouble: Option<String>,
    /// Daemons that do not answer and have no known router.
    mute: Vec<String>,
    heard: bool,
    /// The first visible row, and the number of visible rows; set by the view.
    pub(super) offset: usize,
    pub(super) page: usize,
}

impl Model {
    pub(super) fn new(dir: &Path, chosen: &Selector) -> Self {
        let interface = chosen.interface.as_ref().map(|name| format!("-i {name} "));
        let vrid = chosen.vrid.map(|vrid| format!("-v {vrid} "));
        let names = (!chosen.routers.is_empty()).then(|| chosen.routers.join(" ") + " ");
        Self {
            rows: BTreeMap::new(),
            selected: None,
            pending: None,
            scope: [interface, vrid, names, Some(format!("in {}", dir.display()))]
                .into_iter()
                .flatten()
                .collect(),
            said: None,
            trouble: None,
            mute: Vec::new(),
            heard: false,
            offset: 0,
            page: 1,
        }
    }

    /// The routers in order, with their names.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = (String, &Row)> {
        self.rows.iter().map(|(key, row)| (name(key).to_string(), row))
    }

    /// Index of the selected router.
    pub(super) fn selected(&self) -> usize {
        let place = |key| self.rows.keys().position(|known| known == key);
        self.selected.as_ref().and_then(place).unwrap_or(0)
    }

    /// The selected routers and the directory.
    pub(super) fn scope(&self) -> &str {
        &self.scope
    }

    /// The question that waits for yes or no.
    pub(super) fn question(&self) -> Option<String> {
        let wanted = self.pending.as_ref()?;
        let what = if wanted.change == Change::Backup { "go to backup" } else { "end backup" };
        Some(format!("{}: {what}? y/n", wanted.selector.routers.join(" and ")))
    }

    /// Other text for the last line.
    pub(super) fn remark(&self) -> Option<String> {
        let mute = || (!self.mute.is_empty()).then(|| self.mute.join("; "));
        let none = || {
            let text = if self.heard { "no virtual router; waiting for one" } else { "asking" };
            self.rows.is_empty().then(|| text.to_owned())
        };
        self.trouble.clone().or_else(|| self.said.clone()).or_else(mute).or_else(none)
    }

    /// Handles an update.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Survey(survey) => self.survey(survey),
            News::Said(said) => self.said = Some(said),
        }
    }

    fn survey(&mut self, survey: Survey) {
        self.heard = true;
        self.trouble = survey.trouble;
        for row in self.rows.values_mut() {
            row.trouble = Some(match survey.daemons.get(&row.socket) {
                Some(Answer::Silence(why)) => why.clone(),
                Some(Answer::Routers(_)) => "no longer served by the daemon".to_owned(),
                None => "the daemon is gone".to_owned(),
            });
            row.kernel = None;
        }
        self.mute.clear();
        for (socket, answer) in survey.daemons {
            match answer {
                Answer::Routers(routers) => {
                    for report in routers {
                        let key = (report.interface.clone(), report.vrid, report.family.clone());
                        let kernel = report.kernel.clone();
                        let row = Row { report: Some(report), kernel, trouble: None, socket: socket.clone() };
                        self.rows.insert(key, row);
                    }
                }
                Answer::Silence(why) if self.rows.values().all(|row| row.socket != socket) => {
                    let name = socket.file_name().unwrap_or_default().to_string_lossy();
                    self.mute.push(format!("{name}: {why}"));
                }
                Answer::Silence(_) => {}
            }
        }
        for SilentReport { interface, vrid, family, kernel, .. } in survey.kernel {
            let row = self.rows.entry((interface, vrid, family)).or_insert_with(|| Row {
                trouble: Some("no daemon answers for it".to_owned()),
                ..Row::default()
            });
            row.kernel = Some(kernel);
        }
        // A router that only the kernel knew is removed with its record.
        self.rows.retain(|_, row| row.report.is_some() || row.kernel.is_some());
        if self.selected.as_ref().is_none_or(|key| !self.rows.contains_key(key)) {
            self.selected = self.rows.keys().next().cloned();
        }
    }

    /// Handles a key.
    pub(super) fn key(&mut self, key: KeyEvent) -> Step {
        if key.kind == KeyEventKind::Release {
            return Step::Stay;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c')) {
            return Step::Leave;
        }
        if let Some(wanted) = self.pending.take() {
            return if matches!(key.code, KeyCode::Char('y' | 'Y')) && !control {
                self.said = Some("asking the daemon".to_owned());
                Step::Change(wanted)
            } else {
                self.said = Some("nothing was changed".to_owned());
                Step::Stay
            };
        }
        self.said = None;
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Step::Leave,
            KeyCode::Up | KeyCode::Char('k') => self.select(self.selected().saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(self.selected() + 1),
            KeyCode::PageUp => self.select(self.selected().saturating_sub(self.page)),
            KeyCode::PageDown => self.select(self.selected() + self.page),
            KeyCode::Home | KeyCode::Char('g') => self.select(0),
            KeyCode::End | KeyCode::Char('G') => self.select(usize::MAX),
            KeyCode::Char('b') => self.ask(Change::Backup),
            KeyCode::Char('m') => self.ask(Change::Master),
            _ => {}
        }
        Step::Stay
    }

    fn select(&mut self, place: usize) {
        let last = self.rows.len().saturating_sub(1);
        self.selected = self.rows.keys().nth(place.min(last)).cloned();
    }

    /// Prepares a change of the selected router, which the user must confirm.
    fn ask(&mut self, change: Change) {
        let Some((key, row)) = self.selected.as_ref().and_then(|key| self.rows.get_key_value(key)) else {
            return;
        };
        if let Some(trouble) = &row.trouble {
            self.said = Some(trouble.clone());
            return;
        }
        let selector = Selector::one(&name(key));
        self.pending = Some(Wanted { socket: row.socket.clone(), selector, change });
    }
}
