//! Golden cases: each directory of `golden/` has an original, the resulting configuration file, and the remarks.
//! `UPDATE_GOLDEN=1 cargo test -p vrrpd import` rewrites them; review the difference before committing it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::keywords::{GLOBAL_LEFT_OUT, GLOBAL_WITHOUT_EFFECT, LEFT_OUT, NEEDS_VALUE, WITHOUT_EFFECT};
use crate::config;
use crate::import::{Format, ImportError, Imported, Surroundings, import, render};

/// Files in memory, on a host named `main`.
#[derive(Default)]
struct Files(BTreeMap<PathBuf, String>);

impl Surroundings for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let (start, end) = pattern.split_once('*').unwrap_or((pattern, ""));
        let matches = |path: &&PathBuf| {
            let path = path.to_string_lossy();
            if pattern.contains('*') {
                path.starts_with(start) && path.ends_with(end)
            } else {
                path == pattern
            }
        };
        self.0.keys().filter(matches).cloned().collect()
    }

    fn absolute(&self, directory: &Path) -> PathBuf {
        Path::new("/etc/keepalived").join(directory)
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "PRIO").then(|| "77".to_owned())
    }

    fn config_id(&self) -> &'static str {
        "main"
    }
}

fn of(text: &str) -> Result<Imported, ImportError> {
    with_files(&[("k.conf", text)])
}

fn with_files(files: &[(&str, &str)]) -> Result<Imported, ImportError> {
    let files = Files(files.iter().map(|(path, text)| (path.into(), (*text).to_owned())).collect());
    import(Path::new("k.conf"), Some(Format::Keepalived), &files)
}

fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 5\n{lines}\nvirtual_ipaddress {{ 192.0.2.5 }}\n}}\n"
    )
}

#[test]
fn golden_cases_come_out_as_written_down_and_are_configurations() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/import/golden"));
    let mut count = 0;
    for case in fs::read_dir(directory).expect("the directory of the cases").flatten() {
        count += 1;
        let original = fs::read_to_string(case.path().join("original")).expect("a case has an original");
        let imported = of(&original).expect("a case can be read");
        let mut remarks = String::new();
        for remark in &imported.remarks {
            writeln!(remarks, "{remark}").expect("a text grows");
        }
        for (file, now) in [("vrrpd.toml", render(&imported)), ("remarks", remarks)] {
            let path = case.path().join(file);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&path, &now).expect("a golden file can be written");
            }
            let golden = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(now, golden, "{}", path.display());
        }
        let path = case.path().join("vrrpd.toml");
        // The scripts of the original do not exist on this machine.
        let mistakes = config::file::read(&path).map_or_else(|error| error.lines(), |_| Vec::new());
        let others: Vec<_> = mistakes.iter().filter(|line| !line.contains("No such file")).collect();
        assert!(others.is_empty(), "{}: {others:?}", path.display());
    }
    assert!(count >= 4, "{count} cases");
}

#[test]
fn included_files_are_read_relative_to_the_file_that_includes_them() {
    let imported = with_files(&[
        ("k.conf", "include conf.d/*.conf\n"),
        ("conf.d/a.conf", "include more\n"),
        ("conf.d/more", "vrrp_instance A {\ninclude inner\nvirtual_ipaddress { 192.0.2.1 }\n}\n"),
        ("conf.d/inner", "interface eth0\nvirtual_router_id 5\npriority ${_ENV PRIO}\n"),
    ])
    .expect("is read");
    assert_eq!(imported.routers[0].get(config::Key::Priority), Some("77"));
}

#[test]
fn unreadable_input_is_refused_with_its_position() {
    let circle = with_files(&[("k.conf", "include k.conf\n")]).expect_err("a circle").to_string();
    assert!(circle.starts_with("k.conf:1: ") && circle.contains("include each other"), "{circle}");
    for (text, message) in [
        ("vrrp_instance V {\ninterface eth0\n", "k.conf:1: the block of vrrp_instance is not closed"),
        ("}\n", "k.conf:1: a } without its {"),
        ("\n{\n", "k.conf:2: a block without a keyword"),
        ("router_id \"x\n", "k.conf:1: a quote (\") is not closed"),
        ("$A=x $A\n$A\n", "k.conf:2: the variables refer to each other"),
        ("$A=${A}${A}\n${A}\n", "k.conf:2: the line has more than 65536 characters"),
        ("~SEQ(A,1,1000000) x\n", "k.conf:1: ~SEQ yields more than 100000 lines"),
        ("~SEQ(A,1,1000) ~SEQ(B,1,1000) @other x\n", "k.conf:1: the blocks yield more than 100000 lines"),
        (&instance("notify_master 'x"), "k.conf:4: a quote (') is not closed"),
        (&instance("virtual_router_id 0"), "k.conf:4: "),
        (&instance("interface a/b"), "k.conf:4: "),
        (&instance("unicast_src_ip # none"), "k.conf:4: unicast_src_ip has no value"),
        (
            "vrrp_instance V {\ninterface eth0\n}\n",
            "k.conf:1: vrrp_instance V has no valid virtual_router_id",
        ),
        (
            "vrrp_instance V {\ninterface eth0\nvirtual_router_id 5\nversion 3\n}\n",
            "k.conf:1: vrrp_instance V has no virtual_ipaddress",
        ),
        ("# nothing\n", "k.conf:1: no vrrp_instance found"),
        ("~SEQ(A,--9223372036854775808,1) x\n", "k.conf:1: no vrrp_instance found"),
    ] {
        let error = of(text).expect_err(text).to_string();
        assert!(error.starts_with(message), "{text:?}: {error}");
    }
}

/// As keepalived 2.2.7 prints the password with `-d`.
#[test]
fn a_password_has_the_quotes_and_backslashes_that_keepalived_takes_it_to_have() {
    for (written, password) in [
        ("'ab'", "'ab'"),
        (r"a\b", r"a\b"),
        (r"a\\b", r"a\\b"),
        (r#""a\x41""#, r"a\x41"),
        ("a'b", "a'b"),
        (r#""a b"c"#, "a b"),
        (r#"x"y""#, "x"),
        ("a#b", "a"),
        (r"a\#b", "a"),
        ("'a#b'", "'a"),
        (r#""a#b""#, "a#b"),
        (r#""p${_HASH}x""#, "p#x"),
    ] {
        let text = instance(&format!("authentication {{\nauth_type PASS\nauth_pass {written}\n}}"));
        let imported = of(&text).expect(written);
        assert_eq!(imported.routers[0].get(config::Key::Auth), Some(&*format!("pw/{password}")), "{written}");
    }
}

#[test]
fn the_format_of_a_configuration_is_detected() {
    let kind = |text: &str| {
        let files = Files([("k.conf".into(), text.to_owned())].into());
        import(Path::new("k.conf"), None, &files)
    };
    assert_eq!(kind(&instance("")).expect("is keepalived's").routers.len(), 1);
    assert_eq!(kind("vrrpd -i eth0 -v 5 192.0.2.5\n").expect("is a command line").routers.len(), 1);
    let error = kind("hello\n").expect_err("is neither").to_string();
    assert!(error.contains("--import-as"), "{error}");
}

/// The keywords of keepalived.conf(5), 2.2.7, except IPVS and BFD, by block.
const KEYWORDS: [(&str, &str); 8] = [
    (
        "",
        "global_defs vrrp_instance vrrp_sync_group vrrp_script vrrp_track_process vrrp_track_file track_file \
         static_ipaddress static_routes static_rules track_group garp_group interface_up_down_delays \
         linkbeat_use_polling linkbeat_interfaces net_namespace net_namespace_ipvs instance use_pid_dir \
         child_wait_time bfd_instance virtual_server virtual_server_group include",
    ),
    (
        "global_defs",
        "router_id process_names process_name vrrp_process_name checker_process_name bfd_process_name \
         notification_email notification_email_from smtp_server smtp_helo_name smtp_connect_timeout smtp_alert \
         smtp_alert_vrrp smtp_alert_checker no_email_faults random_seed startup_script startup_script_timeout \
         shutdown_script shutdown_script_timeout dynamic_interfaces default_interface vrrp_mcast_group4 \
         vrrp_mcast_group6 disable_local_igmp vrrp_garp_master_delay vrrp_garp_master_repeat \
         vrrp_garp_lower_prio_delay vrrp_garp_lower_prio_repeat vrrp_garp_master_refresh \
         vrrp_garp_master_refresh_repeat vrrp_garp_interval vrrp_gna_interval vrrp_garp_extra_if vrrp_min_garp \
         vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert vrrp_down_timer_adverts vrrp_startup_delay \
         vrrp_version vrrp_iptables vrrp_ipsets namespace_with_ipsets nftables nftables_priority \
         nftables_counters nftables_ifindex vrrp_check_unicast_src vrrp_skip_check_adv_addr vrrp_strict \
         vrrp_notify_priority_changes vrrp_priority vrrp_no_swap vrrp_rt_priority vrrp_rlimit_rttime \
         vrrp_cpu_affinity snmp_socket enable_traps enable_snmp_vrrp enable_snmp_checker enable_snmp_rfc \
         enable_snmp_rfcv2 enable_snmp_rfcv3 enable_dbus dbus_service_name script_user enable_script_security \
         notify_fifo notify_fifo_script vrrp_notify_fifo vrrp_notify_fifo_script \
         fifo_write_vrrp_states_on_reload vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force \
         vrrp_netlink_monitor_rcv_bufs vrrp_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs \
         process_monitor_rcv_bufs_force vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier umask vmac_prefix \
         vmac_addr_prefix reload_check_config reload_time_file reload_repeat reload_file data_use_instance \
         include_check tmp_config_directory config_save_dir log_unknown_vrids max_auto_priority \
         min_auto_priority_delay",
    ),
    ("garp_group", "garp_interval gna_interval interface interfaces"),
    ("vrrp_script c", "script interval timeout weight fall rise user init_fail"),
    (
        "vrrp_track_process c",
        "process weight quorum quorum_max delay fork_delay terminate_delay full_command param_match",
    ),
    ("vrrp_track_file c", "file weight init_file"),
    (
        "vrrp_sync_group G",
        "group track_interface track_script track_file track_process track_bfd notify_master notify_backup \
         notify_fault notify_stop notify notify_deleted notify_priority_changes smtp_alert global_tracking \
         sync_group_tracking_weight",
    ),
    (
        "vrrp_instance W",
        "state interface use_vmac vmac_xmit_base use_vmac_addr use_ipvlan vrf native_ipv6 dont_track_primary \
         track_interface track_script track_process track_file track_bfd track_src_ip mcast_src_ip mcast_dst_ip \
         unicast_src_ip unicast_peer unicast_ttl unicast_fault_no_peer old_unicast_checksum check_unicast_src \
         version virtual_router_id priority advert_int authentication virtual_ipaddress \
         virtual_ipaddress_excluded virtual_routes virtual_rules promote_secondaries nopreempt preempt \
         preempt_delay accept no_accept skip_check_adv_addr strict_mode down_timer_adverts debug notify_master \
         notify_backup notify_fault notify_stop notify notify_deleted notify_master_rx_lower_pri \
         notify_priority_changes smtp_alert kernel_rx_buf_size linkbeat_use_polling garp_master_delay \
         garp_master_repeat garp_lower_prio_delay garp_lower_prio_repeat garp_master_refresh \
         garp_master_refresh_repeat garp_extra_if lower_prio_no_advert higher_prio_send_advert",
    ),
];

/// The keywords in the tables of docs/keepalived.md.
fn documented() -> BTreeSet<&'static str> {
    let text = include_str!("../../../../docs/keepalived.md");
    let keywords = text.split_once("\n## Keywords").expect("has a chapter").1;
    let code = keywords.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')).collect()
}

#[test]
fn every_keyword_of_keepalived_is_known_and_documented() {
    let documented = documented();
    for (block, keywords) in KEYWORDS {
        for keyword in keywords.split_whitespace() {
            assert!(documented.contains(keyword), "docs/keepalived.md lacks {keyword} of {block}");
            let text = match block {
                "" => format!("{keyword} x {{ }}\n{}", instance("")),
                block => format!("{block} {{\n{keyword} 1\n}}\n{}", instance("")),
            };
            // Values other than 1 are refused.
            let remarks = of(&text).map(|imported| imported.remarks).unwrap_or_default();
            let unknown = remarks.iter().find(|remark| remark.message.contains("does not know"));
            assert_eq!(unknown, None, "{block} {keyword}");
        }
    }
}

#[test]
fn every_keyword_of_the_lists_is_one_of_keepalived() {
    let known: BTreeSet<_> = KEYWORDS.iter().flat_map(|(_, keywords)| keywords.split_whitespace()).collect();
    let left_out = LEFT_OUT.iter().chain(&GLOBAL_LEFT_OUT).flat_map(|(keywords, _)| keywords.iter());
    let without_effect = WITHOUT_EFFECT.iter().chain(&GLOBAL_WITHOUT_EFFECT);
    let all = left_out.chain(without_effect).chain(&NEEDS_VALUE);
    let of_others = ["lvs_", "nftables_ipvs", "checker_", "no_checker_", "rs_init_", "bfd_", "auth_"];
    let unknown: Vec<_> = all
        .filter(|keyword| {
            !known.contains(**keyword) && !of_others.iter().any(|other| keyword.starts_with(other))
        })
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn a_word_unknown_to_keepalived_is_reported_as_unknown() {
    for text in [
        instance("priorty 7"),
        format!("global_defs {{\ngarp_master_delay 1\n}}\n{}", instance("")),
        format!("vrrp_sync_group G {{\ntrack\n}}\n{}", instance("")),
        format!("vrrp_scrpt c {{ }}\n{}", instance("")),
    ] {
        let remarks = of(&text).expect("can be read").remarks;
        let messages: Vec<_> = remarks.iter().map(|remark| remark.message.as_str()).collect();
        assert_eq!(messages, ["unknown to keepalived too, which ignores it"], "{text}");
    }
}
