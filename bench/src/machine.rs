//! The machine that the figures were measured on.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};
use vrrpd_lab::{binary, needs};

/// The machine, the versions of the compared programs, and other load.
#[derive(Debug)]
pub(crate) struct Machine {
    kernel: String,
    processor: String,
    cores: usize,
    vrrpd: String,
    keepalived: String,
    date: String,
    load: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            processor: model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.trim().to_owned()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            vrrpd: said(Command::new(binary("vrrpd")).arg("--version")),
            keepalived: said(Command::new(needs::KEEPALIVED.require()).arg("--version")),
            date: said(Command::new("date").args(["--utc", "--iso-8601=minutes"])),
            load: load(),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "kernel": self.kernel, "processor": self.processor, "cores": self.cores, "vrrpd": self.vrrpd,
            "keepalived": self.keepalived, "date": self.date, "load_average": self.load,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; Linux {}, {} cores of {}; {}; {}; load average {}",
            self.date, self.kernel, self.cores, self.processor, self.vrrpd, self.keepalived, self.load
        )
    }
}

/// Present load of the machine.
pub(crate) fn load() -> String {
    read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The first line of a program's output, on stdout or stderr, up to a parenthesis.
fn said(command: &mut Command) -> String {
    let Ok(output) = command.output() else { return "unknown".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or("unknown");
    line.split('(').next().unwrap_or(line).trim().to_owned()
}
