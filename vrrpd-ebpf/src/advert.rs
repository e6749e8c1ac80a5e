//! What a valid advert does.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use vrrpd_common::abi::{EventKind, KernelAdvert};
use vrrpd_common::{Advert, Family, Instant};

use crate::router::Router;
use crate::timer;

/// Takes in an advert that was checked by the configuration of this generation; `None` when that has changed.
#[inline(always)]
pub fn take_in(router: &Router, family: Family, advert: &Advert, generation: u32) -> Option<()> {
    // SAFETY: the helper has no preconditions.
    let now = Instant::from_nanos(unsafe { bpf_ktime_get_ns() });
    let heard = KernelAdvert::new(advert, now);
    let deferred = router.locked(|config, record| {
        if config.generation != generation {
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
