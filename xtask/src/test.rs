//! Runs every test with the release version of the daemon; tests that depend on the data path run with each.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use vrrpd_lab::needs;

use crate::{cargo, ebpf, setup};

/// Number of tests at once, more than cores, since tests in a laboratory mostly wait for timers; with more, the
/// machines of a laboratory become late.
const THREADS: &str = "4";

/// A test that fails because of a busy machine passes when it runs alone. With more failures than this, another cause
/// is likely.
const MOST_RUN_AGAIN: usize = 5;

/// Lines of a failed test's output that are repeated at the end.
const LINES_REPEATED: usize = 20;

/// Laboratory test files that depend on the data path.
const OF_EVERY_DATAPATH: [&str; 22] = [
    "addresses",
    "ah",
    "auth",
    "control",
    "election",
    "group",
    "group_processes",
    "guardian",
    "handover",
    "keepalived",
    "link",
    "other_interfaces",
    "outsiders",
    "priority",
    "rejects",
    "reload",
    "reload_refused",
    "scale",
    "vmac",
    "vmac_interfaces",
    "vmac_owner",
    "wire",
];

/// The ones to run with generic XDP, which uses the same program as native XDP.
const OF_GENERIC: [&str; 5] = ["election", "handover", "link", "outsiders", "rejects"];

/// Options of `cargo test` that select something other than laboratory tests.
const OTHER_TARGETS: [&str; 8] =
    ["-p", "--package", "--lib", "--bin", "--bins", "--doc", "--example", "--examples"];

/// Options of `cargo xtask test`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run with this data path only (repeatable): raw runs every test, the others those that depend on it
    #[arg(long = "datapath", value_name = "PATH")]
    datapaths: Vec<Datapath>,

    /// Build the BPF programs first, if there is a toolchain, and test these
    #[arg(long)]
    fresh_object: bool,

    /// Passed on to `cargo test`: a filter on test names, `--test election`, `-- --nocapture`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The data path of the tests' daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Datapath {
    Raw,
    Generic,
    Native,
    Tcx,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(needs::is_root(), "the tests make network namespaces, which needs root: run as root");
    let start = Instant::now();
    setup::everything()?;
    let objects = if options.fresh_object { ebpf::fresh()? } else { None };
    let binaries = cargo::build_release(objects.as_deref())?;
    let mut failed = Vec::new();
    for datapath in [Datapath::Raw, Datapath::Generic, Datapath::Native, Datapath::Tcx] {
        if !options.datapaths.is_empty() && !options.datapaths.contains(&datapath) {
            continue;
        }
        let Some(arguments) = datapath.arguments(&options.arguments) else { continue };
        let began = Instant::now();
        // The other data paths still run: a failure with only one of them is informative.
        let failure = run_with(datapath, &arguments, &binaries, objects.as_deref())?;
        println!("cargo xtask test: data path {}: {} s", datapath.name(), began.elapsed().as_secs());
        failed.extend(failure.map(|failure| (datapath.name(), failure)));
    }
    // The output of all tests is long, and a record of it may have only its end.
    for (datapath, failure) in &failed {
        println!("cargo xtask test: data path {datapath}: {}", failure.reason);
        failure.output.iter().for_each(|line| println!("{line}"));
    }
    let datapaths: Vec<_> = failed.iter().map(|(datapath, _)| *datapath).collect();
    ensure!(datapaths.is_empty(), "tests failed with data path {}", datapaths.join(", "));
    println!("cargo xtask test: passed in {} s", start.elapsed().as_secs());
    Ok(())
}

/// Why the tests of a data path failed, and what the failed tests said.
struct Failure {
    reason: String,
    output: Vec<String>,
}

fn run_with(
    datapath: Datapath,
    arguments: &[String],
    binaries: &Path,
    objects: Option<&Path>,
) -> Result<Option<Failure>> {
    let mut command = cargo::cargo(&["test", "--no-fail-fast"]);
    command.args(arguments);
    command.env("VRRPD_LAB_BINARIES", binaries).env("VRRPD_LAB_DATAPATH", datapath.name());
    command.envs(objects.map(|objects| (cargo::BPF_OBJECTS, objects)));
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        command.env("RUST_TEST_THREADS", THREADS);
    }
    let (passed, said) = cargo::run_telling(&mut command)?;
    if passed {
        return Ok(None);
    }
    let failed = failed_in(&said);
    if !(1..=MOST_RUN_AGAIN).contains(&failed.len()) {
        let reason = format!("{} failed (tests that say so: {})", cargo::shown(&command), failed.len());
        return Ok(Some(Failure { reason, output: output_of_failed(&said) }));
    }
    println!("cargo xtask test: run once more, alone: {}", failed.join(", "));
    let (_, said_alone) = cargo::run_telling(&mut alone(&command, &failed))?;
    let still: Vec<_> =
        failed.iter().filter(|test| !said_alone.contains(&format!("test {test} ... ok"))).cloned().collect();
    if still.is_empty() {
        println!("cargo xtask test: failed beside others, passed alone: {}", failed.join(", "));
        return Ok(None);
    }
    let reason = format!("failed beside others and alone: {}", still.join(", "));
    Ok(Some(Failure { reason, output: output_of_failed(&said_alone) }))
}

/// The first lines that each failed test has printed, below its name.
fn output_of_failed(said: &[String]) -> Vec<String> {
    let of_one = said.chunk_by(|_, line| !is_start_of_output(line) && line != "failures:");
    let of_failed = of_one.filter(|lines| lines.first().is_some_and(|line| is_start_of_output(line)));
    of_failed.flat_map(|lines| lines.iter().take(LINES_REPEATED)).cloned().collect()
}

/// Whether a line is the header that `cargo test` puts over the output of a failed test.
fn is_start_of_output(line: &str) -> bool {
    line.starts_with("---- ") && line.ends_with(" stdout ----")
}

/// The names of failed tests; empty if a test program ended without a result.
fn failed_in(said: &[String]) -> Vec<String> {
    let of = |start: &str| said.iter().filter(|line| line.starts_with(start)).count();
    if of("running ") != of("test result: ") {
        return Vec::new();
    }
    let failed = said.iter().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    failed.map(str::to_owned).collect()
}

/// The same cargo command with only these tests, one after the other.
fn alone(all: &Command, tests: &[String]) -> Command {
    let mut command = cargo::cargo(&[]);
    command.args(all.get_args().take_while(|word| *word != "--"));
    command.args(["--", "--exact", "--test-threads=1"]).args(tests);
    command.envs(all.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

impl Datapath {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Generic => "generic",
            Self::Native => "native",
            Self::Tcx => "tcx",
        }
    }

    /// The arguments of `cargo test` within the user's choice; `None`: nothing to run.
    fn arguments(self, chosen: &[String]) -> Option<Vec<String>> {
        match self {
            Self::Raw => Some([&["--workspace".to_owned()], chosen].concat()),
            Self::Native | Self::Tcx => depending(chosen, &OF_EVERY_DATAPATH),
            Self::Generic => depending(chosen, &OF_GENERIC),
        }
    }
}

/// The user's arguments, restricted to tests that depend on the data path; `None` if that leaves none.
fn depending(chosen: &[String], all: &[&str]) -> Option<Vec<String>> {
    let (mut tests, mut rest) = (Vec::new(), Vec::new());
    let mut words = chosen.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            rest.push(word.clone());
            rest.extend(words.by_ref().cloned());
        } else if word == "--test" {
            tests.extend(words.next().map(String::as_str));
        } else if let Some(test) = word.strip_prefix("--test=") {
            tests.push(test);
        } else if OTHER_TARGETS.contains(&word.split('=').next().unwrap_or_default()) {
            return None;
        } else {
            rest.push(word.clone());
        }
    }
    let is_chosen = |test: &&&str| tests.is_empty() || tests.contains(*test);
    let tests = all.iter().filter(is_chosen);
    let mut arguments: Vec<String> =
        tests.flat_map(|test| ["--test".to_owned(), (*test).to_owned()]).collect();
    if arguments.is_empty() {
        return None;
    }
    arguments.extend(rest);
    Some([vec!["--package".to_owned(), "vrrpd-tests".to_owned()], arguments].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depending_of(chosen: &str) -> Option<String> {
        let words: Vec<_> = chosen.split_whitespace().map(str::to_owned).collect();
        depending(&words, &OF_EVERY_DATAPATH).map(|arguments| arguments.join(" "))
    }

    #[test]
    fn the_user_s_selection_is_narrowed_to_tests_of_the_data_path() {
        let all = depending_of("owner -- --nocapture").expect("some");
        assert!(all.starts_with("--package vrrpd-tests --test addresses --test ah --test auth"), "{all}");
        assert!(all.ends_with("--test wire owner -- --nocapture"), "{all}");
        assert_eq!(
            depending_of("--test link --test cli --test=wire owner").as_deref(),
            Some("--package vrrpd-tests --test link --test wire owner")
        );
    }

    fn lines(said: &str) -> Vec<String> {
        said.lines().map(str::to_owned).collect()
    }

    #[test]
    fn tests_that_failed_are_known_by_name() {
        let said = "running 2 tests\ntest late ... FAILED\ntest soon ... ok\n\nfailures:\n    late\n\n\
                    test result: FAILED. 1 passed; 1 failed\nrunning 1 test\ntest next ... ok\ntest result: ok. 1 passed";
        assert_eq!(failed_in(&lines(said)), ["late"]);
    }

    #[test]
    fn output_of_failed_tests_is_repeated_without_the_rest() {
        let said = "test late ... FAILED\n\nfailures:\n\n---- late stdout ----\nNot Master in time.\n\n\
                    ---- lost stdout ----\nNo advert.\n\nfailures:\n    late\n    lost\n";
        let output = "---- late stdout ----\nNot Master in time.\n\n---- lost stdout ----\nNo advert.\n";
        assert_eq!(output_of_failed(&lines(said)), lines(&format!("{output}\n")));
    }

    #[test]
    fn tests_of_a_program_that_crashed_are_not_known() {
        let said = "running 2 tests\ntest late ... FAILED\ntest result: FAILED. 1 failed\nrunning 1 test\n";
        assert_eq!(failed_in(&lines(said)), [""; 0]);
    }

    #[test]
    fn tests_that_run_alone_are_the_same_programs_with_the_same_environment() {
        let mut all = Command::new("cargo");
        all.args(["test", "--no-fail-fast", "--test", "link", "--", "--nocapture"]).env("DATAPATH", "raw");
        let alone = alone(&all, &["late".to_owned()]);
        assert_eq!(
            cargo::shown(&alone).split_once(' ').expect("has words").1,
            "test --no-fail-fast --test link -- --exact --test-threads=1 late"
        );
        assert!(alone.get_envs().any(|set| set == ("DATAPATH".as_ref(), Some("raw".as_ref()))));
    }

    #[test]
    fn nothing_runs_again_when_nothing_chosen_depends_on_the_data_path() {
        for chosen in ["--test cli", "--package vrrpd-common", "-p vrrpd owner", "--lib", "--doc"] {
            assert_eq!(depending_of(chosen), None, "{chosen}");
        }
    }
}
