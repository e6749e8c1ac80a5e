//! A virtual machine without hardware acceleration, which is not available everywhere.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use vrrpd_lab::needs::Program;

use super::cards::{self, Card};

pub(super) const QEMU: Program = Program { name: "qemu-system-x86_64", package: "qemu-system-x86" };

/// Number of processors of the guest; more than one, to test races between them.
const PROCESSORS: &str = "2";
const MEMORY: &str = "1024";
/// A panic ends the machine at once, and an oops is a panic; slow probing of emulated hardware is disabled; the
/// processor's random numbers are trusted, since waiting for entropy would take long.
const COMMAND_LINE: &str = "rdinit=/init console=ttyS0 loglevel=5 panic=-1 oops=panic mitigations=off nokaslr \
     no_timer_check tsc=reliable random.trust_cpu=on audit=0 apparmor=0 cryptomgr.notests";
/// Exit code of `timeout` when it had to end the program.
const TIMED_OUT: i32 = 124;
/// Number of kernel log lines shown when a machine has died.
const LAST_LINES: usize = 30;
/// The kernel's message for a breakpoint that it has not set.
const BREAKPOINT: &str = "int3: 0000";

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All jobs have run.
    Over,
    /// A bug of the emulator. The kernel patches its own code while other processors run, with a temporary breakpoint;
    /// QEMU may let a processor run into it after it was removed, and the kernel panics.
    StaleBreakpoint,
}

/// Runs a machine with its jobs from `first` on, and hands each line of its second serial port to `line`. The kernel
/// log is in `console`. An error if it had to be ended, or ended without [`super::END`], unless the emulator's bug
/// caused that.
pub(super) fn run(
    image: &Path,
    initramfs: &Path,
    console: &Path,
    cards: &[Card],
    first: usize,
    limit: Duration,
    mut line: impl FnMut(&str),
) -> Result<End> {
    // Ends the machine even if this process is killed.
    let mut command = Command::new("timeout");
    command.args(["--foreground", "--kill-after=5", &limit.as_secs().to_string()]);
    command.arg(QEMU.require());
    command.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-smp", PROCESSORS, "-m", MEMORY]);
    // Features of newer processors that only cost time in emulation: five-level page tables, and PCID.
    command.args(["-cpu", "max,-la57,-pcid"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.arg("-kernel").arg(image).arg("-initrd").arg(initramfs);
    command.args(["-append", &format!("{COMMAND_LINE} FIRST_JOB={first}")]);
    command.arg("-serial").arg(format!("file:{}", console.display())).args(["-serial", "stdio"]);
    if !cards.is_empty() {
        command.args(cards::options(cards)?);
        // The path of the monitor's socket must be short.
        let directory = console.with_extension("d");
        fs::create_dir_all(&directory)?;
        command.current_dir(directory);
    }
    let errors = console.with_extension("errors");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&errors)?);
    let mut child = command.spawn().context("timeout (coreutils) cannot be run")?;
    let output = child.stdout.take().context("its output is piped")?;
    let mut ended = false;
    for octets in BufReader::new(output).split(b'\n') {
        let text = String::from_utf8_lossy(&octets?).into_owned();
        let text = text.trim_end_matches('\r');
        ended |= text == super::END;
        line(text);
    }
    let status = child.wait()?;
    if status.code() == Some(TIMED_OUT) {
        bail!(
            "the machine has not ended in {} s; the kernel's log is in {}",
            limit.as_secs(),
            console.display()
        );
    }
    if !ended {
        let log = String::from_utf8_lossy(&fs::read(console).unwrap_or_default()).into_owned();
        let lines: Vec<_> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
            eprintln!("{line}");
        }
        eprint!("{}", fs::read_to_string(&errors).unwrap_or_default());
        if log.contains(BREAKPOINT) {
            return Ok(End::StaleBreakpoint);
        }
        let panicked = lines.iter().find(|line| line.contains("Kernel panic"));
        bail!("the machine died before its tests were over: {}", panicked.unwrap_or(&"it gives no reason"));
    }
    ensure!(status.success(), "QEMU failed ({status}): {}", fs::read_to_string(&errors).unwrap_or_default());
    Ok(End::Over)
}
