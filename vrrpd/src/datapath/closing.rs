//! What the kernel takes its time to let go of: a packet socket is gone when every processor has passed by, ten
//! milliseconds later, or some hundred where much else is going away. Other interfaces have adverts to send meanwhile.

use std::thread;

const STACK: usize = 64 << 10;
/// Threads that wait for the kernel at the same time.
const AT_ONCE: usize = 32;

/// Lets go of something in a thread of its own; where there can be none, here and now.
pub fn let_go(of: impl Send + 'static) {
    // A thread that cannot be started drops what it was to do.
    drop(thread::Builder::new().name("closing".into()).stack_size(STACK).spawn(move || drop(of)));
}

/// Lets go of many things, and waits until they are gone: what waits for the same processors does so at the same time.
pub fn let_go_of_all(mut all: Vec<impl Send>) {
    let share = all.len().div_ceil(AT_ONCE).max(1);
    thread::scope(|scope| {
        while !all.is_empty() {
            let some = all.split_off(all.len().saturating_sub(share));
            let closing = thread::Builder::new().name("closing".into()).stack_size(STACK);
            drop(closing.spawn_scoped(scope, move || drop(some)));
        }
    });
}
