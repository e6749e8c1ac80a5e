//! An allocator that overwrites freed memory while secrets are parsed from the command line or a configuration file, so
//! that parsers leave no copies.

use std::alloc::{GlobalAlloc, Layout, System};
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};

use zeroize::Zeroize;

/// Number of current readers of secrets.
static READERS: AtomicUsize = AtomicUsize::new(0);

/// While one exists, freed memory is overwritten.
#[derive(Debug)]
pub struct Wiping(());

impl Wiping {
    /// Starts overwriting.
    pub fn begin() -> Self {
        READERS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Wiping {
    fn drop(&mut self) {
        READERS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The system's allocator, with overwriting.
#[derive(Debug)]
pub struct Allocator;

impl Allocator {
    fn is_wiping() -> bool {
        READERS.load(Ordering::Relaxed) > 0
    }
}

// SAFETY: passes all calls to the system's allocator with the same layouts, and writes only to memory that is being
// freed.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if Self::is_wiping() {
            // SAFETY: the caller gives these octets up, and they have no other owner; they need not be initialised.
            unsafe { slice::from_raw_parts_mut(start.cast::<MaybeUninit<u8>>(), layout.size()) }.zeroize();
        }
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !Self::is_wiping() {
            // SAFETY: as the caller promises.
            return unsafe { System.realloc(start, layout, size) };
        }
        // SAFETY: the caller promises that a layout with this size and alignment is valid.
        let new = unsafe { System.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both have at least this many octets, and they do not overlap. The old ones are being freed.
            unsafe {
                ptr::copy_nonoverlapping(start, new, layout.size().min(size));
                self.dealloc(start, layout);
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reallocated_memory_keeps_its_contents_while_wiping() {
        let wiping = Wiping::begin();
        let layout = Layout::from_size_align(16, 8).expect("it is legal");
        // SAFETY: the layout is not empty, memory is freed with its present layout, and only written octets are read.
        unsafe {
            let start = Allocator.alloc(layout);
            start.write_bytes(7, 16);
            let start = Allocator.realloc(start, layout, 64);
            assert_eq!(slice::from_raw_parts(start, 16), [7; 16]);
            Allocator.dealloc(start, Layout::from_size_align(64, 8).expect("it is legal"));
        }
        drop(wiping);
    }
}
