//! What every object has, whichever programs are in it.

/// For the helpers that the kernel allows to programs under a GPL-compatible licence only.
// SAFETY: the section is one that the kernel's loaders read as a string, and nothing else is in it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Nothing here can panic; the language wants a handler all the same.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
