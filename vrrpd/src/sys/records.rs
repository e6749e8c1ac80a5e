//! The kernel's records of virtual routers, mapped into memory.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use vrrpd_common::abi::RouterRecord;

/// How often a record that changes during the read is read again. The kernel changes one within a microsecond.
const ATTEMPTS: usize = 10_000;

/// Records mapped together. Most processes have a few routers, and each mapped page delays the end of a killed process.
pub const BLOCK: usize = 16;

/// The records of virtual routers, read without system calls once mapped.
#[derive(Debug)]
pub struct Records {
    map: OwnedFd,
    /// Number of records.
    len: usize,
    blocks: Box<[OnceLock<Block>]>,
}

/// [`BLOCK`] records, with the rest of their pages.
#[derive(Debug)]
struct Block {
    pages: NonNull<u8>,
    len: usize,
    /// Octets before the first record.
    offset: usize,
}

impl Records {
    /// The records in `map`, which must be a mappable array of `len` records.
    pub fn of(map: BorrowedFd<'_>, len: u32) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        let blocks = (0..len.div_ceil(BLOCK)).map(|_| OnceLock::new()).collect();
        Ok(Self { map: map.try_clone_to_owned()?, len, blocks })
    }

    /// Number of records.
    pub fn count(&self) -> u32 {
        u32::try_from(self.len).unwrap_or(u32::MAX)
    }

    /// Maps the record at this index.
    pub fn open(&self, index: u32) -> io::Result<()> {
        self.record(index).map(drop)
    }

    fn record(&self, index: u32) -> io::Result<NonNull<RouterRecord>> {
        let index = usize::try_from(index)
            .ok()
            .filter(|index| *index < self.len)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let (number, place) = (index / BLOCK, index % BLOCK);
        let cell = self.blocks.get(number).ok_or(io::ErrorKind::InvalidInput)?;
        let block = if let Some(block) = cell.get() {
            block
        } else {
            let mapped = Block::map(self.map.as_fd(), number * BLOCK, self.len)?;
            cell.get_or_init(|| mapped)
        };
        // SAFETY: the block holds BLOCK records from `offset` on, and `place` is one of them.
        Ok(unsafe { block.pages.add(block.offset).cast::<RouterRecord>().add(place) })
    }

    /// A consistent copy of the record at `index`; `None` if there is no such record, it cannot be mapped, or it changes
    /// all the time.
    pub fn read(&self, index: u32) -> Option<RouterRecord> {
        let record = self.record(index).ok()?;
        // SAFETY: the sequence is within that record and aligned, and the kernel changes it atomically only.
        let sequence = unsafe { AtomicU64::from_ptr((&raw const (*record.as_ptr()).sequence).cast_mut()) };
        let mut attempts = 0;
        loop {
            let before = sequence.load(Ordering::Acquire);
            // SAFETY: within the mapping; any octets are a valid record, and one that changed during the read is not
            // used.
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

impl Block {
    /// Maps the block starting with the record `first`, of an array of `all` records.
    fn map(map: BorrowedFd<'_>, first: usize, all: usize) -> io::Result<Self> {
        let page = page_size();
        let (begin, end) =
            (first * size_of::<RouterRecord>(), (first + BLOCK).min(all) * size_of::<RouterRecord>());
        let from = begin - begin % page;
        let len = end.next_multiple_of(page) - from;
        let position = libc::off_t::try_from(from).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let pages = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                position,
            )
        };
        match NonNull::new(pages) {
            Some(pages) if pages.as_ptr() != libc::MAP_FAILED => {
                Ok(Self { pages: pages.cast(), len, offset: begin - from })
            }
            Some(_) | None => Err(io::Error::last_os_error()),
        }
    }
}

// SAFETY: the mapping belongs to no thread.
unsafe impl Send for Block {}
// SAFETY: the mapping is only read, by `Records::read`, which copes with changes by the kernel.
unsafe impl Sync for Block {}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, to which there are no references any more. An error has no consequence.
        unsafe { libc::munmap(self.pages.as_ptr().cast(), self.len) };
    }
}

/// Octets of a page.
pub fn page_size() -> usize {
    // SAFETY: no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}
