//! Programs on interfaces that do not belong to the daemon under test.

use std::os::fd::OwnedFd;

use aya::programs::{SchedClassifier, TcAttachType};
use nix::net::if_::if_nametoindex;

use crate::program::Hook;
use crate::{Datapath, Host, sys};

/// A program on an interface that passes every frame to the network stack; detached on drop.
#[derive(Debug)]
pub struct Bystander {
    _link: OwnedFd,
}

impl Bystander {
    /// The program's name, as the kernel shows it.
    pub const NAME: &str = "bystander";

    /// Attaches it to an interface of a machine: as XDP in generic or native mode, or as a classifier before all
    /// others, which get no packets then, since it accepts all of them.
    pub fn on(host: &Host, interface: &str, mode: Datapath) -> Self {
        const GENERIC: u32 = 1 << 1;
        const NATIVE: u32 = 1 << 2;
        const BEFORE: u32 = 1 << 3;
        let (hook, flags) = match mode {
            Datapath::Default | Datapath::Raw | Datapath::Auto => {
                panic!("generic, native or tcx, not {mode:?}")
            }
            Datapath::Generic => (Hook::Xdp, GENERIC),
            Datapath::Native => (Hook::Xdp, NATIVE),
            Datapath::Tcx => (Hook::Tcx, BEFORE),
        };
        let link = host.namespace().enter(|| {
            let ifindex = if_nametoindex(interface).expect("the interface is there");
            sys::attach(Self::NAME, hook, ifindex, flags)
        });
        Self { _link: link.expect("a program can be put on the interface") }
    }
}

/// IDs of the classifiers (`tcx`) with this name on the ingress of a machine's interface.
pub fn classifiers(host: &Host, interface: &str, name: &str) -> Vec<u32> {
    let queried = host.namespace().enter(|| SchedClassifier::query_tcx(interface, TcAttachType::Ingress));
    let (_, programs) = queried.expect("the kernel tells of classifiers");
    let named = programs.iter().filter(|program| program.name_as_str() == Some(name));
    named.map(aya::programs::ProgramInfo::id).collect()
}

/// Detaches the program with this ID from its interface, as `bpftool link detach` does.
pub fn detach(program: u32) {
    let mut links = aya::programs::loaded_links().filter_map(Result::ok);
    let link = links.find(|link| link.program_id() == program).expect("it is on an interface by a link");
    sys::detach_link(link.id()).expect("root may take it off");
}
