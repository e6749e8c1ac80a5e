//! A program that was loaded, and is attached to an interface when one needs it.

use std::fmt;
use std::os::fd::AsFd as _;

use super::attachment::Attachment;
use super::object::{Need, Objects, Room};
use super::refusal::Refusal;
use super::tier::{Kind, Tier};
use crate::config::Datapath;
use crate::guardian::copies::Keeper;

/// An interface that a program is to be attached to.
#[derive(Clone, Debug)]
pub struct Site {
    /// Index of the interface.
    pub index: u32,
    /// Why the interface cannot have an XDP program, as far as known before attaching one.
    pub no_xdp: Option<Refusal>,
}

/// The program, in an object that has room for the routers of an interface.
pub struct Loaded {
    need: Need,
    /// Has another object, if the program cannot be attached and one of another kind is tried.
    objects: Objects,
    room: Room,
    /// Where it is already, if it is.
    attachment: Option<Attachment>,
    /// Makes the guardian hold a copy of the descriptor, since the last close of it is slow.
    keeper: Keeper,
}

impl Loaded {
    /// Loads the program that is tried first for a data path, unless it is loaded.
    ///
    /// # Errors
    /// The reason why it cannot be loaded.
    pub fn load(need: Need, objects: Objects, keeper: Keeper) -> Result<Self, Refusal> {
        let first = Tier::of(need.wanted).first().ok_or(Refusal::NotWanted)?;
        let room = objects.room(first.kind(), need)?;
        Ok(Self { need, objects, room, attachment: None, keeper })
    }

    /// Attaches the program to an interface, which takes some drivers long.
    pub fn onto(mut self, site: &Site) -> Result<Self, Refusal> {
        self.attachment = Some(self.attach(site)?);
        Ok(self)
    }

    /// The data path this program was loaded for.
    pub const fn wanted(&self) -> Datapath {
        self.need.wanted
    }

    /// Index of the interface that the program is attached to.
    pub fn interface(&self) -> Option<u32> {
        self.attachment.as_ref().map(Attachment::interface)
    }

    /// Detaches the program.
    pub fn off(&mut self) {
        self.attachment = None;
    }

    /// The kernel's number of the program.
    pub fn number(&self) -> u32 {
        self.room.object().number()
    }

    /// The program on an interface, to which it is attached unless it is there.
    pub(super) fn into_parts(mut self, site: &Site) -> Result<(Room, Attachment), Refusal> {
        let there = self.attachment.take().filter(|attachment| attachment.interface() == site.index);
        let attachment = match there {
            Some(there) => there,
            None => self.attach(site)?,
        };
        Ok((self.room, attachment))
    }

    /// The room in its object, for a program that is attached already.
    pub(super) fn into_room(self) -> Room {
        self.room
    }

    /// What keeps the program attached, if it is.
    pub(super) fn into_attachment(self) -> Option<Attachment> {
        self.attachment
    }

    /// Attaches the program at the best hook of the data path that can be had.
    fn attach(&mut self, site: &Site) -> Result<Attachment, Refusal> {
        let mut refused = Vec::new();
        for tier in Tier::of(self.need.wanted).iter().copied() {
            match self.attach_at(tier, site) {
                Ok(attachment) => return Ok(attachment.because(refused)),
                Err(why) => refused.push((tier, why)),
            }
        }
        Err(Refusal::Tiers(refused))
    }

    fn attach_at(&mut self, tier: Tier, site: &Site) -> Result<Attachment, Refusal> {
        let kind = tier.kind();
        if let Some(why) = site.no_xdp.as_ref().filter(|_| kind == Kind::Xdp) {
            return Err(why.clone());
        }
        if self.room.object().kind() != kind {
            self.room = self.objects.room(kind, self.need)?;
        }
        let object = self.room.object();
        Attachment::make(object.program().as_fd(), &self.keeper, object.detaching(), site.index, tier)
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").finish_non_exhaustive()
    }
}
