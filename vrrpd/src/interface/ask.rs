//! One request to the kernel and its answer.

use std::io;

use futures_util::{StreamExt, TryStream, TryStreamExt};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{Error, Handle};
use tokio::sync::Mutex;

/// What the kernel does when it has the thing already, or has it not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Makes it; refused with `EEXIST` where it is.
    Create,
    /// Makes it, or puts it in the place of the one that is there.
    Replace,
    /// Changes or removes what is there.
    Change,
}

impl Manner {
    const fn flags(self) -> u16 {
        match self {
            Self::Create => NLM_F_CREATE | NLM_F_EXCL,
            Self::Replace => NLM_F_CREATE | NLM_F_REPLACE,
            Self::Change => 0,
        }
    }
}

/// Hands the request to the kernel before it returns; the answer can be waited for later.
pub(super) fn ask(
    handle: &mut Handle,
    message: RouteNetlinkMessage,
    manner: Manner,
) -> impl Future<Output = io::Result<()>> + use<> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | manner.flags();
    let answer = handle.request(request);
    async move {
        match answer.map_err(io::Error::other)?.next().await.map(|message| message.payload) {
            Some(NetlinkPayload::Error(error)) if error.code.is_some() => Err(error.to_io()),
            Some(_) => Ok(()),
            None => Err(io::Error::other("the kernel's answer was lost")),
        }
    }
}

/// Whose turn it is to read a table.
static DUMP: Mutex<()> = Mutex::const_new(());

/// Reads a table out. The kernel refuses a second one on a socket (`EBUSY`), so one waits for the other.
pub(super) async fn dump<T, S: TryStream<Ok = T, Error = Error>>(
    begin: impl FnOnce() -> S,
) -> io::Result<Vec<T>> {
    let _turn = DUMP.lock().await;
    begin().try_collect().await.map_err(failure)
}

/// An error of a dump, with the kernel's number where it has one.
pub(super) fn failure(error: Error) -> io::Error {
    match error {
        Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}
