//! The daemon `vrrpd`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use tracing::error;
use vrrpd::background::{self, Role};
use vrrpd::cli::Cli;
use vrrpd::config::{RouterConfig, RouterOptions, file};
use vrrpd::daemon::{Daemon, Source};
use vrrpd::logging::{self, Target};
use vrrpd::script;

/// The command line or the configuration is wrong.
const USAGE: u8 = 2;
/// Threads for what may have to wait: one to start scripts, one for the state file.
const BLOCKING_THREADS: usize = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (configs, source) = match configuration(&cli) {
        Ok(configuration) => configuration,
        Err(message) => {
            say(&message);
            return ExitCode::from(USAGE);
        }
    };
    if let Err(message) = logging::parse_filter(&cli.log_level) {
        say(&message);
        return ExitCode::from(USAGE);
    }
    if cli.check {
        let routers = if configs.len() == 1 { "router" } else { "routers" };
        // Whoever closed the pipe has seen enough.
        let _ = writeln!(io::stdout(), "configuration is right: {} virtual {routers}", configs.len());
        return ExitCode::SUCCESS;
    }
    let role = background::role(cli.foreground);
    let target = match role {
        Role::Launcher => {
            return background::launch().unwrap_or_else(|error| {
                say(&format!("cannot go to the background: {error}; --foreground does without"));
                ExitCode::FAILURE
            });
        }
        Role::Foreground => Target::Stderr,
        Role::Background => Target::Syslog,
    };
    if let Err(message) = logging::start(target, cli.log_format, &cli.log_level) {
        say(&message);
        return ExitCode::from(USAGE);
    }
    let result = run(&cli, configs, source, role);
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

/// Tells the user what is wrong; that nobody can read it changes nothing.
fn say(message: &str) {
    let _ = writeln!(io::stderr(), "vrrpd: {message}");
}

fn configuration(cli: &Cli) -> Result<(Vec<RouterConfig>, Source), String> {
    let (configs, source) = read_configuration(cli)?;
    for config in &configs {
        for (option, script) in [("-U", &config.up), ("-D", &config.down)] {
            if let Some(path) = script {
                script::check(path).map_err(|error| format!("{option} {error}"))?;
            }
        }
    }
    Ok((configs, source))
}

fn read_configuration(cli: &Cli) -> Result<(Vec<RouterConfig>, Source), String> {
    let Some(path) = &cli.config else {
        let config = cli.router().and_then(RouterOptions::resolve).map_err(|error| error.to_string())?;
        return Ok((vec![config], Source::CommandLine));
    };
    if let Some(flag) = cli.router_option() {
        return Err(format!("{flag}: does not go with --config; the file says what routers there are"));
    }
    Ok((read_apart(path)?, Source::File))
}

/// Reads a file in a thread, and copies what it says. What thousands of routers are parsed from lies between them in memory; the
/// allocator gives threads memory of their own, so all of that goes back to the system when the daemon has started.
fn read_apart(path: &Path) -> Result<Vec<RouterConfig>, String> {
    let read = thread::scope(|scope| scope.spawn(|| file::read(path)).join());
    let configs = read.map_err(|_| format!("{}: cannot be read", path.display()))?;
    Ok(configs.map_err(|error| error.to_string())?.clone())
}

fn run(cli: &Cli, configs: Vec<RouterConfig>, source: Source, role: Role) -> Result<(), String> {
    if role == Role::Background {
        background::detach().map_err(|error| format!("cannot leave the session: {error}"))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let local = tokio::task::LocalSet::new();
    let result = local.block_on(&runtime, async {
        let daemon = Daemon::start(configs, source, cli.directory.as_deref())
            .await
            .map_err(|error| error.to_string())?;
        if role == Role::Background {
            background::ready().map_err(|error| format!("cannot go to the background: {error}"))?;
        }
        daemon.run().await.map_err(|error| error.to_string())
    });
    // What hangs in one of its threads is not waited for.
    runtime.shutdown_background();
    result
}
