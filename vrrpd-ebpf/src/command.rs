//! Commands of the daemon.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use vrrpd_common::abi::{ABI_VERSION, KernelCommand, KernelConfig};

use crate::atomic;
use crate::router::Router;
use crate::timer;

/// Entry for commands of the daemon, by `BPF_PROG_TEST_RUN` on a frame that is a [`KernelCommand`]. Never attached to
/// an interface.
#[xdp]
pub fn vrrpd_command(ctx: XdpContext) -> u32 {
    match carry_out(&ctx) {
        Some(()) => XDP_PASS,
        None => XDP_ABORTED,
    }
}

/// Executes the command in the frame, and writes the result into it; `None` if it is not a command.
#[inline(always)]
fn carry_out(ctx: &XdpContext) -> Option<()> {
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + size_of::<KernelCommand>() > end {
        return None;
    }
    let command = start as *mut KernelCommand;
    // SAFETY: it is complete, as just compared, and any octets are a valid command.
    let asked = unsafe { command.read() };
    if asked.abi != ABI_VERSION {
        return None;
    }
    let router = Router::at(asked.place)?;
    let result = timer::prepare(&router).map(|()| {
        let deferred = router.locked(|config, record| {
            // A reader without the lock reads the generation first, so it is written last.
            *config = KernelConfig { generation: config.generation, ..asked.config };
            atomic::fence();
            config.generation = asked.config.generation;
            record.obey(&asked)
        });
        if deferred.arm {
            timer::set(&router);
        }
    });
    // SAFETY: as above.
    unsafe { (&raw mut (*command).result).write(result.err().unwrap_or(0)) };
    Some(())
}
