//! Memory that is needed for a moment only.

/// Gives back to the system what the allocator keeps for later: loading the program takes some megabytes once, and so does
/// telling a client of thousands of routers.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; it moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the allocator keep no more than a little for later. By itself it comes to keep as much as the largest piece that was
/// freed, and what a thread has freed it gives back only on this account.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; both values are legal.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 10);
    }
}
