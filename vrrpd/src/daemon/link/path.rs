//! The data path of an interface as a state machine: what is open, and the program being loaded.
//!
//! [`DataPath`] does no I/O. It owns what was opened and loaded, so that nothing exists in the wrong state; each
//! transition returns what the caller is to use or close. The parts are defined by [`Parts`], so the tests use words
//! instead of sockets and programs.
//!
//! An interface is closed, or open with packet sockets, or open with the program in the kernel. In addition a program
//! may be loaded: for an interface to be opened with it, for routers of a new configuration, or, while packet sockets
//! are open, to be attached again. While the program is moved to a larger object, packet sockets are open as well.

use std::fmt;

use crate::datapath::refusal::Refusal;
use crate::interface::Interface;

/// The parts of a data path.
pub(in crate::daemon) trait Parts {
    /// A loaded program.
    type Loaded: fmt::Debug;
    /// An attached program.
    type Attached: fmt::Debug;
    /// What is open with every data path.
    type Ports: fmt::Debug;
    /// Packet sockets that receive adverts.
    type Raw: fmt::Debug;
    /// The program that receives adverts, with its sockets.
    type Kernel: fmt::Debug;
}

/// The data path of one interface.
#[derive(Debug)]
pub(in crate::daemon) struct DataPath<P: Parts> {
    open: Option<Open<P>>,
    next: Next<P>,
}

/// What is open.
#[derive(Debug)]
pub(in crate::daemon) struct Open<P: Parts> {
    /// Index of the interface.
    pub(in crate::daemon) index: u32,
    pub(in crate::daemon) ports: P::Ports,
    pub(in crate::daemon) by: By<P>,
}

/// How adverts are received.
#[derive(Debug)]
pub(in crate::daemon) enum By<P: Parts> {
    /// By packet sockets, with the reason for not using a program.
    Raw(P::Raw, Refusal),
    /// By the program.
    Kernel(P::Kernel),
}

/// The program being loaded.
#[derive(Debug)]
enum Next<P: Parts> {
    Nothing,
    /// It is being loaded.
    Loading(Purpose),
    /// The program, or the reason for having none; used by the next routers.
    Ready(Result<Program<P>, Refusal>),
    /// None: the interface could not be opened, and is tried again.
    OpenAgain(Interface),
}

/// What a program is loaded for.
#[derive(Debug)]
enum Purpose {
    /// For new routers; it is attached to the interface with this index.
    Routers(Option<u32>),
    /// For this interface, which is opened then.
    Open(Interface),
    /// To replace packet sockets again.
    Return,
    /// Nothing is loaded: the attached program is moved to another object, and replaces packet sockets again.
    Move,
}

/// A program that is not in use yet.
#[derive(Debug)]
pub(in crate::daemon) enum Program<P: Parts> {
    /// It may be attached.
    Loaded(P::Loaded),
    /// It is attached.
    Attached(P::Attached),
}

/// What to do with an interface that exists.
#[derive(Debug)]
pub(in crate::daemon) enum OpenStep<P: Parts> {
    /// Nothing: it is open.
    IsOpen,
    /// Open it, with this program or without.
    Open(Result<Program<P>, Refusal>),
    /// Load the program: the interface waits for it.
    Load,
    /// Attach this loaded program: the interface waits for it.
    Attach(P::Loaded),
    /// Nothing: its program is being loaded.
    Wait,
}

/// What to do with a loaded program.
#[derive(Debug)]
pub(in crate::daemon) enum LoadStep<P: Parts> {
    /// Nothing: the next routers use it.
    Keep,
    /// Handle this interface again, which waits for it.
    Open(Interface),
    /// Replace packet sockets by it, or report why not.
    PutBack(Result<Program<P>, Refusal>),
}

/// What to do with a program that was moved to another object.
#[derive(Debug)]
pub(in crate::daemon) enum MoveStep {
    /// Replace packet sockets by it.
    PutBack,
    /// Nothing replaces packet sockets any more: take it off.
    TakeOff,
    /// The same, and handle this interface again, which waits for it.
    Open(Interface),
}

/// What to do to replace packet sockets again.
#[derive(Debug)]
pub(in crate::daemon) enum ReturnStep {
    /// Load it.
    Load,
    /// Try again later: another program is being loaded.
    Later,
    /// Try again later, and report why the interface cannot have it now.
    Refused(Refusal),
    /// Nothing: there are no packet sockets to replace.
    Stay,
}

impl<P: Parts> Default for DataPath<P> {
    fn default() -> Self {
        Self { open: None, next: Next::Nothing }
    }
}

impl<P: Parts> DataPath<P> {
    /// What is open.
    pub(in crate::daemon) const fn open(&self) -> Option<&Open<P>> {
        self.open.as_ref()
    }

    /// What is open, mutable.
    pub(in crate::daemon) const fn open_mut(&mut self) -> Option<&mut Open<P>> {
        self.open.as_mut()
    }

    /// The program that receives adverts.
    pub(in crate::daemon) const fn kernel(&self) -> Option<&P::Kernel> {
        match &self.open {
            Some(Open { by: By::Kernel(kernel), .. }) => Some(kernel),
            Some(Open { by: By::Raw(..), .. }) | None => None,
        }
    }

    /// The program that receives adverts, mutable.
    pub(in crate::daemon) const fn kernel_mut(&mut self) -> Option<&mut P::Kernel> {
        match &mut self.open {
            Some(Open { by: By::Kernel(kernel), .. }) => Some(kernel),
            Some(Open { by: By::Raw(..), .. }) | None => None,
        }
    }

    /// Whether the interface with this index is open.
    pub(in crate::daemon) fn is_open_on(&self, index: u32) -> bool {
        self.open.as_ref().is_some_and(|open| open.index == index)
    }

    /// Whether a program is being loaded.
    pub(in crate::daemon) const fn is_loading(&self) -> bool {
        matches!(self.next, Next::Loading(_))
    }

    /// Whether an interface waits to be opened.
    pub(in crate::daemon) const fn has_waiting(&self) -> bool {
        matches!(self.next, Next::Loading(Purpose::Open(_)) | Next::OpenAgain(_))
    }

    /// Handles that the interface exists and routers need it. `obstacle` returns why it cannot have a program, and is
    /// called only if one would be used or loaded now; `is_there` returns whether a program is attached to the interface.
    pub(in crate::daemon) fn arrives(
        &mut self,
        interface: &Interface,
        obstacle: impl FnOnce() -> Option<Refusal>,
        is_there: impl FnOnce(&P::Loaded) -> bool,
    ) -> OpenStep<P> {
        if self.is_open_on(interface.index) {
            self.waits_no_more(|_| true);
            return OpenStep::IsOpen;
        }
        match self.take(obstacle) {
            Some(Ok(Program::Loaded(program))) if !is_there(&program) => {
                self.next = Next::Loading(Purpose::Open(interface.clone()));
                return OpenStep::Attach(program);
            }
            Some(program) => return OpenStep::Open(program),
            None => {}
        }
        let is_loading = self.is_loading();
        self.next = Next::Loading(Purpose::Open(interface.clone()));
        if is_loading { OpenStep::Wait } else { OpenStep::Load }
    }

    /// The program to open the interface with, or the reason for having none; `None`: it is not loaded. `obstacle` as
    /// above.
    pub(in crate::daemon) fn take(
        &mut self,
        obstacle: impl FnOnce() -> Option<Refusal>,
    ) -> Option<Result<Program<P>, Refusal>> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            // It may be attached already; its purpose is known when it is reported.
            loading @ Next::Loading(_) => {
                self.next = loading;
                None
            }
            before => match (obstacle(), before) {
                (Some(obstacle), _) => Some(Err(obstacle)),
                (None, Next::Ready(program)) => Some(program),
                (None, other) => {
                    self.next = other;
                    None
                }
            },
        }
    }

    /// Notes that the interface is open.
    pub(in crate::daemon) fn opened(&mut self, open: Open<P>) {
        self.open = Some(open);
    }

    /// Notes that the interface could not be opened, and is to be tried again.
    pub(in crate::daemon) fn failed(&mut self, interface: &Interface) {
        self.next = Next::OpenAgain(interface.clone());
    }

    /// Takes the interface that is to be tried again.
    pub(in crate::daemon) fn again(&mut self) -> Option<Interface> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::OpenAgain(interface) => Some(interface),
            other => {
                self.next = other;
                None
            }
        }
    }

    /// New routers need a program; returns whether to load it now.
    pub(in crate::daemon) fn begin_loading(&mut self) -> bool {
        let (next, begins) = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => (Next::Loading(Purpose::Routers(None)), true),
            Next::OpenAgain(interface) => (Next::Loading(Purpose::Open(interface)), true),
            other @ (Next::Loading(_) | Next::Ready(_)) => (other, false),
        };
        self.next = next;
        begins
    }

    /// Whether the program being loaded is for the interface with this index.
    pub(in crate::daemon) fn is_awaited_on(&self, index: u32) -> bool {
        match &self.next {
            Next::Loading(Purpose::Open(interface)) => interface.index == index,
            Next::Loading(Purpose::Return) => self.is_open_on(index),
            Next::Loading(Purpose::Routers(onto)) => *onto == Some(index),
            Next::Loading(Purpose::Move) | Next::Nothing | Next::Ready(_) | Next::OpenAgain(_) => false,
        }
    }

    /// Handles a loaded program, or the failure.
    pub(in crate::daemon) fn loaded(&mut self, program: Result<P::Loaded, Refusal>) -> LoadStep<P> {
        let program = program.map(Program::Loaded);
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Loading(Purpose::Return) => LoadStep::PutBack(program),
            Next::Loading(Purpose::Open(interface)) => {
                self.next = Next::Ready(program);
                LoadStep::Open(interface)
            }
            Next::Loading(Purpose::Routers(_) | Purpose::Move)
            | Next::Nothing
            | Next::Ready(_)
            | Next::OpenAgain(_) => {
                self.next = Next::Ready(program);
                LoadStep::Keep
            }
        }
    }

    /// Takes a loaded program, to attach it for new routers; see [`DataPath::attached`].
    pub(in crate::daemon) fn take_ready(&mut self) -> Option<Result<Program<P>, Refusal>> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Ready(program) => Some(program),
            other => {
                self.next = other;
                None
            }
        }
    }

    /// Takes a loaded program, to be attached to the interface with this index before new routers start, if `fits`
    /// returns true.
    pub(in crate::daemon) fn begin_attaching(
        &mut self,
        index: u32,
        fits: impl FnOnce(&P::Loaded) -> bool,
    ) -> Option<P::Loaded> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Ready(Ok(Program::Loaded(program))) if fits(&program) => {
                self.next = Next::Loading(Purpose::Routers(Some(index)));
                Some(program)
            }
            other => {
                self.next = other;
                None
            }
        }
    }

    /// Notes that the program was attached for new routers.
    pub(in crate::daemon) fn attached(&mut self, program: P::Attached) {
        self.next = Next::Ready(Ok(Program::Attached(program)));
    }

    /// Drops a loaded program that is not needed.
    pub(in crate::daemon) fn forget(&mut self) {
        if matches!(self.next, Next::Ready(_)) {
            self.next = Next::Nothing;
        }
    }

    /// Whether to load the program now and attach it again to the interface with this index. `obstacle` as above.
    pub(in crate::daemon) fn begin_return(
        &mut self,
        index: u32,
        obstacle: impl FnOnce() -> Option<Refusal>,
    ) -> ReturnStep {
        if !matches!(self.next, Next::Nothing) {
            return ReturnStep::Later;
        }
        if !self.is_open_on(index) || !matches!(self.open, Some(Open { by: By::Raw(..), .. })) {
            return ReturnStep::Stay;
        }
        if let Some(obstacle) = obstacle() {
            return ReturnStep::Refused(obstacle);
        }
        self.next = Next::Loading(Purpose::Return);
        ReturnStep::Load
    }

    /// Notes that the program is moved to another object, while packet sockets are open.
    pub(in crate::daemon) fn moving(&mut self) {
        self.next = Next::Loading(Purpose::Move);
    }

    /// Handles that the program was moved, or could not be.
    pub(in crate::daemon) fn moved(&mut self) -> MoveStep {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Loading(Purpose::Move) => MoveStep::PutBack,
            Next::Loading(Purpose::Open(interface)) => MoveStep::Open(interface),
            Next::Loading(Purpose::Routers(_)) => MoveStep::TakeOff,
            other
            @ (Next::Loading(Purpose::Return) | Next::Nothing | Next::Ready(_) | Next::OpenAgain(_)) => {
                self.next = other;
                MoveStep::TakeOff
            }
        }
    }

    /// Replaces packet sockets by the program; returns the sockets. Without packet sockets nothing changes.
    pub(in crate::daemon) fn put_back(&mut self, kernel: P::Kernel) -> Option<P::Raw> {
        let open = self.open.as_mut().filter(|open| matches!(open.by, By::Raw(..)))?;
        let before = std::mem::replace(&mut open.by, By::Kernel(kernel));
        match before {
            By::Raw(raw, _) => Some(raw),
            By::Kernel(_) => None,
        }
    }

    /// Replaces the program by packet sockets; returns the program. Without a program nothing changes.
    pub(in crate::daemon) fn fall_back(&mut self, raw: P::Raw, why: Refusal) -> Option<P::Kernel> {
        let open = self.open.as_mut().filter(|open| matches!(open.by, By::Kernel(_)))?;
        match std::mem::replace(&mut open.by, By::Raw(raw, why)) {
            By::Kernel(kernel) => Some(kernel),
            By::Raw(..) => None,
        }
    }

    /// Handles that the interface with this index is gone: it is not waited for.
    pub(in crate::daemon) fn removed(&mut self, index: u32) {
        self.waits_no_more(|interface| interface.index == index);
    }

    /// Takes what is open, to be closed and opened again.
    pub(in crate::daemon) fn close(&mut self) -> Option<Open<P>> {
        self.open.take()
    }

    /// Handles that no router needs the interface any more; returns what to close.
    pub(in crate::daemon) fn rest(&mut self) -> Option<Open<P>> {
        if matches!(self.next, Next::Loading(Purpose::Return | Purpose::Move)) {
            self.next = Next::Loading(Purpose::Routers(None));
        }
        self.open.take()
    }

    /// Handles that the open interface is gone; returns what to close. An attached program is gone with it.
    pub(in crate::daemon) fn gone(&mut self) -> Option<Open<P>> {
        if matches!(self.next, Next::Ready(Ok(Program::Attached(_)))) {
            self.next = Next::Nothing;
        }
        self.rest()
    }

    /// Stops waiting for such an interface.
    fn waits_no_more(&mut self, which: impl FnOnce(&Interface) -> bool) {
        let (Next::Loading(Purpose::Open(interface)) | Next::OpenAgain(interface)) = &self.next else {
            return;
        };
        if which(interface) {
            self.next = if self.is_loading() { Next::Loading(Purpose::Routers(None)) } else { Next::Nothing };
        }
    }
}

#[cfg(test)]
mod tests;
