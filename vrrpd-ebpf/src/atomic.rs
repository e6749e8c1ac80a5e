//! Atomic operations, which the language does not have for this target.

use core::arch::asm;

/// Adds one, as a full barrier: atomic operations that return the old value are full barriers in the kernel.
///
/// # Safety
/// `number` points to a number in an element of a map.
#[inline(always)]
pub unsafe fn increment(number: *mut u64) {
    // SAFETY: the number exists, and the instruction accesses nothing else.
    unsafe {
        asm!(
            "{old} = atomic_fetch_add((u64 *)({number} + 0), {old})",
            number = in(reg) number,
            old = inout(reg) 1_u64 => _,
        );
    }
}

/// A full barrier: no access is reordered across it.
#[inline(always)]
pub fn fence() {
    let mut number = 0;
    // SAFETY: it is on the stack.
    unsafe { increment(&raw mut number) }
}
