//! Files for others to read: the state file, and the lines of Vrrpd in it.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Lab, Signal, Strace, Vrrpd, left_files, wait_for, wait_until};

/// The state file after SIGUSR1, once it contains the text.
fn state_file(router: &Vrrpd, name: &str, text: &str) -> String {
    router.signal(Signal::SIGUSR1);
    wait_for(SOON, "the state file says how it is", || {
        fs::read_to_string(router.directory().join(name)).ok().filter(|file| file.contains(text))
    })
}

#[test]
fn sigusr1_writes_the_lines_that_the_users_of_vrrpd_look_for() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let script = vrrpd_lab::ScriptLog::new(&[]);
    let router = Vrrpd::on(&a).vrid(51).priority(100).address(CIDR);
    let router = router.args(["-a", "pw/secret", "-s", "-U"]).args([script.path()]).start();
    router.wait_state("master", SOON);
    let file = state_file(&router, "vrrpd_eth0_51.state", "atropos information state MASTER since 20");
    let lines = [
        format!("process : {}", router.pid()),
        "reason: master-down-timer".to_owned(),
        format!("version: vrrpd {}", env!("CARGO_PKG_VERSION")),
        format!("script Master: {}", script.path().display()),
        "script Backup:".to_owned(),
        "priority 100".to_owned(),
        "basic password on".to_owned(),
        "vmac off".to_owned(),
        "preempt off".to_owned(),
        "delay 1".to_owned(),
        "Virtual ID: 51".to_owned(),
        "monitoring process: off".to_owned(),
    ];
    for line in lines {
        let line = format!("vrrpd: eth0 atropos information {line}");
        assert!(file.lines().any(|there| there == line), "{line:?} is not in:\n{file}");
    }
    // The output of `atropos --state` follows.
    assert!(file.contains("eth0/51: MASTER\n"), "{file}");
    assert!(!file.contains("secret"), "{file}");
    // The lines are logged as well.
    router.wait_log(SOON, "eth0 atropos information state MASTER since");

    // Any state but master is shown as backup, as in Vrrpd.
    lab.port_down(&a);
    router.wait_state("fault", SOON);
    let file = state_file(&router, "vrrpd_eth0_51.state", "atropos information state BACKUP since 20");
    assert!(file.contains("reason: link-down\n"), "{file}");
}

#[test]
fn state_file_of_a_configuration_file_has_every_router_and_goes_with_the_daemon() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = |vrid: u8| {
        format!(
            "[[router]]\ninterface = \"eth0\"\nvrid = {vrid}\naddresses = [\"10.0.0.{vrid}/24\"]\nprotocol = \"v3\"\ninterval = \"250ms\"\nvmac = \"none\"\n"
        )
    };
    let daemon = Vrrpd::on(&a).config(&[router(51), router(52)].concat()).vrid(51).start();
    let file = state_file(&daemon, "vrrpd.state", "Virtual ID: 52");
    assert!(file.contains("Virtual ID: 51\n") && file.contains("atropos information delay 0.25\n"), "{file}");
    let path = daemon.directory().join("vrrpd.state");
    let mode = fs::metadata(&path).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o644);
    assert_eq!(daemon.terminate(), 0);
    assert!(!path.exists());
}

#[test]
fn state_file_that_is_asked_for_at_the_last_moment_goes_with_the_daemon() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::on(&a).vrid(51).address("10.0.0.100/24").start();
    // Like a slow disk.
    let _strace = Strace::delaying(&a, router.pid(), "rename,renameat,renameat2", Duration::from_millis(300));
    router.signal(Signal::SIGUSR1);
    router.wait_log(SOON, "atropos information state");
    assert_eq!(router.terminate(), 0);
    let left = fs::read_dir(router.directory()).expect("it is there").flatten();
    let left: Vec<_> = left.map(|file| file.file_name()).collect();
    assert_eq!(left, ["vrrpd.lock"]);
}

#[test]
fn hanging_write_is_logged_by_name_and_delays_no_script() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let script = vrrpd_lab::ScriptLog::new(&[]);
    let router = Vrrpd::usual(&a, 100).args(["-U".into(), script.path()]).start();
    script.wait_run(SOON, "MASTER");
    // Like a disk that does not answer.
    let _strace = Strace::delaying(&a, router.pid(), "rename,renameat,renameat2", Duration::from_secs(3));
    router.signal(Signal::SIGUSR1);
    let line = router.wait_log(SOON, "operation slow");
    let file = router.directory().join("vrrpd_eth0_51.state");
    assert!(line.contains(&format!("writing {}", file.display())), "{line}");
    router.atropos(&["--backup"]);
    router.atropos(&["--master"]);
    wait_until(SOON, "the script runs again", || script.runs().len() == 2);
    assert_eq!(router.count_in_log("slow operation finished"), 0, "the file is not written yet");
    assert_eq!(router.terminate(), 0);
}

#[test]
fn directory_that_is_a_link_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let builder = Vrrpd::usual(&a, 100);
    let directory = builder.directory();
    fs::create_dir(directory.with_file_name("elsewhere")).expect("it can be made");
    std::os::unix::fs::symlink("elsewhere", &directory).expect("it can be made");
    let finished = builder.run_in_foreground();
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.stderr.contains("symbolic link"), "{}", finished.stderr);
}

#[test]
fn directory_that_another_user_could_replace_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let builder = Vrrpd::usual(&a, 100);
    let parent = builder.directory().parent().expect("it is in one").to_owned();
    chown(&parent, Some(65534), None).expect("root can");
    let refused = builder.run_in_foreground();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(&format!("chown root {}", parent.display())), "{}", refused.stderr);
    chown(&parent, Some(0), None).expect("root can");
    fs::set_permissions(&parent, fs::Permissions::from_mode(0o777)).expect("it is ours");
    let refused = builder.run_in_foreground();
    assert!(refused.stderr.contains(&format!("chmod go-w {}", parent.display())), "{}", refused.stderr);
}

#[test]
fn directory_that_is_renamed_is_still_written_to_and_left_clean() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    router.wait_state("master", SOON);
    let directory = router.directory();
    let elsewhere = directory.with_file_name("elsewhere");
    fs::rename(&directory, &elsewhere).expect("it is ours");
    router.signal(Signal::SIGUSR1);
    wait_until(SOON, "the state is written", || elsewhere.join("vrrpd_eth0_51.state").exists());
    assert_eq!(router.terminate(), 0);
    let left: Vec<_> =
        fs::read_dir(elsewhere).expect("it is there").flatten().map(|file| file.file_name()).collect();
    assert_eq!(left, ["vrrpd.lock"]);
    assert!(!directory.exists());
}

#[test]
fn pid_file_names_the_process_also_in_the_foreground_and_is_readable_for_all() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    for name in ["vrrpd_eth0.pid", "vrrpd_eth0_51.pid"] {
        let path = router.directory().join(name);
        assert_eq!(fs::read_to_string(&path).expect("it is there"), format!("{}\n", router.pid()));
        let mode = fs::metadata(&path).expect("it is there").permissions().mode() & 0o7777;
        assert_eq!(mode, 0o644, "{name}");
    }
}

#[test]
fn router_that_is_served_is_refused_also_when_lock_and_pid_files_were_removed() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let first = Vrrpd::usual(&a, 100).start();
    let directory = first.directory();
    for lost in ["vrrpd.lock", "vrrpd_eth0_51.pid"] {
        fs::remove_file(directory.join(lost)).expect("it is there");
        let files = left_files(&directory);
        let second = Vrrpd::usual(&a, 100).beside(&first).run_in_foreground();
        assert_eq!(second.code, 1, "without {lost}: {second:?}");
        let said = if lost == "vrrpd.lock" {
            format!("pid {}", first.pid())
        } else {
            "vrrpd_eth0_51.sock".to_owned()
        };
        assert!(second.stderr.contains(&said), "without {lost}: {}", second.stderr);
        assert_eq!(left_files(&directory), files);
        first.wait_state("master", SOON);
    }
}

#[test]
fn files_that_are_another_daemon_s_by_now_are_left_alone() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).start();
    let directory = router.directory();
    fs::write(directory.join("vrrpd_eth0_51.pid"), "1\n").expect("it can be written");
    assert_eq!(router.terminate(), 0);
    assert_eq!(left_files(&directory), ["vrrpd_eth0_51.pid", "vrrpd_eth0_51.sock"]);
}

/// A process with this name that does nothing.
struct Idle(Child);

impl Idle {
    fn named(name: &str, directory: &Path) -> Self {
        let program = directory.join(name);
        fs::copy("/bin/sleep", &program).expect("it can be copied");
        // A child that another thread starts at the same time has the copy open for writing for a moment.
        let is_busy = |error: &io::Error| error.kind() == io::ErrorKind::ExecutableFileBusy;
        Self(wait_for(SOON, "it can be run", || match Command::new(&program).arg("60").spawn() {
            Err(error) if is_busy(&error) => None,
            started => Some(started.expect("it can be run")),
        }))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn pid_file_of_a_running_vrrpd_is_respected_and_others_are_not() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let mut builder = Vrrpd::usual(&a, 100);
    for (name, code) in [("vrrpd", 1), ("other", 0)] {
        let directory = builder.directory();
        fs::create_dir_all(&directory).expect("it can be made");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).expect("it is ours");
        let idle = Idle::named(name, directory.parent().expect("it is in one"));
        let file = directory.join("vrrpd_eth0_51.pid");
        fs::write(&file, format!("{}\n", idle.0.id())).expect("it can be written");
        if code == 1 {
            let finished = builder.run_in_foreground();
            assert_eq!(finished.code, 1, "{finished:?}");
            let said = [file.display().to_string(), format!("pid {}", idle.0.id())];
            assert!(said.iter().all(|said| finished.stderr.contains(said)), "{}", finished.stderr);
            // A process younger than the file has reused the pid of the one that wrote it.
            let old = std::time::SystemTime::now() - Duration::from_hours(1);
            fs::File::options()
                .write(true)
                .open(&file)
                .expect("opens")
                .set_modified(old)
                .expect("it is ours");
            builder.clone().start();
            builder = Vrrpd::usual(&a, 100);
        } else {
            builder.clone().start().wait_state("master", SOON);
        }
    }
}

#[test]
fn router_that_the_process_of_a_file_has_is_refused_with_the_number_of_that_process() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let text =
        "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.100/24\"]\nvmac = \"none\"\n";
    let daemon = Vrrpd::on(&a).config(text).start();
    let refused = Vrrpd::usual(&a, 100).beside(&daemon).run_in_foreground();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(&format!("(pid {})", daemon.pid())), "{}", refused.stderr);
}
