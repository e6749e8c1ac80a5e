//! The live view: `atropos --watch`.
//!
//! `gather` queries daemons and kernel in threads and yields surveys; `model` is the pure state with the effect of
//! keys; `view` draws it. This module runs them on a terminal, which is always restored.

mod gather;
mod model;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal, Stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use std::{env, panic};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use thiserror::Error;
use vrrpd::control::Selector;

use crate::hangup;

use gather::Gatherer;
use model::{Model, Step};
use view::Theme;

/// Maximum latency of a key, survey or signal.
const TURN: Duration = Duration::from_millis(50);

/// Shows the selected routers until the user quits.
pub(crate) fn run(dir: &Path, chosen: &Selector) -> ExitCode {
    match check_terminal().and_then(|()| Ok(watch(dir, chosen)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("atropos: --watch: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why the view cannot run.
#[derive(Debug, Error)]
enum WatchError {
    #[error("needs a terminal; --state shows the state once, --events follows it for programs")]
    NoTerminal,
    #[error("cannot draw on a terminal of type TERM={0}")]
    Dumb(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn check_terminal() -> Result<(), WatchError> {
    let terminal = env::var("TERM").unwrap_or_default();
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        Err(WatchError::NoTerminal)
    } else if matches!(terminal.as_str(), "" | "dumb") {
        Err(WatchError::Dumb(terminal))
    } else {
        Ok(())
    }
}

fn watch(dir: &Path, chosen: &Selector) -> io::Result<()> {
    // On a terminal that is gone, crossterm would read forever.
    let leave = hangup::end_with_terminal()?;
    let theme = Theme::from_environment();
    let gatherer = Gatherer::start(dir.to_owned(), chosen.clone());
    let mut model = Model::new(dir, chosen);
    let mut screen = Screen::open()?;
    let mut changed = true;
    while !leave.load(Ordering::Relaxed) {
        if changed {
            let now = SystemTime::now();
            screen.terminal.draw(|frame| view::draw(frame, &mut model, theme, now))?;
        }
        changed = event::poll(TURN)?;
        if changed {
            match event::read()? {
                Event::Key(key) => match model.key(key) {
                    Step::Stay => {}
                    Step::Leave => return Ok(()),
                    Step::Change(wanted) => gatherer.change(wanted),
                },
                // The view is redrawn in any case.
                Event::Resize(..)
                | Event::FocusGained
                | Event::FocusLost
                | Event::Mouse(_)
                | Event::Paste(_) => {}
            }
        }
        while let Some(news) = gatherer.news() {
            model.hear(news);
            changed = true;
        }
    }
    Ok(())
}

/// The terminal in alternate-screen mode.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
        enable_raw_mode()?;
        // From here on the terminal is restored by drop, even if this fails.
        let screen = Self { terminal: Terminal::new(CrosstermBackend::new(io::stdout()))? };
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Restores the terminal. Errors of a terminal that is gone do not matter.
fn give_back() {
    let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}
