//! Closes and makes, in other threads, what the kernel is slow with: a packet socket is gone after an RCU grace period, ten
//! milliseconds later, or hundreds under load, and so is a ring there. Other interfaces must be able to send meanwhile.

use std::thread;

const STACK: usize = 64 << 10;
/// Maximum number of threads that wait for the kernel at the same time.
const AT_ONCE: usize = 32;

/// Drops a value in another thread, or synchronously if there can be none.
pub fn let_go(of: impl Send + 'static) {
    aside("closing", move || drop(of));
}

/// Runs a job in another thread of this name. If there can be none, the job is dropped.
pub fn aside(name: &str, job: impl FnOnce() + Send + 'static) {
    drop(thread::Builder::new().name(name.into()).stack_size(STACK).spawn(job));
}

/// Drops many values in parallel, and waits until they are gone.
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
