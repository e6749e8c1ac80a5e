//! Polls daemons and kernel in threads, so that the terminal never waits for them.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use vrrpd::control::{Change, Reply, Request, Selector, client};
use vrrpd::report::{RouterReport, SilentReport};

use crate::survey::{join_kernel, no_answer, sockets_for};

/// Time between two surveys.
const PERIOD: Duration = Duration::from_millis(250);
/// Time to wait for answers; slower daemons appear in a later survey.
const PROMPT: Duration = Duration::from_millis(50);

/// The last answer of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its routers.
    Routers(Vec<RouterReport>),
    /// The reason for no answer.
    Silence(String),
}

/// All answers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// By control socket; daemons that have not answered yet are missing.
    pub(super) daemons: BTreeMap<PathBuf, Answer>,
    /// Routers known to the kernel without a daemon that answers.
    pub(super) kernel: Vec<SilentReport>,
    /// The error of reading the directory.
    pub(super) trouble: Option<String>,
}

/// A change that the user has confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) socket: PathBuf,
    pub(super) selector: Selector,
    pub(super) change: Change,
}

/// An update for the view.
#[derive(Debug)]
pub(super) enum News {
    Survey(Survey),
    /// The result of a change.
    Said(String),
}

pub(super) struct Gatherer {
    news: Receiver<News>,
    sender: Sender<News>,
}

impl Gatherer {
    /// Starts polling the daemons of a directory. Polling ends with the process.
    pub(super) fn start(dir: PathBuf, chosen: Selector) -> Self {
        let (sender, news) = channel();
        let to = sender.clone();
        thread::spawn(move || gather(&dir, &chosen, &to));
        Self { news, sender }
    }

    /// The next update, if any.
    pub(super) fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// Requests a change; its result follows as an update.
    pub(super) fn change(&self, wanted: Wanted) {
        let sender = self.sender.clone();
        thread::spawn(move || {
            let request = Request::Change { selector: wanted.selector, change: wanted.change };
            let said = match client::ask(&wanted.socket, &request) {
                Ok(Reply::State { .. }) => "done".to_owned(),
                Ok(Reply::Error { message }) => message,
                Ok(Reply::Event(_) | Reply::Recorded { .. }) => "answered something else".to_owned(),
                Err(error) => no_answer(&error),
            };
            // The view may have ended.
            let _ = sender.send(News::Said(said));
        });
    }
}

fn gather(dir: &Path, chosen: &Selector, news: &Sender<News>) {
    let (answers, answered) = channel();
    let mut survey = Survey::default();
    // A daemon that does not answer blocks only its own thread, and has at most one request at a time.
    let mut asked = HashSet::new();
    loop {
        let (sockets, trouble) = match sockets_for(dir, chosen) {
            Ok(sockets) => (sockets, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        survey.trouble = trouble;
        survey.daemons.retain(|socket, _| sockets.contains(socket));
        for socket in sockets {
            if asked.insert(socket.clone()) {
                let (answers, chosen) = (answers.clone(), chosen.clone());
                thread::spawn(move || {
                    let answer = ask(&socket, chosen);
                    // The user has left.
                    let _ = answers.send((socket, answer));
                });
            }
        }
        let start = Instant::now();
        while !asked.is_empty()
            && let Ok((socket, answer)) = answered.recv_timeout(PROMPT.saturating_sub(start.elapsed()))
        {
            asked.remove(&socket);
            survey.daemons.insert(socket, answer);
        }
        let routers = survey.daemons.values_mut().flat_map(|answer| match answer {
            Answer::Routers(routers) => routers.iter_mut(),
            Answer::Silence(_) => [].iter_mut(),
        });
        survey.kernel = join_kernel(routers, chosen, |_| {});
        if news.send(News::Survey(survey.clone())).is_err() {
            return;
        }
        thread::sleep(PERIOD.saturating_sub(start.elapsed()));
    }
}

fn ask(socket: &Path, chosen: Selector) -> Answer {
    match client::ask(socket, &Request::State(chosen)) {
        Ok(Reply::State { routers }) => Answer::Routers(routers),
        Ok(Reply::Error { message }) => Answer::Silence(message),
        Ok(Reply::Event(_) | Reply::Recorded { .. }) => Answer::Silence("answered something else".to_owned()),
        Err(error) => Answer::Silence(no_answer(&error)),
    }
}
