//! The kernel's records of virtual routers, mapped into memory.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use vrrpd_common::abi::{RouterRecord, SLOTS};

/// How often a record that changes under our eyes is read again. The kernel changes one within a microsecond.
const ATTEMPTS: usize = 10_000;

/// The records of an interface, read without a system call.
#[derive(Debug)]
pub struct Records {
    start: NonNull<RouterRecord>,
}

const LEN: usize = SLOTS * size_of::<RouterRecord>();

impl Records {
    /// Maps the map behind `map`, which must be an array of [`SLOTS`] records that may be mapped.
    pub fn map(map: BorrowedFd<'_>) -> io::Result<Self> {
        use std::os::fd::AsRawFd as _;
        let length = LEN.next_multiple_of(page_size());
        // SAFETY: a new mapping at a place that the kernel chooses; nothing else is changed.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        match NonNull::new(start) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED => Ok(Self { start: start.cast() }),
            Some(_) | None => Err(io::Error::last_os_error()),
        }
    }

    /// The record at `slot`, whole; `None` where there is none, or where it changes all the time.
    pub fn read(&self, slot: u32) -> Option<RouterRecord> {
        let slot = usize::try_from(slot).ok().filter(|slot| *slot < SLOTS)?;
        // SAFETY: the mapping holds SLOTS records.
        let record = unsafe { self.start.add(slot) };
        // SAFETY: the sequence is inside that record, aligned, and the kernel changes it by atomic operations only.
        let sequence = unsafe { AtomicU64::from_ptr((&raw const (*record.as_ptr()).sequence).cast_mut()) };
        let mut attempts = 0;
        loop {
            let before = sequence.load(Ordering::Acquire);
            // SAFETY: inside the mapping; any octets are a record, and one that changed meanwhile is not used.
            let copy = unsafe { record.as_ptr().read_volatile() };
            fence(Ordering::Acquire);
            attempts += 1;
            if before.is_multiple_of(2) && sequence.load(Ordering::Relaxed) == before {
                return Some(copy);
            }
            if attempts == ATTEMPTS {
                return None;
            }
            std::hint::spin_loop();
        }
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, which nobody refers to any more. That it fails is of no consequence.
        unsafe { libc::munmap(self.start.as_ptr().cast(), LEN.next_multiple_of(page_size())) };
    }
}

fn page_size() -> usize {
    // SAFETY: no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}
