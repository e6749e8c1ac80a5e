//! Master_Down_Timer: one `bpf_timer` per virtual router, moved by adverts as [`vrrpd_common::watch`] says.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::{bpf_timer_init, bpf_timer_set_callback, bpf_timer_start};
use vrrpd_common::Instant;
use vrrpd_common::abi::EventKind;
use vrrpd_common::watch::Due;

use crate::maps::{ROUTERS, RouterSlot};
use crate::router::Router;

const CLOCK_MONOTONIC: u64 = 1;
const EBUSY: i64 = 16;
/// How many processors may move the same timer at the same moment.
const MOVERS: usize = 4;

/// Makes the timer usable; once is enough, more often is harmless.
#[inline(always)]
pub fn prepare(router: &Router) -> Result<(), i32> {
    // SAFETY: the timer is in an element of this map.
    unsafe {
        let timer = &raw mut (*router.slot()).timer;
        let result = bpf_timer_init(timer, (&raw const ROUTERS).cast_mut().cast(), CLOCK_MONOTONIC);
        if result < 0 && result != -EBUSY {
            return Err(result as i32);
        }
        match bpf_timer_set_callback(timer, ran_out as *mut c_void) {
            0 => Ok(()),
            error => Err(error as i32),
        }
    }
}

/// Sets the timer to when the record says that it is to run. Not under the lock, which allows no helpers; if another
/// processor has changed the record meanwhile, its start may have come before ours, so the last one looks again.
#[inline(always)]
pub fn set(router: &Router) {
    for _ in 0..MOVERS {
        let at = router.timer_at();
        if at == 0 {
            return;
        }
        // SAFETY: the timer is in a map's element; the helpers have no other preconditions.
        unsafe {
            let wait = at.saturating_sub(bpf_ktime_get_ns());
            bpf_timer_start(&raw mut (*router.slot()).timer, wait, 0);
        }
        if router.timer_at() == at {
            return;
        }
    }
}

/// Called by the kernel when the timer runs out.
extern "C" fn ran_out(_map: *mut c_void, slot: *mut u32, _element: *mut RouterSlot) -> i64 {
    // The element is looked up once more: before 6.2 the verifier allows no lock in the one that it hands in.
    // SAFETY: the kernel hands in the element's index.
    if let Some(router) = Router::at(unsafe { *slot }) {
        look_at_deadline(&router);
    }
    0
}

#[inline(always)]
fn look_at_deadline(router: &Router) {
    // SAFETY: the helper has no preconditions.
    let now = Instant::from_nanos(unsafe { bpf_ktime_get_ns() });
    match router.locked(|_, record| record.look_at_deadline(now)) {
        Due::Nothing => return,
        Due::Later => {}
        Due::Expired => router.report(EventKind::Expired, now),
    }
    set(router);
}
