//! The daemon `vrrpd`.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{self, Path, PathBuf};
use std::process::{Command, ExitCode};

use thiserror::Error;
use tracing::{debug, error, warn};
use vrrpd::background::{self, Role};
use vrrpd::cli::{Cli, secrets_in};
use vrrpd::config::track::Track;
use vrrpd::config::value::ValueError;
use vrrpd::config::{self, Configuration, FileError, GroupConfig, Key, OptionError, RefusedScript};
use vrrpd::daemon::{Daemon, Source, StartError};
use vrrpd::guardian::{Guardian, Part};
use vrrpd::import;
use vrrpd::logging::{self, Target};
use vrrpd::printable::printable;
use vrrpd::sys::wiping::{self, Wiping};
use vrrpd::sys::{command_line, inherited, memory};

/// Exit status for an invalid command line or configuration.
const USAGE: u8 = 2;

#[global_allocator]
static ALLOCATOR: wiping::Allocator = wiping::Allocator;

fn main() -> ExitCode {
    memory::keep_little();
    let wiping = Wiping::begin();
    let mut cli = Cli::read();
    let arguments: Vec<_> = env::args_os().collect();
    // If their position in memory is unknown, they stay.
    let _ = command_line::hide(&secrets_in(arguments.iter().map(OsString::as_os_str)));
    drop(arguments);
    if let Some(path) = &cli.import {
        return import(path, &cli);
    }
    if let Some(path) = &cli.replay {
        return replay(path);
    }
    let role = background::role(cli.foreground);
    if role != Role::Launcher
        && let Err(error) = inherited::put_right()
    {
        say(&format!("cannot reset inherited descriptors and signals: {error}"));
        return ExitCode::FAILURE;
    }
    // Before there is a second thread or much memory.
    let guardian = match role {
        Role::Foreground | Role::Background if !cli.check => match Guardian::divide() {
            Ok(Part::Daemon(guardian)) => Some(guardian),
            Ok(Part::Guardian(watch)) => {
                drop(cli.take_auth());
                drop(wiping);
                return watch.run(role, || logging::start(target(role), cli.log_format, &cli.log_level));
            }
            Err(error) => {
                say(&format!("cannot start a second process: {error}"));
                return ExitCode::FAILURE;
            }
        },
        Role::Foreground | Role::Background | Role::Launcher => None,
    };
    if role == Role::Background && cli.has_auth() {
        match background::auth() {
            Ok(auth) => cli.set_auth(auth),
            Err(error) => {
                say(&format!("-a: cannot be read from the command that started this program: {error}"));
                return ExitCode::FAILURE;
            }
        }
    }
    let (configuration, source) = match configuration(&cli) {
        Ok(found) => found,
        Err(wrong) => {
            wrong.tell();
            return ExitCode::from(USAGE);
        }
    };
    if let Err(error) = logging::parse_filter(&cli.log_level) {
        say(&error.to_string());
        return ExitCode::from(USAGE);
    }
    let warning = match &source {
        Source::CommandLine => None,
        Source::File(path) => config::exposed_secret(path, &configuration),
    };
    if cli.check {
        if let Some(warning) = &warning {
            say(warning);
        }
        let count = configuration.routers.len();
        let routers = if count == 1 { "router" } else { "routers" };
        // A closed pipe is not an error: its reader has read enough.
        let _ = writeln!(io::stdout(), "configuration valid: {count} virtual {routers}");
        return ExitCode::SUCCESS;
    }
    let Some(guardian) = guardian else {
        let auth = cli.take_auth();
        return background::launch(auth.as_ref().map(|auth| auth.as_str())).unwrap_or_else(|error| {
            say(&format!("cannot run in the background: {error}; use --foreground"));
            ExitCode::FAILURE
        });
    };
    drop(cli.take_auth());
    drop(wiping);
    if let Err(error) = logging::start(target(role), cli.log_format, &cli.log_level) {
        say(&error.to_string());
        return ExitCode::from(USAGE);
    }
    if let Err(error) = memory::keep_program() {
        debug!(%error, "cannot lock the program in memory");
    }
    if let Some(warning) = warning {
        warn!(reason = warning, "configuration file readable by other users");
    }
    let result = run(&cli, configuration, &source, role, guardian);
    logging::flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = error.to_string();
            // In the background stderr may be closed; in the foreground the log goes there too.
            if role == Role::Background {
                error!(error = message, "cannot run");
                logging::flush();
            }
            say(&message);
            ExitCode::FAILURE
        }
    }
}

/// Prints another daemon's configuration translated to ours.
fn import(path: &Path, cli: &Cli) -> ExitCode {
    let system = import::System::new(cli.import_id.clone());
    let imported = match import::import(path, cli.import_as, &system) {
        Ok(imported) => imported,
        Err(error) => {
            say(&error.to_string());
            return ExitCode::from(USAGE);
        }
    };
    for remark in &imported.remarks {
        let _ = writeln!(io::stderr(), "{remark}");
    }
    if writeln!(io::stdout(), "{}", import::render(&imported).trim_end()).is_err() || !imported.is_complete()
    {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Executes `atropos --replay`; its code is not in this program, which is locked in memory.
fn replay(path: &Path) -> ExitCode {
    let beside = env::current_exe().map(|own| own.with_file_name("atropos")).ok();
    let atropos = beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("atropos"));
    let mut option = OsString::from("--replay=");
    option.push(path);
    let error = Command::new(&atropos).arg(option).exec();
    say(&format!("cannot run {}, which replays recordings: {error}", atropos.display()));
    ExitCode::from(USAGE)
}

/// Destination of the log.
const fn target(role: Role) -> Target {
    match role {
        Role::Background => Target::Syslog,
        Role::Foreground | Role::Launcher => Target::Stderr,
    }
}

/// Prints an error, if stderr can be written to.
fn say(message: &str) {
    let _ = writeln!(io::stderr(), "vrrpd: {}", printable(message));
}

/// Mistakes of the command line or the file.
enum Wrong {
    /// `-M`
    GroupSize(ValueError),
    /// This option is not allowed with `--config`, and the key that replaces it.
    NotWithFile(&'static str, &'static str),
    Path(PathError),
    Scripts(Vec<RefusedScript>),
    Options(Vec<OptionError>),
    File(FileError),
}

/// A relative path, and the current directory is unknown.
#[derive(Debug, Error)]
#[error("{}: the current directory: {error}", path.display())]
struct PathError {
    path: PathBuf,
    error: io::Error,
}

/// Why the daemon did not run, or has ended.
#[derive(Debug, Error)]
enum RunError {
    #[error("cannot leave the session: {0}")]
    Detach(io::Error),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot run in the background: {0}")]
    Background(io::Error),
    #[error(transparent)]
    Loop(io::Error),
}

impl Wrong {
    /// Prints the error.
    fn tell(&self) {
        match self {
            Self::GroupSize(error) => say(&format!("-M: {error}")),
            Self::NotWithFile(flag, instead) => {
                say(&format!("{flag}: cannot be combined with --config; {instead}"));
            }
            Self::Path(error) => say(&error.to_string()),
            Self::Scripts(errors) => errors.iter().for_each(|error| say(&error.to_string())),
            Self::Options(errors) => errors.iter().for_each(|error| say(&error.to_string())),
            Self::File(error) => {
                let stderr = io::stderr();
                for mistake in error.shown(stderr.is_terminal()) {
                    // Each mistake has its own lines, already escaped.
                    let _ = writeln!(&stderr, "vrrpd: {mistake}");
                }
            }
        }
    }
}

impl From<PathError> for Wrong {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

fn configuration(cli: &Cli) -> Result<(Configuration, Source), Wrong> {
    let size = cli.group_size().map_err(Wrong::GroupSize)?;
    let Some(path) = &cli.config else {
        let options = cli.router().map_err(|error| Wrong::Options(vec![error]))?;
        let mut words = options.track.clone();
        let mut config = options.resolve().map_err(Wrong::Options)?;
        for path in words.iter_mut().filter_map(Track::program_mut) {
            *path = absolute(path)?;
        }
        let (tracked, checks) = config::track::on_command_line(&words)
            .map_err(|message| Wrong::Options(vec![Key::Track.error(message)]))?;
        config.track = tracked;
        for path in config.settings.scripts.paths_mut() {
            *path = absolute(path)?;
        }
        let refused = config::refused_scripts(&config);
        if !refused.is_empty() {
            return Err(Wrong::Scripts(refused));
        }
        config.grouped = size.is_some();
        let groups = size.map(|size| GroupConfig::of_processes(size, &config)).into_iter().collect();
        return Ok((Configuration { routers: vec![config], groups, checks }, Source::CommandLine));
    };
    if size.is_some() {
        return Err(Wrong::NotWithFile("-M", "use [[group]] in the file"));
    }
    if let Some(flag) = cli.router_option() {
        return Err(Wrong::NotWithFile(flag, "the file defines the routers"));
    }
    // A reload reads it after the daemon has left this directory.
    let path = absolute(path)?;
    Ok((config::load(&path).map_err(Wrong::File)?, Source::File(path)))
}

/// The absolute form of a path, for a process in another directory. The current directory is needed only for a relative
/// path.
fn absolute(path: &Path) -> Result<PathBuf, PathError> {
    path::absolute(path).map_err(|error| PathError { path: path.to_owned(), error })
}

fn run(
    cli: &Cli,
    configuration: Configuration,
    source: &Source,
    role: Role,
    guardian: Guardian,
) -> Result<(), RunError> {
    if role == Role::Background {
        background::detach().map_err(RunError::Detach)?;
    }
    let directory = cli.directory.as_deref().map(absolute).transpose()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let daemon = Daemon::start(configuration, source, directory.as_deref(), guardian).await?;
        if role == Role::Background {
            background::ready().map_err(RunError::Background)?;
        }
        Box::pin(daemon.run()).await.map_err(RunError::Loop)
    })
}
