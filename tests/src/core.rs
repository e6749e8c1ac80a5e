//! The memory of a process that a core file would contain.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

/// The writable memory of a process, by mapping, without mappings marked as not to be dumped: what the kernel writes
/// into a core file.
///
/// This process must be permitted to trace it.
pub fn dumped_memory(pid: i32) -> Vec<Vec<u8>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("the process runs");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("root may read it");
    let mut pieces = Vec::new();
    let mut range = None;
    for line in maps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let is_dumped = flags.split(' ').any(|flag| flag == "wr") && !flags.contains(" dd");
            if let Some((start, length)) = range.filter(|_| is_dumped) {
                let mut piece = vec![0; length];
                // A mapping removed meanwhile is not dumped either.
                if memory.read_exact_at(&mut piece, start).is_ok() {
                    pieces.push(piece);
                }
            }
        } else if let Some(found) = range_of(line) {
            range = Some(found);
        }
    }
    assert!(pieces.len() > 2, "a process has a heap and a stack");
    pieces
}

/// Start and length of a mapping, from its first line.
fn range_of(line: &str) -> Option<(u64, usize)> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let [start, end] = [start, end].map(|number| u64::from_str_radix(number, 16));
    let (start, end) = (start.ok()?, end.ok()?);
    Some((start, usize::try_from(end.checked_sub(start)?).ok()?))
}
