//! Notices the end of another process's thread at once: a robust mutex in shared memory, which the thread holds as long
//! as it lives. The kernel passes it to the waiter before it frees the memory of the process and closes its files,
//! which takes milliseconds if they are large.

use std::io;
use std::ptr::{NonNull, null_mut};

use libc::{c_int, pthread_mutex_t};

/// The mutex, in shared memory that is never unmapped.
#[derive(Clone, Copy, Debug)]
pub struct Lifeline(NonNull<pthread_mutex_t>);

// SAFETY: a process-shared mutex may be used by any thread, and the memory stays mapped.
unsafe impl Send for Lifeline {}
// SAFETY: as above.
unsafe impl Sync for Lifeline {}

/// The result of waiting for a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The thread has ended.
    Ended,
    /// Unknown: the C library does not support robust mutexes.
    Unknown,
}

impl Lifeline {
    /// A mutex that this thread holds until its end. Processes forked from now on can wait for that. Its memory, one
    /// page, is never freed, since the thread holds the mutex to the end.
    pub fn of_this_thread() -> io::Result<Self> {
        // SAFETY: a new mapping at an address that the kernel chooses.
        let page = unsafe {
            libc::mmap(
                null_mut(),
                size_of::<pthread_mutex_t>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mutex = NonNull::new(page.cast::<pthread_mutex_t>()).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: zeros are a valid value of this type, and it is initialised before use.
        let mut attributes: libc::pthread_mutexattr_t = unsafe { std::mem::zeroed() };
        // SAFETY: both are valid, unaliased places of their types; the attributes are initialised first, and the mutex
        // before it is locked.
        unsafe {
            succeeded(libc::pthread_mutexattr_init(&raw mut attributes))?;
            succeeded(libc::pthread_mutexattr_setpshared(&raw mut attributes, libc::PTHREAD_PROCESS_SHARED))?;
            succeeded(libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST))?;
            succeeded(libc::pthread_mutex_init(mutex.as_ptr(), &raw const attributes))?;
            libc::pthread_mutexattr_destroy(&raw mut attributes);
            succeeded(libc::pthread_mutex_lock(mutex.as_ptr()))?;
        }
        Ok(Self(mutex))
    }

    /// Waits until the thread that holds it has ended. For a thread of another process.
    pub fn wait(&self) -> Waited {
        // SAFETY: the mutex is initialised, and its memory stays.
        match unsafe { libc::pthread_mutex_lock(self.0.as_ptr()) } {
            libc::EOWNERDEAD | libc::ENOTRECOVERABLE => Waited::Ended,
            _ => Waited::Unknown,
        }
    }
}

fn succeeded(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn end_of_a_thread_is_heard_and_not_before() {
        let (told, life) = channel();
        let (end, ended) = channel::<()>();
        let holder = thread::spawn(move || {
            told.send(Lifeline::of_this_thread().expect("there is memory")).expect("is received");
            ended.recv().expect_err("nothing is sent");
        });
        let life = life.recv().expect("is sent");
        let (heard, hears) = channel();
        let waiter = thread::spawn(move || heard.send(life.wait()));
        assert!(hears.recv_timeout(std::time::Duration::from_millis(50)).is_err());
        drop(end);
        assert_eq!(hears.recv(), Ok(Waited::Ended));
        holder.join().expect("ends");
        waiter.join().expect("ends").expect("is received");
    }
}
