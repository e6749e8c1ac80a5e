//! A model of how a virtual router handles adverts.

use std::collections::BTreeMap;

use super::{Advert, Role, Router, sorted};

/// The adverts that a virtual router has handled, and its deadline. Times are in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// The last advert with its time.
    pub heard: Option<(u64, Advert)>,
    /// The last advert of a master that it follows or yields to.
    pub followed: Option<(u64, Advert)>,
    /// The last resignation that had an effect.
    pub resigned: Option<(u64, Advert)>,
    /// When the master counts as down; 0: no deadline.
    pub deadline: u64,
    /// Interval of the master in hundredths of a second.
    pub master_centis: u16,
    /// Number of valid adverts.
    pub adverts: u64,
    /// Number of invalid adverts, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Number of reports withheld to keep the spacing.
    pub withheld: u64,
    quiet_until: u64,
    urgent_quiet_until: u64,
    owes_a_report: bool,
}

impl Watch {
    /// For a router with this deadline if it is a Backup.
    pub fn new(router: &Router, deadline: u64) -> Self {
        let deadline = if router.role == Role::Backup { deadline } else { 0 };
        Self { deadline, master_centis: router.centis, ..Self::default() }
    }

    /// Handles an invalid advert.
    pub fn discard(&mut self, reason: &'static str) {
        *self.rejected.entry(reason).or_default() += 1;
    }

    /// Handles an advert received at `at`; returns whether it is reported.
    pub fn accept(&mut self, router: &Router, advert: Advert, at: u64) -> bool {
        self.adverts += 1;
        let says =
            |advert: &Advert| (advert.priority, advert.centis, advert.source, sorted(&advert.addresses));
        let is_news = self.heard.as_ref().is_none_or(|(_, before)| says(before) != says(&advert));
        self.heard = Some((at, advert.clone()));
        match router.role {
            Role::Init => {
                if advert.priority == 0 {
                    self.resigned = Some((at, advert));
                }
                false
            }
            Role::Backup => {
                if self.as_backup(router, advert, at) {
                    self.may_report_urgently(at, router.spacing)
                } else {
                    (is_news || self.owes_a_report) && self.may_report(at, router.spacing)
                }
            }
            Role::Master => {
                // RFC 9568 §6.4.3
                let is_better = advert.priority > router.priority
                    || advert.priority == router.priority && advert.source > router.own_address;
                let resigns = advert.priority == 0;
                if resigns {
                    self.resigned = Some((at, advert));
                } else if is_better {
                    self.followed = Some((at, advert));
                }
                if is_better || resigns {
                    self.may_report_urgently(at, router.spacing)
                } else {
                    self.may_report(at, router.spacing)
                }
            }
        }
    }

    /// RFC 9568 §6.4.2. Returns whether it is a resignation that has an effect.
    fn as_backup(&mut self, router: &Router, advert: Advert, at: u64) -> bool {
        const CENTI: u64 = 10_000_000;
        let is_v2 = router.version == 2 && router.own_address.is_ipv4();
        // RFC 3768 §6.1: (256 - priority) / 256 seconds. RFC 9568 §6.1: that fraction of the master's interval.
        let skew = |centis: u16| {
            let whole = if is_v2 { 100 * CENTI } else { u64::from(centis) * CENTI };
            whole * (256 - u64::from(router.priority)) / 256
        };
        if advert.priority == 0 {
            let time = |heard: &Option<(u64, Advert)>| heard.as_ref().map_or(0, |(at, _)| *at);
            let is_first = time(&self.resigned) <= time(&self.followed);
            let deadline = at + skew(self.master_centis);
            if !is_first && deadline >= self.deadline {
                return false;
            }
            self.deadline = self.deadline.min(deadline);
            self.resigned = Some((at, advert));
            return true;
        }
        if advert.priority >= router.priority || !router.preempts {
            self.master_centis = if is_v2 { router.centis } else { advert.centis.min(router.longest_centis) };
            let silence = u64::from(router.down_multiplier) * u64::from(self.master_centis) * CENTI;
            self.deadline = at + silence + skew(self.master_centis);
            self.followed = Some((at, advert));
        }
        false
    }

    fn may_report(&mut self, at: u64, spacing: u64) -> bool {
        let may = at >= self.quiet_until;
        if may {
            self.quiet_until = at + spacing;
        } else {
            self.withheld += 1;
        }
        self.owes_a_report = !may;
        may
    }

    fn may_report_urgently(&mut self, at: u64, spacing: u64) -> bool {
        let may = at >= self.urgent_quiet_until;
        if may {
            self.urgent_quiet_until = at + spacing;
        } else {
            self.withheld += 1;
            self.owes_a_report = true;
        }
        may
    }
}
