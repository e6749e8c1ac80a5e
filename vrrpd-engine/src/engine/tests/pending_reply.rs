//! When a client gets the reply to a change.

use super::*;
use crate::pending_reply::PendingReply;

#[test]
fn reply_waits_for_the_routers_of_the_change_and_for_no_other() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.miss_master();
    let (of_router, of_none) =
        (PendingReply::begin(bench.now, vec![id]), PendingReply::begin(bench.now, Vec::new()));
    assert!(!of_router.is_due(bench.now, &bench.engine), "the system has not added the addresses");
    assert!(of_none.is_due(bench.now, &bench.engine));
    bench.done();
    assert!(of_router.is_due(bench.now, &bench.engine));
}

#[test]
fn reply_is_sent_when_the_system_takes_too_long_or_the_router_has_left() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.miss_master();
    let reply = PendingReply::begin(bench.now, vec![id]);
    assert_eq!(reply.until(), bench.now + PendingReply::LIMIT);
    let just_before = bench.now + (PendingReply::LIMIT - Duration::from_nanos(1));
    assert!(!reply.is_due(just_before, &bench.engine));
    assert!(reply.is_due(reply.until(), &bench.engine));
    bench.engine.remove(id);
    assert!(reply.is_due(bench.now, &bench.engine));
}
