//! Reads that fall back to RPC when memory is stale.

use std::{pin::pin, time::Duration};

use solana_pubkey::Pubkey;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    api::{
        mirror::Mirror,
        reader::{Balance, Reader, ServedFrom},
    },
    core::{
        account::{freshness::StaleReason, reading::ReadQuery},
        base::{ids::AskId, time::Tick},
        rpc::scheduler::Ask,
    },
    error::{ReadError, RpcFailure},
    store::SharedWriter,
};

/// A caller's request to RPC; dropping it cancels the request.
struct Asked<'a> {
    shared: &'a SharedWriter,
    id: AskId,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.shared.lock().cancel(self.id);
    }
}

/// How soon the mirror asks RPC again if an answer did not meet the query: a quarter of a slot.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl Mirror {
    /// The balance of a watched account that meets a [`ReadQuery`], or simply a greatest age: from
    /// memory if that is fresh enough, else from RPC.
    ///
    /// Concurrent calls for one account share one RPC call, and several accounts share a call too.
    /// The mirror stores what RPC answers; a notification that arrives first, or with a later slot,
    /// wins. While a floor is not reached, the call waits for the link's next canaries and for RPC,
    /// whichever comes first.
    ///
    /// Cancel safe: dropping the future does not affect other callers.
    ///
    /// # Errors
    /// Memory is stale, and RPC failed, lags, or did not answer in time; or the account is not
    /// watched, too many reads wait, or the mirror has shut down. It never returns an old balance
    /// as a fresh one.
    #[doc(alias = "getTokenAccountBalance")]
    pub async fn balance(&self, address: &Pubkey, query: impl Into<ReadQuery>) -> Result<Balance, ReadError> {
        let query = query.into();
        let inner = &*self.inner;
        let entry = inner.running.store.entry(address).ok_or(ReadError::NotWatched { address: *address })?;
        let reader = self.reader_of(entry);
        let asked = inner.running.store.clock.now();
        if let Ok(balance) = reader.meets(&query, asked, ServedFrom::Cache) {
            reader.count(true);
            return Ok(balance);
        }
        reader.count(false);
        let _place = self.place()?;
        reader.count_fallback();
        let _waiting = reader.waiting();
        self.ask_until(&reader, &query, asked).await
    }

    /// Takes a place among the reads that may wait for RPC.
    fn place(&self) -> Result<OwnedSemaphorePermit, ReadError> {
        let limit = self.inner.max_pending;
        self.inner.pending.clone().try_acquire_owned().map_err(|_| ReadError::Busy { limit })
    }

    /// Asks RPC for an account, whatever memory holds. The mirror uses this itself; it does not
    /// count as a caller's read.
    pub(crate) async fn probe(&self, reader: &Reader, query: &ReadQuery) -> Result<Balance, ReadError> {
        let _place = self.place()?;
        self.ask_until(reader, query, self.inner.running.store.clock.now()).await
    }

    async fn ask_until(&self, reader: &Reader, query: &ReadQuery, asked: Tick) -> Result<Balance, ReadError> {
        let inner = &*self.inner;
        let deadline = query.deadline.unwrap_or(inner.read_deadline);
        let answer = tokio::time::timeout(deadline, self.fall_back(reader, query, asked)).await;
        answer.unwrap_or_else(|_| {
            let stale = reader.meets(query, asked, ServedFrom::Rpc);
            stale.map_err(|stale| ReadError::Deadline { stale, deadline })
        })
    }

    /// Asks RPC until memory meets the query, either by the answer or by what arrives meanwhile.
    async fn fall_back(&self, reader: &Reader, query: &ReadQuery, asked: Tick) -> Result<Balance, ReadError> {
        let inner = &*self.inner;
        let met = async {
            let met = reader.until(|reader| reader.meets(query, asked, ServedFrom::Rpc).ok()).await;
            met.map_err(|stale| match stale.why {
                StaleReason::Unwatched => ReadError::NotWatched { address: stale.address },
                _ => ReadError::Stopped,
            })
        };
        let mut met = pin!(met);
        loop {
            let ask = |reply| Ask {
                address: reader.address(),
                min_slot: query.floor.map_or(0, |floor| floor.slot()),
                not_before: asked.minus(query.max_age),
                urgent: true,
                reply,
                patience: inner.running.store.clock.now().plus(inner.rpc_timeout),
                avoid: None,
            };
            let asked_rpc = inner.running.shared.lock().ask(ask);
            let Ok((id, answer)) = asked_rpc else {
                return Err(ReadError::Busy { limit: inner.max_pending });
            };
            // If the caller drops the future, this cancels its request and frees its place.
            let _asked = Asked { shared: &inner.running.shared, id };
            let failure: Option<RpcFailure> = tokio::select! {
                biased;
                balance = &mut met => return balance,
                answer = answer => answer.map_err(|_| ReadError::Stopped)?.err(),
            };
            let stale = match reader.meets(query, asked, ServedFrom::Rpc) {
                Ok(balance) => return Ok(balance),
                Err(stale) => stale,
            };
            match failure {
                // Something newer overtook the answer, or the answer must come twice (absence at
                // finalized), or the chain has not reached the floor yet and the link may be the
                // first to see it there.
                None | Some(RpcFailure::Behind { .. }) => {}
                Some(_) if query.floor.is_some() && reader.read().is_live() => return met.await,
                Some(source) => return Err(ReadError::Rpc { stale, source }),
            }
            tokio::select! {
                biased;
                balance = &mut met => return balance,
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        }
    }
}
