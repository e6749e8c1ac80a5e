//! What a process and its descendants have cost up to now, as the kernel counts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Of all threads that are there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time on a processor, by the scheduler's count in nanoseconds.
    pub cpu: Duration,
    /// Times that a thread has gone to sleep, and so been woken: voluntary context switches.
    pub wake_ups: u64,
    /// Resident memory in KiB; pages that processes share are counted for each.
    pub resident: u64,
    /// The same with pages that processes share counted once, in parts for each of them; in KiB.
    pub proportional: u64,
    /// What of it is not a page of a file, which the system can drop and read again: heap, stacks, and the kernel's maps
    /// where they are mapped; in KiB.
    pub own: u64,
}

impl Usage {
    /// Of the process with this id and all that it has started, as they are now. What has ended is not counted.
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

    /// What came since `before`; memory as it is now.
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

/// Time that the processors of the machine were not idle up to now, in whatever context. Told by what they were idle, which the
/// kernel measures: what they do it samples, and who works in step with its ticks is always seen or never.
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

/// The processes that a process has started and that have not ended.
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

/// Resident memory of mapped objects that are no files, which the kernel counts with those of files.
fn mapped_kernel_objects(pid: i32) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let (mut sum, mut of_object) = (0, false);
    for line in maps.lines() {
        // A mapping begins with its addresses, which have no colon before the first space.
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

/// The number behind a name in a `status` file of `/proc`; 0 where there is none.
fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
