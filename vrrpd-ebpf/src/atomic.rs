//! The atomic operations needed; the language has none for this target.

use core::arch::asm;

/// Adds one. Nothing before it is seen after it by another processor, and the other way round: operations that give
/// back the old value are full barriers to the kernel.
///
/// # Safety
/// `number` points to a number in a map's element.
#[inline(always)]
pub unsafe fn increment(number: *mut u64) {
    // SAFETY: the number is there, and the instruction touches nothing else.
    unsafe {
        asm!(
            "{old} = atomic_fetch_add((u64 *)({number} + 0), {old})",
            number = in(reg) number,
            old = inout(reg) 1_u64 => _,
        );
    }
}

/// Nothing before it is seen after what is behind it.
#[inline(always)]
pub fn fence() {
    let mut number = 0;
    // SAFETY: it is there.
    unsafe { increment(&raw mut number) }
}
