//! Memory that was needed for the start only, and memory that the kernel needs at hand.

/// Gives back to the system what the allocator keeps for later: loading the program takes some megabytes once.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; it moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Takes some pages from the system and gives them back at once, so that this processor has free pages at hand. The
/// kernel makes a program's timer without waiting for memory: of what the processor has at hand, or not at all.
pub fn circulate() {
    const LEN: usize = 1 << 20;
    const PAGE: usize = 4096;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at a place that the kernel chooses; nothing else is changed.
    let start =
        unsafe { libc::mmap(std::ptr::null_mut(), LEN, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return;
    }
    for page in (0..LEN).step_by(PAGE) {
        // SAFETY: inside the mapping just made.
        unsafe { start.cast::<u8>().add(page).write_volatile(1) };
    }
    // SAFETY: the mapping made above, to which nothing refers.
    unsafe { libc::munmap(start, LEN) };
}
