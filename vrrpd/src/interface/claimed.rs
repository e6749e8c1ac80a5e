//! Which interfaces say of addresses that they own that they have a virtual MAC address: for the time in which a macvlan
//! link above them has it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use tokio::task::spawn_blocking;

use crate::datapath::claims::{Claim, Claims};
use crate::datapath::program::Refusal;
use crate::guardian::copies::Keeper;

/// What is claimed, by router.
#[derive(Debug)]
pub(super) struct Claimed {
    keeper: Keeper,
    claims: RefCell<BTreeMap<String, (Claim, Claims)>>,
}

impl Claimed {
    /// Nothing yet.
    pub(super) const fn new(keeper: Keeper) -> Self {
        Self { keeper, claims: RefCell::new(BTreeMap::new()) }
    }

    /// Has this claimed for a router, and nothing else; without addresses nothing at all.
    pub(super) async fn claim(&self, router: &str, claim: Claim) -> io::Result<()> {
        if claim.addresses.is_empty() {
            self.give_up(router).await;
            return Ok(());
        }
        if self.claims.borrow().get(router).is_some_and(|(known, _)| *known == claim) {
            return Ok(());
        }
        let (wanted, keeper) = (claim.clone(), self.keeper.clone());
        let attached = spawn_blocking(move || Claims::attach(&wanted, &keeper)).await;
        let claims = attached.map_err(io::Error::other)?.map_err(|Refusal(reason)| {
            let text = format!(
                "hosts would be told the own MAC address for addresses that the interface owns: {reason}"
            );
            io::Error::new(io::ErrorKind::Unsupported, text)
        })?;
        let before = self.claims.borrow_mut().insert(router.to_owned(), (claim, claims));
        let_go(before).await;
        Ok(())
    }

    /// Ends what is claimed for a router.
    pub(super) async fn give_up(&self, router: &str) {
        let claims = self.claims.borrow_mut().remove(router);
        let_go(claims).await;
    }
}

/// The kernel waits for all processors.
async fn let_go(claims: Option<(Claim, Claims)>) {
    if claims.is_some() {
        // One that panicked is over as well.
        let _ = spawn_blocking(move || drop(claims)).await;
    }
}
