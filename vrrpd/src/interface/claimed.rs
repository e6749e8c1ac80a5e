//! Classifiers that correct what interfaces say of addresses with another MAC address, while our router is Master.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use tokio::task::spawn_blocking;

use crate::datapath::claims::{Claim, Claims};
use crate::guardian::copies::Keeper;

/// The classifiers, by router and interface.
#[derive(Debug)]
pub(super) struct Claimed {
    keeper: Keeper,
    claims: RefCell<BTreeMap<(String, u32), (Claim, Claims)>>,
}

impl Claimed {
    /// None yet.
    pub(super) const fn new(keeper: Keeper) -> Self {
        Self { keeper, claims: RefCell::new(BTreeMap::new()) }
    }

    /// Loads the classifiers of a router; none without addresses.
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

    /// Removes the classifiers of a router.
    pub(super) async fn give_up(&self, router: &str) {
        let claims: Vec<_> =
            self.claims.borrow_mut().extract_if(.., |(whose, _), _| whose == router).collect();
        let_go(claims).await;
    }
}

/// Blocks, since the kernel waits for all processors.
async fn let_go<T: Send + 'static>(claims: impl IntoIterator<Item = T>) {
    let claims: Vec<T> = claims.into_iter().collect();
    if !claims.is_empty() {
        // A task that panicked has ended, too.
        let _ = spawn_blocking(move || drop(claims)).await;
    }
}
