//! Frames on LANs.

use vrrpd_common::{Advert, Interval, MacAddr, Priority};

use super::{Happening, World};
use crate::plan::{OUTSIDER, address};

impl World {
    pub(super) fn send(&mut self, from: usize, lan: usize, advert: Advert) {
        if !self.hosts[from].link[lan] {
            return;
        }
        for host in 0..self.hosts.len() {
            if host == from || self.blocked[self.path(lan, from, host)] {
                continue;
            }
            let copies = 1 + u64::from(self.random.percent(self.weather.duplicates));
            for _ in 0..copies {
                if !self.random.percent(self.weather.loss) {
                    let takes = self.random.between(1_000, self.weather.delay.as_nanos());
                    self.push(self.now + takes, Happening::Frame { lan, host, advert });
                }
            }
        }
    }

    /// An outsider's advert reaches all machines on the LAN.
    pub(super) fn forge(&mut self, lan: usize, priority: Priority, interval: Interval) {
        let advert = Advert {
            vrid: self.plan.machines[0].routers[lan].vrid,
            priority,
            interval,
            source: address(lan, OUTSIDER),
            mac: MacAddr([2, 0, 0, 0, 0, 0xfa]),
            address_count: 1,
            addresses: self.plan.machines[0].routers[lan].addresses,
        };
        for host in 0..self.hosts.len() {
            let takes = self.random.between(1_000, self.weather.delay.as_nanos());
            self.push(self.now + takes, Happening::Frame { lan, host, advert });
        }
    }

    pub(super) fn path(&self, lan: usize, from: usize, to: usize) -> usize {
        let count = self.hosts.len();
        (lan * count + from) * count + to
    }
}
