//! Every order of events, within limits that take seconds; `cargo xtask sim --search` goes further.
#![expect(clippy::panic, reason = "the story of what failed is longer than an assertion's message")]

use vrrpd_common::Priority;
use vrrpd_simulation::cases::searches;
use vrrpd_simulation::search::search;

#[test]
fn in_every_order_one_machine_ends_as_master_of_everything_and_groups_are_whole() {
    for (name, deep, plan, limits) in searches() {
        if !deep {
            match search(&plan, &limits) {
                Ok(searched) => println!("{name}: {} states, {} steps", searched.states, searched.steps),
                Err(story) => panic!("{name}: {story}"),
            }
        }
    }
}

#[test]
fn the_search_finds_a_machine_that_is_not_whole() {
    // One of the members does not wait for the other one, and is earlier.
    let (_, _, mut plan, limits) = searches().into_iter().next().expect("there is one");
    plan.machines.truncate(1);
    plan.machines[0].routers[1].grouped = false;
    plan.machines[0].routers[1].priority = Priority(254);
    let story = search(&plan, &limits).expect_err("a member goes alone");
    assert!(story.ends_with("the group of 0 is neither all Master nor all Backup"), "{story}");
}
