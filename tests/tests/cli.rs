//! The command line: what is refused, and with which error.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Finished, Host, Lab, Vrrpd, VrrpdBuilder, binary, needs};

/// Starts it as a user does; returns the error, which must occur.
#[track_caller]
fn refusal(builder: VrrpdBuilder) -> Finished {
    // If it starts after all, it ends with the test.
    let (finished, _daemon) = builder.start_in_background();
    assert!(matches!(finished.code, 1 | 2), "it must be refused: {finished:?}");
    assert!(!finished.stderr.trim().is_empty(), "it must say why: {finished:?}");
    finished
}

/// Expects an error that contains one of these words.
#[track_caller]
fn assert_refused(builder: VrrpdBuilder, names: &[&str]) {
    let finished = refusal(builder);
    assert!(
        names.iter().any(|name| finished.stderr.contains(name)),
        "none of {names:?} in: {}",
        finished.stderr
    );
}

fn router(host: &Host, vrid: u8) -> VrrpdBuilder {
    Vrrpd::on(host).vrid(vrid).address(CIDR)
}

/// Runs it with exactly these arguments.
fn plain(host: &Host, arguments: &[&str]) -> Finished {
    host.run(binary("vrrpd"), arguments)
}

#[test]
fn unknown_interface_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let finished = refusal(router(&a, 51).interface("eth9"));
    assert!(finished.stderr.contains("eth9"), "{}", finished.stderr);
}

#[test]
fn vrid_0_and_256_are_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for vrid in ["0", "256", "-1", "x"] {
        assert_refused(Vrrpd::on(&a).args(["-v", vrid, CIDR]), &["-v", "vrid"]);
    }
}

#[test]
fn missing_interface_vrid_or_address_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for (arguments, name) in [
        (&["-v", "51", CIDR][..], "-i"),
        (&["-i", "eth0", CIDR], "-v"),
        (&["-i", "eth0", "-v", "51"], "ADDR"),
    ] {
        let finished = plain(&a, arguments);
        assert!(matches!(finished.code, 1 | 2), "{finished:?}");
        assert!(finished.stderr.contains(name), "{name} is not in: {}", finished.stderr);
    }
}

#[test]
fn bad_address_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for address in
        ["10.0.0", "10.0.0.256", "10.0.0.1/33", "10.0.0.1/", "fe80::1/129", "example", "224.0.0.1", "0.0.0.0"]
    {
        assert_refused(Vrrpd::on(&a).vrid(51).address(address), &[address]);
    }
}

#[test]
fn addresses_of_both_families_are_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    assert_refused(router(&a, 51).address("fe80::1"), &["ADDR", "mixed", "families", "family"]);
}

#[test]
fn interval_of_zero_and_in_version_2_a_fraction_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for interval in ["0", "0.5", "256", "-1", "soon"] {
        assert_refused(router(&a, 51).args(["-d", interval]), &["-d"]);
    }
    assert_refused(router(&a, 51).args(["--protocol", "v3", "-d", "0"]), &["-d"]);
    assert_refused(router(&a, 51).args(["--protocol", "v3", "-d", "41"]), &["-d"]);
}

#[test]
fn priority_outside_1_to_255_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for priority in ["0", "256", "high"] {
        assert_refused(router(&a, 51).args(["-p", priority]), &["-p"]);
    }
}

#[test]
fn authentication_that_cannot_be_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for auth in ["pw/123456789", "md5/x", "pw"] {
        let finished = refusal(router(&a, 51).args(["-a", auth]));
        assert!(finished.stderr.contains("-a"), "{}", finished.stderr);
        assert!(!finished.stderr.contains("123456789"), "no password is shown: {}", finished.stderr);
    }
    assert_refused(router(&a, 51).args(["-a", "pw/x", "--protocol", "v3"]), &["-a"]);
}

#[test]
fn unknown_option_is_a_usage_error() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let finished = plain(&a, &["--frobnicate"]);
    assert_eq!(finished.code, 2);
    assert!(finished.stderr.contains("--frobnicate"), "{}", finished.stderr);
    assert_eq!(a.run(binary("atropos"), ["--frobnicate"]).code, 2);
}

#[test]
fn help_and_version_are_given() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for program in ["vrrpd", "atropos"] {
        for (option, word) in
            [("-h", "-i"), ("--help", "-i"), ("-V", env!("CARGO_PKG_VERSION")), ("--version", program)]
        {
            let finished = a.run(binary(program), [option]);
            assert_eq!(finished.code, 0, "{program} {option}: {finished:?}");
            assert!(finished.stdout.contains(word), "{program} {option}: {}", finished.stdout);
        }
    }
}

#[test]
fn imported_configuration_is_printed_and_the_exit_status_shows_omissions() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let instance =
        "vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress { 192.0.2.9/24 }\n";
    for (name, text, code) in [
        ("whole", format!("{instance}}}\n"), 0),
        ("part", format!("{instance}smtp_alert\n}}\n"), 1),
        ("wrong", instance.to_owned(), 2),
        ("script", "/usr/sbin/vrrpd -i eth0 -v 51 192.0.2.9/24 &\n".to_owned(), 0),
    ] {
        fs::write(path(name), text).expect("it is ours");
        let finished = a.run(binary("vrrpd"), ["--import", &path(name)]);
        assert_eq!(finished.code, code, "{name}: {finished:?}");
        assert_eq!(finished.stderr.contains(&format!("{}:", path(name))), code != 0, "{name}: {finished:?}");
        if code < 2 {
            fs::write(path("vrrpd.toml"), &finished.stdout).expect("it is ours");
            let checked = a.run(binary("vrrpd"), ["--config", &path("vrrpd.toml"), "--check"]);
            assert_eq!(checked.code, 0, "{name}: {}: {checked:?}", finished.stdout);
        }
    }
    let missing = a.run(binary("vrrpd"), ["--import", &path("missing")]);
    assert!(missing.code == 2 && missing.stderr.contains(&path("missing")), "{missing:?}");
    assert_eq!(a.run(binary("vrrpd"), ["--import-as", "vrrpd"]).code, 2);
}

#[test]
fn without_root_there_is_one_clear_line_and_exit_code_1() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    // Accessible to all users.
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let program = home.path().join("vrrpd");
    fs::copy(binary("vrrpd"), &program).expect("it can be copied");
    let as_nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
    for foreground in [&["--foreground"][..], &[]] {
        let mut arguments: Vec<_> = as_nobody.iter().map(|word| (*word).to_owned()).collect();
        arguments.push(program.display().to_string());
        arguments.extend(["-i", "eth0", "-v", "51", "-n", CIDR].map(str::to_owned));
        arguments.extend(foreground.iter().map(|word| (*word).to_owned()));
        let finished = a.run(needs::SETPRIV.require(), arguments);
        assert_eq!(finished.code, 1, "{finished:?}");
        assert_eq!(finished.stderr.trim().lines().count(), 1, "one line: {}", finished.stderr);
        assert!(finished.stderr.contains("root"), "{}", finished.stderr);
    }
}

#[test]
fn second_daemon_for_the_same_interface_and_vrid_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let first = Vrrpd::usual(&a, 100).start();
    first.wait_state("master", SOON);
    let finished = Vrrpd::usual(&a, 150).beside(&first).run_in_foreground();
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.stderr.contains("eth0") && finished.stderr.contains("51"), "{}", finished.stderr);
    let finished = Vrrpd::usual(&a, 150).beside(&first).run();
    assert_eq!(finished.code, 1, "in the background as well: {finished:?}");
    assert!(finished.stderr.contains("eth0"), "{}", finished.stderr);
    assert!(first.is_master(), "the first one is not disturbed");
    assert!(a.has_address("eth0", CIDR));
}

#[test]
fn daemons_with_different_vrids_share_an_interface() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let first = Vrrpd::usual(&a, 100).start();
    let second = Vrrpd::on(&a).vrid(52).address("10.0.0.101/24").v3("100ms").beside(&first).start();
    first.wait_state("master", SOON);
    second.wait_state("master", SOON);
    assert_eq!(first.states().len(), 2);
    assert_eq!(second.terminate(), 0);
    assert!(first.is_master());
    assert!(a.has_address("eth0", CIDR) && !a.has_address("eth0", "10.0.0.101/24"));
}

#[test]
fn ipv4_and_ipv6_routers_with_the_same_vrid_share_an_interface() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let ipv4 = Vrrpd::usual(&a, 100).start();
    // VRIDs of the two families are separate (RFC 9568 §1.1).
    let ipv6 = Vrrpd::on(&a).vrid(51).address("fe80::33/64").v3("100ms").beside(&ipv4).start();
    ipv4.wait_state("master", SOON);
    ipv6.wait_state("master", SOON);
}

#[test]
fn options_and_addresses_come_in_any_order() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let order =
        ["10.0.0.100/24", "-d", "100ms", "-p", "77", "10.0.0.101", "--protocol", "v3", "-s", "10.0.0.102"];
    let router = Vrrpd::on(&a).vrid(51).args(order).start();
    let state = router.wait_state("master", SOON);
    assert_eq!((&state["priority"], &state["preempt"]), (&77.into(), &false.into()));
    assert_eq!(state["addresses"].as_array().map(Vec::len), Some(3));
}

#[test]
fn script_that_is_missing_not_executable_or_writable_by_others_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    assert_refused(router(&a, 51).args(["-U", "/nonexistent/up.sh"]), &["/nonexistent/up.sh"]);
    let script = vrrpd_lab::ScriptLog::new(&[]);
    let path = script.path();
    let path = path.to_str().expect("a plain path");
    for mode in [0o644, 0o777, 0o757] {
        script.set_mode(mode);
        assert_refused(router(&a, 51).args(["-D", path]), &[path]);
    }
    script.set_mode(0o755);
    std::os::unix::fs::chown(script.path(), Some(65534), None).expect("root can");
    assert_refused(router(&a, 51).args(["-D", path]), &["65534"]);
    assert!(script.runs().is_empty());
}

#[test]
fn directory_that_others_may_write_to_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let builder = router(&a, 51);
    let directory = builder.directory();
    fs::create_dir(&directory).expect("it can be made");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("it is ours");
    let name = directory.to_str().expect("a plain path").to_owned();
    assert_refused(builder, &[&name]);
}

#[test]
fn daemon_without_a_capability_that_it_needs_does_not_start_and_names_it() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let setpriv = needs::SETPRIV.require().display().to_string();
    for (dropped, missing) in
        [("-net_admin", "CAP_NET_ADMIN is missing"), ("-net_raw", "CAP_NET_RAW is missing")]
    {
        let without = [&setpriv, "--inh-caps", "-all", "--bounding-set", dropped, "--"];
        let refused = router(&a, 51).through(without).run();
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains(missing), "{refused:?}");
    }
}

#[test]
fn script_that_the_kernel_cannot_execute_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (text, said) in [
        ("", "#!"),
        ("echo hello\n", "#!"),
        ("#!/nonexistent/sh\n", "/nonexistent/sh"),
        ("#! /bin/sh\r\n", "\\r"),
        ("#!\n", "interpreter"),
        ("#!/etc/passwd\n", "/etc/passwd"),
    ] {
        let script = directory.path().join("script");
        fs::write(&script, text).expect("it can be written");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let finished = refusal(router(&a, 51).args(["-U".as_ref(), script.as_os_str()]));
        let path = script.display().to_string();
        assert!(
            finished.stderr.contains(said) && finished.stderr.contains(&path),
            "{text:?}: {}",
            finished.stderr
        );
    }
    let script = directory.path().join("script");
    fs::write(&script, "#! /usr/bin/env sh\n").expect("it can be written");
    for right in [script.as_path(), "/bin/true".as_ref()] {
        let checked = router(&a, 51).args(["--check".as_ref(), "-D".as_ref(), right.as_os_str()]).run();
        assert_eq!(checked.code, 0, "{checked:?}");
    }
}

#[test]
fn mistakes_are_reported_with_the_expected_value() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let usual = ["-i", "eth0", "-v", "51", "10.0.0.100", "-n"];
    for (arguments, said) in [
        (&["-d", "0"][..], "-d: invalid interval 0: expected 1 to 255 seconds"),
        (&["-d", "0", "--protocol", "v3"], "-d: invalid interval 0: expected 10ms to 40.95s"),
        (&["-U", ""], "-U: "),
        (&["--xdp", "native"], "--xdp=native"),
        (&["-f", "/nonexistent/run"], "-f /nonexistent/run: parent directory /nonexistent does not exist"),
    ] {
        let finished = plain(&a, &[&usual[..], arguments].concat());
        assert!(matches!(finished.code, 1 | 2), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains(said), "{arguments:?}: {}", finished.stderr);
    }
    let finished = plain(&a, &["--config", "/etc/vrrpd.toml", "-n"]);
    assert!(finished.stderr.contains("vrrpd: -n: "), "{}", finished.stderr);
}

#[test]
fn lock_file_that_is_a_link_is_refused_in_words() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let builder = router(&a, 51);
    let directory = builder.directory();
    fs::create_dir(&directory).expect("it can be made");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).expect("it is ours");
    std::os::unix::fs::symlink("/etc/hostname", directory.join("vrrpd.lock")).expect("it can be made");
    assert_refused(builder, &["vrrpd.lock: is a symbolic link"]);
}

#[test]
fn magic_source_that_is_no_virtual_address_is_logged() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).args(["-I", "10.0.0.99", "-O", "10.0.0.2"]).start();
    let line = router.wait_log(SOON, "magic source is not a virtual address of the router");
    assert!(line.contains("source=10.0.0.99"), "{line}");
}
