//! Programs of others: one of somebody else, and ours in the hands of somebody else.

use std::os::fd::OwnedFd;

use aya::programs::{SchedClassifier, TcAttachType};
use nix::net::if_::if_nametoindex;

use crate::{Datapath, Host, sys};

/// A program on an interface that lets every frame pass. It goes when this is dropped.
#[derive(Debug)]
pub struct Bystander {
    _link: OwnedFd,
}

impl Bystander {
    /// The program's name, as the kernel shows it.
    pub const NAME: &str = "bystander";

    /// Puts it on an interface of a machine, in generic or native mode.
    pub fn on(host: &Host, interface: &str, mode: Datapath) -> Self {
        const GENERIC: u32 = 1 << 1;
        const NATIVE: u32 = 1 << 2;
        let flags = match mode {
            Datapath::Raw | Datapath::Auto | Datapath::Tcx => panic!("generic or native, not {mode:?}"),
            Datapath::Generic => GENERIC,
            Datapath::Native => NATIVE,
        };
        let link = host.namespace().enter(|| {
            let ifindex = if_nametoindex(interface).expect("the interface is there");
            sys::attach_xdp_pass(Self::NAME, ifindex, flags)
        });
        Self { _link: link.expect("a program can be put on the interface") }
    }
}

/// The classifiers of this name (`tcx`) that see what an interface of a machine receives, by the kernel's numbers.
pub fn classifiers(host: &Host, interface: &str, name: &str) -> Vec<u32> {
    let queried = host.namespace().enter(|| SchedClassifier::query_tcx(interface, TcAttachType::Ingress));
    let (_, programs) = queried.expect("the kernel tells of classifiers");
    let named = programs.iter().filter(|program| program.name_as_str() == Some(name));
    named.map(aya::programs::ProgramInfo::id).collect()
}

/// Takes the program of this number, whosever it is, off its interface, as `bpftool link detach` does.
pub fn detach(program: u32) {
    let mut links = aya::programs::loaded_links().filter_map(Result::ok);
    let link = links.find(|link| link.program_id() == program).expect("it is on an interface by a link");
    sys::detach_link(link.id()).expect("root may take it off");
}
