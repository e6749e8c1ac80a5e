//! The BPF program without an interface: frames are passed to it by `BPF_PROG_TEST_RUN`, as XDP or as a classifier.
//! [`Program::load_on`] puts the classifier on a virtual network card instead.
//!
//! The object is the one that the daemon embeds: the committed one, or the one that the environment variable
//! `VRRPD_BPF_OBJECTS` names. Each [`Program`] has maps of its own. In them the place of a router is its slot, unless the test
//! says otherwise.

use std::env;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, RingBuf};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};
use nix::time::{ClockId, clock_gettime};
use vrrpd_common::abi::{
    ABI_VERSION, KernelCommand, KernelConfig, KernelCounters, KernelEvent, PLACES, RouterRecord, Stations,
    address_key, any_router, family_of, flag, known_bit, octets, place_key, station,
};
use vrrpd_common::classify::{AddressUse, is_vrrp_group};
use vrrpd_common::{AddressDigest, MacAddr, Reject};

use crate::oracle::{self, Router};
use crate::tap::{self, Tap};
use crate::{needs, wait_for, wait_until};

/// The shortest frame that the kernel accepts for a test run: an Ethernet header.
pub const MIN_FRAME: usize = 14;
/// The longest frame that the program sees completely: a page of 4096 octets minus the headroom of 256 and the kernel's
/// own 320. Of a longer one, the kernel puts the rest into fragments, which only programs with fragment support see.
pub const MAX_FRAME: usize = 4096 - 256 - 320;

/// The interface to which the kernel has the frames of a test run come: `lo`.
pub const INTERFACE: u32 = 1;
/// The program for frames and packets.
const NAME: &str = "vrrpd";
/// An address is looked for in full length.
const ADDRESS_BITS: u32 = 192;

const PATIENCE: Duration = Duration::from_secs(30);

/// Directory of objects to be tested instead of the committed ones, set by `cargo xtask`.
const VARIABLE: &str = "VRRPD_BPF_OBJECTS";
static XDP_OBJECT: &[u8] = include_bytes_aligned!("../../vrrpd/ebpf/vrrpd.bpf.o");
static TCX_OBJECT: &[u8] = include_bytes_aligned!("../../vrrpd/ebpf/tcx.bpf.o");
const RECORD_WORDS: usize = size_of::<RouterRecord>() / size_of::<u64>();

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// For frames, in the driver or after it.
    Xdp,
    /// For packets, as a classifier.
    Tcx,
}

impl Hook {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Xdp, Self::Tcx];

    /// Whether the kernel accepts a frame for a test run: a packet needs a complete IP header.
    pub fn takes(self, frame: &[u8]) -> bool {
        match (self, frame.get(12..MIN_FRAME)) {
            (Self::Tcx, Some([0x08, 0x00])) => frame.len() >= MIN_FRAME + 20,
            (Self::Tcx, Some([0x86, 0xdd])) => frame.len() >= MIN_FRAME + 40,
            (Self::Tcx, Some(_)) => frame.len() > MIN_FRAME,
            (Self::Xdp, Some(_)) => true,
            (Self::Tcx | Self::Xdp, None) => false,
        }
    }

    const fn object(self) -> &'static str {
        match self {
            Self::Xdp => "vrrpd.bpf.o",
            Self::Tcx => "tcx.bpf.o",
        }
    }
}

/// The program's verdict on a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Error of the program.
    Aborted,
    /// Consumed.
    Drop,
    /// Passed to the network stack.
    Pass,
}

/// The program and its maps.
pub struct Program {
    /// The number of the interface that it knows.
    interface: u32,
    ebpf: Ebpf,
    records: Array<MapData, [u64; RECORD_WORDS]>,
    rejects: HashMap<MapData, u32, KernelCounters>,
    addresses: LpmTrie<MapData, [u8; 24], u32>,
    known: Array<MapData, u64>,
    stations: HashMap<MapData, u32, Stations>,
    index: HashMap<MapData, u64, u32>,
}

/// The program's ring buffer, separate so that it can be read while frames are passed.
pub struct Ring(RingBuf<MapData>);

impl Program {
    /// Loads it as XDP.
    pub fn load() -> (Self, Ring) {
        Self::load_for(Hook::Xdp)
    }

    /// Loads it for a hook.
    pub fn load_for(hook: Hook) -> (Self, Ring) {
        Self::load_with(hook, INTERFACE)
    }

    /// Loads the classifier and attaches it to this card.
    pub fn load_on(tap: &Tap) -> (Self, Ring) {
        let (mut program, ring) = Self::load_with(Hook::Tcx, tap.index());
        let classifier: &mut SchedClassifier =
            program.ebpf.program_mut(NAME).expect("it is there").try_into().expect("it is a classifier");
        let order = TcAttachOptions::TcxOrder(LinkOrder::default());
        tap.namespace()
            .enter(|| classifier.attach_with_options(tap::NAME, TcAttachType::Ingress, order))
            .expect("the card takes a classifier");
        (program, ring)
    }

    fn load_with(hook: Hook, interface: u32) -> (Self, Ring) {
        needs::root_for_programs();
        let mut ebpf = object(hook);
        for (name, program) in ebpf.programs_mut() {
            let loaded = match program {
                aya::programs::Program::Xdp(program) => program.load(),
                aya::programs::Program::SchedClassifier(program) => program.load(),
                other => panic!("{name} is {:?}", other.prog_type()),
            };
            loaded.unwrap_or_else(|error| panic!("the kernel refuses {name} of {hook:?}: {error:?}"));
        }
        let mut take = |name: &str| -> Map { ebpf.take_map(name).expect("the object has the map") };
        let records = Array::try_from(take("RECORDS")).expect("an array of records");
        let mut rejects = HashMap::try_from(take("REJECTS")).expect("counters by interface");
        rejects.insert(interface, KernelCounters::default(), 0).expect("there is room");
        let ring = RingBuf::try_from(take("EVENTS")).expect("a ring");
        let addresses = LpmTrie::try_from(take("ADDRESSES")).expect("a trie");
        let known = Array::try_from(take("KNOWN")).expect("bits by place");
        let stations = HashMap::try_from(take("STATIONS")).expect("stations by interface");
        let index = HashMap::try_from(take("INDEX")).expect("places by router");
        let mut program = Self { interface, ebpf, records, rejects, addresses, known, stations, index };
        for slot in 0..u32::try_from(PLACES).expect("few") {
            program.set_place(slot, slot);
        }
        (program, Ring(ring))
    }

    /// Gives the router of a slot this place.
    pub fn set_place(&mut self, slot: u32, place: u32) {
        self.index.insert(place_key(self.interface, slot), place, 0).expect("there is room");
    }

    /// Tells it the virtual addresses of a router and its peers.
    pub fn set_addresses(&mut self, router: &Router) {
        let slot = slot_of(router);
        let peers = router.peers.iter().flatten().map(|(peer, _)| peer);
        let mut bits = 0;
        for address in router.virtual_addresses.iter().chain(peers) {
            bits |= known_bit(*address);
            let key = Key::new(ADDRESS_BITS, address_key(self.interface, slot, *address));
            self.addresses.insert(&key, use_of(router, *address).to_bits(), 0).expect("there is room");
        }
        let place = self.index.get(&place_key(self.interface, slot), 0).expect("it has a place");
        self.known.set(place, bits, 0).expect("the place is there");
        if router.peers.is_some() {
            let any = any_router(family_of(slot));
            let key = Key::new(ADDRESS_BITS, address_key(self.interface, any, router.own_address));
            self.addresses.insert(&key, 0, 0).expect("there is room");
        }
    }

    /// Sets the MAC addresses that the interface accepts.
    pub fn set_stations(&mut self, macs: [[u8; 6]; 2]) {
        let stations = macs.map(|mac| station(MacAddr(mac)));
        self.stations.insert(self.interface, stations, 0).expect("there is room");
    }

    /// Passes a frame; `None` if the kernel does not accept it for a test run. The frame is not changed. A classifier
    /// gets it on `lo`, whose MAC address is zero.
    pub fn try_run(&self, frame: &[u8]) -> Option<Verdict> {
        let mut after = vec![0; frame.len()];
        match self.test_run(NAME, frame, &mut after) {
            Ok(verdict) => {
                assert_eq!(after, frame, "the program changes no frame");
                Some(verdict)
            }
            Err(ProgramError::SyscallError(error)) if is_invalid(&error.io_error) => None,
            Err(error) => panic!("BPF_PROG_TEST_RUN: {error:?}"),
        }
    }

    /// Passes a frame.
    #[track_caller]
    pub fn run(&self, frame: &[u8]) -> Verdict {
        self.try_run(frame).unwrap_or_else(|| panic!("no test run with {} octets", frame.len()))
    }

    /// Sends a raw command, and returns the kernel's result.
    pub fn command(&self, command: &[u8]) -> (Verdict, Vec<u8>) {
        let mut answer = vec![0; command.len()];
        let verdict = self.test_run("vrrpd_command", command, &mut answer).expect("a test run");
        (verdict, answer)
    }

    /// Gives it a command that it has to carry out. `abi`, `interface` and, unless it is given, `place` are filled in.
    ///
    /// The first command for a slot may have to be repeated: `bpf_timer_init` allocates without sleeping, and may fail
    /// (ENOMEM) although memory is available; on Linux 6.18 about once in a hundred timers, for a millisecond or for
    /// seconds. Such a command has changed nothing.
    #[track_caller]
    pub fn obey(&self, mut command: KernelCommand) {
        command.abi = ABI_VERSION;
        command.interface = self.interface;
        if command.place == 0 {
            command.place = command.slot;
        }
        wait_until(PATIENCE, "the kernel has memory for the timer", || {
            let (verdict, answer) = self.command(bytemuck::bytes_of(&command));
            assert_eq!(verdict, Verdict::Pass);
            let answer: KernelCommand = bytemuck::pod_read_unaligned(&answer);
            let has_failed = answer.result == -libc::ENOMEM;
            if has_failed {
                // Memory that the kernel used for a pipe is suitable for a timer.
                drop((0..32).map_while(|_| io::pipe().ok()).collect::<Vec<_>>());
            }
            assert!(
                has_failed || answer == command,
                "the result is 0 and nothing else has changed: {answer:?}"
            );
            !has_failed
        });
    }

    /// What it knows of the virtual router in a place.
    pub fn record(&self, place: u32) -> RouterRecord {
        let words = self.records.get(&place, 0).expect("the place is there");
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(&words))
    }

    /// Discarded adverts that name no virtual router of ours.
    pub fn rejects(&self) -> KernelCounters {
        self.rejects.get(&self.interface, 0).expect("the counters are there")
    }

    /// Average nanoseconds of a program of the object per frame.
    pub fn nanos_per_run(&self, name: &str, frame: &[u8], runs: u32) -> u32 {
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.repeat = runs;
        let result = match self.ebpf.program(name).expect("it is there") {
            aya::programs::Program::Xdp(program) => program.test_run(options),
            aya::programs::Program::SchedClassifier(program) => program.test_run(options),
            other => panic!("{name} is {:?}", other.prog_type()),
        };
        let result = result.expect("a test run");
        u32::try_from(result.duration.as_nanos()).unwrap_or(u32::MAX)
    }

    /// The size of a program of the object: number of instructions, and number that the verifier processed on all
    /// paths.
    pub fn instructions(&self, name: &str) -> (u32, u32) {
        const OCTETS: u32 = 8;
        let program = self.ebpf.program(name).expect("it is there");
        let info = program.info().expect("the kernel tells of its programs");
        let octets = info.size_translated().expect("root may know it");
        (octets / OCTETS, info.verified_instruction_count().expect("kernel 5.16 or newer"))
    }

    /// Makes it the backup of a version 3 router over IPv4 with adverts every 10 ms, for the duration of the test.
    pub fn follow(&self, vrid: u8) {
        let config = KernelConfig {
            report_spacing: 1_000_000_000,
            generation: 1,
            interval: 1,
            role: 2,
            version: 3,
            priority: 100,
            min_ttl: 255,
            lowest_followed: 100,
            ..KernelConfig::default()
        };
        let deadline = now() + 36_093_750;
        self.obey(KernelCommand {
            slot: vrid.into(),
            deadline,
            master_interval: 1,
            config,
            ..KernelCommand::default()
        });
    }

    fn test_run(&self, name: &str, input: &[u8], output: &mut [u8]) -> Result<Verdict, ProgramError> {
        const NEXT: u32 = u32::MAX;
        let mut options = TestRunOptions::new();
        options.data_in = Some(input);
        options.data_out = Some(output);
        let verdict = match self.ebpf.program(name).expect("it is loaded") {
            aya::programs::Program::Xdp(program) => match program.test_run(options)?.return_value {
                0 => Verdict::Aborted,
                1 => Verdict::Drop,
                2 => Verdict::Pass,
                other => panic!("{other} is no verdict of this program"),
            },
            aya::programs::Program::SchedClassifier(program) => {
                assert_eq!(program.test_run(options)?.return_value, NEXT, "TCX_NEXT");
                Verdict::Pass
            }
            other => panic!("{name} is {:?}", other.prog_type()),
        };
        Ok(verdict)
    }
}

impl Ring {
    /// The next event, if any.
    pub fn take(&mut self) -> Option<KernelEvent> {
        let item = self.0.next()?;
        assert_eq!(item.len(), size_of::<KernelEvent>());
        Some(bytemuck::pod_read_unaligned(&item))
    }

    /// All waiting events.
    pub fn drain(&mut self) -> Vec<KernelEvent> {
        std::iter::from_fn(|| self.take()).collect()
    }

    /// Waits for an event; panics with `what` if none comes within `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration, what: &str) -> KernelEvent {
        wait_for(limit, what, || self.take())
    }
}

/// The names of the maps of an object, in order.
pub fn map_names(hook: Hook) -> Vec<String> {
    needs::root_for_programs();
    let mut names: Vec<_> = object(hook).maps().map(|(name, _)| name.to_owned()).collect();
    names.sort();
    names
}

/// The object with its maps loaded, and without a program.
fn object(hook: Hook) -> Ebpf {
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(VerifierLogLevel::empty());
    let loaded = match env::var_os(VARIABLE) {
        Some(directory) => loader.load_file(Path::new(&directory).join(hook.object())),
        None => loader.load(match hook {
            Hook::Xdp => XDP_OBJECT,
            Hook::Tcx => TCX_OBJECT,
        }),
    };
    loaded.expect("the kernel takes the object's maps")
}

fn is_invalid(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

/// The clock of the kernel's records.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock runs");
    let seconds = u64::try_from(time.tv_sec()).expect("not negative");
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).expect("not negative")
}

/// The slot of a router in the maps.
pub fn slot_of(router: &Router) -> u32 {
    u32::from(router.vrid) + if router.own_address.is_ipv4() { 0 } else { 256 }
}

/// What an address is to a router.
pub fn use_of(router: &Router, address: IpAddr) -> AddressUse {
    let peer = router.peers.iter().flatten().find(|(peer, _)| *peer == address);
    AddressUse::new(router.virtual_addresses.contains(&address), peer.map(|(_, min_ttl)| *min_ttl))
}

/// Whether one of the routers takes adverts that were sent to an address.
pub fn is_destination<'a>(routers: impl IntoIterator<Item = &'a Router>, address: IpAddr) -> bool {
    let is_own = |router: &Router| router.peers.is_some() && router.own_address == address;
    is_vrrp_group(address) || routers.into_iter().any(is_own)
}

/// The kernel's configuration of a router.
pub fn config_of(router: &Router, generation: u32) -> KernelConfig {
    let role = match router.role {
        oracle::Role::Init => 1,
        oracle::Role::Backup => 2,
        oracle::Role::Master => 3,
    };
    let mut flags = flag::SOURCE;
    for (flag, is_set) in [
        (flag::ACCEPT_INTERVAL_MISMATCH, router.takes_other_intervals),
        (flag::ACCEPT_NO_ADDRESSES, router.takes_no_addresses),
        (flag::REQUIRE_ADDRESSES, router.only_addresses.is_some()),
        (flag::PASS_ON, router.passes_on),
        (flag::PEERS, router.peers.is_some()),
    ] {
        if is_set {
            flags |= flag;
        }
    }
    KernelConfig {
        addresses: AddressDigest::of(router.only_addresses.iter().flatten().copied()).to_bits(),
        report_spacing: router.spacing,
        source: octets(router.own_address),
        auth_data: router.password.unwrap_or_default(),
        broadcast: router.broadcast.map_or([0; 4], |address| address.octets()),
        generation,
        vlan: router.vlan,
        interval: router.centis,
        role,
        version: router.version,
        priority: router.priority,
        min_ttl: router.min_ttl,
        auth_kind: router.password.is_some().into(),
        flags,
        max_learned_interval: router.longest_centis,
        lowest_followed: if router.preempts { router.priority } else { 1 },
        down_multiplier: router.down_multiplier,
        reserved: [0; 2],
    }
}

/// The counter for a reason.
pub fn counter(counters: &KernelCounters, reason: &str) -> u64 {
    let place = Reject::ALL.iter().position(|reject| reject.name() == reason);
    counters[place.expect("a reason")]
}

/// The digest of addresses, as in records.
pub fn digest(addresses: &[IpAddr]) -> u64 {
    AddressDigest::of(addresses.iter().copied()).to_bits()
}
