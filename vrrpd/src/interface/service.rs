//! The netlink thread for interfaces: requests in, reports out; neither side blocks.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use nix::errno::Errno;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::rule::RuleAttribute;
use rtnetlink::sys::AsyncSocket;
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, warn};
use vrrpd_engine::Ticket;
use vrrpd_engine::interface::Remover;
use vrrpd_engine::ledger::{Order, Outcome};
use vrrpd_engine::routing::PROTOCOL;

use super::Interface;
use super::address;
use super::ask::{Dump, Manner, ask, read_out};
use super::cache::{Change, InterfaceCache};
use super::claimed::Claimed;
use super::filter::Filters;
use super::hold;
use crate::guardian::copies::Keeper;

/// Socket buffer for notifications in octets: enough for a thousand interfaces that change at once. The kernel may
/// limit it.
const NOTIFICATIONS: u32 = 4 << 20;
/// Time in which notifications that the kernel has sent arrive here.
const SETTLE: Duration = Duration::from_millis(2);
/// Maximum number of notifications that are handled before a request, so that it does not wait for long.
const MOST_BEFORE_REQUEST: usize = 10_000;
/// How often everything is read in a row until the dump is consistent, and the delay if it never was.
const READINGS: usize = 5;
const READ_AGAIN: Duration = Duration::from_millis(100);

/// A request of the daemon.
#[derive(Clone, Debug)]
pub struct Request {
    /// Returned in the report.
    pub ticket: Ticket,
    /// The request.
    pub order: Order,
}

/// Reports to the daemon.
#[derive(Debug)]
pub enum Report {
    /// New state of an interface.
    Changed(Interface),
    /// The interface was removed or renamed.
    Removed(Interface),
    /// An address was removed from the interface, with its new state and the process that removed it.
    Lost(Interface, IpAddr, Remover),
    /// Routes or rules with our protocol number were removed by others.
    RoutingLost,
    /// The present state of the interface with this name was reported, and it is followed from now on.
    Followed(String),
    /// The answer to a request.
    Done(Ticket, Outcome),
}

/// Handle of the thread. The thread ends when this is dropped.
#[derive(Debug)]
pub struct Service {
    requests: mpsc::UnboundedSender<Wish>,
    marks: bool,
}

/// Messages to the thread.
#[derive(Debug)]
enum Wish {
    Order(Box<Request>),
    Follow(String),
}

impl Service {
    /// Starts following the interfaces with these names; returns those that exist.
    pub fn start(
        names: impl IntoIterator<Item = String>,
        reports: mpsc::UnboundedSender<Report>,
        keeper: Keeper,
    ) -> io::Result<(Self, Vec<Interface>)> {
        let names = names.into_iter().collect();
        let (requests, request_queue) = mpsc::unbounded_channel();
        let (started, start) = std_mpsc::sync_channel(1);
        thread::Builder::new().name("netlink".into()).stack_size(256 << 10).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(async move {
                match Worker::new(names, keeper).await {
                    Ok(worker) => {
                        if started.send(Ok((worker.interfaces(), worker.marks))).is_ok() {
                            worker.run(request_queue, &reports).await;
                        }
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        })?;
        let (interfaces, marks) =
            start.recv().map_err(|_| io::Error::other("the netlink thread ended"))??;
        Ok((Self { requests, marks }, interfaces))
    }

    /// Whether the kernel stores our mark with addresses (`IFA_PROTO`, Linux 5.18); then an address without it is not
    /// ours.
    pub const fn marks_addresses(&self) -> bool {
        self.marks
    }

    /// Sends a request; a [`Report::Done`] follows. Requests are started in order, and one that waits does not delay
    /// others. For two in sequence, send the second after the first was reported.
    pub fn request(&self, request: Request) {
        // The thread lives as long as this handle.
        let _ = self.requests.send(Wish::Order(Box::new(request)));
    }

    /// Follows the interface with this name, too; its state is reported first, and then [`Report::Followed`].
    pub fn follow(&self, name: String) {
        // As above.
        let _ = self.requests.send(Wish::Follow(name));
    }
}

type Messages = futures_util::stream::BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>;

struct Worker {
    cache: Rc<RefCell<InterfaceCache>>,
    claimed: Rc<Claimed>,
    filters: Rc<Filters>,
    /// A separate connection, so that replies are not lost when notifications overrun their socket.
    handle: Handle,
    /// The port of that connection, by which notifications name the cause of a change.
    port: u32,
    /// The kernel stores our mark with addresses.
    marks: bool,
    /// A separate connection for the cache, since the kernel makes one dump at a time on each.
    reader: Handle,
    notifications: Messages,
    /// Notifications about routes and rules, from the first one on that a router takes.
    routing: Option<Messages>,
    /// When everything is read again, since the dump was inconsistent.
    read_again_at: Option<Instant>,
}

impl Worker {
    async fn new(names: Vec<String>, keeper: Keeper) -> io::Result<Self> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let notifications = subscribe(&groups)?;
        let connect = |whole| -> io::Result<(Handle, u32)> {
            let (mut connection, handle, _) = rtnetlink::new_connection()?;
            let port = connection.socket_mut().socket_mut().bind_auto()?.port_number();
            // A missing or truncated answer must not look like success.
            connection.set_forward_ack(true);
            connection.set_forward_done(whole);
            tokio::spawn(connection);
            Ok((handle, port))
        };
        let (mut handle, port) = connect(false)?;
        let refused = ask(&mut handle, address::probe_marks(), Manner::Create).await;
        let marks = refused.is_err_and(|error| error.raw_os_error() == Some(Errno::ERANGE as i32));
        let cache = Rc::new(RefCell::new(InterfaceCache::new(names, marks)));
        let (reader, _) = connect(true)?;
        let claimed = Rc::new(Claimed::new(keeper.clone()));
        let filters = Rc::new(Filters::new(keeper));
        let mut worker = Self {
            cache,
            claimed,
            filters,
            handle,
            port,
            marks,
            reader,
            notifications,
            routing: None,
            read_again_at: None,
        };
        // Subscribed before reading, so that changes in between arrive as notifications.
        worker.read_all().await?;
        Ok(worker)
    }

    /// The followed interfaces in their last known state.
    fn interfaces(&self) -> Vec<Interface> {
        self.cache.borrow().interfaces().cloned().collect()
    }

    /// Reads all interfaces and addresses; returns what was removed. If no dump is consistent, missing ones count as
    /// present until the next reading.
    async fn read_all(&mut self) -> io::Result<Vec<Change>> {
        // Until everything has succeeded.
        self.read_again_at = Some(Instant::now() + READ_AGAIN);
        let mut read = self.read_once().await?;
        for _ in 1..READINGS {
            if read.whole {
                break;
            }
            read = self.read_once().await?;
        }
        if read.whole {
            self.read_again_at = None;
        }
        let (mut links, mut addresses) = (Vec::new(), Vec::new());
        for entry in read.entries {
            match entry {
                RouteNetlinkMessage::NewLink(link) => links.push(link),
                RouteNetlinkMessage::NewAddress(address) => addresses.push(address),
                _ => {}
            }
        }
        let mut cache = self.cache.borrow_mut();
        Ok(if read.whole { cache.replace(&links, &addresses) } else { cache.update(&links, &addresses) })
    }

    /// Both dumps, one after the other.
    async fn read_once(&mut self) -> io::Result<Dump> {
        let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let mut read = read_out(&mut self.reader, links).await?;
        let Dump { mut entries, whole } = read_out(&mut self.reader, addresses).await?;
        read.entries.append(&mut entries);
        read.whole &= whole;
        Ok(read)
    }

    async fn run(
        mut self,
        mut requests: mpsc::UnboundedReceiver<Wish>,
        reports: &mpsc::UnboundedSender<Report>,
    ) {
        let mut running = FuturesUnordered::new();
        loop {
            let reports_of = tokio::select! {
                request = requests.recv() => match request {
                    Some(Wish::Follow(name)) => {
                        self.cache.borrow_mut().follow(name.clone());
                        let mut reports = self.all_again().await;
                        reports.push(Report::Followed(name));
                        reports
                    }
                    Some(Wish::Order(request)) => {
                        if self.routing.is_none() && request.order.takes_routing() {
                            self.follow_routing();
                        }
                        // An address that others have taken away and added again meanwhile is not removed.
                        let reports = match request.order {
                            Order::Release(_) => self.notified_by_now().await,
                            Order::Take { .. } | Order::Prepare(_) | Order::Discard(_) => Vec::new(),
                        };
                        let (handle, cache) = (self.handle.clone(), Rc::clone(&self.cache));
                        let claimed = Rc::clone(&self.claimed);
                        let filters = Rc::clone(&self.filters);
                        running.push(async move {
                            (request.ticket, hold::perform(handle, &cache, &claimed, &filters, request.order).await)
                        });
                        reports
                    }
                    None => return,
                },
                Some((ticket, outcome)) = running.next() => self.performed(ticket, outcome).await,
                () = at(self.read_again_at) => self.all_again().await,
                message = next_of(&mut self.routing) => {
                    if let Some(message) = message {
                        self.routing_notified(&message)
                    } else {
                        self.routing = None;
                        continue;
                    }
                }
                message = self.notifications.next() => match message {
                    Some(message) => self.notified(message).await,
                    // Without notifications the daemon would be worse than none.
                    None => return error!("netlink notifications ended"),
                },
            };
            for report in reports_of {
                if reports.send(report).is_err() {
                    return;
                }
            }
        }
    }

    /// The reports after an executed request. If the interface was down for it, that is over, and the notifications
    /// about it are not passed on.
    async fn performed(&mut self, ticket: Ticket, outcome: Outcome) -> Vec<Report> {
        if let Some((index, mac)) = outcome.mac {
            self.cache.borrow_mut().set_mac(index, mac);
        }
        if !outcome.restarted {
            // The cache has removed these addresses, so the notifications change nothing.
            let changed = outcome.removed_from.iter().filter_map(|index| self.told(Change::Changed(*index)));
            let is_ours = |report: &Report| matches!(report, Report::Changed(link) if link.vmac_of.is_some());
            let changed: Vec<_> = changed.filter(|report| !is_ours(report)).collect();
            return std::iter::once(Report::Done(ticket, outcome)).chain(changed).collect();
        }
        tokio::time::sleep(SETTLE).await;
        while self.notifications.next().now_or_never().flatten().is_some() {}
        let mut reports = vec![Report::Done(ticket, outcome)];
        reports.append(&mut self.all_again().await);
        reports
    }

    /// The reports of what has changed by now, also while the process did not run.
    async fn notified_by_now(&mut self) -> Vec<Report> {
        // The first time the runtime looks at the socket, the second time the task that reads it has its turn.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        let mut reports = Vec::new();
        for _ in 0..MOST_BEFORE_REQUEST {
            let Some(Some(message)) = self.notifications.next().now_or_never() else { break };
            reports.append(&mut self.notified(message).await);
        }
        reports
    }

    async fn notified(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) -> Vec<Report> {
        let remover = if message.header.port_number == self.port { Remover::Us } else { Remover::Other };
        let change = match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                self.cache.borrow_mut().new_link(&link)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                self.cache.borrow_mut().del_link(&link)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => {
                self.cache.borrow_mut().new_address(&address)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(address)) => {
                self.cache.borrow_mut().del_address(&address, remover)
            }
            NetlinkPayload::Overrun(_) => {
                warn!("netlink notifications lost, reading interfaces again");
                Change::Unknown
            }
            _ => Change::None,
        };
        if change == Change::Unknown {
            return self.all_again().await;
        }
        self.told(change).into_iter().collect()
    }

    /// Subscribes to notifications about routes and rules.
    fn follow_routing(&mut self) {
        let groups = [
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        match subscribe(&groups) {
            Ok(messages) => self.routing = Some(messages),
            Err(error) => warn!(%error, "cannot follow routes and rules: lost ones are not restored"),
        }
    }

    /// The reports for a notification about a route or rule.
    fn routing_notified(&self, message: &NetlinkMessage<RouteNetlinkMessage>) -> Vec<Report> {
        let is_lost = match &message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(route)) => {
                message.header.port_number != self.port && u8::from(route.header.protocol) == PROTOCOL
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRule(rule)) => {
                let is_ours = |attribute: &RuleAttribute| matches!(attribute, RuleAttribute::Protocol(protocol) if u8::from(*protocol) == PROTOCOL);
                message.header.port_number != self.port && rule.attributes.iter().any(is_ours)
            }
            NetlinkPayload::Overrun(_) => true,
            _ => false,
        };
        if is_lost { vec![Report::RoutingLost] } else { Vec::new() }
    }

    /// The report for a change.
    fn told(&self, change: Change) -> Option<Report> {
        match change {
            Change::None | Change::Unknown => None,
            Change::Changed(index) => self.cache.borrow().get(index).cloned().map(Report::Changed),
            Change::Removed(interface) => Some(Report::Removed(interface)),
            Change::Lost(index, address, remover) => {
                let interface = self.cache.borrow().get(index).cloned();
                interface.map(|interface| Report::Lost(interface, address, remover))
            }
        }
    }

    /// Reads everything, and returns the reports.
    async fn all_again(&mut self) -> Vec<Report> {
        match self.read_all().await {
            Ok(gone) => {
                let there = self.interfaces().into_iter().map(Report::Changed);
                gone.into_iter().filter_map(|change| self.told(change)).chain(there).collect()
            }
            Err(error) => {
                warn!(%error, "cannot read interfaces, retrying");
                Vec::new()
            }
        }
    }
}

/// Subscribes to these groups of notifications.
fn subscribe(groups: &[MulticastGroup]) -> io::Result<Messages> {
    let (mut connection, monitor, messages) = rtnetlink::new_multicast_connection(groups)?;
    connection.socket_mut().socket_mut().set_rx_buf_sz(NOTIFICATIONS)?;
    tokio::spawn(connection);
    // The monitor's connection ends with its handle, so the handle is moved into the stream.
    let notifications = messages.map(move |(message, _)| {
        let _connected = &monitor;
        message
    });
    Ok(notifications.boxed())
}

/// The next message; pending forever without a subscription.
async fn next_of(messages: &mut Option<Messages>) -> Option<NetlinkMessage<RouteNetlinkMessage>> {
    match messages {
        Some(messages) => messages.next().await,
        None => std::future::pending().await,
    }
}

/// Waits until this time; `None`: forever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
