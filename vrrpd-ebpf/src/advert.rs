//! Handling of a valid advert.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use vrrpd_common::abi::{EventKind, KernelAdvert};
use vrrpd_common::{Advert, Family, Instant};

use crate::router::{Configured, Router};
use crate::timer;

/// Takes in an advert that was checked by what was configured; `None` when that has changed since.
#[inline(always)]
pub fn take_in(router: &Router, configured: &Configured, family: Family, advert: &Advert) -> Option<()> {
    // SAFETY: the helper has no preconditions.
    let now = Instant::from_nanos(unsafe { bpf_ktime_get_ns() });
    let heard = KernelAdvert::new(advert, now);
    let deferred = router.locked(|config, record| {
        if !configured.is_still(config, record) {
            return None;
        }
        Some(record.take(config, family, heard))
    })?;
    if deferred.arm {
        timer::set(router);
    }
    if deferred.report {
        router.report(EventKind::Advert, now);
    }
    Some(())
}
