//! Adopting what a wallet holds: at start, after a restart in the middle of a trade, and what arrives uninvited.

use std::{sync::Arc, time::Duration};

use solana_pubkey::Pubkey;

use crate::{
    api::{mirror::Mirror, trade::position::Position},
    core::base::ids::Slot,
    error::AdoptError,
    runtime::{
        start::seed,
        wallet_search::{LeftOutAccount, Search},
    },
    sources::rpc::wallet::Holding,
    store::Entry,
};

/// How often a wallet may be searched.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// What [`Mirror::adopt`](crate::Mirror::adopt) found.
#[derive(Clone, Debug)]
#[must_use = "it names what could not be watched"]
#[non_exhaustive]
pub struct AdoptedWallet {
    /// The accounts that hold something, all of them watched. None of these positions has a baseline.
    pub positions: Vec<Position>,
    /// The slot as of which the wallet was searched.
    pub slot: Slot,
    /// How many of them were not watched before.
    pub fresh: usize,
    /// What holds something and is not watched for all that: there was no room, or other expectations are held.
    pub left_out: Vec<LeftOutAccount>,
}

impl Mirror {
    /// Finds every token account of a wallet that holds something, under both token programs and whatever its
    /// address, and watches it: at start, say, or after a restart in the middle of a trade. What is watched already
    /// stays as it is. Empty accounts are left alone.
    ///
    /// It takes three RPC calls at one node; one that is behind what the mirror knows is waited for, then the
    /// next is asked. The accounts are live a moment later, as after [`watch`](Mirror::watch). Wrapped SOL is a token
    /// account like any other.
    ///
    /// Holds do not outlive the process: a sell that was sent before a restart may land until its last valid block
    /// height. Wait until that has passed, or ask for the statuses of what was sent, before selling those tokens anew.
    ///
    /// Cancel safe: what was found by then is watched.
    ///
    /// # Errors
    /// No node said what the wallet holds, or no node can. What was found and cannot be watched is no error:
    /// [`AdoptedWallet::left_out`] names it.
    pub async fn adopt(&self, wallet: &Pubkey) -> Result<AdoptedWallet, AdoptError> {
        let Search { slot, watched, fresh, left_out } =
            self.inner.running.wallet_search.adopt(wallet).await?;
        let position = |(entry, holding): (Arc<Entry>, Holding)| {
            self.position_at(self.reader_of(entry), wallet, &holding.mint, holding.program)
        };
        Ok(AdoptedWallet { positions: watched.into_iter().map(position).collect(), slot, fresh, left_out })
    }

    /// [`adopt`](Mirror::adopt)s a wallet now and at each interval, in the background, so that tokens which arrive
    /// uninvited are found. It ends with the mirror, logs what it finds, and waits longer and longer, up to a minute
    /// or the interval, while nodes fail or refuse. Said again of a wallet, the new interval replaces the old one.
    ///
    /// An account that you unwatch is found again while it holds tokens.
    pub fn keep_adopting(&self, wallet: &Pubkey, every: Duration) {
        let wallet_search = &self.inner.running.wallet_search;
        let every = every.max(SHORTEST_INTERVAL);
        let task = self
            .inner
            .running
            .spawn("discovery", |stop| wallet_search.clone().run(*wallet, every, seed(), stop));
        wallet_search.keep(*wallet, task);
    }
}
