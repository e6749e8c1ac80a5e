//! What the kernel takes its time to let go of: a packet socket is gone when every processor has passed by, ten
//! milliseconds later, or some hundred where much else is going away. Other interfaces have adverts to send meanwhile.

use std::thread;

const STACK: usize = 64 << 10;

/// Lets go of something in a thread of its own; where there can be none, here and now.
pub fn let_go(of: impl Send + 'static) {
    // A thread that cannot be started drops what it was to do.
    drop(thread::Builder::new().name("closing".into()).stack_size(STACK).spawn(move || drop(of)));
}
