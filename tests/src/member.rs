//! Foreign connections to the socket of a group.

use std::io::{self, Read as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::{sys, wait_until};

/// A connection of the test to a process of a group.
#[derive(Debug)]
pub struct Intruder(Socket);

impl Intruder {
    /// Connects as root.
    pub fn connect(path: &Path) -> Self {
        Self(connect(path))
    }

    /// Connects as a user other than root, to a socket that permits it.
    pub fn connect_as_nobody(path: &Path) -> Self {
        let connected = thread::scope(|scope| {
            let as_nobody = || {
                sys::become_nobody().expect("root may become somebody else");
                connect(path)
            };
            scope.spawn(as_nobody).join()
        });
        Self(connected.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    /// Sends a packet; `false` if the other end has closed the connection.
    pub fn send(&self, packet: &[u8]) -> bool {
        self.0.send(packet).is_ok()
    }

    /// Waits until the other end closes the connection, ignoring what it sends before.
    pub fn wait_closed(&self, limit: Duration) {
        self.0.set_nonblocking(true).expect("sockets need not block");
        wait_until(limit, "the connection is closed", || match (&self.0).read(&mut [0; 64]) {
            Ok(length) => length == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        });
    }
}

fn connect(path: &Path) -> Socket {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("there are Unix sockets");
    let address = SockAddr::unix(path).expect("the path is short enough");
    socket.connect(&address).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    socket
}
