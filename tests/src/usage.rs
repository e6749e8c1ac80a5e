//! Resource usage of a process and its descendants, from the kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Sum over all existing threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time, in nanoseconds by the scheduler.
    pub cpu: Duration,
    /// Number of voluntary context switches, each with a wake-up.
    pub wake_ups: u64,
    /// Resident memory in KiB; shared pages count for each process.
    pub resident: u64,
    /// Proportional set size in KiB: shared pages are divided among their processes.
    pub proportional: u64,
    /// Resident memory without pages of files, which the system can drop and read again: heap, stacks, and mapped BPF
    /// maps; in KiB.
    pub own: u64,
}

impl Usage {
    /// Of the process with this pid and its descendants. Ended ones are not counted.
    pub fn of(pid: i32) -> Self {
        let mut sum = Self {
            resident: resident(pid),
            proportional: proportional(pid),
            own: own(pid),
            ..Self::default()
        };
        for thread in threads(pid) {
            sum.cpu += cpu(&thread);
            sum.wake_ups += wake_ups(&thread);
            for child in children(&thread) {
                let more = Self::of(child);
                sum.cpu += more.cpu;
                sum.wake_ups += more.wake_ups;
                sum.resident += more.resident;
                sum.proportional += more.proportional;
                sum.own += more.own;
            }
        }
        sum
    }

    /// The increase since `before`; memory is the present one.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            wake_ups: self.wake_ups.saturating_sub(before.wake_ups),
            resident: self.resident,
            proportional: self.proportional,
            own: self.own,
        }
    }
}

/// Time that the processors of the machine were not idle so far. Computed from the idle time, which the kernel
/// measures; busy time is sampled, and work in step with the ticks would be seen always or never.
pub fn busy_time() -> Duration {
    /// `USER_HZ`, which is part of the kernel's interface.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/stat").expect("the kernel counts");
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is such a clock"));
    let mut lines = stat.lines();
    let all = lines.next().expect("the first line is of all processors");
    let processors = lines.take_while(|line| line.starts_with("cpu")).count();
    let ticks = all.split_whitespace().skip(1).map(|field| field.parse::<u32>().ok());
    // user nice system idle iowait
    let idle: u32 = ticks.skip(3).take(2).map(|ticks| ticks.expect("a number")).sum();
    (now * u32::try_from(processors).expect("some")).saturating_sub(TICK * idle)
}

/// The live children of a process.
pub fn children_of(pid: i32) -> Vec<i32> {
    threads(pid).flat_map(|thread| children(&thread)).collect()
}

fn threads(pid: i32) -> impl Iterator<Item = PathBuf> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.map(|thread| thread.path())
}

fn cpu(thread: &Path) -> Duration {
    let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn wake_ups(thread: &Path) -> u64 {
    let status = fs::read_to_string(thread.join("status")).unwrap_or_default();
    field(&status, "voluntary_ctxt_switches:")
}

fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field(&status, "VmRSS:")
}

fn proportional(pid: i32) -> u64 {
    let sums = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    field(&sums, "Pss:")
}

fn own(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field(&status, "RssAnon:") + field(&status, "RssShmem:") + mapped_kernel_objects(pid)
}

/// Resident memory of mappings without a file, which the kernel counts as file pages.
fn mapped_kernel_objects(pid: i32) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let (mut sum, mut of_object) = (0, false);
    for line in maps.lines() {
        // A line of a mapping starts with its addresses, without a colon before the first space.
        if line.split_whitespace().next().is_some_and(|word| !word.ends_with(':')) {
            of_object = line.contains(" anon_inode:");
        } else if of_object {
            sum += field(line, "Rss:");
        }
    }
    sum
}

fn children(thread: &Path) -> Vec<i32> {
    let text = fs::read_to_string(thread.join("children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The number after a name in a `status` file of `/proc`; 0 if it is missing.
fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
