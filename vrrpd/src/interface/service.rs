//! The thread that talks to the kernel about interfaces: requests in, reports out, never a wait for either side.

use std::io;
use std::net::IpAddr;
use std::sync::mpsc as std_mpsc;
use std::thread;

use futures_util::StreamExt;
use futures_util::stream::{FuturesUnordered, TryStreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::AsyncSocket;
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::mpsc;
use tracing::warn;

use super::mirror::{Change, Mirror};
use super::{Interface, address};
use crate::config::VirtualAddress;

/// Octets of notifications that may wait: those of a thousand interfaces that change at once. The kernel gives what it
/// allows.
const NOTIFICATIONS: u32 = 4 << 20;

/// Names a request, so that its report can be told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// What the daemon asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Comes back with the report.
    pub ticket: Ticket,
    /// The interface.
    pub index: u32,
    /// What to do with the addresses.
    pub operation: Operation,
    /// The addresses.
    pub addresses: Vec<VirtualAddress>,
}

/// What to do with addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Put them on the interface.
    Add,
    /// Take them off.
    Remove,
}

/// What the daemon is told.
#[derive(Debug)]
pub enum Report {
    /// The interface is like this now.
    Changed(Interface),
    /// The interface is gone, or has another name.
    Removed(Interface),
    /// The interface has lost this address, and is like this now.
    Lost(Interface, IpAddr),
    /// A request has been carried out, with a result for each of its addresses.
    Done(Ticket, Vec<io::Result<()>>),
}

/// The thread, from outside. It ends when this is dropped.
#[derive(Debug)]
pub struct Service {
    requests: mpsc::UnboundedSender<Request>,
}

impl Service {
    /// Starts following the interfaces of these names; returns those that are there.
    pub fn start(
        names: Vec<String>,
        reports: mpsc::UnboundedSender<Report>,
    ) -> io::Result<(Self, Vec<Interface>)> {
        let (requests, request_queue) = mpsc::unbounded_channel();
        let (started, start) = std_mpsc::sync_channel(1);
        thread::Builder::new().name("netlink".into()).stack_size(256 << 10).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(async move {
                match Worker::new(names).await {
                    Ok(worker) => {
                        if started.send(Ok(worker.mirror.interfaces().cloned().collect())).is_ok() {
                            worker.run(request_queue, &reports).await;
                        }
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        })?;
        let interfaces = start.recv().map_err(|_| io::Error::other("the netlink thread ended"))??;
        Ok((Self { requests }, interfaces))
    }

    /// Asks for something; a [`Report::Done`] follows. Requests are carried out in their order.
    pub fn request(&self, request: Request) {
        // The thread lives as long as this handle; without it there is nobody to report either.
        let _ = self.requests.send(request);
    }
}

type Messages = futures_util::stream::BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>;

struct Worker {
    mirror: Mirror,
    /// Its own connection: replies must not be lost when notifications overrun their socket.
    handle: Handle,
    notifications: Messages,
}

impl Worker {
    async fn new(names: Vec<String>) -> io::Result<Self> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (mut connection, monitor, messages) = rtnetlink::new_multicast_connection(&groups)?;
        connection.socket_mut().socket_mut().set_rx_buf_sz(NOTIFICATIONS)?;
        tokio::spawn(connection);
        let (mut connection, handle, _) = rtnetlink::new_connection()?;
        // An answer that does not come must not look like success.
        connection.set_forward_ack(true);
        tokio::spawn(connection);
        // The monitor's connection ends with its handle, which therefore goes where the messages go.
        let notifications = messages
            .map(move |(message, _)| {
                let _connected = &monitor;
                message
            })
            .boxed();
        let mut worker = Self { mirror: Mirror::new(names), handle, notifications };
        // Subscribed before it is read: what changes meanwhile comes as a notification.
        worker.read_all().await?;
        Ok(worker)
    }

    /// Reads all interfaces and addresses; returns the interfaces that are gone.
    async fn read_all(&mut self) -> io::Result<Vec<Interface>> {
        let links: Vec<_> =
            self.handle.link().get().execute().try_collect().await.map_err(io::Error::other)?;
        let addresses: Vec<_> =
            self.handle.address().get().execute().try_collect().await.map_err(io::Error::other)?;
        Ok(self.mirror.replace(&links, &addresses))
    }

    async fn run(
        mut self,
        mut requests: mpsc::UnboundedReceiver<Request>,
        reports: &mpsc::UnboundedSender<Report>,
    ) {
        let mut running = FuturesUnordered::new();
        loop {
            let reports_of = tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => {
                        running.push(perform(&mut self.handle, &request));
                        continue;
                    }
                    None => return,
                },
                Some(report) = running.next() => vec![report],
                Some(message) = self.notifications.next() => self.notified(message).await,
            };
            for report in reports_of {
                if reports.send(report).is_err() {
                    return;
                }
            }
        }
    }

    async fn notified(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) -> Vec<Report> {
        let change = match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => self.mirror.new_link(&link),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => self.mirror.del_link(&link),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => {
                self.mirror.new_address(&address)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(address)) => {
                self.mirror.del_address(&address)
            }
            NetlinkPayload::Overrun(_) => {
                warn!("notifications about interfaces were lost; all are read again");
                Change::Unknown
            }
            _ => Change::None,
        };
        match change {
            Change::None => Vec::new(),
            Change::Changed(index) => {
                self.mirror.get(index).cloned().map(Report::Changed).into_iter().collect()
            }
            Change::Removed(interface) => vec![Report::Removed(interface)],
            Change::Lost(index, address) => self
                .mirror
                .get(index)
                .cloned()
                .map(|interface| Report::Lost(interface, address))
                .into_iter()
                .collect(),
            Change::Unknown => match self.read_all().await {
                Ok(gone) => {
                    let there = self.mirror.interfaces().cloned().map(Report::Changed);
                    gone.into_iter().map(Report::Removed).chain(there).collect()
                }
                Err(error) => {
                    warn!(%error, "interfaces cannot be read");
                    Vec::new()
                }
            },
        }
    }
}

/// Hands all of a request to the kernel at once, and waits for the answers without holding up what comes after it.
fn perform(handle: &mut Handle, request: &Request) -> impl Future<Output = Report> + use<> {
    let ticket = request.ticket;
    let answers: Vec<_> = request
        .addresses
        .iter()
        .map(|virtual_address| {
            handle.request(match request.operation {
                Operation::Add => address::add(request.index, virtual_address),
                Operation::Remove => address::remove(request.index, virtual_address),
            })
        })
        .collect();
    async move {
        let mut results = Vec::with_capacity(answers.len());
        for answer in answers {
            results.push(match answer {
                Ok(mut messages) => match messages.next().await.map(|message| message.payload) {
                    Some(NetlinkPayload::Error(error)) if error.code.is_some() => Err(error.to_io()),
                    Some(_) => Ok(()),
                    None => Err(io::Error::other("the kernel's answer was lost")),
                },
                Err(error) => Err(io::Error::other(error)),
            });
        }
        Report::Done(ticket, results)
    }
}
