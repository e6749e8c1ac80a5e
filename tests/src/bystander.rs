//! Programs on interfaces that do not belong to the daemon under test.

use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use aya::programs::{SchedClassifier, TcAttachType};
use nix::mount::{MsFlags, mount};
use nix::net::if_::if_nametoindex;

use crate::program::Hook;
use crate::{Datapath, Host, sys};

const BPF_FS: &str = "/sys/fs/bpf";

/// The conduct of a foreign program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// It accepts every frame; classifiers behind it get none.
    Accepts,
    /// The same, except for adverts over IPv4, which it drops.
    DropsAdverts,
    /// Classifiers behind it get every packet.
    PassesOn,
    /// The same, except for adverts over IPv4, which it drops.
    PassesOnAllButAdverts,
}

/// A program on an interface; detached on drop.
#[derive(Debug)]
pub struct Bystander {
    _link: OwnedFd,
}

impl Bystander {
    /// The program's name, as the kernel shows it.
    pub const NAME: &str = "bystander";

    /// Attaches one that accepts all to an interface of a machine: as XDP in generic or native mode, or as a classifier before
    /// all others.
    pub fn on(host: &Host, interface: &str, mode: Datapath) -> Self {
        Self::with(host, interface, mode, Conduct::Accepts)
    }

    /// The same with another conduct.
    pub fn with(host: &Host, interface: &str, mode: Datapath, conduct: Conduct) -> Self {
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
        Self::attach(host, interface, hook, conduct, flags)
    }

    /// Attaches a classifier behind all others.
    pub fn behind(host: &Host, interface: &str, conduct: Conduct) -> Self {
        const AFTER: u32 = 1 << 4;
        Self::attach(host, interface, Hook::Tcx, conduct, AFTER)
    }

    fn attach(host: &Host, interface: &str, hook: Hook, conduct: Conduct, flags: u32) -> Self {
        let program = conduct.load(hook);
        let link = host.namespace().enter(|| {
            let ifindex = if_nametoindex(interface).expect("the interface is there");
            sys::attach(&program, hook, ifindex, flags)
        });
        Self { _link: link.expect("a program can be put on the interface") }
    }
}

impl Conduct {
    fn load(self, hook: Hook) -> OwnedFd {
        // `XDP_DROP`, `XDP_PASS`; `TCX_DROP`, `TCX_PASS`, `TCX_NEXT`
        let (drop, pass, next) = match hook {
            Hook::Xdp => (1, 2, 2),
            Hook::Tcx => (2, 0, -1),
        };
        let verdicts = match self {
            Self::Accepts => [pass, pass],
            Self::DropsAdverts => [drop, pass],
            Self::PassesOn => [next, next],
            Self::PassesOnAllButAdverts => [drop, next],
        };
        sys::load(Bystander::NAME, hook, verdicts).expect("the kernel loads a small program")
    }
}

/// Runs `command` with the path of a pinned classifier, as programs like `tc` load one.
pub fn with_pinned_classifier<T>(conduct: Conduct, command: impl FnOnce(&str) -> T) -> T {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = format!("{BPF_FS}/vrrpd-lab-{}-{number}", std::process::id());
    let program = conduct.load(Hook::Tcx);
    let pin = || sys::pin(&program, &CString::new(path.as_str()).expect("no NUL is in it"));
    if pin().is_err() {
        let (nothing, flags) = (None::<&str>, MsFlags::empty());
        mount(nothing, BPF_FS, Some("bpf"), flags, nothing).expect("root may mount it");
        pin().expect("the BPF file system takes it");
    }
    let result = command(&path);
    fs::remove_file(&path).expect("it is there");
    result
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
