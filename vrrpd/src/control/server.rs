//! The daemon side: each client has its own task, so that none can block the daemon or another client.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde_json::error::Category;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::clients::{ClientSlot, Clients};
use super::followers::Followers;
use super::{MAX_REQUEST, Reply, Request, Selector};
use crate::limits;
use crate::report::{EventReport, RecordingReport};
use crate::sys::memory;

/// A client that has not sent its request within this time is disconnected.
const REQUEST: Duration = Duration::from_secs(1);
/// A client that does not read its answer within this time is disconnected.
const PATIENCE: Duration = Duration::from_secs(5);
/// Maximum number of followers of events, in addition to the clients.
const MAX_FOLLOWERS: usize = 64;

/// Number of routers from which an answer leaves megabytes of free memory behind, to be returned to the system.
const MANY: usize = 255;

/// A request, sent to the event loop.
#[derive(Debug)]
pub struct Command {
    /// The request.
    pub request: Request,
    /// Channel for the reply.
    pub reply: oneshot::Sender<Reply>,
}

/// The daemon, as seen by the server.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Channel for requests.
    pub commands: mpsc::Sender<Command>,
    /// Followers of events.
    pub followers: Followers,
}

/// Listens at `path`, which must not exist yet; only root and our own user may connect.
pub fn start(path: &Path, daemon: Daemon) -> io::Result<()> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    tokio::task::spawn_local(serve(listener, daemon));
    Ok(())
}

async fn serve(listener: UnixListener, daemon: Daemon) {
    let clients = Clients::default();
    let followers = Rc::new(Semaphore::new(MAX_FOLLOWERS));
    loop {
        match listener.accept().await {
            Ok((client, _)) if limits::is_reserved(&client) => {
                warn!("control client refused: file descriptors reserved for the protocol");
                drop(client);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Ok((client, _)) => {
                let place = clients.place().await;
                let (daemon, followers, number) = (daemon.clone(), Rc::clone(&followers), place.number());
                let task = tokio::task::spawn_local(async move {
                    if let Err(error) = converse(client, &daemon, place, &followers).await {
                        debug!(%error, "control client disconnected");
                    }
                });
                clients.serve(number, &task);
                // Clients that have sent their request are served before new ones are accepted.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                // Most likely out of file descriptors: give other clients time to disconnect.
                warn!(%error, "cannot accept control clients");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(
    mut client: UnixStream,
    daemon: &Daemon,
    place: ClientSlot,
    followers: &Semaphore,
) -> io::Result<()> {
    let uid = client.peer_cred()?.uid();
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        let message = format!("permission denied for uid {uid}: only root may connect");
        return say(&mut client, &Reply::Error { message }).await;
    }
    let mut line = String::new();
    let (reader, _) = client.split();
    let mut reader = BufReader::new(reader.take(MAX_REQUEST));
    timeout(REQUEST, reader.read_line(&mut line)).await??;
    place.is_awaited(false);
    match serde_json::from_str(&line) {
        Ok(Request::Events(selector)) => {
            let Ok(_follower) = followers.try_acquire() else {
                let message = format!("too many clients follow events (at most {MAX_FOLLOWERS})");
                return say(&mut client, &Reply::Error { message }).await;
            };
            // A follower may stay for long, so it must not occupy the place of a client with a request.
            drop(place);
            let events = daemon.followers.follow();
            stream(&mut client, &selector, events).await
        }
        Ok(request) => {
            let (reply, answer) = oneshot::channel();
            if daemon.commands.send(Command { request, reply }).await.is_err() {
                return Ok(());
            }
            match answer.await {
                Ok(reply) => {
                    place.is_awaited(true);
                    let is_long = match &reply {
                        Reply::State { routers } => routers.len() > MANY,
                        Reply::Recorded { .. } => true,
                        Reply::Event(_) | Reply::Error { .. } => false,
                    };
                    let said = say(&mut client, &reply).await;
                    drop(reply);
                    if is_long {
                        memory::give_back();
                    }
                    said
                }
                Err(_) => Ok(()),
            }
        }
        Err(error) => {
            let message = match error.classify() {
                Category::Data => format!(
                    "request unknown to {}, client of another version? {error}",
                    RecordingReport::PROGRAM
                ),
                Category::Io | Category::Syntax | Category::Eof => error.to_string(),
            };
            say(&mut client, &Reply::Error { message }).await
        }
    }
}

/// Sends events until the client disconnects, does not read, or has missed some.
async fn stream(
    client: &mut UnixStream,
    selector: &Selector,
    mut events: mpsc::Receiver<Rc<EventReport>>,
) -> io::Result<()> {
    let mut nothing = [0; 1];
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) if selector.matches(&event.name(), Some(&event.name)) => {
                    say(client, &Reply::Event(Box::new(Rc::unwrap_or_clone(event)))).await?;
                }
                Some(_) => {}
                None => {
                    let message = "events lost: the client did not read in time".to_owned();
                    return say(client, &Reply::Error { message }).await;
                }
            },
            // The client sends nothing more; reading detects that it disconnects.
            read = client.read(&mut nothing) => if read? == 0 {
                return Ok(());
            },
        }
    }
}

async fn say(client: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    timeout(PATIENCE, client.write_all(&line)).await?
}
