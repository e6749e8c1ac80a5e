//! A simulated other router that sends advertisements.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::side::Side;
use super::{AH_KEY, POLL};
use crate::{Advert, AdvertFrame, Injector};

/// Its Ethernet address.
pub(super) const RIVAL: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];

/// The simulated router.
#[derive(Debug)]
pub(super) struct Rival {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The advertisements of a rival.
#[derive(Debug)]
struct Spoken {
    injector: Injector,
    frame: AdvertFrame,
    /// The last sequence number, with an Authentication Header; all routers share one number space.
    sequence: Option<u32>,
    interval: Duration,
}

impl Rival {
    fn start(mut spoken: Vec<Spoken>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&stop);
        let interval = spoken.iter().map(|spoken| spoken.interval).min().expect("there were advertisements");
        let thread = thread::spawn(move || {
            let mut next = Instant::now();
            while !end.load(Ordering::Relaxed) {
                if Instant::now() < next {
                    thread::sleep(POLL);
                    continue;
                }
                next += interval;
                for Spoken { injector, frame, sequence, .. } in &mut spoken {
                    injector.send(&match sequence {
                        Some(sequence) => {
                            *sequence += 1;
                            frame.clone().build_authenticated(AH_KEY, *sequence)
                        }
                        None => frame.build(),
                    });
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic was reported; repeating it in a destructor would hide the test's message.
            drop(thread.join());
        }
    }
}

impl Side {
    /// Makes another router advertise like this one, with another priority.
    pub(super) fn rival(&mut self, priority: u8) {
        let last: BTreeMap<_, _> = self
            .adverts()
            .into_iter()
            .map(|(interface, advert, sequence)| (advert.vrid, (interface, advert, sequence)))
            .collect();
        let mut spoken = Vec::new();
        for (interface, advert, sequence) in last.into_values() {
            let frame = self.reply(interface, &advert, priority);
            let injector = Injector::on_interface(&self.peer, interface);
            spoken.push(Spoken { injector, frame, sequence, interval: advert.interval });
        }
        self.rival = Some(Rival::start(spoken));
    }

    /// Makes another router advertise once with a low priority.
    pub(super) fn lower_advert(&self) {
        let last: BTreeMap<_, _> = self
            .adverts()
            .into_iter()
            .map(|(interface, advert, _)| (advert.vrid, (interface, advert)))
            .collect();
        for (interface, advert) in last.into_values() {
            Injector::on_interface(&self.peer, interface).send(&self.reply(interface, &advert, 1).build());
        }
    }

    /// The same advertisement, from another router.
    fn reply(&self, interface: &str, advert: &Advert, priority: u8) -> AdvertFrame {
        let source = match advert.source {
            IpAddr::V4(_) => IpAddr::from(self.peer.ipv4_of(interface)),
            IpAddr::V6(_) => self.peer.link_local(interface).into(),
        };
        let mut frame = AdvertFrame::v3(source, advert.vrid, priority, advert.interval, &advert.addresses);
        if advert.version == 2 {
            let seconds = u8::try_from(advert.interval.as_secs()).expect("it was read as an octet");
            frame.version = 2;
            frame.interval = [advert.auth_type, seconds];
            frame.auth_data = advert.auth_data;
        }
        frame.source_mac = RIVAL;
        if advert.destination.is_multicast() {
            frame.destination = Some(advert.destination);
            frame.destination_mac = Some(advert.destination_mac);
        } else {
            frame.destination = Some(advert.source);
            frame.destination_mac = Some(self.router.mac(interface));
        }
        frame
    }
}
