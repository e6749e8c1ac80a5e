//! What a router needs besides the engine's part: its secret, its scripts, its sockets and the frame of its adverts.

use std::net::IpAddr;

use tokio::task::AbortHandle;
use tracing::warn;
use vrrpd_common::wire::frame::{AdvertFrame, NOT_ROUTED, advert_frame_len, emit_advert};
use vrrpd_common::wire::vrrp::{Kind, VrrpRepr};
use vrrpd_common::{MacAddr, Priority, Version};
use vrrpd_engine::RouterId;
use vrrpd_engine::engine::LastActs;
use vrrpd_engine::router::{AdvertToSend, Router};

use super::{group_scripts, scripts};
use crate::config::{Authentication, Destination, Peer};
use crate::guardian::{LastScript, Mastery, Resignation};
use crate::interface::Interface;
use crate::magic;
use crate::script::Runner;
use crate::sys::packet::Frame;
use crate::transmit::AdvertFrames;
use crate::transmit::peers::PeerTransmitter;
use crate::transmit::routed::Packet;

/// Resources of the router with the same identifier in the engine.
#[derive(Debug)]
pub(super) struct Handles {
    /// The secret.
    pub(super) authentication: Authentication,
    pub(super) scripts: Option<Runner>,
    pub(super) preparation: Option<Preparation>,
    /// Number of `prepare` scripts started.
    pub(super) preparations: u64,
    /// A failed magic packet is logged once until sending succeeds again.
    magic_failed: bool,
    cached: Option<((MacAddr, AdvertToSend), AdvertFrames)>,
}

/// A running `prepare` script.
#[derive(Debug)]
pub(super) struct Preparation {
    /// Distinguishes it from earlier ones.
    pub(super) number: u64,
    pub(super) task: AbortHandle,
}

impl Handles {
    pub(super) const fn new(authentication: Authentication) -> Self {
        Self {
            authentication,
            scripts: None,
            preparation: None,
            preparations: 0,
            magic_failed: false,
            cached: None,
        }
    }

    /// Discards the cached frame after a change of the configuration.
    pub(super) fn forget_frame(&mut self) {
        self.cached = None;
    }

    /// The frames of this advert; an Authentication Header is not sealed yet.
    pub(super) fn frames(&mut self, router: &Router, key: (MacAddr, AdvertToSend)) -> Option<AdvertFrames> {
        if let Some((made_for, frames)) = &self.cached
            && *made_for == key
        {
            return Some(frames.clone());
        }
        let frames = match &router.config.destination {
            Destination::Group(group) => AdvertFrames::Group(self.frame(router, key, *group, NOT_ROUTED)?),
            Destination::Peers { peers, ttl } => {
                let packet = |peer: &Peer| {
                    Some(Packet { to: peer.address, frame: self.frame(router, key, peer.address, *ttl)? })
                };
                AdvertFrames::Peers(peers.iter().map(packet).collect::<Option<_>>()?)
            }
        };
        if key.1.priority != Priority::RESIGN {
            self.cached = Some((key, frames.clone()));
        }
        Some(frames)
    }

    /// The frame of this advert to a group or peer.
    fn frame(
        &self,
        router: &Router,
        (source_mac, advert): (MacAddr, AdvertToSend),
        destination: IpAddr,
        ttl: u8,
    ) -> Option<Frame> {
        let AdvertToSend { source, priority, addresses } = advert;
        let config = &router.config;
        let addresses = router.addresses.first(addresses)?;
        let kind = match config.version {
            Version::V2 => Kind::V2 { auth: self.authentication.in_message() },
            Version::V3 => Kind::V3,
        };
        let advert = VrrpRepr::new(config.vrid, priority, config.interval, kind, addresses)?;
        let mut buffer = vec![0; advert_frame_len(&advert)];
        let frame = AdvertFrame { source_mac, source, destination, ttl, checksum: config.checksum, advert };
        let length = emit_advert(&frame, &mut buffer)?;
        buffer.truncate(length);
        Some(buffer.into())
    }

    /// Sends a magic packet, if configured.
    pub(super) fn send_magic(&mut self, router: &Router) {
        let Some(magic) = &router.config.magic else { return };
        match magic::send(magic, router.place_of_addresses()) {
            Ok(()) => self.magic_failed = false,
            Err(error) => {
                if !self.magic_failed {
                    warn!(
                        router = %router.config.title(), from = %magic.source, to = %magic.destination, %error,
                        "cannot send magic packet"
                    );
                }
                self.magic_failed = true;
            }
        }
    }

    /// What the guardian needs for a Master: its resignation and its scripts.
    pub(super) fn mastery(
        &mut self,
        router: &Router,
        id: RouterId,
        (interface, peers): (Option<&Interface>, &PeerTransmitter),
        marks: bool,
        acts: LastActs,
    ) -> Mastery {
        let resignation = acts.resignation.and_then(|advert| self.frames(router, advert));
        let resignation = resignation.and_then(|frames| match frames {
            AdvertFrames::Group(frame) => Some(Resignation::Group(frame.to_vec())),
            AdvertFrames::Peers(packets) => Some(Resignation::Peers {
                route: *peers.route(id)?,
                packets: packets.iter().map(|packet| (packet.to, packet.frame.to_vec())).collect(),
            }),
        });
        let own = acts.script.map(|call| LastScript {
            call,
            limit_ns: router.config.scripts.timeout.as_nanos(),
            claim: scripts::claim(&router.config),
        });
        let of_group = acts.group_script.and_then(|(group, call)| group_scripts::last(&group, call));
        Mastery {
            router: id,
            name: router.config.title().into_owned(),
            interface: interface.map_or(0, |interface| interface.index),
            holds: acts.holds,
            marks,
            resignation,
            scripts: own.into_iter().chain(of_group).collect(),
        }
    }
}
