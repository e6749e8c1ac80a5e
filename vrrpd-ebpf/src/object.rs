//! Common parts of every object.

/// Required by helpers that the kernel allows only under a GPL-compatible licence.
// SAFETY: loaders read this section as a string, and it contains nothing else.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Nothing here panics, but the language requires a handler.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
