//! Checks that change a router's priority or cause a fault.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use vrrpd_lab::usual::SOON;
use vrrpd_lab::{Capture, CheckHome, Host, Lab, Vrrpd, wait_for, wait_until};

/// A file with these checks, and routers with VRID, priority and further options.
fn file(tracks: &str, routers: &[(u8, u8, &str)]) -> String {
    let mut text = "[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\n".to_owned();
    text += tracks;
    for (vrid, priority, more) in routers {
        write!(
            text,
            "\n[[router]]\ninterface = \"eth0\"\nvrid = {vrid}\npriority = {priority}\n\
             addresses = [\"10.0.0.1{vrid}/24\"]\n{more}\n"
        )
        .expect("writing to a string works");
    }
    text
}

fn start(host: &Host, text: &str) -> Vrrpd {
    Vrrpd::on(host).config(text).start()
}

/// The router with VRID 51.
fn router(daemon: &Vrrpd) -> Value {
    daemon.state_of(51)
}

#[track_caller]
fn wait_router(daemon: &Vrrpd, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_for(SOON, what, || Some(router(daemon)).filter(|router| is_so(router)))
}

#[track_caller]
fn wait_state(daemon: &Vrrpd, state: &str) -> Value {
    wait_router(daemon, &format!("router 51 is {state}"), |router| router["state"] == state)
}

#[track_caller]
fn wait_priority(daemon: &Vrrpd, priority: u8) -> Value {
    let what = format!("router 51 has priority {priority}");
    wait_router(daemon, &what, |router| router["effective_priority"] == priority)
}

#[test]
fn a_master_resigns_when_a_tracked_process_is_killed_and_takes_over_when_it_is_back() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let home = CheckHome::new();
    let tracks = format!("[[track]]\nname = \"service\"\nprocess = \"{}\"\n", home.name());
    let service = home.serve();
    let first = start(&a, &file(&tracks, &[(51, 150, "track = [\"service\"]")]));
    wait_state(&first, "master");
    let second = start(&b, &file("", &[(51, 100, "")]));
    wait_state(&second, "backup");
    let capture = Capture::on(&client);

    drop(service);
    wait_state(&second, "master");
    let state = wait_state(&first, "fault");
    assert_eq!((&state["reason"], &state["faults"]), (&"track-failed".into(), &vec!["track-failed"].into()));
    assert_eq!(state["track"][0]["result"], "fails");
    let (ours, theirs) = (a.ipv4(), b.ipv4());
    let resigned = capture.wait_advert(SOON, "it resigns", |advert| advert.priority == 0);
    let adverts = capture.adverts();
    let position = |is_it: &dyn Fn(&vrrpd_lab::Advert) -> bool| {
        adverts.iter().position(|(_, advert)| is_it(advert)).expect("it was sent")
    };
    let resignation = position(&|advert| advert.priority == 0);
    let take_over = position(&|advert| advert.source == theirs && advert.priority == 100);
    assert_eq!(resigned.1.source, ours);
    assert!(resignation < take_over, "the peer takes over because of the resignation");
    let last = second.state();
    assert_eq!(last["reason"], "master-resigned");

    let _service = home.serve();
    let state = wait_state(&first, "master");
    let history = state["history"].as_array().expect("a list");
    assert!(history.iter().any(|past| past["reason"] == "track-recovered"), "{history:?}");
    wait_state(&second, "backup");
}

#[test]
fn a_process_that_is_replaced_or_restarted_within_the_delay_is_no_failure() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = CheckHome::new();
    let tracks = format!(
        "[[track]]\nname = \"service\"\nprocess = \"{0}\"\n\n\
         [[track]]\nname = \"patient\"\nprocess = \"{0}\"\ndown-delay = \"30s\"\n\n\
         [[track]]\nname = \"two\"\nprocess = \"{0}\"\nquorum = 2\nweight = -10\n",
        home.name()
    );
    let old = home.serve();
    let daemon = start(
        &a,
        &file(&tracks, &[(51, 100, "track = [\"service\", \"two\"]"), (52, 100, "track = [\"patient\"]")]),
    );
    let state = wait_state(&daemon, "master");
    assert_eq!(state["effective_priority"], 90, "there is one of two");
    let new = home.serve();
    wait_priority(&daemon, 100);
    drop(old);
    wait_priority(&daemon, 90);
    assert_eq!(router(&daemon)["counters"]["transitions"], 2, "the other one is there");
    drop(new);
    let state = wait_state(&daemon, "fault");
    assert_eq!(state["effective_priority"], 90);
    let patient = daemon.state_of(52);
    assert_eq!((&patient["state"], &patient["track"][0]["result"]), (&"master".into(), &"holds".into()));
}

#[test]
fn a_check_with_a_weight_turns_mastership_and_runs_once_for_two_routers() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let home = CheckHome::new();
    let script = home.script(&format!(
        "cut -d' ' -f1 /proc/uptime >>{}\ntest ! -e {}",
        home.path("runs").display(),
        home.path("failing").display()
    ));
    let tracks = format!(
        "[[track]]\nname = \"check\"\ncommand = [\"{}\"]\ninterval = \"100ms\"\nfall = 2\nweight = -60\n",
        script.display()
    );
    let tracking = "track = [\"check\"]";
    let first = start(&a, &file(&tracks, &[(51, 150, tracking), (52, 150, tracking)]));
    wait_state(&first, "master");
    let second = start(&b, &file("", &[(51, 100, ""), (52, 100, "")]));
    wait_state(&second, "backup");

    fs::write(home.path("failing"), "").expect("it can be written");
    wait_state(&second, "master");
    let state = wait_state(&first, "backup");
    assert_eq!((&state["priority"], &state["effective_priority"]), (&150.into(), &90.into()));
    fs::remove_file(home.path("failing")).expect("it is there");
    wait_state(&first, "master");
    assert_eq!(router(&first)["effective_priority"], 150);
    wait_state(&second, "backup");

    let runs: Vec<f64> = home.lines("runs").iter().filter_map(|line| line.parse().ok()).collect();
    let took = Duration::from_secs_f64(runs[runs.len() - 1] - runs[0]);
    let turns = took.as_millis() / 100 + 2;
    assert!(runs.len() as u128 <= turns, "{} runs in {took:?}", runs.len());
}

#[test]
fn a_command_that_hangs_fails_after_its_timeout_and_is_not_run_twice() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = CheckHome::new();
    // Each run records whether the one before it, or its child, is still running.
    let script = home.script(&format!(
        "cd {}\nfor pid in $(cat pids 2>/dev/null); do grep -q ') [^ZX] ' /proc/$pid/stat 2>/dev/null && echo $pid >>twice; done\n\
         test -e hang || exit 0\necho $$ >>pids\nsleep 1000 &\necho $! >>pids\necho >>runs\nwait",
        home.directory().display()
    ));
    let tracks = format!(
        "[[track]]\nname = \"check\"\ncommand = [\"{}\"]\ninterval = \"50ms\"\ntimeout = \"200ms\"\n",
        script.display()
    );
    let daemon = start(&a, &file(&tracks, &[(51, 100, "track = [\"check\"]")]));
    wait_state(&daemon, "master");
    fs::write(home.path("hang"), "").expect("it can be written");
    wait_state(&daemon, "fault");
    wait_until(SOON, "it is run again", || home.lines("runs").len() >= 3);
    fs::remove_file(home.path("hang")).expect("it is there");
    wait_state(&daemon, "master");
    assert_eq!(home.lines("twice"), Vec::<String>::new());
    assert_eq!(daemon.terminate(), 0);
}

#[test]
fn a_router_stays_in_state_init_until_its_checks_have_first_results() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = CheckHome::new();
    let script = home.script(&format!("until test -e {}; do sleep 0.02; done", home.path("go").display()));
    let tracks = format!(
        "[[track]]\nname = \"check\"\ncommand = [\"{}\"]\ninterval = \"60s\"\nrise = 3\n",
        script.display()
    );
    let daemon = start(&a, &file(&tracks, &[(51, 100, "track = [\"check\"]")]));
    let state = router(&daemon);
    assert_eq!((&state["state"], &state["track"][0]["result"]), (&"init".into(), &"unknown".into()));
    fs::write(home.path("go"), "").expect("it can be written");
    let state = wait_state(&daemon, "master");
    let history: Vec<_> =
        state["history"].as_array().expect("a list").iter().map(|past| past["to"].clone()).collect();
    assert_eq!(history, ["backup", "master"], "one result was enough, and there was no fault");
}

#[test]
fn interfaces_and_routes_are_followed() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.ip("link add up0 type veth peer name up1");
    a.ip("link set up0 up");
    a.ip("link set up1 up");
    let tracking =
        "track = [\"interface=up0\", \"route=10.99.0.0/16,weight=20\", \"interface=none0,weight=-1\"]";
    let daemon = start(&a, &file("", &[(51, 100, tracking)]));
    wait_state(&daemon, "master");
    wait_priority(&daemon, 99);
    a.ip("route add 10.99.0.0/16 dev up0");
    wait_priority(&daemon, 119);
    a.ip("route add 10.99.1.0/24 dev eth0");
    // Without carrier the route stays; when the interface goes down, the route is removed.
    a.ip("link set up1 down");
    let state = wait_state(&daemon, "fault");
    assert_eq!(state["reason"], "track-failed");
    a.ip("link set up1 up");
    wait_state(&daemon, "master");
    a.ip("link set up0 down");
    wait_state(&daemon, "fault");
    wait_priority(&daemon, 99);
    a.ip("link del up0");
    a.ip("link add up0 type veth peer name up1");
    a.ip("link set up0 up");
    a.ip("link set up1 up");
    wait_state(&daemon, "master");
}

#[test]
fn a_number_in_a_file_is_a_weight_and_far_below_zero_a_fault() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = CheckHome::new();
    let path = home.path("weight");
    let tracks = format!("[[track]]\nname = \"number\"\nfile = \"{}\"\nweight = 2\n", path.display());
    let daemon = start(&a, &file(&tracks, &[(51, 100, "track = [\"number\"]")]));
    wait_state(&daemon, "master");
    for (text, priority) in [("-20\n", 60), ("7", 114), ("-90", 1), ("1000", 254)] {
        fs::write(&path, text).expect("it can be written");
        wait_priority(&daemon, priority);
    }
    fs::write(&path, "-127").expect("it can be written");
    wait_state(&daemon, "fault");
    // Replaced by a rename.
    fs::write(home.path("new"), "-3").expect("it can be written");
    fs::rename(home.path("new"), &path).expect("it is there");
    wait_state(&daemon, "master");
    assert_eq!(router(&daemon)["effective_priority"], 94);
    fs::remove_file(&path).expect("it is there");
    wait_priority(&daemon, 100);
}

#[test]
fn servers_and_hosts_are_asked() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let server = b.namespace().enter(|| TcpListener::bind((b.ipv4(), 8080)).expect("the port is free"));
    let address = server.local_addr().expect("it has one");
    let answering = server.try_clone().expect("it can be copied");
    let answers = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        // Until it gets a connection and is told to end.
        for stream in answering.incoming() {
            let mut stream = stream.expect("a connection");
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
            if asked.starts_with("end") {
                return;
            }
            let status = if asked.starts_with("GET /ok ") { "200 OK" } else { "503 Unavailable" };
            // The TCP check sends nothing, and has disconnected.
            let _ = write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n\r\nall well");
        }
    });
    let gone = "10.0.0.250";
    let mut tracks = String::new();
    for (name, kind, weight) in [
        ("tcp", format!("tcp = \"{address}\""), 1),
        ("http", format!("http = \"http://{address}/ok\"\ntext = \"all well\""), 2),
        ("status", format!("http = \"http://{address}/bad\""), 4),
        ("wanted", format!("http = \"http://{address}/bad\"\nstatus = 503"), 8),
        ("ping", format!("ping = \"{}\"", b.ipv4()), 16),
        ("silent", format!("ping = \"{gone}\""), 32),
        ("ping6", "ping = \"::1\"".to_owned(), 64),
    ] {
        write!(tracks, "\n[[track]]\nname = \"{name}\"\n{kind}\ninterval = \"200ms\"\nweight = {weight}\n")
            .expect("writing to a string works");
    }
    let names = "track = [\"tcp\", \"http\", \"status\", \"wanted\", \"ping\", \"silent\", \"ping6\"]";
    let daemon = start(&a, &file(&tracks, &[(51, 100, names)]));
    wait_priority(&daemon, 100 + 1 + 2 + 8 + 16 + 64);
    b.namespace().enter(|| {
        use std::io::Write as _;
        let mut last = std::net::TcpStream::connect(address).expect("it listens");
        last.write_all(b"end").expect("it is heard");
    });
    answers.join().expect("it has ended");
    drop(server);
    wait_priority(&daemon, 100 + 16 + 64);
    lab.port_down(&b);
    wait_priority(&daemon, 100 + 64);
}

#[test]
fn a_reload_starts_and_stops_checks_and_keeps_known_outcomes() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = CheckHome::new();
    let script = home.script("sleep 1000");
    let number = home.path("weight");
    fs::write(&number, "5").expect("it can be written");
    let of = |tracks: &str, names: &str| {
        let tracks = format!("[[track]]\nname = \"number\"\nfile = \"{}\"\n{tracks}", number.display());
        file(&tracks, &[(51, 100, &format!("track = [{names}]"))])
    };
    let daemon = start(&a, &of("", "\"number\""));
    wait_state(&daemon, "master");
    wait_priority(&daemon, 105);
    // A new check without a result does not stop a master; a new weight counts at once.
    let slow =
        format!("\n[[track]]\nname = \"slow\"\ncommand = [\"{}\"]\ninterval = \"60s\"\n", script.display());
    daemon.reload(&of(&slow, "{ name = \"number\", weight = 3 }, \"slow\""));
    let state = wait_priority(&daemon, 115);
    assert_eq!((&state["state"], &state["track"][1]["result"]), (&"master".into(), &"unknown".into()));
    // A check with another configuration keeps its outcome until its next result.
    let exits = home.path("exits");
    let slow = slow.replace("interval = \"60s\"", "interval = \"100ms\"");
    let slow = slow.replace(&script.display().to_string(), "/bin/false");
    daemon.reload(&of(&slow, "\"number\", \"slow\""));
    let state = wait_state(&daemon, "fault");
    assert_eq!(state["effective_priority"], 105);
    daemon.reload(&of("", "\"number\""));
    let state = wait_state(&daemon, "master");
    assert_eq!(state["track"].as_array().map(Vec::len), Some(1));
    assert!(!exits.exists());
    // A file with a mistake changes nothing.
    daemon.reload(&of("", "\"numbre\""));
    daemon.wait_log(SOON, "did you mean number?");
    assert_eq!(router(&daemon)["effective_priority"], 105);
}

#[test]
fn members_of_a_group_have_weights_only_with_track_weights() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = CheckHome::new();
    let tracks = format!("[[track]]\nname = \"number\"\nfile = \"{}\"\n", home.path("weight").display());
    fs::write(home.path("weight"), "-30").expect("it can be written");
    let of = |more: &str| {
        let routers = file(&tracks, &[(51, 100, "track = [\"number\"]"), (52, 100, "")]);
        format!("{routers}\n[[group]]\nname = \"g\"\nmembers = [\"eth0/51\", \"eth0/52\"]\n{more}\n")
    };
    let daemon = start(&a, &of(""));
    let state = wait_state(&daemon, "master");
    assert_eq!((&state["effective_priority"], &state["track"][0]["counts"]), (&100.into(), &false.into()));
    daemon.reload(&of("track-weights = true\ntrack = [\"interface=nowhere0\"]"));
    // Each member uses the checks of the group.
    wait_until(SOON, "both fail", || daemon.states().iter().all(|state| state["state"] == "fault"));
    assert_eq!(wait_priority(&daemon, 70)["track"].as_array().map(Vec::len), Some(2));
}

#[test]
fn the_command_line_tracks_in_a_word() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = CheckHome::new();
    let _service = home.serve();
    let process = format!("process={}", home.name());
    let daemon = Vrrpd::usual(&a, 100)
        .args([
            "--track",
            &process,
            "--track",
            "interface=lo,weight=7",
            "--track",
            "command=/bin/false,weight=-3",
        ])
        .start();
    daemon.wait_state("master", SOON);
    wait_until(SOON, "both weights count", || daemon.state()["effective_priority"] == 104);
    let shown = daemon.atropos(&["--state"]).stdout;
    assert!(shown.contains(&format!("{process} (process) holds")), "{shown}");
    assert!(shown.contains("command=/bin/false (command) fails, weight -3"), "{shown}");
}

#[test]
fn a_change_of_a_check_is_an_event_and_a_line_of_the_log() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let home = CheckHome::new();
    let tracks = format!("[[track]]\nname = \"service\"\nprocess = \"{}\"\n", home.name());
    let service = home.serve();
    let daemon = start(&a, &file(&tracks, &[(51, 100, "track = [\"service\"]")]));
    wait_state(&daemon, "master");
    let follower = daemon.start_atropos(&["--events"]);
    // Events before the client listens are lost.
    wait_until(SOON, "the follower hears of something", || {
        assert_eq!(daemon.atropos(&["--backup"]).code, 0);
        assert_eq!(daemon.atropos(&["--master"]).code, 0);
        !follower.log().is_empty()
    });
    drop(service);
    let line = follower.wait_log(SOON, "\"fails\"");
    let event: Value = serde_json::from_str(&line).expect("an object a line");
    for (key, value) in [("check", "service"), ("kind", "process"), ("from", "holds"), ("to", "fails")] {
        assert_eq!(event[key], value, "{event}");
    }
    daemon.wait_log(SOON, "check changed");
}
