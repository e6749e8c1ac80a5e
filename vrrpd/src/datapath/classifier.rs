//! A classifier on an interface: the kernel runs a program on every frame in one direction. It is a link (`tcx`) from
//! Linux 6.6 on, which the kernel removes with the process; before, it is a filter of the qdisc `clsact`.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd as _;

use aya::Ebpf;
use aya::programs::tc::SchedClassifier;
use nix::errno::Errno;
use tracing::warn;

use super::clsact::{self, Direction, Filter};
use super::refusal::Refusal;
use crate::guardian::copies::{Keeper, Kept};
use crate::sys::bpf::{self, Attached};

/// A classifier on an interface; dropping it detaches it.
#[derive(Debug)]
#[expect(dead_code, reason = "held for what dropping them does")]
pub(super) enum Classifier {
    /// If the daemon dies, the kernel detaches it.
    Link(Kept<Attached>),
    /// If the daemon dies, it stays until [`remove_left`].
    Filter(Filter),
}

impl Classifier {
    /// Loads a program of the object and attaches it to the interface with this index, before all other classifiers.
    /// `name` states its purpose and identifies leftovers.
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
            // Kernels before 6.6 do not support tcx links.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                Filter::put(program, index, direction, name).map(Self::Filter).map_err(Refusal::of_attaching)
            }
            Err(error) => Err(Refusal::of_attaching(error)),
        }
    }
}

/// Name of the filter of a router.
pub(super) fn name_of(router: &str) -> String {
    format!("vrrpd {router}")
}

/// Detaches the classifiers that a killed daemon left for these routers, on every interface; returns the indexes of
/// interfaces that had some.
pub fn remove_left(routers: &BTreeSet<String>) -> BTreeSet<u32> {
    let names = routers.iter().map(|router| name_of(router)).collect();
    or_warn(clsact::remove_left(&names))
}

/// Detaches the classifiers that a killed daemon left under this name on an interface; returns whether it had some.
pub(super) fn remove_left_on(index: u32, name: &str) -> bool {
    or_warn(clsact::remove_left_on(index, name))
}

fn or_warn<T: Default>(removed: io::Result<T>) -> T {
    removed.unwrap_or_else(|error| {
        warn!(%error, "cannot remove leftover classifiers");
        T::default()
    })
}
