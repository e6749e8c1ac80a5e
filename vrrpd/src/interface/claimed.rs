//! What interfaces have to say of addresses that are reached at another MAC address than their own, while a router of ours
//! is Master.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use tokio::task::spawn_blocking;

use crate::datapath::claims::{Claim, Claims};
use crate::guardian::copies::Keeper;

/// What is claimed, by router and interface.
#[derive(Debug)]
pub(super) struct Claimed {
    keeper: Keeper,
    claims: RefCell<BTreeMap<(String, u32), (Claim, Claims)>>,
}

impl Claimed {
    /// Nothing yet.
    pub(super) const fn new(keeper: Keeper) -> Self {
        Self { keeper, claims: RefCell::new(BTreeMap::new()) }
    }

    /// Has this claimed for a router; without addresses nothing.
    pub(super) async fn claim(&self, router: &str, claim: Claim) -> io::Result<()> {
        let key = (router.to_owned(), claim.index);
        if claim.addresses.is_empty() {
            let before = self.claims.borrow_mut().remove(&key);
            let_go(before).await;
            return Ok(());
        }
        if self.claims.borrow().get(&key).is_some_and(|(known, _)| *known == claim) {
            return Ok(());
        }
        let (router, wanted, keeper) = (key.0.clone(), claim.clone(), self.keeper.clone());
        let attached = spawn_blocking(move || Claims::attach(&router, &wanted, &keeper)).await;
        let claims = attached
            .map_err(io::Error::other)?
            .map_err(|refusal| io::Error::new(io::ErrorKind::Unsupported, refusal))?;
        let before = self.claims.borrow_mut().insert(key, (claim, claims));
        let_go(before).await;
        Ok(())
    }

    /// Ends what is claimed for a router.
    pub(super) async fn give_up(&self, router: &str) {
        let claims: Vec<_> =
            self.claims.borrow_mut().extract_if(.., |(whose, _), _| whose == router).collect();
        let_go(claims).await;
    }
}

/// The kernel waits for all processors.
async fn let_go<T: Send + 'static>(claims: impl IntoIterator<Item = T>) {
    let claims: Vec<T> = claims.into_iter().collect();
    if !claims.is_empty() {
        // One that panicked is over as well.
        let _ = spawn_blocking(move || drop(claims)).await;
    }
}
