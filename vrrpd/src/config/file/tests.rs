//! Parsing a configuration file, and the position of each mistake.

use super::super::mistakes::place;
use super::*;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use vrrpd_common::{Priority, Version};

fn parse(text: &str) -> Result<Configuration, Vec<Complaint>> {
    super::parse(text, Path::new("/etc/vrrpd"))
}

fn complaints(text: &str) -> Vec<(usize, usize, String)> {
    let placed = |complaint: Complaint| {
        let (line, column) = place(text, complaint.span.start);
        (line, column, complaint.message)
    };
    parse(text).expect_err("is wrong").into_iter().map(placed).collect()
}

/// The first mistake.
fn complaint(text: &str) -> (usize, usize, String) {
    complaints(text).into_iter().next().expect("there is one")
}

#[test]
fn every_mistake_of_a_file_is_reported_at_once() {
    let text = "[defaults]\ninterval = \"x\"\n\n[[router]]\ninterfase = \"eth0\"\nvrid = 256\n\
        addresses = [\"10.0.0\", \"10.0.0.2/33\"]\n\n[[router]]\ninterface = \"eth0\"\nvrid = 5\n\
        priority = 0\nup = \"/nonexistent\"\n\n[[router]]\ninterface = \"eth1\"\nvrid = 7\n\
        addresses = [\"10.0.0.7\"]\nup = \"/nonexistent\"\nscript-timeout = 5\n\n[[group]]\nname = \"edge\"\n\
        members = [\"eth1/7\", \"eth0/5\", \"eth2/7\"]\nsize = 3\n\n[[gruop]]\n";
    let places = complaints(text);
    let found: Vec<_> = places.iter().map(|(line, column, _)| (*line, *column)).collect();
    let wanted =
        [(27, 3), (2, 12), (5, 1), (6, 8), (7, 14), (7, 24), (12, 12), (13, 6), (9, 1), (19, 6), (25, 1)];
    assert_eq!(found, wanted, "{places:#?}");
}

#[test]
fn invalid_toml_does_not_hide_other_mistakes() {
    let text = format!("{}priority 150\n{}", router("eth0", 5, ""), router("eth0", 6, "intervall = 1\n"));
    let found = complaints(&text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!((found[0].0, found[1].0, found[1].1), (6, 12, 1), "{found:#?}");
    // An unclosed bracket or string swallows the lines below it, and is reported once.
    for open in ["addresses = [\"10.0.0.1\"", "addresses = [\n  \"10.0.0.1\",\n  10.0.0.2,\n]", "up = \"a"] {
        let text =
            format!("[[router]]\n{open}\npriority = 150\nvmac = \"none\"\n{}", router("eth0", 6, "x = 1\n"));
        let found = complaints(&text);
        assert!(found.len() <= 2 && found[0].0 <= 4, "{found:#?}");
        let lacks = |message: &String| {
            ["interface missing", "VRID missing"].iter().any(|lack| message.contains(lack))
        };
        assert!(found.iter().all(|(_, _, message)| !lacks(message)), "{found:#?}");
    }
    let found = complaints(&format!("[[router]\nvrid = 5\n\n{}", router("eth0", 6, "x = 1\n")));
    assert_eq!((found.len(), found[0].0, found[1].0), (2, 1, 9), "{found:#?}");
}

#[test]
fn routers_take_missing_options_from_the_defaults() {
    let Configuration { routers, .. } = parse(
        "[defaults]\ninterval = \"10ms\"\nprotocol = \"v3\"\npriority = 150\n\
         [[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.1/24\", \"10.0.0.2\"]\n\
         [[router]]\ninterface = \"eth1\"\nvrid = 52\naddresses = [\"fe80::1\"]\npriority = 90\n",
    )
    .expect("is right");
    assert_eq!(routers.len(), 2);
    assert_eq!(routers[0].version, Version::V3);
    assert_eq!(routers[0].interval.as_centis(), 1);
    assert_eq!(routers[0].addresses.len(), 2);
    assert_eq!((routers[0].priority, routers[1].priority), (Priority(150), Priority(90)));
}

#[test]
fn numbers_are_read_as_on_the_command_line() {
    let Configuration { routers, .. } = parse(
        "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.1\"]\ninterval = 0.25\n\
         protocol = \"v3\"\npreempt = false\n",
    )
    .expect("is right");
    assert_eq!(routers[0].interval.as_centis(), 25);
    assert!(!routers[0].preempt);
}

#[test]
fn keepalived_configuration_is_recognised_with_a_single_message() {
    let told = parse("! main\nvrrp_instance VI_1 {\n  interface eth0\n}\n").expect_err("is none of ours");
    let told: Vec<_> = told.iter().map(Complaint::text).collect();
    assert_eq!(told, ["this is a configuration of keepalived: vrrpd --import FILE translates it"]);
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    let (line, column, message) = complaint("[[router]]\ninterface = \"eth0\"\n  intervall = 1\n");
    assert_eq!((line, column), (3, 3));
    assert_eq!(message, "unknown key \"intervall\"", "one is near, and told with it");
    let (.., message) = complaint("[[router]]\ninterface = \"eth0\"\ncolour = 1\n");
    assert!(message.contains("colour") && message.contains("interval,"), "{message}");
    let (line, _, message) = complaint("[router]\n");
    assert_eq!(line, 1, "{message}");
    let (line, _, message) = complaint("\n[[routers]]\n");
    assert_eq!(line, 2, "{message}");
    let (line, _, message) = complaint("\n[[defaults]]\npriority = 90\n");
    assert_eq!(line, 2);
    assert!(message.contains("[defaults] with single brackets"), "{message}");
}

#[test]
fn a_bad_value_is_named_with_its_place() {
    let (line, column, message) =
        complaint("[[router]]\ninterface = \"eth0\"\nvrid = 256\naddresses = [\"10.0.0.1\"]\n");
    assert_eq!((line, column), (3, 8));
    assert!(message.starts_with("vrid:") && message.contains("1 to 255"), "{message}");
    let (line, column, _) =
        complaint("[[router]]\ninterface = \"eth0\"\nvrid = 5\naddresses = [\"10.0.0.1\",\n  \"10.0.0\"]\n");
    assert_eq!((line, column), (5, 3));
}

#[test]
fn a_value_that_does_not_go_with_another_is_named_with_its_place() {
    let (line, _, message) = complaint(
        "[[router]]\ninterface = \"eth0\"\nvrid = 5\naddresses = [\"10.0.0.1\"]\ninterval = \"500ms\"\n",
    );
    assert_eq!(line, 5);
    assert!(message.contains("whole seconds"), "{message}");
}

#[test]
fn a_router_cannot_be_there_twice() {
    let router = "[[router]]\ninterface = \"eth0\"\nvrid = 5\naddresses = [\"10.0.0.1\"]\n";
    let (line, _, message) = complaint(&format!("{router}{router}"));
    assert_eq!(line, 5, "{message}");
    assert!(message.contains("eth0/5"), "{message}");
}

const TWO: &str = "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.1\"]\n\
    [[router]]\ninterface = \"eth1\"\nvrid = 52\naddresses = [\"fe80::1\"]\n";

#[test]
fn members_of_a_group_are_named_as_everywhere() {
    let text = format!("{TWO}[[group]]\nname = \"edge\"\nmembers = [\"eth1/52-ipv6\", \"eth0/51\"]\n");
    let Configuration { routers, groups, .. } = parse(&text).expect("is right");
    assert!(routers.iter().all(|router| router.grouped));
    assert_eq!((groups.len(), groups[0].name.as_deref(), groups[0].size), (1, Some("edge"), 2));
    assert_eq!(groups[0].members, ["eth1/52-ipv6", "eth0/51"]);
    let Configuration { routers, groups, .. } = parse(TWO).expect("is right");
    assert!(groups.is_empty() && routers.iter().all(|router| !router.grouped));
}

#[test]
fn a_group_that_cannot_be_is_complained_of_with_its_place() {
    let with = |group: &str| complaint(&format!("{TWO}[[group]]\nname = \"edge\"\n{group}\n"));
    let (line, column, message) = with("members = [\"eth0/51\",\n  \"eth1/52\"]");
    assert_eq!((line, column), (12, 3), "{message}");
    assert!(message.contains("no router \"eth1/52\""), "{message}");
    let (line, column, message) = with("members = [\"eth0/51\"]");
    assert_eq!((line, column), (11, 11), "{message}");
    assert!(message.contains("2 to 64"), "{message}");
    let (line, _, message) = with("members = [\"eth0/51\", \"eth0/51\"]");
    assert_eq!(line, 11, "{message}");
    let both = "members = [\"eth0/51\", \"eth1/52-ipv6\"]";
    let (line, _, message) = with(&format!("{both}\n[[group]]\nname = \"core\"\n{both}"));
    assert_eq!(line, 14, "{message}");
    assert!(message.contains("already a member"), "{message}");
    let (line, _, message) = with(&format!("{both}\n[[group]]\nname = \"edge\"\nmembers = []"));
    assert_eq!(line, 13, "{message}");
    let (line, _, message) = with("member = []");
    assert_eq!(line, 11, "{message}");
    assert_eq!(with("").0, 9, "members are missing");
}

#[test]
fn a_file_without_routers_and_a_file_that_is_no_toml_are_refused() {
    assert_eq!(complaint("").0, 1);
    assert_eq!(complaint("[defaults]\nvrid = = 1\n").0, 2);
}

fn router(interface: &str, vrid: u8, more: &str) -> String {
    format!(
        "[[router]]\ninterface = \"{interface}\"\nvrid = {vrid}\naddresses = [\"10.0.0.{vrid}\"]\nvmac = \"none\"\n{more}"
    )
}

#[test]
fn a_script_that_cannot_be_run_is_named_with_its_place() {
    let (line, column, message) = complaint(&router("eth0", 5, "up = \"/nonexistent\"\n"));
    assert_eq!((line, column), (6, 6), "{message}");
    assert!(message.starts_with("up: /nonexistent: "), "{message}");
    let of_defaults = format!("[defaults]\ndown = \"/nonexistent\"\n{}", router("eth0", 5, ""));
    let (line, column, message) = complaint(&of_defaults);
    assert_eq!((line, column), (2, 8), "{message}");
}

#[test]
fn routers_of_an_interface_that_want_different_data_paths_are_refused() {
    let text = format!("{}{}", router("eth0", 5, ""), router("eth0", 6, "xdp = \"auto\"\n"));
    let (line, column, message) = complaint(&text);
    assert_eq!((line, column), (11, 7), "{message}");
    assert!(message.starts_with("xdp: ") && message.contains("eth0/5"), "{message}");
    assert!(parse(&format!("{}{}", router("eth0", 5, ""), router("eth1", 6, "xdp = \"auto\"\n"))).is_ok());
    let text = format!("{}{}", router("eth0", 5, ""), router("eth0", 6, "datapath = \"tcx\"\n"));
    let (_, _, message) = complaint(&text);
    assert!(message.starts_with("datapath: ") && message.contains("eth0/5"), "{message}");
    let text = router("eth0", 5, "datapath = \"raw\"\nxdp = \"off\"\n");
    let (_, _, message) = complaint(&text);
    assert!(message.contains("cannot be combined with xdp"), "{message}");
    let text = format!("{}{}", router("eth0", 5, "xdp-pass = true\n"), router("eth0", 6, ""));
    let (line, _, message) = complaint(&text);
    assert_eq!(line, 7, "{message}");
}

#[test]
fn a_default_that_does_not_go_with_a_router_is_named_with_its_place_and_the_router() {
    let text = format!("[defaults]\ninterval = \"10ms\"\n{}", router("eth0", 5, "protocol = \"v2\"\n"));
    let (line, column, message) = complaint(&text);
    assert_eq!((line, column), (2, 12), "{message}");
    assert!(message.contains("eth0/5"), "{message}");
}

#[test]
fn a_key_that_is_there_twice_in_two_spellings_is_refused() {
    let (line, column, message) = complaint(&router("eth0", 5, "lower_priority = 9\nlower-priority = 8\n"));
    assert_eq!((line, column), (7, 1), "{message}");
    assert!(message.contains("lower-priority") && message.contains("duplicate"), "{message}");
}

#[test]
fn a_single_bracket_instead_of_two_is_reported() {
    for (text, right) in [("[router]\nvrid = 5\n", "[[router]]"), ("\n[group]\nname = \"x\"\n", "[[group]]")]
    {
        let (_, _, message) = complaint(text);
        assert!(message.contains(right), "{message}");
    }
}

#[test]
fn a_list_instead_of_one_value_is_reported_for_any_content() {
    for value in ["[1, 2]", "[\"1\"]", "[[1]]"] {
        let (line, _, message) = complaint(&router("eth0", 5, &format!("priority = {value}\n")));
        assert_eq!(line, 6);
        assert!(message.starts_with("priority: expected one value"), "{message}");
    }
    let (_, _, message) = complaint("[[router]]\naddresses = [1]\n");
    assert!(message.starts_with("addresses: "), "{message}");
}

#[test]
fn a_file_s_complaint_about_magic_packets_has_no_letters_of_the_command_line() {
    for one in ["magic-source = \"10.0.0.5\"", "magic-destination = \"10.0.0.9\""] {
        let (_, _, message) = complaint(&router("eth0", 5, one));
        assert!(message.starts_with("magic-") && !message.contains(" -"), "{message}");
    }
}

#[test]
fn an_address_is_of_one_router_of_an_interface() {
    let same = |interface: &str| {
        let other = router(interface, 6, "").replace("10.0.0.6", "10.0.0.5/24");
        format!("{}{other}", router("eth0", 5, ""))
    };
    let (line, column, message) = complaint(&same("eth0"));
    assert_eq!((line, column), (9, 13), "{message}");
    assert!(message.starts_with("addresses: 10.0.0.5") && message.contains("eth0/5"), "{message}");
    assert!(parse(&same("eth1")).is_ok());
}

#[test]
fn octets_that_are_no_text_are_named_with_their_place() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("vrrpd.toml");
    fs::write(&path, b"[defaults]\n# \xc3\xa4\xff\n").expect("writes");
    let message = read(&path).expect_err("is wrong").to_string();
    assert!(message.contains("vrrpd.toml:2:4: ") && message.contains("UTF-8"), "{message}");
}

#[test]
fn mistakes_in_checks_are_reported_with_position_and_correction() {
    let tracked =
        |tracks: &str, names: &str| format!("{tracks}\n{}", router("eth0", 5, &format!("track = {names}\n")));
    for (text, line, message) in [
        ("[[track]]\nname = \"a\"", 1, "nothing to check: one of process, command"),
        ("[[track]]\nprocess = \"x\"", 1, "name: missing"),
        (
            "[[track]]\nname = \"a\"\nprocess = \"x\"\ntcp = \"1.1.1.1:1\"",
            4,
            "cannot be combined with process",
        ),
        ("[[track]]\nname = \"a\"\nproces = \"x\"", 3, "unknown key \"proces\""),
        ("[[track]]\nname = \"a=b\"\nprocess = \"x\"", 2, "expected text without = and ,"),
        ("[[track]]\nname = \"a\"\nprocess = \"/bin/x\"", 3, "expected the name of a process"),
        (
            "[[track]]\nname = \"a\"\nprocess = \"x\"\nfall = 2",
            4,
            "only for command, tcp, http and ping; use down-delay",
        ),
        ("[[track]]\nname = \"a\"\nprocess = \"x\"\nquorum = 3\nquorum-max = 2", 5, "less than quorum"),
        ("[[track]]\nname = \"a\"\nfile = \"/x\"\ndown-delay = 1", 4, "all kinds but file"),
        ("[[track]]\nname = \"a\"\nfile = \"/x\"\nweight = 300", 4, "expected -254 to 254"),
        ("[[track]]\nname = \"a\"\ncommand = \"/bin/true\"", 3, "expected a list"),
        ("[[track]]\nname = \"a\"\ncommand = []", 3, "the program first"),
        ("[[track]]\nname = \"a\"\ncommand = [\"/nowhere/x\"]", 3, "cannot be run"),
        ("[[track]]\nname = \"a\"\ncommand = [\"no-such-program\"]", 3, "not found in /usr/local/sbin"),
        (
            "[[track]]\nname = \"a\"\ncommand = [\"true\"]\nuser = \"no-such-user\"",
            3,
            "no user \"no-such-user\"",
        ),
        ("[[track]]\nname = \"a\"\ntcp = \"localhost:80\"", 3, "expected an address and a port"),
        ("[[track]]\nname = \"a\"\nhttp = \"https://1.1.1.1/\"", 3, "expected http:// with an address"),
        ("[[track]]\nname = \"a\"\nping = \"gateway\"", 3, "expected an address"),
        ("[[track]]\nname = \"a\"\nping = \"1.1.1.1\"\ninterval = \"2 parsecs\"", 4, "invalid duration"),
        ("[[track]]\nname = \"a\"\nping = \"1.1.1.1\"\ntimeout = \"1ms\"", 4, "expected 10ms or more"),
        ("[[track]]\nname = \"a\"\nping = \"1.1.1.1\"\nrise = 0", 4, "expected 1 to 1000"),
        ("[[track]]\nname = \"a\"\nroute = \"10.0.0.1/8\"", 3, "expected a prefix"),
        ("[[track]]\nname = \"a\"\nhttp = \"http://1.1.1.1/\"\nstatus = 99", 4, "expected 100 to 599"),
        ("[[track]]\nname = \"a\"\ninterface = \"a/b\"", 3, "invalid interface name"),
        (
            "[[track]]\nname = \"a\"\ninterface = \"x\"\ninitially = \"down\"",
            4,
            "expected failing or holding",
        ),
        ("[[track]]\nname = \"a\"\ninterface = \"x\"\ninverted = 1", 4, "expected true or false"),
        (
            "[[track]]\nname = \"a\"\ninterface = \"x\"\n[[track]]\nname = \"a\"\ninterface = \"y\"",
            5,
            "duplicate name",
        ),
        ("[track]\nname = \"a\"\ninterface = \"x\"", 1, "write [[track]] with double brackets"),
    ] {
        let (at, _, told) = complaint(&tracked(text, "[\"a\"]"));
        assert!(at == line && told.contains(message), "{text}: {at}: {told}");
    }
    let check = "[[track]]\nname = \"haproxy\"\nprocess = \"haproxy\"\n";
    for (names, message) in [
        ("[\"haprxy\"]", "no [[track]] named \"haprxy\" (there are: haproxy); did you mean haproxy?"),
        ("[\"haproxy\", \"haproxy\"]", "\"haproxy\" twice"),
        ("[{ weight = 3 }]", "name: missing"),
        ("[{ name = \"haproxy\", wieght = 3 }]", "did you mean weight?"),
        ("[{ name = \"haproxy\", weight = \"high\" }]", "expected -254 to 254"),
        ("[[\"haproxy\"]]", "expected a name, or a table"),
        ("[\"proces=haproxy\"]", "expected KIND=VALUE, with one of process"),
        ("[\"haproxy,weight=x\"]", "expected -254 to 254"),
    ] {
        let (at, _, told) = complaint(&tracked(check, names));
        assert!(at > 4 && told.contains(message), "{names}: {told}");
    }
}

#[test]
fn a_router_overrides_the_weight_of_a_check_or_uses_its_default() {
    let text = format!(
        "[[track]]\nname = \"a\"\nprocess = \"x\"\nweight = -5\n[[track]]\nname = \"b\"\nfile = \"weight\"\n{}",
        router("eth0", 5, "track = [\"a\", { name = \"b\" }, \"process=y,weight=7\"]\n")
    );
    let Configuration { routers, checks, .. } = parse(&text).expect("is right");
    let weights: Vec<_> =
        routers[0].track.iter().map(|tracked| (tracked.name.as_str(), tracked.weight.get())).collect();
    assert_eq!(weights, [("a", -5), ("b", 1), ("process=y", 7)]);
    assert_eq!(checks.len(), 3);
    let other = text
        .replace("{ name = \"b\" }", "{ name = \"b\", weight = -2 }")
        .replace("\"a\",", "\"a,weight=9\",");
    let weights: Vec<_> = parse(&other).expect("is right").routers[0]
        .track
        .iter()
        .map(|tracked| tracked.weight.get())
        .collect();
    assert_eq!(weights, [9, -2, 7]);
}

#[test]
fn an_address_can_be_a_table() {
    let text = "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.0.0.1/24\", \
                { label = \"eth0:v\", address = \"10.0.0.2/24\", scope = 253, interface = \"eth0\" }]\n";
    let configuration = parse(text).expect("is right");
    let router = &configuration.routers[0];
    assert_eq!(
        router.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.1/24", "10.0.0.2/24"]
    );
    let options = router.options_of(&router.addresses[1]);
    assert_eq!(
        (options.label.map(|label| label.to_string()), options.scope),
        (Some("eth0:v".to_owned()), Some(253))
    );
    assert!(router.options_of(&router.addresses[0]).is_empty());
    assert!(router.other_interfaces().is_empty(), "it is the router's own");
    let elsewhere = text.replace("interface = \"eth0\" }", "interface = \"eth7\" }");
    let configuration = parse(&elsewhere).expect("is right");
    let router = &configuration.routers[0];
    assert_eq!(router.other_interfaces(), BTreeSet::from(["eth7"]));
    let on = |name| router.addresses_on(name).collect::<Vec<_>>();
    assert_eq!(on("eth7"), [&router.addresses[1]]);
    assert_eq!(on("eth0"), [&router.addresses[0]]);
    for (entry, message) in [
        ("{ label = \"x\" }", "a table has the key \"address\""),
        ("{ address = \"10.0.0.2\", colour = \"red\" }", "unknown word \"colour\""),
        ("{ address = \"10.0.0.2\", label = [1] }", "label: expected one word"),
    ] {
        let text = format!("[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [{entry}]\n");
        let (line, _, told) = complaint(&text);
        assert!(line == 4 && told.contains(message), "{entry}: {told}");
    }
}

/// The cases of `wrong.txt`: a configuration and the expected messages.
fn wrong_configurations(text: &str) -> Vec<(String, String)> {
    let blocks = text.split("\n\n").skip(1).map(|block| {
        let (said, wrong): (Vec<_>, Vec<_>) = block.trim().lines().partition(|line| line.starts_with("> "));
        (wrong.join("\n"), said.join("\n"))
    });
    blocks.collect()
}

#[test]
fn wrong_configurations_give_the_expected_messages() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/file/wrong.txt");
    let golden = fs::read_to_string(path).expect("is there");
    let mut now = golden.split("\n\n").next().expect("a file has a beginning").to_owned();
    now.push('\n');
    for (wrong, _) in wrong_configurations(&golden) {
        let text = if wrong.contains("[[") {
            wrong.clone()
        } else {
            format!("[[router]]\ninterface = \"eth0\"\nvrid = 51\n{wrong}")
        };
        writeln!(now, "\n{wrong}").expect("writing to a string works");
        let told = parse(&text).err().unwrap_or_default();
        for complaint in told {
            let (line, column) = place(&text, complaint.span.start);
            writeln!(now, "> {line}:{column}: {}", complaint.text()).expect("writing to a string works");
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, &now).expect("a golden file can be written");
    }
    assert_eq!(now, fs::read_to_string(path).expect("is there"));
    for (wrong, said) in wrong_configurations(&now) {
        assert!(!said.is_empty(), "nothing is said of {wrong}");
    }
}
