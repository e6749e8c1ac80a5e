//! Passing descriptors to another process over a Unix socket (`SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Sends a message with a copy of `descriptor`; does not block.
pub fn send(socket: BorrowedFd<'_>, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let descriptors: Vec<RawFd> = descriptor.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(message)], control, flags, None)?;
    Ok(())
}

/// Receives a message into `buffer`: its length, and its descriptor if any. The descriptor is close-on-exec.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = nix::cmsg_space!(RawFd);
    let mut parts = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut received = None;
    // Control data truncated for lack of descriptors contains none.
    for part in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(descriptors) = part {
            for descriptor in descriptors {
                // SAFETY: the kernel just opened it for this process, and it has no other owner.
                received = Some(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
    Ok((message.bytes, received))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    #[test]
    fn a_descriptor_arrives_with_its_message_and_is_closed_on_exec() {
        let (one, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::empty()).expect("sockets");
        let (mut reader, writer) = io::pipe().expect("a pipe");
        send(one.as_fd(), b"with", Some(writer.as_fd())).expect("there is room");
        send(one.as_fd(), b"without", None).expect("there is room");
        drop(writer);
        let mut buffer = [0; 16];
        let (length, descriptor) = receive(other.as_fd(), &mut buffer).expect("a message");
        assert_eq!(&buffer[..length], b"with");
        let copy = descriptor.expect("a descriptor");
        // SAFETY: takes no pointer.
        let flags = unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags, libc::FD_CLOEXEC);
        File::from(copy).write_all(b"x").expect("it is open");
        let (length, descriptor) = receive(other.as_fd(), &mut buffer).expect("a message");
        assert_eq!((&buffer[..length], descriptor.is_none()), (&b"without"[..], true));
        let mut written = String::new();
        reader.read_to_string(&mut written).expect("nobody writes any more");
        assert_eq!(written, "x");
    }
}
