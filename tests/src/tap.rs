//! A virtual network card: the kernel receives what is written to it, in as many pieces as the test wants, as from a
//! card that puts a packet into several buffers.

use std::fs::File;
use std::io::{IoSlice, Read as _, Write as _};

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{Namespace, sys};

/// Its name, in a namespace of its own.
pub const NAME: &str = "tap0";
/// Maximum number of pieces of a packet: `MAX_SKB_FRAGS` and the linear part.
pub const MAX_PIECES: usize = 18;
/// Maximum length of a piece in octets: a page.
pub const MAX_PIECE: usize = 4096;

/// Longer than any frame of the tests, in octets.
const BUFFER: usize = 8192;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// The card. It is removed on drop.
#[derive(Debug)]
pub struct Tap {
    card: File,
    index: u32,
    /// Sockets that receive the packets of a family after all classifiers, with their ethertypes.
    above: [(u16, Socket); 2],
    namespace: Namespace,
}

impl Tap {
    /// A card with this MAC address.
    pub fn new(mac: [u8; 6]) -> Self {
        let namespace = Namespace::new("tap");
        // The kernel itself sends nothing.
        namespace.sysctl("ipv6/conf/default/disable_ipv6", "1");
        let card = namespace.enter(|| sys::open_tap(NAME)).expect("root may have a tap device");
        let [a, b, c, d, e, f] = mac;
        namespace.ip(&format!("link set {NAME} address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} up"));
        let (index, above) = namespace.enter(|| {
            let index = if_nametoindex(NAME).expect("it is there");
            let socket = |ethertype| {
                let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)));
                let socket = socket.expect("root may have packet sockets");
                sys::bind_to_interface(&socket, index, ethertype).expect("the card is there");
                socket.set_nonblocking(true).expect("sockets can be told so");
                (ethertype, socket)
            };
            (index, [IPV4, IPV6].map(socket))
        });
        Self { card, index, above, namespace }
    }

    /// Its number.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Its namespace.
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Passes a frame to the kernel in pieces. `pieces` has the offset of each piece but the first. Returns when all
    /// classifiers have seen the frame.
    #[track_caller]
    pub fn receive(&self, frame: &[u8], pieces: &[usize]) {
        let ends = pieces.iter().copied().chain([frame.len()]);
        let starts = [0].into_iter().chain(pieces.iter().copied());
        let pieces: Vec<_> = starts.zip(ends).map(|(start, end)| IoSlice::new(&frame[start..end])).collect();
        let written = (&self.card).write_vectored(&pieces).expect("the card receives the frame");
        assert_eq!(written, frame.len(), "the whole frame is received");
    }

    /// The packet that came past all classifiers since the last time, if there is one over IP.
    #[track_caller]
    pub fn passed(&self) -> Option<Vec<u8>> {
        let mut packets: Vec<_> = self.above.iter().filter_map(|(_, socket)| read(socket)).collect();
        assert!(packets.len() <= 1, "one frame is one packet");
        packets.pop()
    }
}

fn read(mut socket: &Socket) -> Option<Vec<u8>> {
    let mut buffer = [0; BUFFER];
    let len = socket.read(&mut buffer).ok()?;
    buffer.get(..len).map(<[u8]>::to_vec)
}
