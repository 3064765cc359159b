//! Finds and watches what a wallet holds: at start, after a restart in the middle of a trade, and
//! when tokens arrive unrequested.

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

/// The shortest interval at which a wallet may be searched.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// What [`Mirror::adopt`](crate::Mirror::adopt) found.
#[derive(Clone, Debug)]
#[must_use = "it names what could not be watched"]
#[non_exhaustive]
pub struct AdoptedWallet {
    /// The accounts that hold tokens; the mirror watches all of them. None of these positions has a
    /// baseline.
    pub positions: Vec<Position>,
    /// The slot as of which the node searched the wallet.
    pub slot: Slot,
    /// How many of these accounts the mirror did not watch before.
    pub newly_watched: usize,
    /// Accounts that hold tokens but could not be watched: the mirror is full, or it already
    /// watches the account with other expectations.
    pub left_out: Vec<LeftOutAccount>,
}

impl Mirror {
    /// Finds every token account of a wallet that holds tokens, and watches it. Searches both token
    /// programs and accounts at any address (not only ATAs). Use it at start, or after a restart in
    /// the middle of a trade. Accounts that are already watched stay as they are; empty accounts
    /// are ignored.
    ///
    /// The search takes three RPC calls to one node. If that node is behind what the mirror knows,
    /// the search waits for it to catch up, then asks the next node. The accounts become live a
    /// moment later, as after [`watch`](Mirror::watch). Wrapped SOL is a token account like any
    /// other.
    ///
    /// Holds do not survive a restart of the process, but a sell sent before it may land until its
    /// last valid block height. Before you sell those tokens again, wait until that height has
    /// passed, or ask RPC for the statuses of the sells you sent.
    ///
    /// Cancel safe: accounts that were already found stay watched.
    ///
    /// # Errors
    /// No node answered what the wallet holds, or none is able to. An account that was found but
    /// cannot be watched is not an error: [`AdoptedWallet::left_out`] lists it.
    #[doc(alias = "getTokenAccountsByOwner")]
    pub async fn adopt(&self, wallet: &Pubkey) -> Result<AdoptedWallet, AdoptError> {
        let Search { slot, watched, newly_watched, left_out } =
            self.inner.running.wallet_search.adopt(wallet).await?;
        let position = |(entry, holding): (Arc<Entry>, Holding)| {
            self.position_at(self.reader_of(entry), wallet, &holding.mint, holding.program)
        };
        Ok(AdoptedWallet {
            positions: watched.into_iter().map(position).collect(),
            slot,
            newly_watched,
            left_out,
        })
    }

    /// [`adopt`](Mirror::adopt)s a wallet now, and again at each interval, in the background, to
    /// find tokens that arrive unrequested. The task logs what it finds and ends with the mirror.
    /// While nodes fail or refuse, it waits longer and longer, up to a minute or the interval. If
    /// you call this again for the same wallet, the new interval replaces the old one. The interval
    /// is at least 100 ms.
    ///
    /// If you unwatch an account that still holds tokens, the next search finds and watches it
    /// again.
    pub fn keep_adopting(&self, wallet: &Pubkey, every: Duration) {
        let wallet_search = &self.inner.running.wallet_search;
        let every = every.max(SHORTEST_INTERVAL);
        let task = self
            .inner
            .running
            .spawn("wallet search", |stop| wallet_search.clone().run(*wallet, every, seed(), stop));
        wallet_search.keep(*wallet, task);
    }
}
