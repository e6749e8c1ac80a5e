//! What needs `unsafe` of the system's interface, and nothing else.

pub mod packet;
pub mod watch;
