//! The parts of the system interface that need `unsafe`.

pub mod bpf;
pub mod command_line;
pub mod crash;
pub mod descriptors;
pub mod fork;
pub mod inherited;
pub mod lifeline;
pub mod memory;
pub mod packet;
pub mod pass;
pub mod pidfd;
pub mod records;
mod ring;
pub mod secret;
pub mod watch;
pub mod wiping;
