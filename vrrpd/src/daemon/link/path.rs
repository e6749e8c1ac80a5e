//! The data path of an interface as a state machine: what is open on it, and the program that is to come.
//!
//! [`DataPath`] opens, loads and closes nothing. It owns what was opened and loaded, so that nothing is there in a state
//! where it must not be; each transition hands out what the caller is to use or to close. What the parts are is left to
//! [`Parts`], so that the tests below go through each state with words in the place of sockets and programs.
//!
//! An interface is closed, or open with packet sockets, or open with the program in the kernel. Beside that a program may be
//! loaded: for an interface that is to be opened with it, for routers of a new configuration, or, while packet sockets are
//! open, to be put back.

use std::fmt;

use crate::datapath::refusal::Refusal;
use crate::interface::Interface;

/// What a data path consists of.
pub(in crate::daemon) trait Parts {
    /// A program that was loaded.
    type Loaded: fmt::Debug;
    /// A program on the interface.
    type Attached: fmt::Debug;
    /// What is open in any case.
    type Ports: fmt::Debug;
    /// Packet sockets that receive adverts.
    type Raw: fmt::Debug;
    /// The program that receives adverts, with what it needs beside it.
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
    /// The number of the interface.
    pub(in crate::daemon) index: u32,
    pub(in crate::daemon) ports: P::Ports,
    pub(in crate::daemon) by: By<P>,
}

/// How adverts arrive.
#[derive(Debug)]
pub(in crate::daemon) enum By<P: Parts> {
    /// By packet sockets, since there is no program for this reason.
    Raw(P::Raw, Refusal),
    /// By the program.
    Kernel(P::Kernel),
}

/// The program that is to come.
#[derive(Debug)]
enum Next<P: Parts> {
    Nothing,
    /// It is being loaded.
    Loading(Purpose),
    /// It is there, or why it is not; the next routers use it.
    Ready(Result<Program<P>, Refusal>),
    /// None: the interface could not be opened, which is tried again.
    OpenAgain(Interface),
}

/// What a program is loaded for.
#[derive(Debug)]
enum Purpose {
    /// For routers that are to come; it is put onto the interface of this number.
    Routers(Option<u32>),
    /// For this interface, which is opened then.
    Open(Interface),
    /// To be put back in the place of packet sockets.
    Return,
}

/// A program that is not used yet.
#[derive(Debug)]
pub(in crate::daemon) enum Program<P: Parts> {
    /// It may be on the interface.
    Loaded(P::Loaded),
    /// It is on the interface.
    Attached(P::Attached),
}

/// What to do with an interface that is there.
#[derive(Debug)]
pub(in crate::daemon) enum OpenStep<P: Parts> {
    /// Nothing: it is open.
    IsOpen,
    /// Open it, with this program or without one.
    Open(Result<Program<P>, Refusal>),
    /// Load the program: the interface waits for it.
    Load,
    /// Nothing: the program that it waits for is being loaded.
    Wait,
}

/// What to do with a program that was loaded.
#[derive(Debug)]
pub(in crate::daemon) enum LoadStep<P: Parts> {
    /// Nothing: the next routers use it.
    Keep,
    /// Look at this interface again, which waits for it.
    Open(Interface),
    /// Put it back, or tell why it cannot be.
    PutBack(Result<Program<P>, Refusal>),
}

/// What to do about a program that is to be put back.
#[derive(Debug)]
pub(in crate::daemon) enum ReturnStep {
    /// Load it.
    Load,
    /// Try again later: another one is on its way.
    Later,
    /// Try again later, and say why the interface cannot have it now.
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

    /// The same, to be changed.
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

    /// The same, to be changed.
    pub(in crate::daemon) const fn kernel_mut(&mut self) -> Option<&mut P::Kernel> {
        match &mut self.open {
            Some(Open { by: By::Kernel(kernel), .. }) => Some(kernel),
            Some(Open { by: By::Raw(..), .. }) | None => None,
        }
    }

    /// Whether the interface of this number is open.
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

    /// The interface is there, and routers need it. `obstacle` says why it cannot have a program, and is asked only when one
    /// would be used or loaded now.
    pub(in crate::daemon) fn arrives(
        &mut self,
        interface: &Interface,
        obstacle: impl FnOnce() -> Option<Refusal>,
    ) -> OpenStep<P> {
        if self.is_open_on(interface.index) {
            self.waits_no_more(|_| true);
            return OpenStep::IsOpen;
        }
        if let Some(program) = self.take(obstacle) {
            return OpenStep::Open(program);
        }
        let is_loading = self.is_loading();
        self.next = Next::Loading(Purpose::Open(interface.clone()));
        if is_loading { OpenStep::Wait } else { OpenStep::Load }
    }

    /// The program to open the interface with, or why there is none; `None`: it is not loaded. `obstacle` as above.
    pub(in crate::daemon) fn take(
        &mut self,
        obstacle: impl FnOnce() -> Option<Refusal>,
    ) -> Option<Result<Program<P>, Refusal>> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            // It may be on the interface already: whose it is is not known before it is told of.
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

    /// The interface is open.
    pub(in crate::daemon) fn opened(&mut self, open: Open<P>) {
        self.open = Some(open);
    }

    /// The interface could not be opened, and is to be tried again.
    pub(in crate::daemon) fn failed(&mut self, interface: &Interface) {
        self.next = Next::OpenAgain(interface.clone());
    }

    /// The interface that is to be tried again, once.
    pub(in crate::daemon) fn again(&mut self) -> Option<Interface> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::OpenAgain(interface) => Some(interface),
            other => {
                self.next = other;
                None
            }
        }
    }

    /// Routers are to come that need a program; whether it is to be loaded now.
    pub(in crate::daemon) fn begin_loading(&mut self) -> bool {
        let (next, begins) = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => (Next::Loading(Purpose::Routers(None)), true),
            Next::OpenAgain(interface) => (Next::Loading(Purpose::Open(interface)), true),
            other @ (Next::Loading(_) | Next::Ready(_)) => (other, false),
        };
        self.next = next;
        begins
    }

    /// Whether the program that is being loaded is to be on the interface of this number.
    pub(in crate::daemon) fn is_awaited_on(&self, index: u32) -> bool {
        match &self.next {
            Next::Loading(Purpose::Open(interface)) => interface.index == index,
            Next::Loading(Purpose::Return) => self.is_open_on(index),
            Next::Loading(Purpose::Routers(onto)) => *onto == Some(index),
            Next::Nothing | Next::Ready(_) | Next::OpenAgain(_) => false,
        }
    }

    /// The program was loaded, or could not be.
    pub(in crate::daemon) fn loaded(&mut self, program: Result<P::Loaded, Refusal>) -> LoadStep<P> {
        let program = program.map(Program::Loaded);
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Loading(Purpose::Return) => LoadStep::PutBack(program),
            Next::Loading(Purpose::Open(interface)) => {
                self.next = Next::Ready(program);
                LoadStep::Open(interface)
            }
            Next::Loading(Purpose::Routers(_)) | Next::Nothing | Next::Ready(_) | Next::OpenAgain(_) => {
                self.next = Next::Ready(program);
                LoadStep::Keep
            }
        }
    }

    /// Takes a program that is ready, to attach it for routers that are to come; see [`DataPath::attached`].
    pub(in crate::daemon) fn take_ready(&mut self) -> Option<Result<Program<P>, Refusal>> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Ready(program) => Some(program),
            other => {
                self.next = other;
                None
            }
        }
    }

    /// Hands out a program that is ready, to be put onto the interface of this number before the routers come that need it, if
    /// `fits` says so.
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

    /// The program was attached for routers that are to come.
    pub(in crate::daemon) fn attached(&mut self, program: P::Attached) {
        self.next = Next::Ready(Ok(Program::Attached(program)));
    }

    /// Nobody needs the program that is ready.
    pub(in crate::daemon) fn forget(&mut self) {
        if matches!(self.next, Next::Ready(_)) {
            self.next = Next::Nothing;
        }
    }

    /// Whether the program is to be loaded now and put back onto the interface of this number. `obstacle` as above.
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

    /// The program is put back; returns the packet sockets. Without any nothing changes.
    pub(in crate::daemon) fn put_back(&mut self, kernel: P::Kernel) -> Option<P::Raw> {
        let open = self.open.as_mut().filter(|open| matches!(open.by, By::Raw(..)))?;
        let before = std::mem::replace(&mut open.by, By::Kernel(kernel));
        match before {
            By::Raw(raw, _) => Some(raw),
            By::Kernel(_) => None,
        }
    }

    /// The program is given up for packet sockets; returns it. Without one nothing changes.
    pub(in crate::daemon) fn fall_back(&mut self, raw: P::Raw, why: Refusal) -> Option<P::Kernel> {
        let open = self.open.as_mut().filter(|open| matches!(open.by, By::Kernel(_)))?;
        match std::mem::replace(&mut open.by, By::Raw(raw, why)) {
            By::Kernel(kernel) => Some(kernel),
            By::Raw(..) => None,
        }
    }

    /// The interface of this number is gone: it is not waited for.
    pub(in crate::daemon) fn removed(&mut self, index: u32) {
        self.waits_no_more(|interface| interface.index == index);
    }

    /// What is open is to be closed, to be opened anew.
    pub(in crate::daemon) fn close(&mut self) -> Option<Open<P>> {
        self.open.take()
    }

    /// No router needs the interface any more: what is to be closed.
    pub(in crate::daemon) fn rest(&mut self) -> Option<Open<P>> {
        if matches!(self.next, Next::Loading(Purpose::Return)) {
            self.next = Next::Loading(Purpose::Routers(None));
        }
        self.open.take()
    }

    /// The interface that was open is gone: what is to be closed. A program that was attached went with it.
    pub(in crate::daemon) fn gone(&mut self) -> Option<Open<P>> {
        if matches!(self.next, Next::Ready(Ok(Program::Attached(_)))) {
            self.next = Next::Nothing;
        }
        self.rest()
    }

    /// If such an interface waits, it does not any more.
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
