//! Master_Down_Timer: one `bpf_timer` per virtual router, armed for deadlines of [`vrrpd_common::watch`].

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
/// Maximum number of processors that arm the same timer at the same moment.
const MOVERS: usize = 4;

/// Initialises the timer; harmless if repeated.
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

/// Arms the timer for the time in the record. Not under the lock, which allows no helpers; another processor may have
/// changed the record and armed the timer in between, so the record is read again.
#[inline(always)]
pub fn set(router: &Router) {
    for _ in 0..MOVERS {
        let at = router.timer_at();
        if at == 0 {
            return;
        }
        // SAFETY: the timer is in an element of a map; the helpers have no other preconditions.
        unsafe {
            let wait = at.saturating_sub(bpf_ktime_get_ns());
            bpf_timer_start(&raw mut (*router.slot()).timer, wait, 0);
        }
        if router.timer_at() == at {
            return;
        }
    }
}

/// Timer callback.
extern "C" fn ran_out(_map: *mut c_void, slot: *mut u32, _element: *mut RouterSlot) -> i64 {
    // The element is looked up again: before Linux 6.2 the verifier does not allow a lock in the element passed to the
    // callback. SAFETY: the kernel passes the index of the element.
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
