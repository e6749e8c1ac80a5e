//! A classifier on an interface: the kernel runs a program on every frame in one direction. That is a link (`tcx`) from
//! Linux 6.6 on, which goes with the process, and a filter of the qdisc `clsact` before.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd as _;

use aya::Ebpf;
use aya::programs::tc::SchedClassifier;
use nix::errno::Errno;
use tracing::warn;

use super::clsact::{self, Filter};
use super::refusal::Refusal;
use crate::guardian::copies::{Keeper, Kept};
use crate::sys::bpf::{self, Attached};

/// Which frames a classifier sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Those that the interface receives.
    Ingress,
    /// Those that it sends.
    Egress,
}

/// A classifier on an interface; dropping it takes it off.
#[derive(Debug)]
#[expect(dead_code, reason = "held for what dropping them does")]
pub(super) enum Classifier {
    /// If we die, the kernel takes it off.
    Link(Kept<Attached>),
    /// If we die, it stays until [`remove_left`].
    Filter(Filter),
}

impl Classifier {
    /// Loads this program of the object and puts it on the interface of this number, before all others that are there.
    /// `name` says what it is for, and is by what a leftover is known.
    pub(super) fn attach(
        ebpf: &mut Ebpf,
        program: &'static str,
        index: u32,
        direction: Direction,
        name: &str,
        keeper: &Keeper,
    ) -> Result<Self, Refusal> {
        let program: &mut SchedClassifier = ebpf
            .program_mut(program)
            .ok_or(Refusal::NoProgram(program))?
            .try_into()
            .map_err(Refusal::of_program)?;
        program.load().map_err(Refusal::of_program)?;
        let program = program.fd().map_err(Refusal::of_program)?.as_fd();
        let hook = match direction {
            Direction::Ingress => bpf::TCX_INGRESS,
            Direction::Egress => bpf::TCX_EGRESS,
        };
        match bpf::attach(program, index, hook, bpf::TCX_FIRST) {
            Ok(link) => Ok(Self::Link(keeper.keep(link))),
            // A kernel before 6.6 does not know links of this kind.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                Filter::put(program, index, direction, name).map(Self::Filter).map_err(Refusal::of_attaching)
            }
            Err(error) => Err(Refusal::of_attaching(error)),
        }
    }
}

/// What the filter of a router is called.
pub(super) fn name_of(router: &str) -> String {
    format!("vrrpd {router}")
}

/// Takes off what a killed daemon left of these routers, on every interface; returns the numbers of those that
/// had something.
pub fn remove_left(routers: &BTreeSet<String>) -> BTreeSet<u32> {
    let names = routers.iter().map(|router| name_of(router)).collect();
    or_warn(clsact::remove_left(&names))
}

/// Takes off what a killed daemon left under this name on an interface; says whether there was something.
pub(super) fn remove_left_on(index: u32, name: &str) -> bool {
    or_warn(clsact::remove_left_on(index, name))
}

fn or_warn<T: Default>(removed: io::Result<T>) -> T {
    removed.unwrap_or_else(|error| {
        warn!(%error, "cannot remove leftover classifiers");
        T::default()
    })
}
