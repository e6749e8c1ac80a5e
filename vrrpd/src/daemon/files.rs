//! Files in the run directory, written in another thread.

use std::path::Path;

use tracing::warn;

use super::Daemon;

impl Daemon {
    /// Writes the journal again. The records of an interface whose MAC address is replaced are kept.
    pub(super) fn write_journal(&mut self) {
        let text = self.engine.journal().to_string();
        if text == self.journal {
            return;
        }
        self.journal.clone_from(&text);
        self.write_behind(self.journal_file.clone(), 0o600, text, |_, written| {
            if let Err(error) = written {
                warn!(error, "cannot write journal");
            }
        });
    }

    /// Writes a file atomically, in another thread and after earlier writes, so that the newest version remains and a
    /// full or slow disk does not delay an advert. `then` gets the result.
    pub(super) fn write_behind(
        &mut self,
        name: String,
        mode: u32,
        text: String,
        then: impl FnOnce(&Path, Result<(), String>) + 'static,
    ) {
        let (before, files) = (self.written.take(), self.lanes.files.clone());
        let directory = self.rundir.directory().clone();
        self.written = Some(tokio::task::spawn_local(async move {
            // An earlier write that panicked has ended, too.
            if let Some(before) = before {
                let _ = before.await;
            }
            let path = directory.join(&name);
            let what = format!("writing {}", path.display());
            let written = files.run(what, move || directory.write(&name, mode, &text)).await;
            let written = written.map_err(|error| error.to_string());
            then(&path, written.and_then(|written| written.map_err(|error| error.to_string())));
        }));
    }
}
