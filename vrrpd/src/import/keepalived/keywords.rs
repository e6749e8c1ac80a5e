//! Keywords of `global_defs` and `vrrp_instance` that are left out or have no effect.

/// Keywords without effect here, or for the default behaviour of vrrpd.
pub(super) const WITHOUT_EFFECT: [&str; 11] = [
    "preempt",
    "debug",
    "linkbeat_use_polling",
    "kernel_rx_buf_size",
    "skip_check_adv_addr",
    "promote_secondaries",
    "lower_prio_no_advert",
    "higher_prio_send_advert",
    "old_unicast_checksum",
    "check_unicast_src",
    "unicast_fault_no_peer",
];

/// Keywords whose value keepalived requires.
pub(super) const NEEDS_VALUE: [&str; 26] = [
    "interface",
    "virtual_router_id",
    "priority",
    "state",
    "version",
    "advert_int",
    "mcast_src_ip",
    "mcast_dst_ip",
    "unicast_src_ip",
    "unicast_ttl",
    "preempt_delay",
    "down_timer_adverts",
    "auth_type",
    "auth_pass",
    "garp_master_delay",
    "garp_master_repeat",
    "garp_extra_if",
    "garp_master_refresh",
    "garp_master_refresh_repeat",
    "garp_lower_prio_delay",
    "garp_lower_prio_repeat",
    "notify",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
];

/// Keywords that are left out, with the reason.
pub(super) const LEFT_OUT: [(&[&str], &str); 8] = [
    (&["track_bfd"], "BFD is not supported; track a command that asks the BFD daemon, or ping"),
    (&["track_src_ip"], "a router is not in the state fault while its source address is missing"),
    (&["notify_master_rx_lower_pri"], "no script is called for this; the log has it"),
    (
        &["notify_deleted", "notify_priority_changes"],
        "scripts and FIFOs get transitions only; `atropos --events` prints changes of the priority too",
    ),
    (&["use_ipvlan"], "not supported; without it the addresses are on the interface itself"),
    (&["use_vmac_addr"], "only the addresses on the interface of the router have its virtual MAC address"),
    (&["vrf"], "put the interface into the VRF; the link of the virtual MAC address joins it"),
    (&["smtp_alert", "smtp_alert_vrrp"], "no mail is sent; a script (`up`, `down`) can send one"),
];

/// Keywords of `global_defs` without effect here.
pub(super) const GLOBAL_WITHOUT_EFFECT: [&str; 36] = [
    "router_id",
    "enable_script_security",
    "process_names",
    "process_name",
    "vrrp_process_name",
    "checker_process_name",
    "bfd_process_name",
    "tmp_config_directory",
    "config_save_dir",
    "dynamic_interfaces",
    "default_interface",
    "vrrp_skip_check_adv_addr",
    "vrrp_check_unicast_src",
    "vrrp_lower_prio_no_advert",
    "vrrp_higher_prio_send_advert",
    "vrrp_iptables",
    "vrrp_ipsets",
    "namespace_with_ipsets",
    "nftables",
    "nftables_priority",
    "nftables_counters",
    "nftables_ifindex",
    "vrrp_priority",
    "vrrp_no_swap",
    "vrrp_netlink_cmd_rcv_bufs",
    "vrrp_netlink_cmd_rcv_bufs_force",
    "vrrp_netlink_monitor_rcv_bufs",
    "vrrp_netlink_monitor_rcv_bufs_force",
    "vrrp_rx_bufs_policy",
    "vrrp_rx_bufs_multiplier",
    "process_monitor_rcv_bufs",
    "process_monitor_rcv_bufs_force",
    "max_auto_priority",
    "min_auto_priority_delay",
    "log_unknown_vrids",
    "random_seed",
];

/// Keywords of `global_defs` that are left out, with the reason.
pub(super) const GLOBAL_LEFT_OUT: [(&[&str], &str); 14] = [
    (
        &[
            "notification_email",
            "notification_email_from",
            "smtp_server",
            "smtp_connect_timeout",
            "smtp_helo_name",
            "smtp_alert",
            "smtp_alert_vrrp",
            "smtp_alert_checker",
            "no_email_faults",
        ],
        "no mail is sent; a script (`up`, `down`) or `atropos --events` can notify others of a transition",
    ),
    (
        &[
            "lvs_sync_daemon",
            "lvs_timeouts",
            "lvs_flush",
            "lvs_flush_on_stop",
            "lvs_notify_fifo",
            "lvs_notify_fifo_script",
            "lvs_netlink_cmd_rcv_bufs",
            "lvs_netlink_cmd_rcv_bufs_force",
            "lvs_netlink_monitor_rcv_bufs",
            "lvs_netlink_monitor_rcv_bufs_force",
            "nftables_ipvs",
            "nftables_ipvs_priority",
            "nftables_ipvs_start_fwmark",
            "rs_init_notifies",
            "no_checker_emails",
            "checker_log_all_failures",
            "checker_priority",
            "checker_no_swap",
            "checker_rt_priority",
            "checker_rlimit_rttime",
            "checker_cpu_affinity",
        ],
        "IPVS load balancing is not part of this daemon",
    ),
    (
        &["bfd_priority", "bfd_no_swap", "bfd_rt_priority", "bfd_rlimit_rttime", "bfd_cpu_affinity"],
        "BFD is not supported",
    ),
    (
        &[
            "snmp_socket",
            "enable_traps",
            "enable_snmp_vrrp",
            "enable_snmp_checker",
            "enable_snmp_rfc",
            "enable_snmp_rfcv2",
            "enable_snmp_rfcv3",
            "enable_dbus",
            "dbus_service_name",
        ],
        "SNMP and D-Bus are not supported; `atropos --state --json` and `atropos --events` provide the same data",
    ),
    (
        &["vrrp_notify_fifo_script", "notify_fifo_script"],
        "start the program that reads the FIFO as a separate service",
    ),
    (&["fifo_write_vrrp_states_on_reload"], "a reload writes transitions only"),
    (
        &["vrrp_notify_priority_changes"],
        "scripts and FIFOs get transitions only; `atropos --events` prints changes of the priority too",
    ),
    (&["vmac_prefix"], "set vmac-name of each router"),
    (&["vmac_addr_prefix"], "an address has no virtual MAC address of its own"),
    (&["disable_local_igmp"], "the system joins the multicast group with IGMP"),
    (&["net_namespace", "net_namespace_ipvs"], "start vrrpd in that namespace: ip netns exec NAME vrrpd …"),
    (
        &["vrrp_rt_priority", "vrrp_rlimit_rttime", "vrrp_cpu_affinity", "umask"],
        "set it in the unit of the service: CPUSchedulingPriority=, CPUAffinity=, UMask=",
    ),
    (
        &["startup_script", "startup_script_timeout", "shutdown_script", "shutdown_script_timeout"],
        "the unit of the service can run it: ExecStartPre=, ExecStopPost=",
    ),
    (
        &[
            "reload_check_config",
            "reload_time_file",
            "reload_repeat",
            "reload_file",
            "data_use_instance",
            "include_check",
        ],
        "SIGHUP reloads the file; a file with mistakes is not applied",
    ),
];

/// Why a keyword is left out, if keepalived knows it.
pub(super) fn reason(lists: &[(&[&str], &'static str)], keyword: &str) -> &'static str {
    let known = lists.iter().find(|(keywords, _)| keywords.contains(&keyword));
    known.map_or("unknown to keepalived too, which ignores it", |(_, reason)| reason)
}
