//! Each state of a data path with each event, in `golden.txt`. `UPDATE_GOLDEN=1 cargo test -p vrrpd golden` rewrites
//! the file; review the difference before committing it.

use std::fmt::Write as _;

use super::*;
use crate::interface::Interface;

/// Words instead of programs and sockets.
#[derive(Debug)]
struct Words;

impl Parts for Words {
    type Loaded = &'static str;
    type Attached = &'static str;
    type Ports = ();
    type Raw = &'static str;
    type Kernel = &'static str;
}

type Path = DataPath<Words>;

/// Index of the interface, and of one that replaces it.
const HERE: u32 = 3;
const OTHER: u32 = 4;

fn interface(index: u32) -> Interface {
    Interface {
        index,
        name: "eth0".into(),
        admin_up: true,
        carrier: true,
        mtu: 1500,
        mac: None,
        permanent_mac: None,
        carrier_unknown: false,
        vmac_of: None,
        below: None,
        vrf: None,
        beside: Vec::new(),
        obstacle: None,
        xdp_program: None,
        addresses: Vec::new(),
    }
}

/// The ways to receive adverts; `None`: nothing is open.
fn ways() -> [Option<By<Words>>; 3] {
    [None, Some(By::Raw("sockets", Refusal::NotSupported)), Some(By::Kernel("program"))]
}

/// Every state.
fn states() -> Vec<Path> {
    let next: [fn() -> Next<Words>; 10] = [
        || Next::Nothing,
        || Next::Loading(Purpose::Routers(None)),
        || Next::Loading(Purpose::Routers(Some(HERE))),
        || Next::Loading(Purpose::Open(interface(OTHER))),
        || Next::Ready(Ok(Program::Loaded("new"))),
        || Next::Ready(Ok(Program::Attached("new"))),
        || Next::Ready(Err(Refusal::NotPermitted)),
        || Next::OpenAgain(interface(OTHER)),
        || Next::Loading(Purpose::Return),
        || Next::Loading(Purpose::Move),
    ];
    let mut states = Vec::new();
    for way in 0..ways().len() {
        for next in next {
            let by = ways().into_iter().nth(way).flatten();
            let (open, next) = (by.map(|by| Open { index: HERE, ports: (), by }), next());
            let is_raw = open.as_ref().is_some_and(|open| matches!(open.by, By::Raw(..)));
            // Only packet sockets are replaced by a program, and an interface with a program gets no second one.
            if !is_raw && matches!(next, Next::Loading(Purpose::Return | Purpose::Move)) {
                continue;
            }
            if !is_raw && open.is_some() && matches!(next, Next::Ready(Ok(Program::Attached(_)))) {
                continue;
            }
            states.push(Path { open, next });
        }
    }
    states
}

fn describe(path: &Path) -> String {
    let open = match &path.open {
        None => "closed".to_owned(),
        Some(Open { index, by: By::Raw(..), .. }) => format!("raw on {index}"),
        Some(Open { index, by: By::Kernel(_), .. }) => format!("kernel on {index}"),
    };
    let next = match &path.next {
        Next::Nothing => String::new(),
        Next::Loading(Purpose::Routers(None)) => ", loading".to_owned(),
        Next::Loading(Purpose::Routers(Some(index))) => format!(", loading onto {index}"),
        Next::Loading(Purpose::Open(interface)) => format!(", loading for {}", interface.index),
        Next::Loading(Purpose::Return) => ", loading to return".to_owned(),
        Next::Loading(Purpose::Move) => ", moving".to_owned(),
        Next::Ready(Ok(Program::Loaded(_))) => ", loaded".to_owned(),
        Next::Ready(Ok(Program::Attached(_))) => ", attached".to_owned(),
        Next::Ready(Err(_)) => ", refused".to_owned(),
        Next::OpenAgain(interface) => format!(", to open {} again", interface.index),
    };
    format!("{open}{next}")
}

fn program(program: &Result<Program<Words>, Refusal>) -> &'static str {
    match program {
        Ok(Program::Loaded(_)) => "the loaded program",
        Ok(Program::Attached(_)) => "the attached program",
        Err(_) => "no program",
    }
}

/// A loaded program is attached to the interface [`HERE`].
fn arrives(path: &mut Path, index: u32, obstacle: Option<Refusal>) -> String {
    match path.arrives(&interface(index), || obstacle, |_| index == HERE) {
        OpenStep::IsOpen => "is open".to_owned(),
        OpenStep::Open(with) => format!("open with {}", program(&with)),
        OpenStep::Load => "load".to_owned(),
        OpenStep::Attach(_) => "attach".to_owned(),
        OpenStep::Wait => "wait".to_owned(),
    }
}

fn loaded(path: &mut Path, program_: Result<&'static str, Refusal>) -> String {
    match path.loaded(program_) {
        LoadStep::Keep => "keep".to_owned(),
        LoadStep::Open(interface) => format!("open {}", interface.index),
        LoadStep::PutBack(with) => format!("put back {}", program(&with)),
    }
}

fn returns(path: &mut Path, obstacle: Option<Refusal>) -> String {
    let does = match path.begin_return(HERE, || obstacle) {
        ReturnStep::Load => "load",
        ReturnStep::Later => "later",
        ReturnStep::Refused(_) => "refused",
        ReturnStep::Stay => "-",
    };
    does.to_owned()
}

fn closes(open: Option<Open<Words>>) -> String {
    open.map_or("-", |_| "close").to_owned()
}

type Event = (&'static str, fn(&mut Path) -> String);

/// Every event, with its transition.
const EVENTS: [Event; 16] = [
    ("the interface is there", |path| arrives(path, HERE, None)),
    ("another one takes its place", |path| arrives(path, OTHER, None)),
    ("the same, and it has VLANs", |path| arrives(path, OTHER, Some(Refusal::Vlans))),
    ("routers are to come", |path| (if path.begin_loading() { "load" } else { "-" }).to_owned()),
    ("the others have left", |path| {
        path.begin_attaching(HERE, |_| true).map_or("-", |_| "attach").to_owned()
    }),
    ("the program is loaded", |path| loaded(path, Ok("new"))),
    ("it cannot be loaded", |path| loaded(path, Err(Refusal::NotPermitted))),
    ("the program was moved", |path| match path.moved() {
        MoveStep::PutBack => "put back".to_owned(),
        MoveStep::TakeOff => "-".to_owned(),
        MoveStep::Open(interface) => format!("open {}", interface.index),
    }),
    ("the program may return", |path| returns(path, None)),
    ("it may, but there are VLANs", |path| returns(path, Some(Refusal::Vlans))),
    ("the program is put back", |path| path.put_back("back").map_or("-", |_| "drain sockets").to_owned()),
    ("the program fails", |path| {
        path.fall_back("sockets", Refusal::NotLoaded).map_or("-", |_| "take off").to_owned()
    }),
    ("another one has gone", |path| {
        path.removed(OTHER);
        "-".to_owned()
    }),
    ("the interface has gone", |path| closes(path.gone())),
    ("the last router leaves", |path| closes(path.rest())),
    ("no program is needed", |path| {
        path.forget();
        "-".to_owned()
    }),
];

#[test]
fn golden_every_transition_matches_the_table() {
    let mut table = String::new();
    for (place, state) in states().iter().enumerate() {
        let _ = writeln!(table, "{}", describe(state));
        for (event, happen) in EVENTS {
            let mut path = states().remove(place);
            let does = happen(&mut path);
            let after = describe(&path);
            if after != describe(state) || does != "-" {
                let _ = writeln!(table, "  {event}: {does} -> {after}");
            }
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/daemon/link/path/golden.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &table).expect("can be written");
    }
    assert_eq!(std::fs::read_to_string(path).expect("is there"), table);
}

#[test]
fn a_loaded_program_is_attached_only_to_its_interface() {
    for path in states() {
        let waits_for_other = matches!(path.next, Next::Loading(Purpose::Open(_)));
        let is_here = matches!(path.next, Next::Loading(Purpose::Return | Purpose::Routers(Some(HERE))));
        assert_eq!(path.is_awaited_on(OTHER), waits_for_other, "{}", describe(&path));
        assert_eq!(path.is_awaited_on(HERE), is_here, "{}", describe(&path));
    }
}

#[test]
fn a_program_that_is_ready_is_used_unless_there_is_an_obstacle() {
    for state in 0..states().len() {
        let path = || states().remove(state);
        let mut with = path();
        let is_ready = matches!(with.next, Next::Ready(_));
        assert_eq!(with.take(|| None).is_some(), is_ready, "{}", describe(&path()));
        let mut against = path();
        let is_loading = against.is_loading();
        let taken = against.take(|| Some(Refusal::Vlans));
        let expected = if is_loading { None } else { Some(true) };
        assert_eq!(
            taken.map(|taken| matches!(taken, Err(Refusal::Vlans))),
            expected,
            "{}",
            describe(&path())
        );
    }
}
