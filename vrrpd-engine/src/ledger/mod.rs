//! Changes to the system, as data, and how they are undone.
//!
//! * [`resource`]: the kinds of resources that a router takes from the system, in one table.
//! * [`Ledger`]: what one router has taken, what is missing, what has to be given back, and what belongs to others.
//! * [`order`]: requests to the system, and its answers. `vrrpd::interface` executes them.
//! * [`journal`]: what a daemon may have taken, on disk, for cleaning up after a crash.
//! * [`undo`]: what a dead daemon left behind. The guardian and the next start both use it.

mod held;
pub mod journal;
mod noting;
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
