//! An allocator that overwrites freed memory while secrets are read from the command line or a configuration file, so that
//! parsers leave no copies of them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};

use zeroize::Zeroize;

/// Those who read secrets at the moment.
static READERS: AtomicUsize = AtomicUsize::new(0);

/// While there is one, freed memory is overwritten.
#[derive(Debug)]
pub struct Wiping(());

impl Wiping {
    /// From now on.
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

/// The system's allocator, but for that.
#[derive(Debug)]
pub struct Allocator;

impl Allocator {
    fn is_wiping() -> bool {
        READERS.load(Ordering::Relaxed) > 0
    }
}

// SAFETY: it hands out and takes back what the system's allocator does, with the same layouts, and changes only what is freed.
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
            // SAFETY: the caller gives these octets up, and nobody else has them; they need not be initialised.
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
        // SAFETY: the caller promises that a layout of this size and alignment is legal.
        let new = unsafe { System.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both have at least so many octets, and the new ones are nobody's yet. The old ones are given up.
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
    fn what_grows_while_secrets_are_read_keeps_its_contents() {
        let wiping = Wiping::begin();
        let layout = Layout::from_size_align(16, 8).expect("it is legal");
        // SAFETY: the layout has a size, what is handed out is given back with the layout that it has then, and only what was
        // written is read.
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
