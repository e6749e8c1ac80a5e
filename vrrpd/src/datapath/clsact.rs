//! What a classifier hangs on in kernels before 6.6: a filter of the qdisc `clsact`. Both outlive whoever made them, so the
//! handle of our filter tells the guardian, or the next start, what to take away.

use std::io;
use std::thread;

use aya::programs::Link as _;
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachType, TcError, TcHandle};
use futures_util::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::packet_route::tc::TcHandle as Handle;
use tracing::warn;

use super::refusal::Refusal;

/// Before all other filters: what they let pass would not come to ours.
const PRIORITY: u16 = 1;
/// The handle of our filter where the qdisc was made for it, "VR" and 1,
const ON_OURS: TcHandle = TcHandle::new(0x5652, 1);
/// and where it was there.
const ON_ANOTHERS: TcHandle = TcHandle::new(0x5652, 2);

/// The qdisc of an interface. If it was made for us, dropping it takes it away, unless others use it by then.
#[derive(Debug)]
pub(super) struct Clsact {
    index: u32,
    ours: bool,
}

impl Clsact {
    /// The one of this interface, made if there is none. A filter that a killed daemon left is taken away.
    pub(super) fn on(interface: &str, index: u32) -> Result<Self, Refusal> {
        let ours = match tc::qdisc_add_clsact(interface) {
            Ok(()) => true,
            Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {
                detach_left(interface) == Some(ON_OURS)
            }
            Err(error) => return Err(Refusal::library(error)),
        };
        Ok(Self { index, ours })
    }

    /// Our filter's place.
    pub(super) fn filter(&self) -> NlOptions {
        let handle = if self.ours { ON_OURS } else { ON_ANOTHERS };
        NlOptions { priority: PRIORITY, handle, classid: None }
    }
}

/// Takes away what a daemon that was killed left on this interface: its filter, and the qdisc if that was made for it.
/// Says whether there was something.
pub(super) fn remove_left(interface: &str, index: u32) -> bool {
    let left = detach_left(interface);
    if left == Some(ON_OURS) {
        drop(Clsact { index, ours: true });
    }
    left.is_some()
}

/// Takes away the filter that a killed daemon left, and says which it was.
fn detach_left(interface: &str) -> Option<TcHandle> {
    // Mostly there is nothing to take away, which is an error to the kernel.
    let on_anothers = detach(interface, ON_ANOTHERS).then_some(ON_ANOTHERS);
    detach(interface, ON_OURS).then_some(ON_OURS).or(on_anothers)
}

/// Says whether there was such a filter.
fn detach(interface: &str, handle: TcHandle) -> bool {
    SchedClassifierLink::attached(interface, TcAttachType::Ingress, PRIORITY, handle, None)
        .is_ok_and(|link| link.detach().is_ok())
}

impl Drop for Clsact {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        let index = self.index;
        // The daemon's own runtime cannot wait in a destructor.
        let removed = thread::scope(|scope| scope.spawn(|| remove_unless_used(index)).join());
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(index, %error, "cannot remove clsact qdisc"),
            Err(_) => warn!(index, "cannot remove clsact qdisc"),
        }
    }
}

fn remove_unless_used(index: u32) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let Ok(index) = i32::try_from(index) else { return Ok(()) };
        let mut filters = handle.traffic_filter(index);
        let ingress: Vec<_> =
            filters.get().ingress().execute().try_collect().await.map_err(io::Error::other)?;
        let egress: Vec<_> =
            filters.get().egress().execute().try_collect().await.map_err(io::Error::other)?;
        if !ingress.is_empty() || !egress.is_empty() {
            return Ok(());
        }
        let mut request = handle.qdisc().del(index);
        request.message_mut().header.parent = Handle::CLSACT;
        request.message_mut().header.handle = Handle { major: Handle::CLSACT.major, minor: 0 };
        match request.execute().await {
            // It went with the interface.
            Err(rtnetlink::Error::NetlinkError(error))
                if error.raw_code() == -(Errno::ENODEV as i32)
                    || error.raw_code() == -(Errno::ENOENT as i32) =>
            {
                Ok(())
            }
            result => result.map_err(io::Error::other),
        }
    })
}
