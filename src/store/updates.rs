//! The bounded stream of changes.

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
    /// What it is now.
    pub state: AccountState,
    /// The slot at which that was observed.
    pub slot: Slot,
    /// Who said so.
    pub origin: StateOrigin,
    /// How often the state changed since the account is watched, this change included.
    pub revision: u64,
}

/// What the processed bank shows of an account, past what is confirmed. It may lie on a fork that is abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessedUpdate {
    /// The account.
    pub address: Pubkey,
    /// What it is there.
    pub state: AccountState,
    /// The slot at which that was observed.
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
    /// The processed view of an account changed. Only with [`MirrorBuilder::processed`](crate::MirrorBuilder::processed).
    Processed(ProcessedUpdate),
    /// What the processed view showed of an account did not come to be: a fork was abandoned, or the
    /// account was written again before it was confirmed. Its [`Account`](MirrorUpdate::Account) state stands.
    Reverted {
        /// The account.
        address: Pubkey,
    },
    /// The chain began anew, or was set back, on every node: slots have a new order, and every account is read and
    /// subscribed anew. Until then nothing is served.
    Reset {
        /// Counts the resets.
        epoch: u32,
    },
    /// The consumer was too slow: so many updates were overwritten. The accounts' own state is in the
    /// mirror all the same.
    Missed(u64),
}

impl MirrorUpdate {
    /// What a note means to listeners, if anything.
    pub(crate) fn of(note: &EngineEvent) -> Option<Self> {
        match note {
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

/// Every change of every watched account, from the call of [`updates`](crate::Mirror::updates) on.
#[derive(Debug)]
pub struct MirrorUpdates(pub(crate) broadcast::Receiver<MirrorUpdate>);

impl MirrorUpdates {
    /// The next update; `None` once the mirror has shut down. Cancel safe.
    pub async fn next(&mut self) -> Option<MirrorUpdate> {
        match self.0.recv().await {
            Ok(update) => Some(update),
            Err(RecvError::Lagged(missed)) => Some(MirrorUpdate::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The same as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = MirrorUpdate> + Send {
        futures::stream::unfold(self, async |mut updates| Some((updates.next().await?, updates)))
    }
}
