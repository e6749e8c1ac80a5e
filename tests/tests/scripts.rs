//! Scripts for transitions: which, when, with which arguments and environment, and as which user.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, chown, lchown, symlink};
use std::path::Path;

use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Lab, ScriptLog, Vrrpd, wait_until};

/// Any user but root.
const NOBODY: Option<u32> = Some(65534);

#[test]
fn scripts_get_the_arguments_of_keepalived_and_the_environment() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let variables = [
        "VRRP_STATE",
        "VRRP_PREVIOUS_STATE",
        "VRRP_INTERFACE",
        "VRRP_VRID",
        "VRRP_ADDRESSES",
        "VRRP_PRIORITY",
        "VRRP_REASON",
    ];
    let (up, down) = (ScriptLog::new(&variables), ScriptLog::new(&variables));
    let scripts = ["-U".into(), up.path(), "-D".into(), down.path()];
    let router = Vrrpd::usual(&a, 100).args(scripts).start();
    let state = router.wait_state("master", SOON);
    assert_eq!(state["scripts"]["up"].as_str(), up.path().to_str());
    assert_eq!(state["scripts"]["down"].as_str(), down.path().to_str());

    let run = up.wait_run(SOON, "MASTER");
    let fields: Vec<&str> = run.split('|').collect();
    let arguments: Vec<&str> = fields[0].split(' ').collect();
    assert_eq!(arguments.len(), 4, "TYPE NAME STATE PRIORITY: {run}");
    assert_eq!((arguments[0], arguments[2], arguments[3]), ("INSTANCE", "MASTER", "100"), "{run}");
    assert_eq!(fields[1..5], ["MASTER", "BACKUP", "eth0", "51"], "{run}");
    assert!(fields[5].contains("10.0.0.100"), "{run}");
    assert_eq!(fields[6..], ["100", "master-down-timer"], "{run}");

    let _higher = Vrrpd::usual(&b, 150).start();
    let run = down.wait_run(SOON, "|higher-priority-advert");
    assert!(run.starts_with("INSTANCE ") && run.contains(" BACKUP 100|BACKUP|MASTER|eth0|51|"), "{run}");
    assert_eq!(up.runs().len(), 1, "once for each time: {:?}", up.runs());
}

#[test]
fn each_state_has_a_script_with_arguments_and_notify_gets_all_states() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let log = ScriptLog::new(&["VRRP_REASON"]);
    let script = |word: &str| format!("[{:?}, {word:?}, \"two words\"]", log.path());
    let daemon = Vrrpd::on(&a)
        .config(&format!(
            "[[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"{CIDR}\"]\nvmac = \"none\"\n\
             protocol = \"v3\"\ninterval = \"100ms\"\nup = {}\ndown = {}\nfault = {}\nstop = {}\nnotify = {}\n",
            script("up"),
            script("down"),
            script("fault"),
            script("stop"),
            script("notify"),
        ))
        .start();
    let told = |last: &str| {
        log.wait_run(SOON, last);
        log.runs()
    };
    let both = |word: &str, state: &str, reason: &str| {
        [word, "notify"].map(|word| format!("{word} two words INSTANCE VI_1 {state} 100|{reason}"))
    };
    let mut wanted = both("down", "BACKUP", "start-up").to_vec();
    wanted.extend(both("up", "MASTER", "master-down-timer"));
    assert_eq!(told("notify two words INSTANCE VI_1 MASTER"), wanted);
    let state = daemon.state();
    assert_eq!(state["name"], "VI_1");
    assert_eq!(state["scripts"]["stop"], format!("{} stop two words", log.path().display()));
    assert!(daemon.atropos(&["--state", "VI_1"]).stdout.starts_with("eth0/51: MASTER"));
    assert!(daemon.atropos(&["--state", "VI_2"]).stderr.contains("did you mean VI_1?"));

    a.ip("link set eth0 down");
    wanted.extend(both("fault", "FAULT", "admin-down"));
    assert_eq!(told("notify two words INSTANCE VI_1 FAULT"), wanted);
    assert_eq!(daemon.terminate(), 0);
    wanted.extend(both("stop", "STOP", "shutdown"));
    assert_eq!(log.runs(), wanted);
}

#[test]
fn fifo_has_a_line_for_every_transition_also_from_the_guardian() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let path = home.path().join("fifo");
    let text = path.to_str().expect("a temporary directory has a name in UTF-8");
    let start = || Vrrpd::usual(&a, 100).args(["--fifo", text, "--name", "VI 1"]).start();
    let daemon = start();
    daemon.wait_state("master", SOON);
    let mut options = fs::OpenOptions::new();
    let mut fifo =
        options.read(true).custom_flags(libc::O_NONBLOCK).open(&path).expect("the daemon has made it");
    let mut read = String::new();
    let mut told = |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|state| format!("INSTANCE \"VI 1\" {state} 100\n")).collect();
        let lines = lines.concat();
        wait_until(SOON, "the lines are there", || {
            // Reading fails while the FIFO is empty.
            let _ = fifo.read_to_string(&mut read);
            read == lines
        });
        read.clear();
    };
    told(&["BACKUP", "MASTER"]);
    daemon.kill_daemon();
    told(&["STOP"]);
    drop(daemon);
    let daemon = start();
    daemon.wait_state("master", SOON);
    assert_eq!(daemon.terminate(), 0);
    told(&["BACKUP", "MASTER", "STOP"]);
    assert!(path.exists(), "it was there before");
}

#[test]
fn guardian_runs_the_scripts_for_the_end_of_a_killed_daemon() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let log = ScriptLog::new(&["VRRP_REASON"]);
    let path = log.path().into_os_string().into_string().expect("a temporary directory has a name in UTF-8");
    let daemon = Vrrpd::usual(&a, 100).args(["--stop", &path, "--notify", &path]).start();
    daemon.wait_state("master", SOON);
    log.wait_run(SOON, "MASTER");
    let before = log.runs().len();
    daemon.kill_daemon();
    wait_until(SOON, "both scripts have run", || log.runs().len() == before + 2);
    assert_eq!(log.runs()[before..], ["INSTANCE eth0/51 STOP 100|crash", "INSTANCE eth0/51 STOP 100|crash"]);
}

#[test]
fn scripts_run_as_another_user_and_in_the_style_of_keepalived() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    // Further arguments would be user names for id(1).
    let scripts = ["-U", "/usr/bin/id", "--script-user", "nobody", "--script-style", "keepalived"];
    let router = Vrrpd::usual(&a, 100).args(scripts).start();
    router.wait_log(SOON, "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)");
    router.wait_log(SOON, "script succeeded");
}

#[test]
fn user_that_is_missing_is_refused_at_start() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let wrong = Vrrpd::usual(&a, 100).args(["--script-user", "no-such-user"]).run();
    assert_eq!(
        (wrong.code, wrong.stderr.as_str()),
        (2, "vrrpd: --script-user no user \"no-such-user\" on this system\n")
    );
}

#[test]
fn address_is_there_when_the_script_for_a_master_runs() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let script = ScriptLog::running("ip -oneline addr show dev eth0 | tr '\\n' ' '");
    let router = Vrrpd::usual(&a, 100).args(["-U".into(), script.path()]).start();
    router.wait_state("master", SOON);
    script.wait_run(SOON, CIDR);
}

#[test]
fn alias_that_the_script_for_a_master_adds_goes_with_the_script_for_a_backup() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let up = ScriptLog::running("ip addr add 192.168.14.2/24 dev eth0 label eth0:0; echo $3");
    let down = ScriptLog::running("ip addr del 192.168.14.2/24 dev eth0; echo $3");
    let scripts = ["-U".into(), up.path(), "-D".into(), down.path()];
    let router = Vrrpd::usual(&a, 100).args(scripts).start();
    router.wait_state("master", SOON);
    up.wait_run(SOON, "MASTER");
    assert!(a.has_address("eth0", CIDR) && a.has_address("eth0", "192.168.14.2/24"));
    let _higher = Vrrpd::usual(&b, 150).start();
    router.wait_state("backup", SOON);
    wait_until(SOON, "the alias is gone", || !a.has_address("eth0", "192.168.14.2/24"));
    assert!(!a.has_address("eth0", CIDR) && a.has_address("eth0", "10.0.0.1/24"));
}

#[test]
fn output_of_a_script_goes_to_the_log() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let script = ScriptLog::talking("echo the cable is green");
    let router = Vrrpd::usual(&a, 100).args(["-U".into(), script.path()]).start();
    router.wait_log(SOON, "the cable is green");
}

#[test]
fn script_that_fails_is_logged_and_nothing_else_happens() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let script = ScriptLog::talking("exit 7");
    let router = Vrrpd::usual(&a, 100).args(["-U".into(), script.path()]).start();
    let line = router.wait_log(SOON, script.path().to_str().expect("a plain path"));
    assert!(line.contains('7') || router.count_in_log("7") > 0, "{line}");
    router.wait_state("master", SOON);
}

#[test]
fn script_that_a_user_could_replace_is_refused_at_start_and_not_run_later() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let script = ScriptLog::new(&[]);
    let theirs = home.path().join("theirs");
    fs::create_dir(&theirs).expect("it can be made");
    let link = theirs.join("script");
    symlink(script.path(), &link).expect("it can be made");
    let router = || Vrrpd::usual(&a, 100).args(["-U".as_ref(), link.as_os_str()]);
    let refused = |at: &Path| {
        let finished = router().run_in_foreground();
        assert_eq!(finished.code, 2, "{finished:?}");
        let command = format!("chown root {}", at.display());
        assert!(finished.stderr.contains(&command), "{command}: {}", finished.stderr);
    };
    lchown(&link, NOBODY, None).expect("root can");
    refused(&link);
    lchown(&link, Some(0), None).expect("root can");
    chown(&theirs, NOBODY, None).expect("root can");
    refused(&theirs);

    chown(&theirs, Some(0), None).expect("root can");
    let router = router().start();
    router.wait_state("master", SOON);
    script.wait_run(SOON, "MASTER");
    chown(&theirs, NOBODY, None).expect("root can");
    router.atropos(&["--backup"]);
    router.atropos(&["--master"]);
    let line = router.wait_log(SOON, "cannot run script");
    assert!(line.contains(&format!("{}: belongs to uid 65534", theirs.display())), "{line}");
    assert_eq!(script.runs().len(), 1);
}
