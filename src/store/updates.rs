//! The bounded stream of updates.

use futures::Stream;
use solana_pubkey::Pubkey;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::core::{
    account::{observation::StateOrigin, record::Record},
    base::ids::Slot,
    chain::state::AccountState,
    engine::events::EngineEvent,
};

/// An account's state changed, or was seen for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountUpdate {
    /// The account.
    pub address: Pubkey,
    /// Its state now.
    pub state: AccountState,
    /// The slot at which this state was observed.
    pub slot: Slot,
    /// The source that showed it.
    pub origin: StateOrigin,
    /// How many times the state has changed since the watch began, including this change.
    pub revision: u64,
}

/// The state of an account in the processed bank, ahead of what is confirmed. It may be on a fork
/// that is later abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessedUpdate {
    /// The account.
    pub address: Pubkey,
    /// Its state in the processed bank.
    pub state: AccountState,
    /// The slot at which this state was observed.
    pub slot: Slot,
}

impl AccountUpdate {
    fn new(address: Pubkey, record: &Record) -> Self {
        Self {
            address,
            state: record.state,
            slot: record.slot,
            origin: record.source.into(),
            revision: record.revision,
        }
    }
}

/// What [`MirrorUpdates`] yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MirrorUpdate {
    /// An account changed.
    Account(AccountUpdate),
    /// The processed view of an account changed. Only with
    /// [`MirrorBuilder::processed`](crate::MirrorBuilder::processed).
    Processed(ProcessedUpdate),
    /// What the processed view showed of an account was never confirmed: its fork was abandoned, or
    /// the account was written again first. The account's last [`Account`](MirrorUpdate::Account)
    /// state still stands.
    Reverted {
        /// The account.
        address: Pubkey,
    },
    /// The chain began anew, or was set back, on every node. Slots have a new order, and the mirror
    /// reads and subscribes every account anew. Until then it serves no reads.
    Reset {
        /// The number of resets so far.
        epoch: u32,
    },
    /// The consumer was too slow, and this many updates were overwritten. The mirror still holds
    /// the current state of every account.
    Missed(u64),
}

impl MirrorUpdate {
    /// The update that listeners get for an engine event, if any.
    pub(crate) fn of(event: &EngineEvent) -> Option<Self> {
        match event {
            EngineEvent::Changed { address, record } => {
                Some(Self::Account(AccountUpdate::new(*address, record)))
            }
            EngineEvent::Overlaid { address, shown } => Some(Self::Processed(ProcessedUpdate {
                address: *address,
                state: shown.state,
                slot: shown.slot,
            })),
            EngineEvent::Reverted { address } => Some(Self::Reverted { address: *address }),
            EngineEvent::Reset { epoch } => Some(Self::Reset { epoch: *epoch }),
            _ => None,
        }
    }
}

/// Every update of every watched account from the call of [`updates`](crate::Mirror::updates) on.
#[derive(Debug)]
pub struct MirrorUpdates(pub(crate) broadcast::Receiver<MirrorUpdate>);

impl MirrorUpdates {
    /// Returns the next update, or `None` once the mirror has shut down. Cancel safe.
    pub async fn next(&mut self) -> Option<MirrorUpdate> {
        match self.0.recv().await {
            Ok(update) => Some(update),
            Err(RecvError::Lagged(missed)) => Some(MirrorUpdate::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }

    /// Turns this into a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = MirrorUpdate> + Send {
        futures::stream::unfold(self, async |mut updates| Some((updates.next().await?, updates)))
    }
}
