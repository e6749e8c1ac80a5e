//! The daemon `vrrpd`.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use tracing::{error, warn};
use vrrpd::background::{self, Role};
use vrrpd::cli::{Cli, secrets_in};
use vrrpd::config::{self, Configuration, FileError, GroupConfig, OptionError};
use vrrpd::daemon::{Daemon, Source};
use vrrpd::guardian::{Guardian, Part};
use vrrpd::import;
use vrrpd::logging::{self, Target};
use vrrpd::printable::printable;
use vrrpd::sys::wiping::{self, Wiping};
use vrrpd::sys::{command_line, inherited, memory};

/// The command line or the configuration is wrong.
const USAGE: u8 = 2;

#[global_allocator]
static ALLOCATOR: wiping::Allocator = wiping::Allocator;

fn main() -> ExitCode {
    memory::keep_little();
    let wiping = Wiping::begin();
    let mut cli = Cli::parse();
    let arguments: Vec<_> = env::args_os().collect();
    // Where the system does not say where they are, they stay as they are.
    let _ = command_line::hide(&secrets_in(arguments.iter().map(OsString::as_os_str)));
    drop(arguments);
    if let Some(path) = &cli.import {
        return import(path, &cli);
    }
    let role = background::role(cli.foreground);
    if role != Role::Launcher
        && let Err(error) = inherited::put_right()
    {
        say(&format!("cannot do away with what the caller left open or set up: {error}"));
        return ExitCode::FAILURE;
    }
    // As long as there is little in memory, and one thread.
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
    if let Err(message) = logging::parse_filter(&cli.log_level) {
        say(&message);
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
        // Whoever closed the pipe has seen enough.
        let _ = writeln!(io::stdout(), "configuration is right: {count} virtual {routers}");
        return ExitCode::SUCCESS;
    }
    let Some(guardian) = guardian else {
        let auth = cli.take_auth();
        return background::launch(auth.as_ref().map(|auth| auth.as_str())).unwrap_or_else(|error| {
            say(&format!("cannot go to the background: {error}; --foreground does without"));
            ExitCode::FAILURE
        });
    };
    drop(cli.take_auth());
    drop(wiping);
    if let Err(message) = logging::start(target(role), cli.log_format, &cli.log_level) {
        say(&message);
        return ExitCode::from(USAGE);
    }
    if let Some(warning) = warning {
        warn!("{warning}");
    }
    let result = run(&cli, configuration, &source, role, guardian);
    logging::flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // In the background nobody sees the one, in the foreground nobody wants to see it twice.
            if role == Role::Background {
                error!("{message}");
                logging::flush();
            }
            say(&message);
            ExitCode::FAILURE
        }
    }
}

/// Prints another daemon's configuration as one of ours.
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

/// Where the log goes.
const fn target(role: Role) -> Target {
    match role {
        Role::Background => Target::Syslog,
        Role::Foreground | Role::Launcher => Target::Stderr,
    }
}

/// Tells the user what is wrong; that nobody can read it changes nothing.
fn say(message: &str) {
    let _ = writeln!(io::stderr(), "vrrpd: {}", printable(message));
}

/// What is wrong with the command line or the file.
enum Wrong {
    Usage(String),
    Options(Vec<OptionError>),
    File(FileError),
}

impl Wrong {
    /// Tells the user.
    fn tell(&self) {
        match self {
            Self::Usage(message) => say(message),
            Self::Options(errors) => errors.iter().for_each(|error| say(&error.to_string())),
            Self::File(error) => {
                let stderr = io::stderr();
                for mistake in error.shown(stderr.is_terminal()) {
                    // Each has lines of its own, in which nothing is left to be escaped.
                    let _ = writeln!(&stderr, "vrrpd: {mistake}");
                }
            }
        }
    }
}

impl From<String> for Wrong {
    fn from(message: String) -> Self {
        Self::Usage(message)
    }
}

fn configuration(cli: &Cli) -> Result<(Configuration, Source), Wrong> {
    let size = cli.group_size()?;
    let Some(path) = &cli.config else {
        let options = cli.router().map_err(|error| Wrong::Options(vec![error]))?;
        let mut config = options.resolve().map_err(Wrong::Options)?;
        let settings = &mut config.settings;
        for script in [&mut settings.up, &mut settings.down].into_iter().flatten() {
            *script = absolute(script)?;
        }
        config::check_scripts(&config)?;
        config.grouped = size.is_some();
        let groups = size.map(|size| GroupConfig::of_processes(size, &config)).into_iter().collect();
        return Ok((Configuration { routers: vec![config], groups }, Source::CommandLine));
    };
    if size.is_some() {
        let message = "-M: does not go with --config; in the file, [[group]] says what it is for";
        return Err(message.to_owned().into());
    }
    if let Some(flag) = cli.router_option() {
        return Err(format!("{flag}: does not go with --config; the file says what routers there are").into());
    }
    // It is read again after the daemon has left this directory.
    let path = absolute(path)?;
    Ok((config::load(&path).map_err(Wrong::File)?, Source::File(path)))
}

/// The user's path for somebody who is elsewhere. Where the user is matters only if it is relative.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    path::absolute(path).map_err(|error| format!("{}: the current directory: {error}", path.display()))
}

fn run(
    cli: &Cli,
    configuration: Configuration,
    source: &Source,
    role: Role,
    guardian: Guardian,
) -> Result<(), String> {
    if role == Role::Background {
        background::detach().map_err(|error| format!("cannot leave the session: {error}"))?;
    }
    let directory = cli.directory.as_deref().map(absolute).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let daemon = Daemon::start(configuration, source, directory.as_deref(), guardian)
            .await
            .map_err(|error| error.to_string())?;
        if role == Role::Background {
            background::ready().map_err(|error| format!("cannot go to the background: {error}"))?;
        }
        daemon.run().await.map_err(|error| error.to_string())
    })
}
