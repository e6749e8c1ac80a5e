//! Recording the classification of a frame.

use core::net::IpAddr;

use aya_ebpf::EbpfContext;
use vrrpd_common::classify::Classified;
use vrrpd_common::{Advert, Family, Reject, Rejection};

use crate::advert;
use crate::maps::count;
use crate::router::{Configured, Router};

/// Records the classification of a frame. Returns `pass`, or `verdict` for a frame for a router of ours.
#[inline(always)]
pub fn note(
    ctx: &impl EbpfContext,
    classified: Classified,
    configured: &Configured,
    pass: u32,
    verdict: impl Fn(&Router) -> u32,
) -> u32 {
    match classified {
        Classified::NotVrrp => pass,
        Classified::NotOurs { .. } => {
            count(configured.interface(), Reject::NotOurs);
            pass
        }
        // Too damaged to tell the router: others may judge it.
        Classified::Reject { rejection, router: None } => {
            log(ctx, &rejection);
            count(configured.interface(), rejection.reject);
            pass
        }
        Classified::Reject { rejection, router: Some((_, source)) } => {
            log(ctx, &rejection);
            discard(configured, &rejection, source, pass, verdict)
        }
        Classified::Advert { router: key, advert } => {
            accept(configured, key.family, &advert, pass, verdict)
        }
    }
}

#[inline(always)]
fn discard(
    configured: &Configured,
    rejection: &Rejection,
    source: IpAddr,
    pass: u32,
    verdict: impl Fn(&Router) -> u32,
) -> u32 {
    let Some(router) = configured.router() else { return pass };
    router.count(rejection.reject);
    if rejection.reject.is_mismatch() {
        router.refuse(rejection, source);
    }
    verdict(&router)
}

#[inline(always)]
fn accept(
    configured: &Configured,
    family: Family,
    advert: &Advert,
    pass: u32,
    verdict: impl Fn(&Router) -> u32,
) -> u32 {
    let Some(router) = configured.router() else { return pass };
    if advert::take_in(&router, configured, family, advert).is_none() {
        return pass;
    }
    verdict(&router)
}

#[cfg(feature = "debug-log")]
#[inline(always)]
fn log(ctx: &impl EbpfContext, rejection: &Rejection) {
    let Rejection { reject, got, wanted } = *rejection;
    // The name is a string of varying length, and the verifier would have to follow each length.
    let check = reject as u8;
    aya_log_ebpf::debug!(ctx, "discarded by check {} of Reject::ALL: got {}, wanted {}", check, got, wanted);
}

#[cfg(not(feature = "debug-log"))]
#[inline(always)]
fn log(_: &impl EbpfContext, _: &Rejection) {}
