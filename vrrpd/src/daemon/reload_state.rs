//! How far a reload has come.

use std::path::PathBuf;

use tokio::task::JoinHandle;
use vrrpd_engine::engine::Inadmissible;
use vrrpd_engine::reload::Reload as Stages;

use super::start_error::StartError;
use crate::config::{Configuration, GroupConfig, RouterConfig, Settings};

/// The state of a reload. One file is applied completely before the next one is read.
#[derive(Debug, Default)]
pub(super) struct Reload {
    /// The file; `None`: the routers are on the command line.
    pub(super) file: Option<PathBuf>,
    pub(super) reading: Option<JoinHandle<Result<Configuration, Vec<String>>>>,
    pub(super) stages: Stages<Configuration, Arriving>,
}

/// When routers have left, these routers start and these groups are formed.
type Arriving = (Vec<RouterConfig>, Vec<GroupConfig>);

impl Reload {
    pub(super) fn of(file: Option<PathBuf>) -> Self {
        Self { file, ..Self::default() }
    }

    /// Why this router cannot start, in terms of the command line or the file.
    pub(super) fn inadmissible(&self, config: &Settings, why: Inadmissible) -> StartError {
        StartError::inadmissible(config, self.naming(&config.interface), why)
    }

    /// An interface as named by the user.
    pub(super) fn naming(&self, interface: &str) -> String {
        match self.file {
            None => format!("-i {interface}"),
            Some(_) => format!("interface = {interface:?}"),
        }
    }

    /// Handles that the state of this interface is known.
    pub(super) fn followed(&mut self, interface: &str) {
        self.stages.followed(interface);
    }

    /// The configuration, once a requested file has been read.
    pub(super) async fn read(&mut self) -> Result<Configuration, Vec<String>> {
        let Some(reading) = &mut self.reading else { return std::future::pending().await };
        let read = reading.await;
        self.reading = None;
        read.map_err(|error| vec![error.to_string()])?
    }
}
