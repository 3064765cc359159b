//! One account's reader, and what it serves.

use std::{pin::pin, sync::Arc, time::Duration};

use solana_pubkey::Pubkey;

use crate::{
    core::{
        account::{
            freshness::StaleError,
            reading::{ReadQuery, Reading},
            sellable::{SellObstacles, Sellable, Unsellable},
        },
        base::{ids::Slot, time::Tick},
        chain::state::AccountState,
    },
    error::WaitError,
    observability::token_stats::TokenStats,
    store::{Entry, Store},
};

/// From where a balance was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServedFrom {
    /// Memory, without waiting for anything.
    Cache,
    /// An RPC call, or what arrived while it was under way.
    Rpc,
}

/// A balance that meets the query it was read with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Balance {
    /// The account's state.
    pub state: AccountState,
    /// The reading it was taken from, with its evidence.
    pub reading: Reading,
    /// From where it was served.
    pub served_from: ServedFrom,
}

/// One account's reader: wait-free, without a lookup. Keep it where the account is traded.
///
/// It outlives its mirror, and is stale from then on.
#[derive(Clone, Debug)]
pub struct Reader {
    entry: Arc<Entry>,
    store: Arc<Store>,
}

/// A caller that waits.
#[derive(Debug)]
#[must_use]
pub(crate) struct WaitTimer<'a> {
    reader: &'a Reader,
    since: Tick,
}

impl Drop for WaitTimer<'_> {
    fn drop(&mut self) {
        let Store { clock, stats, .. } = &*self.reader.store;
        self.reader.entry.counters.waited(stats, clock.now().since(self.since));
    }
}

impl Reader {
    pub(crate) fn new(entry: Arc<Entry>, store: Arc<Store>) -> Self {
        Self { entry, store }
    }

    /// Counts a read that memory served, or did not.
    pub(crate) fn count(&self, hit: bool) {
        if hit { self.entry.counters.hits.add(1) } else { self.entry.counters.misses.add(1) }
    }

    /// Counts a read that RPC is asked for.
    pub(crate) fn count_fallback(&self) {
        self.entry.counters.fallbacks.add(1);
        self.store.stats.fallbacks.add(1);
    }

    /// A caller waits until this is dropped: counted then, however it ends.
    pub(crate) fn waiting(&self) -> WaitTimer<'_> {
        WaitTimer { reader: self, since: self.store.clock.now() }
    }

    /// The account's address.
    pub fn address(&self) -> Pubkey {
        self.entry.address
    }

    /// Now, on the mirror's clock.
    pub(crate) fn now(&self) -> Tick {
        self.store.clock.now()
    }

    /// What is counted of the account since it is watched.
    pub fn stats(&self) -> TokenStats {
        TokenStats::of(&self.entry, &self.store)
    }

    /// What memory holds now. Not counted as a hit or a miss.
    pub fn read(&self) -> Reading {
        self.store.read(&self.entry)
    }

    /// What memory holds now, if it was proved at most `max_age` ago: the sell path's read. Counted.
    ///
    /// # Errors
    /// It was not; ask [`Mirror::balance`](crate::Mirror::balance), which falls back to RPC.
    pub fn fresh(&self, max_age: Duration) -> Result<Balance, StaleError> {
        let served = self.balance_of(self.read(), &ReadQuery::max_age(max_age), None, ServedFrom::Cache);
        self.count(served.is_ok());
        served
    }

    /// What can be sold now, if that was proved at most `max_age` ago, else why nothing can: from memory, wait-free, without
    /// a lookup. Counted as [`fresh`](Reader::fresh) is. [`Mirror::selling_age`](crate::Mirror::selling_age) is the age
    /// meant for it.
    ///
    /// # Errors
    /// Memory is stale (ask [`Mirror::balance`](crate::Mirror::balance), and then
    /// [`Balance::sellable`]), or everything that keeps the balance from being sold.
    pub fn sellable(&self, max_age: Duration) -> Result<Sellable, Unsellable> {
        let reading = self.read();
        let state = reading.proved(max_age, reading.taken);
        self.count(state.is_ok());
        reading.judge(state?).map_err(Unsellable::Blocked)
    }

    /// Waits until a live link proves the account.
    ///
    /// # Errors
    /// The deadline passes first, or the account is no longer watched.
    pub async fn ready(&self, deadline: Duration) -> Result<Reading, WaitError> {
        self.wait_for(Reading::is_live, deadline).await
    }

    /// Waits for a reading of which `predicate` is true, and returns it. It is asked at once, at each change
    /// of the record, and at each canary. It makes no RPC call: while the link is down, it hears of what others
    /// ask RPC for. Cancel safe.
    ///
    /// # Errors
    /// The deadline passes first, or the account is no longer watched.
    pub async fn wait_for(
        &self,
        mut predicate: impl FnMut(&Reading) -> bool,
        deadline: Duration,
    ) -> Result<Reading, WaitError> {
        let reading = self.read();
        if predicate(&reading) {
            return Ok(reading);
        }
        let _waiting = self.waiting();
        let met = self.until(|reader| Some(reader.read()).filter(&mut predicate));
        match tokio::time::timeout(deadline, met).await {
            Ok(Ok(reading)) => Ok(reading),
            Ok(Err(stale)) => Err(WaitError::Ended { address: self.address(), why: stale.why }),
            Err(_) => Err(WaitError::Deadline { address: self.address(), deadline }),
        }
    }

    /// Waits until `check` gives something; fails when the account is no longer followed.
    pub(crate) async fn until<T>(&self, mut check: impl FnMut(&Self) -> Option<T>) -> Result<T, StaleError> {
        loop {
            // Listening before looking: what happens in between is not slept through.
            let mut changed = pin!(self.entry.changed.notified());
            let mut proved = pin!(self.store.proved.notified());
            changed.as_mut().enable();
            proved.as_mut().enable();
            if let Some(found) = check(self) {
                return Ok(found);
            }
            let reading = self.read();
            if let Some(why) = reading.ended {
                return Err(StaleError { address: self.address(), why, age: reading.age() });
            }
            tokio::select! {
                () = changed => {}
                () = proved => {}
            }
        }
    }

    pub(crate) fn meets(
        &self,
        query: &ReadQuery,
        asked: Tick,
        served_from: ServedFrom,
    ) -> Result<Balance, StaleError> {
        self.balance_of(self.read(), query, Some(asked), served_from)
    }

    fn balance_of(
        &self,
        reading: Reading,
        query: &ReadQuery,
        asked: Option<Tick>,
        served_from: ServedFrom,
    ) -> Result<Balance, StaleError> {
        let state = *reading.satisfies(query, asked.unwrap_or(reading.taken))?;
        Ok(Balance { state, reading, served_from })
    }
}

impl Balance {
    /// The slot as of which it is known.
    pub fn as_of(&self) -> Option<Slot> {
        self.reading.as_of()
    }

    /// What can be sold of it, with the risks of that: see [`SellObstacle`](crate::SellObstacle) and
    /// [`SellWarning`](crate::SellWarning).
    ///
    /// # Errors
    /// Everything that keeps it from being sold.
    pub fn sellable(&self) -> Result<Sellable, SellObstacles> {
        self.reading.judge(&self.state)
    }
}
