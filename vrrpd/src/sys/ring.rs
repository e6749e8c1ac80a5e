//! Frames of a packet socket in memory shared with the kernel (`PACKET_RX_RING`, version 2): reading them takes no system
//! call, and neither the process nor the kernel has to allocate or free anything for them on another processor.

use std::cell::Cell;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::AsRawFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{
    PACKET_COPY_THRESH, PACKET_RX_RING, PACKET_VERSION, TP_STATUS_COPY, TP_STATUS_KERNEL, TP_STATUS_USER,
    tpacket_req, tpacket_versions, tpacket2_hdr,
};
use nix::errno::Errno;

use super::packet::set_option;
use super::records::page_size;

/// Octets of a slot before an Ethernet frame: the header of version 2 (52 octets with an address) is followed by at least 16
/// octets, so that the network header is aligned to 16.
const BEFORE_FRAME: usize = 66;
/// Alignment of slots, which is that of cache lines, too.
const ALIGNMENT: usize = 64;

/// The ring of one socket.
#[derive(Debug)]
pub(super) struct Ring {
    slots: NonNull<u8>,
    /// Octets of a slot; a page has a whole number of them.
    slot: usize,
    /// Number of slots.
    count: usize,
    /// The slot of the next frame.
    next: Cell<usize>,
}

/// The next frame of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InRing<'a> {
    /// The whole frame.
    Whole(&'a [u8]),
    /// It is longer than a slot: the socket's queue has it, if there was room.
    Queued,
    /// It is longer than a slot, and the queue was full.
    Lost,
}

impl Ring {
    /// Gives a socket that receives nothing yet a ring of at least `count` slots for frames of `frame` octets. The kernel
    /// queues longer ones. Waits for all processors.
    pub(super) fn of(socket: &impl AsRawFd, count: usize, frame: usize) -> io::Result<Self> {
        let page = page_size();
        let slot = (BEFORE_FRAME + frame).next_multiple_of(ALIGNMENT).next_power_of_two().min(page);
        let pages = (count * slot).div_ceil(page).max(1);
        let count = pages * page / slot;
        set_option(socket, libc::SOL_PACKET, PACKET_VERSION, &(tpacket_versions::TPACKET_V2 as libc::c_int))?;
        set_option(socket, libc::SOL_PACKET, PACKET_COPY_THRESH, &1_i32)?;
        let number =
            |number: usize| libc::c_uint::try_from(number).map_err(|_| io::Error::from(Errno::EINVAL));
        let request = tpacket_req {
            tp_block_size: number(page)?,
            tp_block_nr: number(pages)?,
            tp_frame_size: number(slot)?,
            tp_frame_nr: number(count)?,
        };
        set_option(socket, libc::SOL_PACKET, PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let slots = unsafe {
            libc::mmap(
                null_mut(),
                pages * page,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(slots) {
            Some(slots) if slots.as_ptr() != libc::MAP_FAILED => {
                Ok(Self { slots: slots.cast(), slot, count, next: Cell::new(0) })
            }
            Some(_) | None => Err(io::Error::last_os_error()),
        }
    }

    /// Whether a frame is waiting.
    pub(super) fn has_frame(&self) -> bool {
        self.is_filled(self.next.get())
    }

    /// Whether at least a quarter of the slots have frames.
    pub(super) fn is_a_quarter_full(&self) -> bool {
        self.is_filled(self.next.get() + self.count / 4)
    }

    /// Number of frames that are waiting.
    pub(super) fn waiting(&self) -> usize {
        (0..self.count).take_while(|distance| self.is_filled(self.next.get() + distance)).count()
    }

    /// Reads the next frame and gives its slot back to the kernel; `None`: all were read.
    pub(super) fn take<R>(&self, read: impl FnOnce(InRing<'_>) -> R) -> Option<R> {
        let number = self.next.get();
        let status = self.status(number).load(Ordering::Acquire);
        if status & TP_STATUS_USER == 0 {
            return None;
        }
        // Before the call, so that a call in it would read the next slot.
        self.next.set((number + 1) % self.count);
        let result = read(self.frame(number, status));
        self.status(number).store(TP_STATUS_KERNEL, Ordering::Release);
        Some(result)
    }

    /// The frame in a slot with this status, which the kernel does not change before the slot is given back.
    fn frame(&self, number: usize, status: u32) -> InRing<'_> {
        if status & TP_STATUS_COPY != 0 {
            return InRing::Queued;
        }
        let slot = self.slot(number);
        // SAFETY: the slot is longer than the header and aligned, and the kernel has written the header before the status.
        let header = unsafe { slot.cast::<tpacket2_hdr>().read() };
        let (start, length) = (usize::from(header.tp_mac), header.tp_snaplen as usize);
        if header.tp_len > header.tp_snaplen || start.saturating_add(length) > self.slot {
            return InRing::Lost;
        }
        // SAFETY: within the slot, as was just checked. Nobody writes there before `take` gives the slot back.
        InRing::Whole(unsafe { std::slice::from_raw_parts(slot.add(start).as_ptr(), length) })
    }

    fn is_filled(&self, number: usize) -> bool {
        self.status(number).load(Ordering::Acquire) & TP_STATUS_USER != 0
    }

    /// The status of a slot.
    fn status(&self, number: usize) -> &AtomicU32 {
        // SAFETY: the header is in the slot.
        let status = unsafe { self.slot(number).add(offset_of!(tpacket2_hdr, tp_status)) };
        // SAFETY: within the mapping, which lives as long as this, and aligned; kernel and process change it atomically only.
        unsafe { AtomicU32::from_ptr(status.as_ptr().cast()) }
    }

    fn slot(&self, number: usize) -> NonNull<u8> {
        let number = number % self.count;
        // SAFETY: the mapping has `count` slots one after the other, and `number` is below.
        unsafe { self.slots.add(number * self.slot) }
    }
}

const _: () = assert!(BEFORE_FRAME >= size_of::<tpacket2_hdr>() && ALIGNMENT.is_multiple_of(16));

// SAFETY: the mapping belongs to no thread.
unsafe impl Send for Ring {}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `of`, to which there are no references any more. An error has no consequence.
        unsafe { libc::munmap(self.slots.as_ptr().cast(), self.count * self.slot) };
    }
}
