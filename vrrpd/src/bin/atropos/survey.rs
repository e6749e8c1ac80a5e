//! Queries of daemons and of the kernel, used by the one-time output and by the live view.

use std::collections::HashMap;
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
    let mut known: HashMap<&str, HashMap<_, _>> = HashMap::new();
    for router in routers {
        let of_family = router.name().family;
        let RouterReport { interface, vrid, datapath, kernel, .. } = router;
        let there = known.entry(interface).or_default();
        there.insert((of_family, *vrid), (datapath != "raw", kernel));
    }
    let mut unknown = Vec::new();
    let pinned = pins::pinned();
    let now = clock::now();
    for pinned in pinned {
        let pinned = match pinned {
            Ok(pinned) => pinned,
            Err(error) => {
                complain(&error.to_string());
                continue;
            }
        };
        let interface = printable(&pinned.interface);
        let mut known = known.get_mut(&*interface);
        for (family, vrid, mut record) in pinned.routers(now) {
            let name = RouterName { interface: &interface, vrid: vrid.get(), family };
            let router = known.as_mut().and_then(|there| there.get_mut(&(family, vrid.get())));
            if let Some((is_in_kernel, kernel)) = router {
                **kernel = is_in_kernel.then_some(record);
            } else if chosen.may_match(&name) {
                if !pinned.has_program() {
                    record.without_program();
                }
                let (interface, family) = (interface.clone().into_owned(), family.name().to_owned());
                unknown.push(SilentReport {
                    interface,
                    vrid: vrid.get(),
                    family,
                    state: None,
                    kernel: record,
                });
            }
        }
    }
    unknown
}
