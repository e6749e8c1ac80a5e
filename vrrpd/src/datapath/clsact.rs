//! A classifier on an interface in kernels before 6.6: a filter of the clsact qdisc. Both outlive the process, so the
//! filter's name identifies its purpose, and its handle tells whether the qdisc was created for us. The guardian or the
//! next start uses that to remove them.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::thread;

use futures_util::TryStreamExt as _;
use nix::errno::Errno;
use rtnetlink::Handle;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
};
use tracing::warn;

use crate::interface::ask::{Manner, ask, failure};

const QDISC: &str = "clsact";
/// Before all other filters, which might consume frames.
const PRIORITY: u16 = 1;
/// `ETH_P_ALL` in network byte order: frames of every protocol.
const EVERY_PROTOCOL: u16 = 0x0003_u16.to_be();
/// The upper half of our filters' handles, "VR". The lower half is odd if the qdisc was created for us, even otherwise.
const OURS: u16 = 0x5652;
/// Retries, since another process may add or remove something in between.
const ATTEMPTS: usize = 3;
/// Serializes adding and removing filters in this process: an unused qdisc must not be removed while another thread is
/// about to use it.
static TURN: Mutex<()> = Mutex::new(());

/// Direction of the frames of a classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Received frames.
    Ingress,
    /// Sent frames.
    Egress,
}

/// A filter on an interface; on drop it is removed, and so is the qdisc if it was created for us and has no other
/// filter.
#[derive(Debug)]
pub(super) struct Filter {
    index: u32,
    direction: Direction,
    handle: TcHandle,
}

/// A filter in the kernel.
#[derive(Debug)]
struct Found {
    handle: TcHandle,
    /// Its priority, and its protocol in network byte order.
    place: (u16, u16),
    is_bpf: bool,
    name: Option<String>,
}

impl Filter {
    /// Runs the program on every frame in this direction. The filter has this name, of at most 255 octets.
    pub(super) fn put(
        program: BorrowedFd<'_>,
        index: u32,
        direction: Direction,
        name: &str,
    ) -> io::Result<Self> {
        on_netlink(async |mut netlink| {
            for _ in 1..ATTEMPTS {
                let put = put(&mut netlink, program, index, direction, name).await;
                match put.as_ref().map_err(errno) {
                    Err(Some(Errno::EEXIST | Errno::ENOSPC | Errno::ENOENT | Errno::EINVAL)) => {}
                    _ => return put,
                }
            }
            put(&mut netlink, program, index, direction, name).await
        })
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        let Self { index, direction, handle } = *self;
        let removed = on_netlink(async |mut netlink| {
            remove(&mut netlink, index, direction, handle).await?;
            if is_on_ours(handle) {
                remove_unless_used(&mut netlink, index).await?;
            }
            Ok(())
        });
        if let Err(error) = removed {
            warn!(index, %error, "cannot remove classifier");
        }
    }
}

/// Removes the filters with these names that a killed daemon left on any interface, with the qdiscs created for them;
/// returns the indexes of those interfaces.
pub(super) fn remove_left(names: &BTreeSet<String>) -> io::Result<BTreeSet<u32>> {
    on_netlink(async |mut netlink| {
        let mut left = BTreeSet::new();
        for index in interfaces(&netlink).await? {
            if remove_named(&mut netlink, index, names).await? {
                left.insert(index);
            }
        }
        Ok(left)
    })
}

/// The same on one interface; returns whether there was one.
pub(super) fn remove_left_on(index: u32, name: &str) -> io::Result<bool> {
    let names = BTreeSet::from([name.to_owned()]);
    on_netlink(async |mut netlink| remove_named(&mut netlink, index, &names).await)
}

async fn put(
    netlink: &mut Handle,
    program: BorrowedFd<'_>,
    index: u32,
    direction: Direction,
    name: &str,
) -> io::Result<Filter> {
    let made = make_qdisc(netlink, index).await?;
    let there = filters(netlink, index, direction).await?;
    let others = filters(netlink, index, direction.other()).await?;
    let ours = made || there.iter().chain(&others).any(|filter| is_on_ours(filter.handle));
    let handle = free_handle(&there, ours).ok_or(Errno::ENOSPC)?;
    let mut filter = message(index)?;
    filter.header.parent = direction.parent();
    filter.header.handle = handle;
    filter.header.info = TcHandle { major: PRIORITY, minor: EVERY_PROTOCOL }.into();
    filter.attributes = vec![
        TcAttribute::Kind(TcFilterBpf::KIND.to_owned()),
        TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(program.as_raw_fd().cast_unsigned())),
            TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned())),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]),
    ];
    match ask(netlink, RouteNetlinkMessage::NewTrafficFilter(filter), Manner::Create).await {
        Ok(()) => Ok(Filter { index, direction, handle }),
        Err(error) => {
            if made {
                remove_unless_used(netlink, index).await?;
            }
            Err(if there.iter().any(Found::is_in_the_way) {
                io::Error::other(format!("another filter of the interface has priority {PRIORITY}"))
            } else {
                error
            })
        }
    }
}

/// Creates the qdisc; returns whether it did not exist.
async fn make_qdisc(netlink: &mut Handle, index: u32) -> io::Result<bool> {
    let mut qdisc = qdisc(index)?;
    qdisc.attributes.push(TcAttribute::Kind(QDISC.to_owned()));
    match ask(netlink, RouteNetlinkMessage::NewQueueDiscipline(qdisc), Manner::Create).await {
        Ok(()) => Ok(true),
        Err(error) if errno(&error) == Some(Errno::EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a filter, unless it is gone, for example with its interface.
async fn remove(netlink: &mut Handle, index: u32, direction: Direction, handle: TcHandle) -> io::Result<()> {
    let mut filter = message(index)?;
    filter.header.parent = direction.parent();
    filter.header.handle = handle;
    filter.header.info = TcHandle { major: PRIORITY, minor: EVERY_PROTOCOL }.into();
    filter.attributes.push(TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
    unless_gone(ask(netlink, RouteNetlinkMessage::DelTrafficFilter(filter), Manner::Change).await)
}

async fn remove_unless_used(netlink: &mut Handle, index: u32) -> io::Result<()> {
    for direction in [Direction::Ingress, Direction::Egress] {
        if !filters(netlink, index, direction).await?.is_empty() {
            return Ok(());
        }
    }
    let removal = RouteNetlinkMessage::DelQueueDiscipline(qdisc(index)?);
    unless_gone(ask(netlink, removal, Manner::Change).await)
}

async fn remove_named(netlink: &mut Handle, index: u32, names: &BTreeSet<String>) -> io::Result<bool> {
    let (mut any, mut on_ours) = (false, false);
    for direction in [Direction::Ingress, Direction::Egress] {
        for found in filters(netlink, index, direction).await? {
            if found.is_ours() && found.name.is_some_and(|name| names.contains(&name)) {
                remove(netlink, index, direction, found.handle).await?;
                any = true;
                on_ours |= is_on_ours(found.handle);
            }
        }
    }
    if on_ours {
        remove_unless_used(netlink, index).await?;
    }
    Ok(any)
}

/// The interfaces with such a qdisc.
async fn interfaces(netlink: &Handle) -> io::Result<BTreeSet<u32>> {
    let qdiscs: Vec<_> = netlink.qdisc().get().execute().try_collect().await.map_err(failure)?;
    let is_one = |qdisc: &TcMessage| qdisc.attributes.contains(&TcAttribute::Kind(QDISC.to_owned()));
    Ok(qdiscs.into_iter().filter(is_one).map(|qdisc| qdisc.header.index.cast_unsigned()).collect())
}

/// The filters of an interface in this direction; none without the qdisc or the interface.
async fn filters(netlink: &Handle, index: u32, direction: Direction) -> io::Result<Vec<Found>> {
    let mut request = netlink.traffic_filter(number(index)?).get();
    request = match direction {
        Direction::Ingress => request.ingress(),
        Direction::Egress => request.egress(),
    };
    let filters: Vec<_> = request.execute().try_collect().await.map_err(failure)?;
    Ok(filters.iter().map(Found::of).collect())
}

impl Found {
    fn of(filter: &TcMessage) -> Self {
        let place = TcHandle::from(filter.header.info);
        let mut found = Self {
            handle: filter.header.handle,
            place: (place.major, place.minor),
            is_bpf: false,
            name: None,
        };
        for attribute in &filter.attributes {
            match attribute {
                TcAttribute::Kind(kind) => found.is_bpf = kind == TcFilterBpf::KIND,
                TcAttribute::Options(options) => {
                    found.name = options.iter().find_map(|option| match option {
                        TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name.clone()),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        found
    }

    fn is_ours(&self) -> bool {
        self.is_bpf && self.handle.major == OURS
    }

    /// Filters of one priority must have the same kind and protocol.
    fn is_in_the_way(&self) -> bool {
        let (priority, protocol) = self.place;
        priority == PRIORITY && (!self.is_bpf || protocol != EVERY_PROTOCOL)
    }
}

/// Whether a filter is ours on a qdisc created for us.
fn is_on_ours(handle: TcHandle) -> bool {
    handle.major == OURS && handle.minor % 2 == 1
}

/// An unused handle, for a filter on a qdisc that is `ours` or not.
fn free_handle(there: &[Found], ours: bool) -> Option<TcHandle> {
    let mut handles =
        (if ours { 1 } else { 2 }..=u16::MAX).step_by(2).map(|minor| TcHandle { major: OURS, minor });
    handles.find(|handle| there.iter().all(|filter| filter.handle != *handle))
}

impl Direction {
    const fn parent(self) -> TcHandle {
        let minor = match self {
            Self::Ingress => TcHandle::MIN_INGRESS,
            Self::Egress => TcHandle::MIN_EGRESS,
        };
        TcHandle { major: TcHandle::CLSACT.major, minor }
    }

    const fn other(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

fn qdisc(index: u32) -> io::Result<TcMessage> {
    let mut qdisc = message(index)?;
    qdisc.header.parent = TcHandle::CLSACT;
    qdisc.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
    Ok(qdisc)
}

fn message(index: u32) -> io::Result<TcMessage> {
    Ok(TcMessage::with_index(number(index)?))
}

fn number(index: u32) -> io::Result<i32> {
    i32::try_from(index).map_err(|_| Errno::ENODEV.into())
}

/// A missing object counts as removed.
fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if matches!(errno(&error), Some(Errno::ENODEV | Errno::ENOENT | Errno::EINVAL)) => Ok(()),
        result => result,
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

/// Executes netlink requests and waits, even where the daemon's runtime cannot: in a destructor.
fn on_netlink<T: Send>(work: impl AsyncFnOnce(Handle) -> io::Result<T> + Send) -> io::Result<T> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (mut connection, handle, _) = rtnetlink::new_connection()?;
            connection.set_forward_ack(true);
            tokio::spawn(connection);
            work(handle).await
        })
    };
    let done = thread::scope(|scope| scope.spawn(run).join());
    done.unwrap_or_else(|_| Err(io::Error::other("the thread for it has ended")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(handle: TcHandle) -> Found {
        Found { handle, place: (PRIORITY, EVERY_PROTOCOL), is_bpf: true, name: None }
    }

    #[test]
    fn a_handle_is_unused_and_identifies_the_owner_of_the_qdisc() {
        let handle = |minor| TcHandle { major: OURS, minor };
        assert_eq!(free_handle(&[], true), Some(handle(1)));
        assert_eq!(free_handle(&[], false), Some(handle(2)));
        let there = [found(handle(1)), found(handle(2)), found(handle(3)), found(TcHandle::from(5))];
        assert_eq!(free_handle(&there, true), Some(handle(5)));
        assert_eq!(free_handle(&there, false), Some(handle(4)));
        assert!(is_on_ours(handle(5)) && !is_on_ours(handle(4)) && !is_on_ours(TcHandle::from(5)));
    }

    #[test]
    fn a_filter_of_another_kind_or_protocol_blocks_the_first_priority() {
        let there = |priority, protocol, is_bpf| {
            Found { place: (priority, protocol), is_bpf, ..found(TcHandle::from(1)) }.is_in_the_way()
        };
        assert!(!there(PRIORITY, EVERY_PROTOCOL, true));
        assert!(!there(PRIORITY + 1, EVERY_PROTOCOL, false));
        assert!(there(PRIORITY, EVERY_PROTOCOL, false));
        assert!(there(PRIORITY, 0x0800_u16.to_be(), true));
    }
}
