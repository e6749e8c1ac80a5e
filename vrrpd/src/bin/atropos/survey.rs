//! Queries of daemons and of the kernel, used by the one-time output and by the live view.

use std::io;
use std::path::{Path, PathBuf};

use vrrpd::clock;
use vrrpd::control::{Selector, client};
use vrrpd::datapath::pins;
use vrrpd::printable::printable;
use vrrpd::report::{RouterReport, SilentReport};
use vrrpd::router_name::RouterName;

/// The control sockets of daemons that may have a selected router; empty if the directory does not exist.
pub(crate) fn sockets_for(dir: &Path, selector: &Selector) -> io::Result<Vec<PathBuf>> {
    match client::sockets(dir) {
        Ok(sockets) => Ok(sockets.into_iter().filter(|socket| may_serve(socket, selector)).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether the daemon of a socket may have a selected router: the socket name of a daemon with one router contains its
/// name.
pub(crate) fn may_serve(socket: &Path, selector: &Selector) -> bool {
    let stem = socket.file_stem().unwrap_or_default().to_string_lossy();
    RouterName::of_file_stem(&stem).is_none_or(|router| selector.may_match(&router))
}

/// Why a daemon did not answer.
pub(crate) fn no_answer(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "no daemon answers: it has ended and left its socket behind".to_owned()
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the daemon does not answer".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied: only root may connect".to_owned(),
        _ => error.to_string(),
    }
}

/// Adds the kernel's records to the routers, and returns the selected records without such a router. Errors go to
/// `complain`.
pub(crate) fn join_kernel<'a>(
    routers: impl Iterator<Item = &'a mut RouterReport>,
    chosen: &Selector,
    mut complain: impl FnMut(&str),
) -> Vec<SilentReport> {
    let mut routers: Vec<_> = routers.collect();
    let now = clock::now();
    let mut unknown = Vec::new();
    for pinned in pins::pinned() {
        let pinned = match pinned {
            Ok(pinned) => pinned,
            Err(error) => {
                complain(&error.to_string());
                continue;
            }
        };
        let mut has_program = None;
        for (family, vrid, mut kernel) in pinned.routers(now) {
            let interface = printable(&pinned.interface);
            let name = RouterName { interface: &interface, vrid: vrid.get(), family };
            let known = routers.iter_mut().find(|router| router.name() == name);
            if let Some(router) = known {
                router.kernel = (router.datapath != "raw").then_some(kernel);
            } else if chosen.may_match(&name) {
                if !*has_program.get_or_insert_with(|| pinned.has_program()) {
                    kernel.without_program();
                }
                let (interface, family) = (interface.into_owned(), family.name().to_owned());
                unknown.push(SilentReport { interface, vrid: vrid.get(), family, state: None, kernel });
            }
        }
    }
    unknown
}
