//! Asks daemons and kernel again and again, so that the terminal waits for none of them.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use vrrpd::control::{Change, Reply, Request, Selector, client};
use vrrpd::report::{RouterReport, SilentReport};

use crate::survey::{join_kernel, no_answer, sockets_for};

/// From one survey to the next.
const PERIOD: Duration = Duration::from_millis(250);
/// Daemons that need longer for an answer are in a later survey.
const PROMPT: Duration = Duration::from_millis(50);

/// What a daemon answered last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its routers.
    Routers(Vec<RouterReport>),
    /// Why there are none.
    Silence(String),
}

/// All that is known at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// By control socket. One that has not answered yet is not here.
    pub(super) daemons: BTreeMap<PathBuf, Answer>,
    /// Routers that the kernel knows and no daemon speaks for.
    pub(super) kernel: Vec<SilentReport>,
    /// Why the directory cannot be read.
    pub(super) trouble: Option<String>,
}

/// A change that the user has confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) socket: PathBuf,
    pub(super) selector: Selector,
    pub(super) change: Change,
}

/// Something to show.
#[derive(Debug)]
pub(super) enum News {
    Survey(Survey),
    /// What came of a change.
    Said(String),
}

pub(super) struct Gatherer {
    news: Receiver<News>,
    sender: Sender<News>,
}

impl Gatherer {
    /// Begins to ask the daemons of a directory. It ends with the process.
    pub(super) fn start(dir: PathBuf, chosen: Selector) -> Self {
        let (sender, news) = channel();
        let to = sender.clone();
        thread::spawn(move || gather(&dir, &chosen, &to));
        Self { news, sender }
    }

    /// What has come since, in order.
    pub(super) fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// Has a change made, and its outcome told.
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
    // A daemon that does not answer holds up its own thread only, and is not asked twice at once.
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
