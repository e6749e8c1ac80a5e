//! keepalived configurations, run by keepalived and, imported, by vrrpd: both behave the same.

use vrrpd_lab::Role::{Backup, Fault, HeldBack, Master};
use vrrpd_lab::Twins;

/// Common lines of all instances; the VRID follows.
const VERSION_3: &str = "version 3\n interface eth0\n advert_int 0.2\n priority 120\n";

/// Scripts for everything.
const SCRIPTS: &str = r#"
    notify_master "%notify master"
    notify_backup "%notify backup 'two words'"
    notify_fault "%notify broken"
    notify_stop "%notify stop"
    notify "%notify all"
"#;

/// An instance of version 3 with VRID 51.
fn instance(lines: &str) -> String {
    format!("vrrp_instance VI_1 {{\n {VERSION_3} virtual_router_id 51\n{lines}\n{SCRIPTS}\n}}\n")
}

/// An instance of version 2.
fn instance_v2(lines: &str) -> String {
    instance(lines).replace("version 3", "version 2").replace("advert_int 0.2", "advert_int 1")
}

fn with_globals(blocks: &str) -> String {
    format!("global_defs {{\n script_user root\n}}\n{blocks}")
}

#[test]
fn script_with_a_weight() {
    let check = "vrrp_script check {\n script %home/check\n interval 1\n weight -30\n}\n";
    let lines = "virtual_ipaddress {\n 10.0.0.100/24\n 10.0.0.101\n}\n track_script {\n check\n}";
    let mut twins = Twins::start(&with_globals(&(check.to_owned() + &instance(lines))), &[Master(120)]);
    twins.check_fails(&[Master(90)]);
    twins.check_holds(&[Master(120)]);
    twins.usual_story(&[Master(120)]);
}

#[test]
fn script_without_a_weight() {
    let check = "vrrp_script check {\n script %home/check\n interval 1\n fall 2\n rise 2\n}\n";
    let lines = "virtual_ipaddress {\n 10.0.0.100/24\n}\n track_script {\n check\n}";
    let mut twins = Twins::start(&with_globals(&(check.to_owned() + &instance(lines))), &[Master(120)]);
    twins.check_fails(&[Fault]);
    twins.check_holds(&[Master(120)]);
    twins.usual_story(&[Master(120)]);
}

#[test]
fn script_that_asks_for_a_process_and_reversed_weight() {
    let check = "vrrp_script check {\n script \"/usr/bin/pgrep -x %service\"\n interval 1\n weight 20\n}\n\
                 vrrp_script other {\n script %home/check\n interval 1\n weight 10 reverse\n}\n";
    let lines = "virtual_ipaddress {\n 10.0.0.100/24\n}\n track_script {\n check\n other\n}";
    let mut twins = Twins::start(&with_globals(&(check.to_owned() + &instance(lines))), &[Master(130)]);
    twins.service_ends(&[Master(110)]);
    twins.check_fails(&[Master(120)]);
    twins.service_is_back(&[Master(140)]);
    twins.check_holds(&[Master(130)]);
    twins.stop();
}

#[test]
fn interfaces_with_and_without_weights() {
    let lines = "virtual_ipaddress {\n 10.0.0.100/24\n}\n track_interface {\n eth1 weight -20\n}";
    let other = "vrrp_instance VI_2 {\n version 3\n interface eth0\n advert_int 0.2\n virtual_router_id 52\n\
                 virtual_ipaddress {\n 10.0.0.102/24\n}\n track_interface {\n eth1\n}\n}\n";
    let both = &[Master(120), Master(100)];
    let mut twins = Twins::start(&with_globals(&(instance(lines) + other)), both);
    twins.link_down("eth1", &[Master(100), Fault]);
    twins.link_up("eth1", both);
    twins.after("eth1 is set down", &[Master(100), Fault], |_, router| {
        router.ip("link set eth1 down");
    });
    twins.after("eth1 is set up", both, |_, router| {
        router.ip("link set eth1 up");
    });
    twins.stop();
}

#[test]
fn file_with_a_number() {
    let file = "vrrp_track_file number {\n file %home/number\n weight 2\n}\n";
    let lines = "virtual_ipaddress {\n 10.0.0.100/24\n}\n track_file {\n number weight 3\n}";
    // The priority that the instance has after the fault; keepalived reports the previous one.
    let differences = [("VI_1 FAULT 135", "VI_1 FAULT 1")];
    let text = with_globals(&(file.to_owned() + &instance(lines)));
    let mut twins = Twins::start_apart_from(&differences, &text, &[Master(120)]);
    twins.number("-10\n", &[Master(90)]);
    twins.number("5\n", &[Master(135)]);
    twins.number("-100\n", &[Fault]);
    twins.number("1000\n", &[Master(254)]);
    twins.number("0\n", &[Master(120)]);
    twins.stop();
}

#[test]
fn down_multipliers() {
    let lines = "down_timer_adverts 5\n virtual_ipaddress {\n 10.0.0.100/24\n}";
    let other = "vrrp_instance VI_2 {\n version 3\n interface eth0\n advert_int 0.2\n virtual_router_id 52\n\
                 down_timer_adverts 2\n virtual_ipaddress {\n 10.0.0.102/24\n}\n}\n";
    let both = &[Master(120), Master(100)];
    Twins::start(&with_globals(&(instance(lines) + other)), both).usual_story(both);
}

#[test]
fn announcements_and_a_delay_of_preemption() {
    let lines = "preempt_delay 3\n garp_master_repeat 2\n garp_master_delay 1\n garp_master_refresh 5\n\
                 garp_master_refresh_repeat 3\n garp_lower_prio_repeat 4\n garp_lower_prio_delay 1\n\
                 virtual_ipaddress {\n 10.0.0.100/24\n}\n virtual_ipaddress_excluded {\n 2001:db8::7/64\n}";
    let mut twins = Twins::start(&with_globals(&instance(lines)), &[Master(120)]);
    // On becoming master, a second later, and every five seconds.
    for address in ["10.0.0.100", "2001:db8::7"] {
        twins.announced(address, &[2, 2, 3]);
    }
    twins.lower_advert();
    for address in ["10.0.0.100", "2001:db8::7"] {
        twins.announced(address, &[2, 2, 3, 4, 4]);
    }
    // A router of lower priority is followed for three seconds.
    twins.link_down("eth0", &[Fault]);
    twins.rival(50, &[Fault]);
    twins.link_up("eth0", &[Backup]);
    twins.after("the delay is over", &[Master(120)], |_, _| {});
    twins.rival_gone(&[Master(120)]);
    twins.stop();
}

#[test]
fn unicast() {
    let lines =
        "unicast_src_ip 10.0.0.1\n unicast_peer {\n 10.0.0.2\n}\n virtual_ipaddress {\n 10.0.0.100/24\n}";
    // keepalived sends a resignation while the link is down; it waits for the neighbour, and arrives when the link is
    // up.
    let late = "priority 0 v3 interval 200ms auth 0 None addresses [10.0.0.100] from interface 10.0.0.1 to 10.0.0.2 \
                ttl 255 class 0xc0 sum true";
    Twins::start_apart_from(&[(late, "")], &with_globals(&instance(lines)), &[Master(120)])
        .usual_story(&[Master(120)]);
}

#[test]
fn labels_scopes_broadcast_and_excluded_addresses() {
    let lines = "virtual_ipaddress {\n 10.0.0.100/24 label eth0:vip\n 10.7.0.1/16 brd 10.7.255.255 scope site\n\
                 10.8.0.1/24 brd +\n 192.0.2.1\n}\n\
                 virtual_ipaddress_excluded {\n 2001:db8::7/64\n 10.9.0.1/24\n}";
    Twins::start(&with_globals(&instance(lines)), &[Master(120)]).usual_story(&[Master(120)]);
}

#[test]
fn addresses_on_another_interface() {
    let lines = "virtual_ipaddress {\n 10.0.0.100/24\n 10.1.0.100/24 dev eth1\n}\n\
                 virtual_ipaddress_excluded {\n 10.9.0.1/24 dev eth1 label eth1:vip\n 2001:db8::9/64 dev eth1\n}\n\
                 track_interface {\n eth1 weight -20\n}";
    let untracked = other(2, "virtual_ipaddress {\n 10.0.0.102/24\n 10.1.0.102/24 dev eth1 no_track\n}");
    let routes = other(
        3,
        "virtual_ipaddress {\n 10.0.0.103/24\n}\n virtual_routes {\n 192.0.2.0/24 via 10.1.0.9 dev eth1\n}",
    );
    let rules = other(
        4,
        "virtual_ipaddress {\n 10.0.0.104/24\n}\n virtual_rules {\n iif eth1 table 10 priority 300\n}",
    );
    let all = &[Master(120), Master(100), Master(100), Master(100)];
    let mut twins = Twins::start(&with_globals(&(instance(lines) + &untracked + &routes + &rules)), all);
    twins.link_down("eth1", &[Fault, Master(100), Fault, Fault]);
    twins.link_up("eth1", all);
    twins.usual_story(all);
}

#[test]
fn routes_and_rules() {
    let lines = "virtual_ipaddress {\n 10.0.0.100/24\n}\n\
                 virtual_routes {\n 192.0.2.0/24 via 10.0.0.9 dev eth0 metric 50\n 198.51.100.0/24 dev eth0 src 10.0.0.100 table 10\n\
                 blackhole 203.0.113.0/24\n}\n\
                 virtual_rules {\n from 10.0.0.100 table 10 priority 300\n to 192.0.2.0/24 lookup 11 preference 301\n}";
    Twins::start(&with_globals(&instance(lines)), &[Master(120)]).usual_story(&[Master(120)]);
}

#[test]
fn ipv6() {
    let lines = "virtual_ipaddress {\n fe80::33/64\n 2001:db8::33/64\n 2001:db8::34\n}";
    Twins::start(&with_globals(&instance(lines)), &[Master(120)]).usual_story(&[Master(120)]);
}

#[test]
fn no_addresses() {
    Twins::start(&with_globals(&instance_v2("")), &[Master(120)]).usual_story(&[Master(120)]);
}

#[test]
fn password() {
    let lines =
        "authentication {\n auth_type PASS\n auth_pass ninechars\n}\n virtual_ipaddress {\n 10.0.0.100/24\n}";
    Twins::start(&with_globals(&instance_v2(lines)), &[Master(120)]).usual_story(&[Master(120)]);
}

#[test]
fn authentication_header() {
    let lines =
        "authentication {\n auth_type AH\n auth_pass geheim\n}\n virtual_ipaddress {\n 10.0.0.100/24\n}";
    Twins::start(&with_globals(&instance_v2(lines)), &[Master(120)]).usual_story(&[Master(120)]);
}

#[test]
fn multicast_source_and_group() {
    let lines = "mcast_src_ip 10.0.0.77\n mcast_dst_ip 224.0.0.99\n virtual_ipaddress {\n 10.0.0.100/24\n}";
    Twins::start(&with_globals(&instance(lines)), &[Master(120)]).usual_story(&[Master(120)]);
}

#[test]
fn owner() {
    let check = "vrrp_script check {\n script %home/check\n interval 1\n weight -30\n}\n";
    let lines = "priority 255\n virtual_ipaddress {\n 10.0.0.100/24\n}\n track_script {\n check\n}";
    // When its link comes up, an owner becomes Master at once (RFC 9568 §6.4.1); keepalived becomes Backup first.
    let differences = [("all INSTANCE VI_1 BACKUP 255", ""), ("backup two words", "")];
    let text = with_globals(&(check.to_owned() + &instance(lines)));
    let mut twins = Twins::start_apart_from(&differences, &text, &[Master(255)]);
    twins.check_fails(&[Master(255)]);
    twins.check_holds(&[Master(255)]);
    twins.rival(200, &[Master(255)]);
    twins.rival_gone(&[Master(255)]);
    twins.link_down("eth0", &[Fault]);
    twins.link_up("eth0", &[Master(255)]);
    twins.stop();
}

#[test]
fn nopreempt() {
    let lines = "nopreempt\n virtual_ipaddress {\n 10.0.0.100/24\n}";
    let mut twins = Twins::start(&with_globals(&instance(lines)), &[Master(120)]);
    twins.link_down("eth0", &[Fault]);
    twins.rival(50, &[Fault]);
    twins.link_up("eth0", &[Backup]);
    twins.rival_gone(&[Master(120)]);
    twins.rival(200, &[Backup]);
    twins.rival(60, &[Backup]);
    twins.rival_gone(&[Master(120)]);
    twins.stop();
}

#[test]
fn virtual_mac() {
    let lines = "use_vmac\n virtual_ipaddress {\n 10.0.0.100/24\n}";
    let named = "use_vmac gateway\n virtual_ipaddress {\n 10.0.0.102/24\n}";
    let differences = [
        // The subnet route stays on the interface below.
        ("+ 10.0.0.0/24 dev vrrp.51 proto kernel scope link src 10.0.0.100", ""),
        ("+ 10.0.0.0/24 dev gateway proto kernel scope link src 10.0.0.102", ""),
        ("scope global noprefixroute", "scope global"),
    ];
    let both = &[Master(120), Master(100)];
    let text = with_globals(&(instance(lines) + &other(52, named)));
    Twins::start_apart_from(&differences, &text, both).usual_story(both);
}

/// Further instances of version 3 on the same interface.
fn other(vrid: u8, lines: &str) -> String {
    format!(
        "vrrp_instance VI_{vrid} {{\n version 3\n interface eth0\n advert_int 0.2\n virtual_router_id {vrid}\n{lines}\n}}\n"
    )
}

#[test]
fn accept_mode() {
    let text = instance("no_accept\n virtual_ipaddress {\n 10.0.0.100/24\n}")
        + &other(52, "no_accept\n virtual_ipaddress {\n fe80::33/64\n}")
        + &other(53, "virtual_ipaddress {\n 10.0.0.101/24\n}");
    let all = &[Master(120), Master(100), Master(100)];
    let mut twins = Twins::start(&with_globals(&text), all);
    let (answering, silent) = (["10.0.0.1", "10.0.0.101"], ["10.0.0.100", "fe80::33%eth0"]);
    twins.answer(&answering, &silent);
    twins.rival(200, &[Backup, Backup, Backup]);
    twins.rival_gone(all);
    twins.answer(&answering, &silent);
    twins.stop();
}

#[test]
fn accept_mode_of_strict_routers() {
    let text = instance("virtual_ipaddress {\n 10.0.0.100/24\n}")
        + &other(52, "accept\n virtual_ipaddress {\n 10.0.0.101/24\n}")
        + &other(53, "priority 255\n virtual_ipaddress {\n 10.0.0.102/24\n}");
    let all = [Master(120), Master(100), Master(255)];
    let text = with_globals(&text).replace("global_defs {", "global_defs {\n vrrp_strict");
    let twins = Twins::start(&text, &all);
    twins.answer(&["10.0.0.1", "10.0.0.101", "10.0.0.102"], &["10.0.0.100"]);
    twins.stop();
}

#[test]
fn announcements_on_other_interfaces() {
    let lines = "garp_master_repeat 2\n garp_master_delay 1\n garp_extra_if all 2\n\
                 virtual_ipaddress {\n 10.0.0.100/24\n 10.1.0.100/24 dev eth1\n}";
    let twins = Twins::start(&with_globals(&instance(lines)), &[Master(120)]);
    // On becoming master, a second later, and then one every two seconds.
    twins.announced("10.1.0.100", &[2, 2, 1, 1, 1]);
    twins.announced("10.0.0.100", &[2, 2]);
    twins.stop();
}

#[test]
fn announcements_by_default_and_of_all_instances() {
    let globals = "global_defs {\n script_user root\n vrrp_garp_master_repeat 3\n vrrp_garp_master_delay 2\n\
                   vrrp_garp_master_refresh 4\n}\n";
    let text = instance("virtual_ipaddress {\n 10.0.0.100/24\n}")
        + &other(52, "garp_master_repeat 1\n garp_master_delay 0\n virtual_ipaddress {\n fe80::34/64\n}");
    let both = [Master(120), Master(100)];
    let twins = Twins::start(&(globals.to_owned() + &text), &both);
    twins.announced("10.0.0.100", &[3, 3, 1]);
    twins.announced("fe80::34", &[1, 1]);
    twins.lower_advert();
    twins.stop();
}

/// Two instances in a group, and a check of the first one.
fn group(lines: &str) -> String {
    let check = "vrrp_script check {\n script %home/check\n interval 1\n weight -30\n}\n";
    let first = instance("virtual_ipaddress {\n 10.0.0.100/24\n}\n track_script {\n check\n}");
    let second = "vrrp_instance VI_2 {\n version 3\n interface eth1\n advert_int 0.2\n priority 120\n virtual_router_id 52\n\
                  virtual_ipaddress {\n 10.1.0.100/24\n}\n}\n";
    let group = format!(
        "vrrp_sync_group G {{\n group {{\n VI_1\n VI_2\n}}\n{lines}\n notify_master \"%notify gmaster\"\n\
         notify_backup \"%notify gbackup\"\n notify_fault \"%notify gfault\"\n notify_stop \"%notify gstop\"\n notify \"%notify gall\"\n}}\n"
    );
    format!("global_defs {{\n script_user root\n vrrp_notify_fifo %fifo\n}}\n{check}{group}{first}{second}")
}

const RESIGNATION: &str = "priority 0 v3 interval 200ms auth 0 None addresses [10.1.0.100] from interface 10.1.0.1 to \
                           224.0.0.18 ttl 255 class 0xc0 sum true";

#[test]
fn group_ignores_weights_and_falls_together() {
    let both = &[Master(120), Master(120)];
    // A member that could serve is Backup in vrrpd while another one is in state fault.
    let differences = [
        ("all INSTANCE VI_1 FAULT 120", "all INSTANCE VI_1 BACKUP 120"),
        ("INSTANCE \"VI_1\" FAULT 120", "INSTANCE \"VI_1\" BACKUP 120"),
        ("backup two words", ""),
        ("broken", ""),
        // A member that yields because of another one resigns.
        (RESIGNATION, ""),
    ];
    let mut twins = Twins::start_apart_from(&differences, &group(""), both);
    twins.check_fails(both);
    twins.check_holds(both);
    twins.link_down("eth1", &[HeldBack, Fault]);
    twins.link_up("eth1", both);
    twins.rival(200, &[Backup, Backup]);
    twins.rival_gone(both);
    twins.stop();
}

#[test]
fn group_with_weights() {
    let both = &[Master(120), Master(120)];
    let mut twins = Twins::start(&group("sync_group_tracking_weight"), both);
    twins.check_fails(&[Master(90), Master(120)]);
    twins.check_holds(both);
    twins.stop();
}
