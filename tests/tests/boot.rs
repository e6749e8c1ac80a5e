//! Start at boot: the init script, the units, and notifications to the service manager.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vrrpd_lab::needs::{SETPRIV, SHELLCHECK, SYSTEMD_ANALYZE};
use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{
    Datapath, Finished, Host, Lab, ScriptLog, Signal, Vrrpd, atropos, binary, is_alive, left_files, wait_for,
    wait_until,
};

/// A file of the distribution.
fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(shipped(file)).expect("it is shipped")
}

fn run(program: impl AsRef<Path>, arguments: &[&Path]) -> Finished {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.run(program, arguments)
}

/// The init script on a machine, with its own files. The daemons are stopped on drop.
struct Init<'a> {
    host: &'a Host,
    home: TempDir,
}

impl<'a> Init<'a> {
    fn new(host: &'a Host, defaults: &str) -> Self {
        let init = Self { host, home: tempfile::tempdir().expect("a temporary directory can be made") };
        let directory = init.directory();
        let text = format!("{defaults}\nDIRECTORY={}\n", directory.display());
        fs::write(init.home.path().join("defaults"), text).expect("it can be written");
        init
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("run")
    }

    fn run(&self, action: &str) -> Finished {
        let mut command = Command::new(shipped("init.d/vrrpd"));
        command.arg(action).env("VRRPD_DEFAULTS", self.home.path().join("defaults"));
        command.env("VRRPD_PROGRAM", binary("vrrpd"));
        self.host.namespace().run(command)
    }

    fn pid(&self, file: &str) -> Option<i32> {
        fs::read_to_string(self.directory().join(file)).ok()?.trim().parse().ok()
    }
}

impl Drop for Init<'_> {
    fn drop(&mut self) {
        if !left_files(&self.directory()).is_empty() {
            self.run("stop");
        }
    }
}

#[test]
fn init_script_starts_the_configuration_of_its_defaults_and_stops_it() {
    let mut lab = Lab::new();
    let a = lab.host("a", "10.16.1.1/24");
    let second = lab.add_network();
    lab.join(&a, second, "eth1", "10.17.1.1/24");
    let (up, down) = (ScriptLog::new(&[]), ScriptLog::new(&[]));
    let defaults = read("default/vrrpd")
        .replace("/etc/scripts/MASTER.sh", &up.path().display().to_string())
        .replace("/etc/scripts/DOWN.sh", &down.path().display().to_string());
    let init = Init::new(&a, &format!("{defaults}\nOPTIONS=-n"));
    assert_eq!(init.run("status").code, 3);

    let started = init.run("start");
    assert_eq!(started.code, 0, "{started:?}");
    let pids = [init.pid("vrrpd_eth0_51.pid"), init.pid("vrrpd_eth1_52.pid")];
    assert!(pids.iter().all(|pid| pid.is_some_and(is_alive)) && pids[0] != pids[1], "{pids:?}");
    wait_until(Duration::from_secs(10), "both are elected", || {
        let shown = atropos(&a, &init.directory(), &["--state"]).stdout;
        shown.contains("eth0/51: MASTER") && shown.contains("eth1/52: MASTER")
    });
    assert!(a.has_address("eth0", "10.16.1.200/24") && a.has_address("eth1", "10.17.1.200/24"));
    wait_until(SOON, "the scripts have run", || up.runs().len() == 2);
    assert_eq!(init.run("status").code, 0);

    let again = init.run("start");
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stdout.contains("runs already"), "{}", again.stdout);
    assert_eq!(pids, [init.pid("vrrpd_eth0_51.pid"), init.pid("vrrpd_eth1_52.pid")]);

    let restarted = init.run("restart");
    assert_eq!(restarted.code, 0, "{restarted:?}");
    assert!(!pids.iter().flatten().any(|pid| is_alive(*pid)), "they have ended before the others began");
    let later = [init.pid("vrrpd_eth0_51.pid"), init.pid("vrrpd_eth1_52.pid")];
    assert!(later.iter().all(|pid| pid.is_some_and(is_alive)), "{later:?}");

    let stopped = init.run("stop");
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert!(!later.iter().flatten().any(|pid| is_alive(*pid)), "nothing runs when stop returns");
    assert_eq!(left_files(&init.directory()), Vec::<String>::new());
    assert!(!a.has_address("eth0", "10.16.1.200/24"));
    assert_eq!(init.run("status").code, 3);
    assert_eq!(init.run("stop").code, 0, "to stop what does not run is no failure");
}

#[test]
fn init_script_starts_valid_routers_and_reports_the_others() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let lines = "-i eth9 -v 50 10.9.0.1\n# a comment\n-v 51 -i eth0 fe80::1/64 --protocol v3";
    let init = Init::new(&a, &format!("ROUTERS='\n{lines}\n'\nOPTIONS=-n"));
    let started = init.run("start");
    assert_eq!(started.code, 1, "{started:?}");
    assert!(started.stderr.contains("eth9"), "{}", started.stderr);
    assert!(started.stdout.contains("vrrpd_eth0_51_ipv6: started"), "{}", started.stdout);
    let status = init.run("status");
    assert_eq!(status.code, 1, "{status:?}");
    assert!(status.stdout.contains("vrrpd_eth9_50: does not run"), "{}", status.stdout);
    assert_eq!(init.run("stop").code, 0);
    assert_eq!(init.run("dance").code, 2);
}

#[test]
fn init_script_has_the_daemon_of_a_file_read_it_again_and_leaves_others_alone() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let file = home.path().join("vrrpd.toml");
    let write = |vrid: &str| {
        let text = format!(
            "[[router]]\ninterface = \"eth0\"\nvrid = {vrid}\naddresses = [\"{CIDR}\"]\nvmac = \"none\"\n\
             protocol = \"v3\"\ninterval = \"100ms\"\n"
        );
        fs::write(&file, text).expect("it can be written");
    };
    write("51");
    let config = format!("--config {}", file.display());
    let init = Init::new(&a, &format!("ROUTERS='{config}'"));
    assert_eq!(init.run("reload").code, 1, "it does not run");
    assert_eq!(init.run("force-reload").code, 0);
    let pid = init.pid("vrrpd.pid");
    assert!(pid.is_some_and(is_alive));
    for (action, vrid) in [("reload", "52"), ("force-reload", "53")] {
        write(vrid);
        let reloaded = init.run(action);
        assert_eq!(reloaded.code, 0, "{reloaded:?}");
        wait_until(SOON, "it serves what the file says now", || {
            atropos(&a, &init.directory(), &["--state"]).stdout.contains(&format!("eth0/{vrid}: MASTER"))
        });
        assert_eq!(init.pid("vrrpd.pid"), pid, "{action}: it runs on");
    }
    write("999");
    let refused = init.run("reload");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("VRID"), "{refused:?}");
    assert_eq!(init.run("stop").code, 0);

    let init = Init::new(&a, &format!("ROUTERS='-i eth0 -v 51 -n {CIDR}'"));
    assert_eq!(init.run("start").code, 0);
    let pid = init.pid("vrrpd_eth0_51.pid");
    let reloaded = init.run("reload");
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    assert!(reloaded.stdout.contains("restart it"), "{reloaded:?}");
    assert_eq!(init.pid("vrrpd_eth0_51.pid"), pid);
    assert_eq!(init.run("force-reload").code, 0);
    assert_ne!(init.pid("vrrpd_eth0_51.pid"), pid, "it was started again");
    assert_eq!(init.run("stop").code, 0);
}

#[test]
fn init_script_waits_for_the_scripts_of_a_daemon_that_leaves() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let down = ScriptLog::running("sleep 1; echo $VRRP_REASON");
    let line = format!("-i eth0 -v 51 -n {CIDR} --protocol v3 -d 100ms -D {}", down.path().display());
    let init = Init::new(&a, &format!("ROUTERS='{line}'"));
    assert_eq!(init.run("start").code, 0);
    down.wait_run(SOON, "start-up");
    wait_until(SOON, "it is master", || a.has_address("eth0", CIDR));
    assert_eq!(init.run("stop").code, 0);
    assert_eq!(down.runs().last().map(String::as_str), Some("shutdown"));
}

#[test]
fn init_script_without_routers_fails_with_a_message() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    // Files without a usable list of routers.
    for defaults in ["", "ROUTERS='\n# -i eth0 -v 51\n'", "-i eth0 10.16.1.200/24 -v 51"] {
        let init = Init::new(&a, defaults);
        for action in ["start", "restart"] {
            let finished = init.run(action);
            assert_eq!(finished.code, 6, "{defaults:?}: {finished:?}");
            assert!(finished.stderr.contains("/defaults is empty"), "{finished:?}");
        }
        assert_eq!((init.run("status").code, init.run("stop").code), (3, 0));
    }
}

#[test]
fn init_script_has_its_headers_and_no_mistake_that_shellcheck_finds() {
    let script = shipped("init.d/vrrpd");
    let finished = run(SHELLCHECK.require(), &[Path::new("--shell=dash"), &script]);
    assert_eq!(finished.code, 0, "{}", finished.stdout);
    let text = read("init.d/vrrpd");
    for header in
        ["### BEGIN INIT INFO", "# Provides:", "# Required-Start:", "# Default-Stop:", "### END INIT INFO"]
    {
        assert!(text.contains(header), "{header}");
    }
}

#[test]
fn units_are_as_systemd_wants_them() {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let program = binary("vrrpd");
    for (unit, name) in [("vrrpd.service", "vrrpd.service"), ("vrrpd@.service", "vrrpd@eth0-51.service")] {
        // Only the path of the program differs from the shipped unit.
        let text = read(&format!("systemd/{unit}"));
        let text = text.replace("/usr/sbin/vrrpd", program.to_str().expect("a plain path"));
        let file = home.path().join(name);
        fs::write(&file, text).expect("it can be written");
        let finished = run(SYSTEMD_ANALYZE.require(), &[Path::new("verify"), Path::new("--man=no"), &file]);
        let complaints: Vec<_> = finished.stderr.lines().filter(|line| line.contains("vrrpd")).collect();
        assert!(finished.code == 0 && complaints.is_empty(), "{name}: {finished:?}");
    }
}

#[test]
fn both_examples_of_defaults_start_the_same_router() {
    let of_one = read("default/vrrpd-eth0-51");
    let line = of_one.lines().find_map(|line| line.strip_prefix("VRRPD_OPTIONS=")).expect("it has options");
    assert!(read("default/vrrpd").lines().any(|other| other == line), "{line}");
}

#[test]
fn daemon_and_its_scripts_work_with_the_capabilities_of_the_units() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let units = ["systemd/vrrpd.service", "systemd/vrrpd@.service"].map(read);
    let capabilities = units.map(|unit| {
        let sets = unit.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet=CAP_"));
        let names = sets.flat_map(|set| set.split(" CAP_").map(str::to_lowercase).collect::<Vec<_>>());
        names.fold("-all".to_owned(), |list, name| list + ",+" + &name)
    });
    assert_eq!(capabilities[0], capabilities[1]);
    let bounded = format!("--bounding-set={}", capabilities[0]);
    let script = ScriptLog::running("ip addr add 192.168.14.2/24 dev eth0 label eth0:0 && echo added");
    let router = Vrrpd::usual(&a, 100).datapath(Datapath::Native).args(["-U".into(), script.path()]);
    let setpriv = SETPRIV.require();
    let router = router.through([setpriv.into_os_string(), bounded.into()]).start();
    router.wait_state("master", SOON);
    script.wait_run(SOON, "added");
    assert!(a.has_address("eth0", CIDR) && a.has_address("eth0", "192.168.14.2/24"));
    assert_eq!(router.terminate(), 0);
}

/// A service manager: records the daemon's messages in order.
struct Manager {
    home: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let socket = UnixDatagram::bind(home.path().join("notify")).expect("a socket can be made");
        socket.set_nonblocking(true).expect("it can");
        Self { home, socket }
    }

    /// The environment of a daemon that it starts.
    fn environment(&self, more: &[&str]) -> Vec<String> {
        let socket = format!("NOTIFY_SOCKET={}", self.home.path().join("notify").display());
        [&["env".to_owned(), socket][..], &more.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()]
            .concat()
    }

    fn heard(&self) -> Option<String> {
        let mut buffer = [0; 256];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    fn hear(&self) -> String {
        wait_for(SOON, "the daemon says something", || self.heard())
    }
}

#[test]
fn service_manager_gets_ready_status_and_stopping() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let manager = Manager::new();
    let router = Vrrpd::usual(&a, 100).through(manager.environment(&[])).start();
    router.wait_state("master", SOON);
    let told = [manager.hear(), manager.hear(), manager.hear()];
    assert_eq!(told, ["READY=1", "STATUS=eth0/51: backup", "STATUS=eth0/51: master"]);
    assert_eq!(router.terminate(), 0);
    assert_eq!(manager.hear(), "STOPPING=1\nSTATUS=leaving");
}

#[test]
fn status_of_several_routers_is_a_count_by_state() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = |vrid: u8| {
        format!(
            "[[router]]\ninterface = \"eth0\"\nvrid = {vrid}\naddresses = [\"10.0.0.{vrid}/24\"]\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\n"
        )
    };
    let manager = Manager::new();
    let daemon = Vrrpd::on(&a).config(&[router(51), router(52)].concat()).vrid(51);
    let _daemon = daemon.through(manager.environment(&[])).start();
    wait_until(SOON, "it says that both are master", || {
        manager.heard().is_some_and(|told| told == "STATUS=2 master, 0 backup, 0 fault")
    });
}

#[test]
fn service_manager_that_cannot_be_reached_is_done_without() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for socket in ["/nowhere", "@nobody", "relative"] {
        let router =
            Vrrpd::usual(&a, 100).through(["/usr/bin/env", &format!("NOTIFY_SOCKET={socket}")]).start();
        router.wait_log(SOON, "cannot reach service manager");
        router.wait_state("master", SOON);
        assert_eq!(router.terminate(), 0);
    }
}

#[test]
fn daemon_in_the_background_does_not_notify_the_service_manager_of_the_shell() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let manager = Manager::new();
    let router = Vrrpd::usual(&a, 100).through(manager.environment(&[]));
    let (command, daemon) = router.start_in_background();
    assert!(command.success(), "{command:?}");
    wait_until(SOON, "it is master", || a.has_address("eth0", CIDR));
    daemon.terminate("vrrpd_eth0.pid");
    assert_eq!(manager.heard(), None);
}

#[test]
fn daemon_that_cannot_start_never_reports_ready() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let first = Vrrpd::usual(&a, 100).start();
    let manager = Manager::new();
    let second = Vrrpd::usual(&a, 100).beside(&first).through(manager.environment(&[]));
    assert_eq!(second.run_in_foreground().code, 1);
    assert_eq!(manager.heard(), None);
}

#[test]
fn watchdog_hears_of_a_loop_that_turns_and_not_of_one_that_hangs() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let manager = Manager::new();
    // The watchdog timeout is 400 ms; the daemon reports twice as often.
    let builder = Vrrpd::on(&a).vrid(51).address(CIDR).priority(1);
    let router = builder.through(manager.environment(&["WATCHDOG_USEC=400000"])).start();
    let alive = || manager.heard().is_some_and(|told| told == "WATCHDOG=1");
    for _ in 0..5 {
        wait_until(Duration::from_millis(400), "it is heard of in time", alive);
    }
    router.pause();
    while manager.heard().is_some() {}
    let start = Instant::now();
    wait_until(SOON, "the manager's patience is over", || {
        assert_eq!(manager.heard(), None);
        start.elapsed() > Duration::from_millis(500)
    });
    router.resume();
    wait_until(SOON, "it is heard of again", alive);
}

#[test]
fn scripts_inherit_nothing_that_the_service_manager_gave_the_daemon() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let manager = Manager::new();
    let script = ScriptLog::new(&["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "VRRPD_IN_BACKGROUND"]);
    let router = Vrrpd::usual(&a, 100).args(["-U".into(), script.path()]);
    let router = router.through(manager.environment(&["WATCHDOG_USEC=60000000"])).start();
    let run = script.wait_run(SOON, "MASTER");
    assert!(run.ends_with("|unset|unset|unset|unset"), "{run}");
    router.signal(Signal::SIGTERM);
    assert_eq!(router.wait(), 0);
}
