//! Tokens set aside for one strategy's sell until the outcome of the sell is known.

use std::{fmt, sync::Arc, time::Duration};

use solana_pubkey::Pubkey;
use solana_signature::Signature;

pub use crate::core::trade::holds::HoldError;
use crate::{
    api::{mirror::Mirror, reader::Reader},
    core::{
        account::{freshness::StaleReason, reading::Floor},
        base::ids::{Slot, TradeId},
        trade::signatures::TradeOutcome,
    },
    error::WaitError,
    store::{OutcomeReceiver, SharedWriter},
};

impl Mirror {
    /// Sets aside an `amount` of a watched account's tokens for a sell, as a raw amount. No other
    /// hold can get the same tokens, however many strategies hold at once. Memory must be fresh
    /// under [`selling_age`](Mirror::selling_age); this makes no RPC call.
    ///
    /// # Errors
    /// Memory is stale, the account is not watched or cannot sell, or fewer tokens are available.
    pub fn hold(&self, address: &Pubkey, amount: u64) -> Result<Hold, HoldError> {
        self.hold_of(address, Some(amount))
    }

    /// Sets aside all tokens of a watched account that are available. A hold of zero tokens is
    /// never returned.
    ///
    /// # Errors
    /// As [`hold`](Mirror::hold); also if no tokens are available.
    pub fn hold_all(&self, address: &Pubkey) -> Result<Hold, HoldError> {
        self.hold_of(address, None)
    }

    fn hold_of(&self, address: &Pubkey, amount: Option<u64>) -> Result<Hold, HoldError> {
        let inner = &*self.inner;
        let reader = self.reader(address).ok_or(HoldError::NotWatched { address: *address })?;
        let (id, amount) = inner.running.shared.lock().hold(address, amount, inner.selling_age)?;
        Ok(Hold::new(inner.running.shared.clone(), reader, id, amount))
    }
}

/// Tokens of one account that are set aside: no other hold gets them. Dropping the hold frees them.
///
/// Call [`sending`](Hold::sending) with the sell's signature *before* the sell is sent.
#[must_use = "dropping a hold frees its tokens"]
pub struct Hold {
    shared: Arc<SharedWriter>,
    reader: Reader,
    id: TradeId,
    amount: u64,
    /// The sell is in flight, so dropping the hold frees nothing.
    sent: bool,
}

impl Hold {
    pub(crate) fn new(shared: Arc<SharedWriter>, reader: Reader, id: TradeId, amount: u64) -> Self {
        Self { shared, reader, id, amount, sent: false }
    }

    /// How many tokens are held, as a raw amount.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// The account.
    pub fn address(&self) -> Pubkey {
        self.reader.address()
    }

    /// Records that the sell is about to be sent. From now on its tokens become free only once the
    /// sell has failed or can no longer land; if it lands, they are gone. Call this before you
    /// send: the mirror could hand out the same tokens again for a sell it does not know of.
    ///
    /// `last_valid_block_height` is the one that came with the transaction's blockhash. (A
    /// transaction with a durable nonce has none; give `u64::MAX` for it. It then ends only when it
    /// lands, when it fails, or when you report its end.)
    #[doc(alias = "blockhash")]
    pub fn sending(mut self, signature: Signature, last_valid_block_height: u64) -> InFlight {
        self.sent = true;
        let outcome = self.shared.lock().sending(self.id, signature, last_valid_block_height);
        InFlight {
            shared: self.shared.clone(),
            reader: self.reader.clone(),
            id: self.id,
            amount: self.amount,
            signature,
            last_valid_block_height,
            outcome,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.sent {
            self.shared.lock().release(self.id);
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("address", &self.address()).field("amount", &self.amount).finish()
    }
}

/// A sell under way. Dropping it frees nothing: the mirror keeps following the sell until its
/// outcome is known.
///
/// If you know how the sell ended, report it with [`landed`](InFlight::landed),
/// [`failed`](InFlight::failed) or [`not_sent`](InFlight::not_sent). Otherwise the mirror finds out
/// by RPC, and [`outcome`](InFlight::outcome) returns it.
#[must_use = "say how the sell ended, or wait for its outcome"]
pub struct InFlight {
    shared: Arc<SharedWriter>,
    reader: Reader,
    id: TradeId,
    amount: u64,
    signature: Signature,
    last_valid_block_height: u64,
    outcome: OutcomeReceiver,
}

/// How a sell ended, as the mirror found out by RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SellOutcome {
    /// The sell landed at this slot: its tokens are gone.
    Landed {
        /// The slot.
        slot: Slot,
    },
    /// The sell failed on chain at this slot: its tokens are free, and the balance is in doubt
    /// until RPC confirms it.
    Failed {
        /// The slot.
        slot: Slot,
    },
    /// The sell did not land and can no longer land: its tokens are free.
    Expired {
        /// The last block height at which it could have landed.
        last_valid_block_height: u64,
    },
}

impl InFlight {
    /// How many tokens it sells, as a raw amount.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// The account.
    pub fn address(&self) -> Pubkey {
        self.reader.address()
    }

    /// The sell's signature.
    pub fn signature(&self) -> Signature {
        self.signature
    }

    /// Reports that the sell landed at that slot. Its tokens are gone for good, and no read returns
    /// the account as of an earlier slot. The rest can be held and sold at once.
    #[doc(alias = "minContextSlot")]
    pub fn landed(self, landed_at: Floor) {
        self.shared.lock().landed(self.id, &self.reader.address(), landed_at.slot());
    }

    /// Reports that the sell failed on chain at that slot. Its tokens are free, and what memory
    /// holds of the account is in doubt, as after [`Mirror::invalidate`](crate::Mirror::invalidate)
    /// with that floor.
    #[doc(alias = "minContextSlot")]
    pub fn failed(self, failed_at: Floor) {
        self.shared.lock().failed(self.id, &self.reader.address(), failed_at.slot());
    }

    /// Reports that the sell was never sent, or that the node's preflight refused it. Its tokens
    /// are free.
    ///
    /// Call this only if the transaction certainly reached no leader: a send that timed out may
    /// still land.
    pub fn not_sent(self) {
        self.shared.lock().not_sent(self.id);
    }

    /// Waits for the outcome that the mirror itself finds by RPC. Cancel safe.
    ///
    /// The mirror has acted on it already: there is nothing more to report.
    ///
    /// # Errors
    /// The deadline passes first, or the mirror has shut down.
    pub async fn outcome(&self, deadline: Duration) -> Result<SellOutcome, WaitError> {
        let address = self.address();
        let found = tokio::time::timeout(deadline, self.found()).await;
        match found {
            Ok(found) => found.ok_or(WaitError::Ended { address, why: StaleReason::Stopped }),
            Err(_) => Err(WaitError::Deadline { address, deadline }),
        }
    }

    /// `None` if the mirror has shut down.
    async fn found(&self) -> Option<SellOutcome> {
        let found = *self.outcome.clone().wait_for(Option::is_some).await.ok()?;
        match found? {
            TradeOutcome::Landed { slot } => Some(SellOutcome::Landed { slot }),
            TradeOutcome::Failed { slot } => Some(SellOutcome::Failed { slot }),
            TradeOutcome::Expired { slot } => {
                // Return only once its tokens are free, or the account is no longer watched.
                let _ =
                    self.reader.until(|reader| reader.read().as_of().filter(|as_of| *as_of >= slot)).await;
                let last_valid_block_height = self.last_valid_block_height;
                Some(SellOutcome::Expired { last_valid_block_height })
            }
        }
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight")
            .field("address", &self.address())
            .field("amount", &self.amount)
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}
