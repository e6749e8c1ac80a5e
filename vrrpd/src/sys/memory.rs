//! Memory that was needed for the start only.

/// Gives back to the system what the allocator keeps for later: loading the program takes some megabytes once.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; it moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
