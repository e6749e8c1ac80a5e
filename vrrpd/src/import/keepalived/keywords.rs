//! Words of a `vrrp_instance` that are left out, or decide nothing.

/// Words that change nothing here, or ask for what this daemon does anyway.
pub(super) const WITHOUT_EFFECT: [&str; 13] = [
    "preempt",
    "accept",
    "debug",
    "linkbeat_use_polling",
    "kernel_rx_buf_size",
    "skip_check_adv_addr",
    "promote_secondaries",
    "vmac_xmit_base",
    "lower_prio_no_advert",
    "higher_prio_send_advert",
    "old_unicast_checksum",
    "check_unicast_src",
    "unicast_fault_no_peer",
];

/// Words behind which keepalived wants something, or does not start.
pub(super) const NEEDS_VALUE: [&str; 24] = [
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
    "auth_type",
    "auth_pass",
    "garp_master_delay",
    "garp_master_repeat",
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

/// Words that are left out, with the reason.
pub(super) const LEFT_OUT: [(&[&str], &str); 7] = [
    (&["track_bfd"], "BFD is not supported"),
    (&["track_src_ip"], "a router is not in the state fault while its source address is missing"),
    (&["notify_master_rx_lower_pri"], "no script is called for this"),
    (
        &["notify_deleted", "notify_priority_changes"],
        "FIFOs are not supported; `atropos --events` prints transitions",
    ),
    (&["no_accept"], "packets to the addresses are always accepted"),
    (&["use_ipvlan", "use_vmac_addr", "vrf"], "not supported"),
    (&["smtp_alert", "smtp_alert_vrrp"], "no mail is sent; a script (`up`, `down`) can send one"),
];
