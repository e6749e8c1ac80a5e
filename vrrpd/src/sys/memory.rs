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
