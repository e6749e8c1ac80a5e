//! What was done to the system, as data, and how it is undone.
//!
//! * [`resource`]: the kinds of things that a router takes from the system, in one table.
//! * [`Ledger`]: what one router has taken. It says what is missing, what has to be given back, and what is another's.
//! * [`order`]: what the system is asked for, and what it answers. `vrrpd::interface` carries it out.
//! * [`journal`]: what a daemon may have taken, on disk, for those who come after a crash.
//! * [`undo`]: what a dead daemon has left. Its guardian and the next start both use it.

mod held;
pub mod journal;
pub mod order;
pub mod resource;
pub mod undo;

pub use held::{Entry, Ledger, Refused};
pub use journal::{Journal, Record};
pub use order::{Cause, Made, Order, Outcome, SystemError};
pub use resource::{Answers, Filter, Macvlan, OwnMac, Place, PlacedAddress, Resource};
pub use undo::{LeftMac, Leftover, Undo};

#[cfg(test)]
mod tests;
