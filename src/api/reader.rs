//! The reader of one account, and what it returns.

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

/// Where a balance came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServedFrom {
    /// Memory, without waiting for anything.
    Cache,
    /// An RPC call, or an observation that arrived while the call was under way.
    Rpc,
}

/// A balance that meets the query it was read with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Balance {
    /// The account's state.
    pub state: AccountState,
    /// The reading that the state was taken from, with its evidence.
    pub reading: Reading,
    /// Where the balance came from.
    pub served_from: ServedFrom,
}

/// Reads one account, wait-free and without a lookup. Keep it where you trade the account.
///
/// A reader may outlive its mirror; it is stale from then on.
#[derive(Clone, Debug)]
pub struct Reader {
    entry: Arc<Entry>,
    store: Arc<Store>,
}

/// Measures how long a caller waits; dropping it records the time.
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

    /// Counts a read as a hit (memory served it) or a miss.
    pub(crate) fn count(&self, hit: bool) {
        if hit { self.entry.counters.hits.add(1) } else { self.entry.counters.misses.add(1) }
    }

    /// Counts a read that falls back to RPC.
    pub(crate) fn count_fallback(&self) {
        self.entry.counters.fallbacks.add(1);
        self.store.stats.fallbacks.add(1);
    }

    /// Starts to measure a caller's wait. The wait ends, and is counted, when the timer is dropped.
    pub(crate) fn waiting(&self) -> WaitTimer<'_> {
        WaitTimer { reader: self, since: self.store.clock.now() }
    }

    /// The account's address.
    pub fn address(&self) -> Pubkey {
        self.entry.address
    }

    /// The current time on the mirror's clock.
    pub(crate) fn now(&self) -> Tick {
        self.store.clock.now()
    }

    /// The counts of the account since it was first watched.
    pub fn stats(&self) -> TokenStats {
        TokenStats::of(&self.entry, &self.store)
    }

    /// What memory holds now. Not counted as a hit or a miss.
    pub fn read(&self) -> Reading {
        self.store.read(&self.entry)
    }

    /// What memory holds now, if it was proved at most `max_age` ago. This is the read for the sell
    /// path. It counts as a hit or a miss.
    ///
    /// # Errors
    /// Memory holds nothing proved that recently. Call [`Mirror::balance`](crate::Mirror::balance),
    /// which falls back to RPC.
    pub fn fresh(&self, max_age: Duration) -> Result<Balance, StaleError> {
        let served = self.balance_of(self.read(), &ReadQuery::max_age(max_age), None, ServedFrom::Cache);
        self.count(served.is_ok());
        served
    }

    /// What can be sold now, if it was proved at most `max_age` ago, or why nothing can. Reads
    /// memory, wait-free and without a lookup. Counts as a hit or a miss, like
    /// [`fresh`](Reader::fresh). The usual `max_age` is
    /// [`Mirror::selling_age`](crate::Mirror::selling_age).
    ///
    /// # Errors
    /// Memory is stale (call [`Mirror::balance`](crate::Mirror::balance), then
    /// [`Balance::sellable`]), or the list of everything that keeps the balance from being sold.
    pub fn sellable(&self, max_age: Duration) -> Result<Sellable, Unsellable> {
        let reading = self.read();
        let state = reading.proved(max_age, reading.taken);
        self.count(state.is_ok());
        reading.judge(state?).map_err(Unsellable::Blocked)
    }

    /// Waits until a live link proves the account. Cancel safe.
    ///
    /// # Errors
    /// The deadline passes first, or the account is no longer watched.
    pub async fn ready(&self, deadline: Duration) -> Result<Reading, WaitError> {
        self.wait_for(Reading::is_live, deadline).await
    }

    /// Waits for a reading for which `predicate` is true, and returns it. The predicate is checked
    /// at once, at each change of the record, and at each canary. This makes no RPC call: while the
    /// link is down, it sees only what other callers' RPC calls bring. Cancel safe.
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

    /// Waits until `check` returns a value. Fails when the account is no longer watched or the
    /// mirror has shut down.
    pub(crate) async fn until<T>(&self, mut check: impl FnMut(&Self) -> Option<T>) -> Result<T, StaleError> {
        loop {
            // Register for the notifications before checking, so that a change in between is not
            // missed.
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
    /// The slot as of which the balance is known.
    pub fn as_of(&self) -> Option<Slot> {
        self.reading.as_of()
    }

    /// What can be sold of this balance, and the risks of that: see
    /// [`SellObstacle`](crate::SellObstacle) and [`SellWarning`](crate::SellWarning).
    ///
    /// # Errors
    /// The list of everything that keeps the balance from being sold.
    pub fn sellable(&self) -> Result<Sellable, SellObstacles> {
        self.reading.judge(&self.state)
    }
}
