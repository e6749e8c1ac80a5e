//! A VRRP daemon and its client.
//!
//! The protocol itself is in [`vrrpd_common`]. Start reading at [`daemon`], the event loop.

pub mod abandoned;
pub mod ah;
pub mod background;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod guardian;
pub mod import;
pub mod interface;
pub mod lane;
pub mod limits;
pub mod logging;
pub mod magic;
pub mod nearest;
pub mod peers;
pub mod printable;
pub mod process;
pub mod render;
pub mod report;
pub mod router_name;
pub mod rundir;
pub mod script;
pub mod signals;
pub mod supervisor;
pub mod sys;
pub mod track;
pub mod transmit;
pub mod trust;
