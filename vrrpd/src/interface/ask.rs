//! One netlink request and its answer, or a consistent dump.

use std::io;

use futures_util::{Stream, StreamExt, TryStream, TryStreamExt};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{Error, Handle};
use tokio::sync::Mutex;

/// What the kernel does if the object exists already, or does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Creates it; fails with `EEXIST` if it exists.
    Create,
    /// Creates or replaces it.
    Replace,
    /// Changes or removes an existing one.
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

/// Sends the request before it returns; the answer can be awaited later.
pub(crate) fn ask(
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

/// Serializes dumps.
static DUMP: Mutex<()> = Mutex::const_new(());

/// Reads a dump. The kernel refuses a second one on the same socket (`EBUSY`), so dumps wait for each other.
pub(crate) async fn dump<T, S: TryStream<Ok = T, Error = Error>>(
    begin: impl FnOnce() -> S,
) -> io::Result<Vec<T>> {
    let _turn = DUMP.lock().await;
    begin().try_collect().await.map_err(failure)
}

/// A dump of the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dump {
    /// Its entries.
    pub entries: Vec<RouteNetlinkMessage>,
    /// The dump is consistent; otherwise it may lack entries that existed all the time.
    pub whole: bool,
}

/// Reads a dump, on a connection that passes on its final message.
pub(crate) async fn read_out(handle: &mut Handle, message: RouteNetlinkMessage) -> io::Result<Dump> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    gather(handle.request(request).map_err(io::Error::other)?).await
}

async fn gather(answers: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>>) -> io::Result<Dump> {
    let mut answers = std::pin::pin!(answers);
    let mut table = Dump { entries: Vec::new(), whole: true };
    while let Some(message) = answers.next().await {
        table.whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
        match message.payload {
            NetlinkPayload::InnerMessage(entry) => table.entries.push(entry),
            NetlinkPayload::Done(done) if done.code == 0 => return Ok(table),
            NetlinkPayload::Done(done) => {
                return Err(io::Error::from_raw_os_error(done.code.saturating_neg()));
            }
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            _ => {}
        }
    }
    Err(io::Error::other("the kernel's answer was lost"))
}

/// The error of a dump, with the kernel's errno if it has one.
pub(crate) fn failure(error: Error) -> io::Error {
    match error {
        Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use futures_util::stream;
    use rtnetlink::packet_core::{DoneMessage, NetlinkHeader};
    use rtnetlink::packet_route::link::LinkMessage;

    type Answer = NetlinkMessage<RouteNetlinkMessage>;

    fn entry() -> Answer {
        NetlinkMessage::from(RouteNetlinkMessage::NewLink(LinkMessage::default()))
    }

    fn end(code: i32) -> Answer {
        let mut done = DoneMessage::default();
        done.code = code;
        NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::Done(done))
    }

    fn interrupted(mut answer: Answer) -> Answer {
        answer.header.flags |= NLM_F_DUMP_INTR;
        answer
    }

    fn gathered(answers: Vec<Answer>) -> io::Result<(usize, bool)> {
        let table = gather(stream::iter(answers)).now_or_never().expect("all is there");
        table.map(|table| (table.entries.len(), table.whole))
    }

    #[test]
    fn a_dump_is_consistent_if_it_did_not_change_during_the_read() {
        assert_eq!(gathered(vec![entry(), entry(), end(0)]).expect("it has an end"), (2, true));
        assert_eq!(gathered(vec![entry(), interrupted(entry()), end(0)]).expect("as above"), (2, false));
        assert_eq!(gathered(vec![entry(), interrupted(end(0))]).expect("as above"), (1, false));
    }

    #[test]
    fn a_dump_without_its_end_is_an_error() {
        assert!(gathered(vec![entry()]).is_err());
        let error = gathered(vec![entry(), end(-libc::ENOMEM)]).expect_err("the kernel gave up");
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    }
}
