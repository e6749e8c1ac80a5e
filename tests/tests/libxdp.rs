//! Beside programs that `xdp-loader` puts on the interface. Its library, libxdp, uses a dispatcher for several programs, and one
//! program without it where the kernel does not have what the dispatcher needs.

use std::sync::{Mutex, PoisonError};
use std::thread;

use vrrpd_lab::usual::SOON;
use vrrpd_lab::{Datapath, Finished, Host, Lab, Vrrpd, needs, wait_until};

const ONE: &[&str] = &[needs::XDP_PROGRAMS[0]];

/// Programs on the `eth0` of a machine; unloaded on drop.
struct Loaded<'a>(&'a Host);

impl<'a> Loaded<'a> {
    /// Loads them in a mode of `xdp-loader`.
    #[track_caller]
    fn load(host: &'a Host, mode: &str, names: &[&str]) -> Self {
        let loaded = Self(host);
        let finished = load(host, mode, names);
        assert!(finished.success(), "{finished:?}");
        loaded
    }

    fn status(&self) -> String {
        xdp_loader(self.0, &["status", "eth0"]).stdout
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        let finished = xdp_loader(self.0, &["unload", "eth0", "--all"]);
        assert!(finished.success() || thread::panicking(), "{finished:?}");
    }
}

fn load(host: &Host, mode: &str, names: &[&str]) -> Finished {
    let files: Vec<_> = names.iter().map(|name| needs::xdp_program(name).display().to_string()).collect();
    let files = files.iter().map(String::as_str);
    xdp_loader(host, &["load", "--mode", mode, "eth0"].into_iter().chain(files).collect::<Vec<_>>())
}

/// Two of them at once would be refused.
fn xdp_loader(host: &Host, arguments: &[&str]) -> Finished {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    host.run(needs::XDP_LOADER.require(), arguments)
}

fn master(host: &Host) -> Vrrpd {
    let master = Vrrpd::usual(host, 150).datapath(Datapath::Raw).start();
    master.wait_state("master", SOON);
    master
}

#[track_caller]
fn assert_hears_and_takes_over(backup: &Vrrpd, master: &Vrrpd) {
    let received = backup.counter("adverts_received");
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= received + 10);
    assert_eq!(backup.state()["state"], "backup");
    master.kill();
    backup.wait_state("master", SOON);
}

#[test]
fn classifier_works_behind_a_program_of_libxdp_and_xdp_leaves_it_its_place() {
    for mode in ["skb", "native"] {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let loaded = Loaded::load(&b, mode, ONE);
        let theirs = b.xdp_program("eth0");
        assert!(theirs.is_some(), "{}", loaded.status());

        for (datapath, why) in
            [(Datapath::Default, ""), (Datapath::Auto, "native: the interface already has an XDP program")]
        {
            let master = master(&a);
            let backup = Vrrpd::usual(&b, 100).datapath(datapath).start();
            let state = backup.state();
            assert_eq!(state["datapath"], "tcx");
            let reason = state["datapath_reason"].as_str().unwrap_or_default();
            assert!(reason.starts_with(why), "{reason}");
            assert_hears_and_takes_over(&backup, &master);
            assert_eq!((backup.terminate(), b.xdp_program("eth0")), (0, theirs));
        }
    }
}

#[test]
fn programs_of_libxdp_come_and_go_in_front_of_the_classifier_of_a_backup() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let master = master(&a);
    let backup = Vrrpd::usual(&b, 100).datapath(Datapath::Default).start();
    for _ in 0..3 {
        let loaded = Loaded::load(&b, "skb", ONE);
        let received = backup.counter("adverts_received");
        wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= received + 3);
        drop(loaded);
    }
    let state = backup.state();
    assert_eq!((&state["datapath"], &state["state"]), (&"tcx".into(), &"backup".into()));
    assert_hears_and_takes_over(&backup, &master);
}

#[test]
fn libxdp_does_not_get_the_place_of_the_program_of_the_daemon() {
    for (datapath, mode) in [(Datapath::Generic, "skb"), (Datapath::Native, "native")] {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let master = master(&a);
        let backup = Vrrpd::usual(&b, 100).datapath(datapath).start();
        let ours = b.xdp_program("eth0");
        assert!(ours.is_some());
        let refused = load(&b, mode, ONE);
        assert!(!refused.success(), "{refused:?}");
        let refused = xdp_loader(&b, &["unload", "eth0", "--all"]);
        assert!(!refused.success(), "{refused:?}");
        assert_eq!(b.xdp_program("eth0"), ours);
        assert_hears_and_takes_over(&backup, &master);
    }
}

/// Not all kernels can replace a function of a program by another program.
#[test]
#[ignore = "needs a kernel for libxdp's dispatcher: cargo xtask vm-test"]
fn dispatcher_of_libxdp_with_two_programs_is_named_and_takes_nothing_from_the_classifier() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let loaded = Loaded::load(&b, "skb", &needs::XDP_PROGRAMS);
    let status = loaded.status();
    for name in ["xdp_dispatcher", "xdpfilt_alw_tcp", "xdpfilt_alw_udp"] {
        assert!(status.contains(name), "{name}: {status}");
    }
    let with_xdp = Vrrpd::usual(&b, 100).datapath(Datapath::Auto).start();
    let state = with_xdp.state();
    let reason = state["datapath_reason"].as_str().expect("there is one");
    assert!(reason.contains("the interface already has an XDP program: xdp_dispatcher"), "{reason}");
    assert_eq!(with_xdp.terminate(), 0);

    let master = master(&a);
    let backup = Vrrpd::usual(&b, 100).datapath(Datapath::Default).start();
    assert_eq!(backup.state()["datapath"], "tcx");
    assert_hears_and_takes_over(&backup, &master);
    assert_eq!(loaded.status(), status);
}
