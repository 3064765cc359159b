//! Tokens held for a sell: by one strategy alone, until the sell's end is known.

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
    store::{Outcome, SharedWriter},
};

impl Mirror {
    /// Sets tokens of a watched account aside for a sell: so many, as a raw amount. Held by one, they are available to
    /// nobody else, however many strategies hold at once. Memory must be fresh under the [`selling_age`](Mirror::selling_age);
    /// no RPC call is made.
    ///
    /// # Errors
    /// Memory is stale, the account cannot sell, or fewer tokens are available.
    pub fn hold(&self, address: &Pubkey, amount: u64) -> Result<Hold, HoldError> {
        self.hold_of(address, Some(amount))
    }

    /// Sets aside all tokens of a watched account that are available; never none.
    ///
    /// # Errors
    /// As [`hold`](Mirror::hold), and where nothing is available.
    pub fn hold_all(&self, address: &Pubkey) -> Result<Hold, HoldError> {
        self.hold_of(address, None)
    }

    fn hold_of(&self, address: &Pubkey, amount: Option<u64>) -> Result<Hold, HoldError> {
        let inner = &*self.inner;
        let reader = self.reader(address).ok_or(HoldError::NotWatched { address: *address })?;
        let (id, amount) = inner.shared.lock().hold(address, amount, inner.selling_age)?;
        Ok(Hold::new(inner.shared.clone(), reader, id, amount))
    }
}

/// Tokens of one account, set aside: no other hold gets them. Dropping it frees them.
///
/// Call [`sending`](Hold::sending) with the sell's signature *before* the sell is sent.
#[must_use = "dropping a hold frees its tokens"]
pub struct Hold {
    shared: Arc<SharedWriter>,
    reader: Reader,
    id: TradeId,
    amount: u64,
    /// It is in flight: dropping it frees nothing.
    sent: bool,
}

impl Hold {
    pub(crate) fn new(shared: Arc<SharedWriter>, reader: Reader, id: TradeId, amount: u64) -> Self {
        Self { shared, reader, id, amount, sent: false }
    }

    /// How many tokens, as a raw amount.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// The account.
    pub fn address(&self) -> Pubkey {
        self.reader.address()
    }

    /// The sell is about to be sent: from now on its tokens are free only once it has failed, landed, or can land no
    /// more. Call it before the send: a sell that was sent and is not known here could be sold twice.
    ///
    /// `last_valid_block_height` is the one that came with the transaction's blockhash. (A transaction with a durable
    /// nonce has none; for it, give `u64::MAX`: it then ends only by landing, failing, or your word.)
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

/// A sell under way. Dropping it frees nothing: the mirror goes on looking after it until its end is known.
///
/// Tell how it ended with [`landed`](InFlight::landed), [`failed`](InFlight::failed) or [`not_sent`](InFlight::not_sent) where
/// you know; else the mirror finds out by RPC, and [`outcome`](InFlight::outcome) says so.
#[must_use = "say how the sell ended, or wait for its outcome"]
pub struct InFlight {
    shared: Arc<SharedWriter>,
    reader: Reader,
    id: TradeId,
    amount: u64,
    signature: Signature,
    last_valid_block_height: u64,
    outcome: Outcome,
}

/// How a sell ended, as the mirror found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SellOutcome {
    /// It landed at this slot: its tokens are gone.
    Landed {
        /// The slot.
        slot: Slot,
    },
    /// It failed on chain at this slot: its tokens are free, and the balance is in doubt until RPC confirms it.
    Failed {
        /// The slot.
        slot: Slot,
    },
    /// It did not land and cannot any more: its tokens are free.
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

    /// It landed at that slot: its tokens are gone for good, and no read is served an account from before that slot.
    /// The rest can be held and sold at once.
    pub fn landed(self, landed: Floor) {
        self.shared.lock().sold(self.id, &self.reader.address(), landed.slot());
    }

    /// It failed on chain at that slot: its tokens are free, and what is known of the account is in doubt, as by
    /// [`Mirror::invalidate`](crate::Mirror::invalidate) with that floor.
    pub fn failed(self, landed: Floor) {
        self.shared.lock().failed(self.id, &self.reader.address(), landed.slot());
    }

    /// It never left: the node's preflight refused it, or it was not sent at all. Its tokens are free.
    ///
    /// Only for what surely reached no leader: a send that timed out may still land.
    pub fn not_sent(self) {
        self.shared.lock().refused(self.id);
    }

    /// Waits for what the mirror itself finds out by RPC. Cancel safe.
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

    /// `None` where the mirror has shut down.
    async fn found(&self) -> Option<SellOutcome> {
        let found = *self.outcome.clone().wait_for(Option::is_some).await.ok()?;
        match found? {
            TradeOutcome::Landed { slot } => Some(SellOutcome::Landed { slot }),
            TradeOutcome::Failed { slot } => Some(SellOutcome::Failed { slot }),
            TradeOutcome::Expired { slot } => {
                // Said when it is so that its tokens are free, or nobody follows the account any more.
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
