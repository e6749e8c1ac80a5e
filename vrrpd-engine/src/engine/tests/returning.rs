//! Interfaces that are switched to raw sockets for a while, since adverts came from another subnet.

use super::*;

const LINK: LinkId = LinkId::FIRST;
const PAUSE: Duration = Duration::from_secs(10);

fn foreign() -> Advert {
    Advert { source: [198, 51, 100, 7].into(), ..advert(200) }
}

/// A Backup whose program in the kernel was given up.
fn left_to_sockets() -> Bench {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.input(Input::InKernel { link: LINK, in_kernel: true, sees_tags: false });
    bench.input(Input::Hear(id));
    let record = record_of(bench.now, &foreign(), KernelRole::Backup, bench.now);
    bench.engine.handle(bench.time(), Input::Record(id, Some(Box::new(record))));
    let source = foreign().source;
    let output = bench.engine.next_output();
    assert_eq!(output, Some(Output::GiveUpProgram { router: id, source, pause: PAUSE }));
    // The last record of that program is not trusted either.
    bench.engine.handle(bench.time(), Input::InKernel { link: LINK, in_kernel: false, sees_tags: false });
    bench.engine.handle(bench.time(), Input::LastRecord(id, Box::new(record)));
    bench.engine.handle(bench.time(), Input::Schedule(id));
    assert_eq!(bench.outputs(), [Output::ReadRecord(id)], "it listens for who is there");
    bench.not_in_kernel();
    bench
}

#[test]
fn an_advert_from_another_subnet_that_counts_for_nothing_gives_no_program_up() {
    let mut bench = Bench::backup();
    let id = bench.id;
    bench.input(Input::InKernel { link: LINK, in_kernel: true, sees_tags: false });
    bench.input(Input::Hear(id));
    let mut record = record_of(bench.now, &foreign(), KernelRole::Backup, bench.now);
    record.followed = KernelAdvert::default();
    assert_eq!(bench.record(&record), []);
    assert!(!bench.engine.links.values().any(|link| link.absence.deadline().is_some()));
}

#[test]
fn a_program_is_attached_again_after_its_pause() {
    let mut bench = left_to_sockets();
    let at = bench.now + PAUSE;
    assert_eq!(bench.engine.absence_ends_at(), Some(at));
    bench.now = at;
    assert!(bench.engine.deadline().is_some_and(|due| due <= at), "the engine wakes for it");
    bench.event(Event::Advert(advert(200)));
    assert_eq!(bench.expire(), [Output::ReturnProgram(LINK)]);
    assert_eq!((bench.expire(), bench.engine.absence_ends_at()), (vec![], None), "once");
    bench.input(Input::ReturnLater(LINK));
    assert_eq!(bench.engine.absence_ends_at(), Some(at + PAUSE), "another program is on its way");
    bench.input(Input::Returned(LINK));
    assert_eq!(bench.engine.absence_ends_at(), None);
}

#[test]
fn a_program_that_cannot_be_attached_is_logged_and_retried_with_backoff() {
    let mut bench = left_to_sockets();
    for seconds in [20, 40] {
        bench.now += PAUSE;
        let outputs = bench.input(Input::NotReturned(LINK, "no memory".to_owned()));
        let (reason, again_in) = ("no memory".to_owned(), Duration::from_secs(seconds));
        assert_eq!(outputs, [Output::NotReturned { link: LINK, reason, again_in }]);
        assert_eq!(bench.engine.absence_ends_at(), Some(bench.now + again_in));
    }
}

#[test]
fn a_program_is_not_attached_again_while_a_router_is_master() {
    let mut bench = left_to_sockets();
    assert!(!bench.engine.is_in_use(LINK));
    bench.miss_master();
    assert!(bench.engine.is_in_use(LINK), "it is about to be Master");
    bench.done();
    bench.now += PAUSE;
    assert_eq!(bench.expire(), []);
    assert_eq!(bench.engine.absence_ends_at(), Some(bench.now + PAUSE));
}

#[test]
fn adverts_from_another_subnet_on_raw_sockets_restart_the_pause() {
    let mut bench = left_to_sockets();
    bench.now += Duration::from_secs(1);
    let before = bench.engine.absence_ends_at();
    bench.event(Event::Advert(advert(200)));
    assert_eq!(bench.engine.absence_ends_at(), before, "that one is of the interface");
    bench.event(Event::Advert(foreign()));
    assert_eq!(bench.engine.absence_ends_at(), Some(bench.now + PAUSE));
}

#[test]
fn nothing_is_restored_on_an_interface_that_is_gone_or_unused() {
    let mut bench = left_to_sockets();
    let index = eth0(Vec::new()).index;
    assert_eq!(bench.input(Input::LinkGone(LINK, index))[0], Output::Close(LINK));
    assert_eq!(bench.engine.absence_ends_at(), None);
    let mut bench = left_to_sockets();
    bench.engine.remove(bench.id);
    assert_eq!(bench.engine.absence_ends_at(), None);
}
