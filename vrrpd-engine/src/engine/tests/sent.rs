//! Results of sending adverts, and other lines logged for a router.

use vrrpd_common::{Reject, Rejection};

use super::*;

fn too_long() -> NotSent {
    NotSent { octets: 1600, is_too_long: true, error: "message too long".to_owned() }
}

#[test]
fn sent_adverts_are_counted() {
    let mut bench = Bench::master();
    let before = bench.router().done.adverts_sent;
    assert_eq!(bench.input(Input::Sent(bench.id)), []);
    assert_eq!(bench.router().done.adverts_sent, before + 1);
}

#[test]
fn unsent_adverts_are_logged_at_a_limited_rate() {
    let mut bench = Bench::master();
    let id = bench.id;
    let line = |more| Output::Log(id, Line::NotSent(too_long(), more));
    assert_eq!(bench.input(Input::NotSent(id, too_long())), [line(0)]);
    assert_eq!(bench.link().sure_mtu(), 0, "nothing is short enough");
    assert_eq!(bench.input(Input::NotSent(id, too_long())), []);
    let (peer, error) = (IpAddr::from(THEIRS), "unreachable".to_owned());
    assert_eq!(bench.input(Input::NotSentToPeer { router: id, peer, error: error.clone() }), []);
    bench.now += Duration::from_secs(60);
    let outputs = bench.input(Input::NotSentToPeer { router: id, peer, error: error.clone() });
    assert_eq!(outputs, [Output::Log(id, Line::NotSentToPeer { peer, more: 2, error })]);
}

#[test]
fn an_advert_that_was_discarded_shows_how_its_sender_is_set_up() {
    let mut bench = Bench::backup();
    let id = bench.id;
    let why = Rejection { reject: Reject::Interval, got: 200, wanted: 100 };
    let rejected = |why| Input::Rejected { link: LinkId::FIRST, router: Some((id, THEIRS.into())), why };
    let outputs = bench.input(rejected(why));
    assert!(
        matches!(&outputs[..], [Output::Log(_, Line::Mismatch(_)), Output::Log(of, Line::Rejected(said, 0))]
            if (*of, *said) == (id, why)),
        "{outputs:?}"
    );
    assert_eq!(bench.input(rejected(why)), [], "that was said");
    bench.now += Duration::from_secs(1);
    let outputs = bench.input(rejected(why));
    assert_eq!(outputs.last(), Some(&Output::Log(id, Line::Rejected(why, 1))));
}

#[test]
fn adverts_for_no_router_of_ours_are_logged_once_a_second() {
    let mut bench = Bench::backup();
    let (link, why) = (LinkId::FIRST, Reject::NotOurs.because(7, 0));
    let rejected = || Input::Rejected { link, router: None, why };
    assert_eq!(bench.input(rejected()), [Output::Rejected(link, why, 0)]);
    assert_eq!(bench.input(rejected()), []);
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.input(rejected()), [Output::Rejected(link, why, 1)]);
}
