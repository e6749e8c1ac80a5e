//! Memory for passwords and keys: excluded from core files, not swapped out if permitted, and overwritten after use.

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroize;

/// Maximum length of a secret in octets.
pub const MAX_LEN: usize = 64;
/// Octets requested from the system at once.
const PIECE: usize = 4096;

type Octets = [u8; MAX_LEN];

/// A secret of at most [`MAX_LEN`] octets, padded with zeros. Clones share the same memory.
#[derive(Clone)]
pub struct Secret(Arc<Locked>);

/// A block of such memory with one owner.
struct Locked(NonNull<Octets>);

// SAFETY: the block is written only before it is shared and after the last share is gone; in between it is only read.
unsafe impl Send for Locked {}
// SAFETY: as above.
unsafe impl Sync for Locked {}

/// A free block, filled with zeros.
struct Free(NonNull<Octets>);

// SAFETY: a block has one owner.
unsafe impl Send for Free {}

/// Free blocks; memory is never returned to the system.
static FREE: Mutex<Vec<Free>> = Mutex::new(Vec::new());

impl Secret {
    /// Copies a secret; `None` if it is too long.
    pub fn new(octets: &[u8]) -> Option<Self> {
        if octets.len() > MAX_LEN {
            return None;
        }
        let place = Locked::take();
        // SAFETY: the block has this many octets and one owner, and does not overlap `octets`.
        unsafe { ptr::copy_nonoverlapping(octets.as_ptr(), place.0.as_ptr().cast(), octets.len()) };
        Some(Self(Arc::new(place)))
    }

    /// The secret, for the duration of its use.
    pub fn expose(&self) -> &Octets {
        // SAFETY: the block is initialised, is only read while it holds a secret, and stays mapped.
        unsafe { self.0.0.as_ref() }
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Locked {
    /// Takes a block filled with zeros.
    fn take() -> Self {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Free(place)) = free.pop() {
            return Self(place);
        }
        let piece = map();
        for number in 1..PIECE / MAX_LEN {
            // SAFETY: within the mapping.
            free.push(Free(unsafe { piece.add(number) }));
        }
        Self(piece)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: the block has no other owner.
        unsafe { self.0.as_mut() }.zeroize();
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(Free(self.0));
    }
}

/// Maps memory that core files exclude.
fn map() -> NonNull<Octets> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let start =
        unsafe { libc::mmap(ptr::null_mut(), PIECE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    let Some(piece) = NonNull::new(start).filter(|start| start.as_ptr() != libc::MAP_FAILED) else {
        handle_alloc_error(Layout::new::<[u8; PIECE]>());
    };
    // SAFETY: both concern the mapping made above, and do not change its contents. If the second is not permitted, the
    // secret may be swapped out.
    unsafe {
        libc::madvise(start, PIECE, libc::MADV_DONTDUMP);
        libc::mlock(start, PIECE);
    }
    piece.cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_of_a_secret_is_overwritten_and_used_again() {
        let secret = Secret::new(b"sesame").expect("it is short");
        let clone = secret.clone();
        assert_eq!((&clone.expose()[..6], clone.expose()[6]), (&b"sesame"[..], 0));
        let place = secret.0.0;
        drop(secret);
        assert_eq!(clone, Secret::new(b"sesame\0\0").expect("it is short"));
        drop(clone);
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(free.iter().any(|free| free.0 == place));
        // SAFETY: it stays mapped, and no other thread can take it while the list is locked.
        assert_eq!(unsafe { place.as_ref() }, &[0; MAX_LEN]);
        drop(free);
        assert_eq!(Secret::new(&[1; MAX_LEN + 1]), None);
    }

    #[test]
    fn secrets_are_in_memory_that_core_files_leave_out() {
        let secret = Secret::new(b"sesame").expect("it is short");
        let at = secret.expose().as_ptr().addr();
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("it can be read");
        let mut is_in = false;
        let flags = maps.lines().find_map(|line| {
            if let Some((range, _)) = line.split_once(' ')
                && let Some((start, end)) = range.split_once('-')
                && let (Ok(start), Ok(end)) =
                    (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
            {
                is_in = (start..end).contains(&at);
            }
            line.strip_prefix("VmFlags:").filter(|_| is_in)
        });
        assert!(flags.expect("it is mapped").split(' ').any(|flag| flag == "dd"), "{flags:?}");
    }
}
