//! What goes into the engine and what comes out of it.

use solana_pubkey::Pubkey;
use solana_signature::Signature;

use crate::core::{
    account::{observation::ObservedVia, overlay::Shown, record::Record},
    base::{
        failure::RpcFailure,
        ids::{EndpointId, Slot},
        time::Tick,
    },
    chain::{mint::MintInfo, token::Presence},
    link::websocket::SessionEvent,
    trade::signatures::TradeOutcome,
};

/// What happened on a connection.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all of them are the large one, on the way from a stack to a stack"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LinkEvent {
    /// It is open; with the genesis hash that the endpoint's RPC tells, if it does.
    Connected { genesis: Option<[u8; 32]> },
    /// The connect failed, or the connection is gone.
    Lost,
    /// Anything else: only the connection's session understands it.
    Session(SessionEvent),
}

impl From<SessionEvent> for LinkEvent {
    fn from(event: SessionEvent) -> Self {
        Self::Session(event)
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It feeds the mirror at its own commitment.
    Mirror,
    /// It shows the processed bank: hints, and no proof of anything.
    Processed,
}

/// What a call came back with, from one bank.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallAnswer {
    pub slot: Slot,
    /// When the request was sent: what the answer says was true no earlier.
    pub sent: Tick,
    /// Wall time at its arrival less the chain's Clock.
    pub lag_ms: i64,
    /// In the order of the call; each for itself what is wrong with it.
    pub accounts: Vec<Result<Presence, RpcFailure>>,
    /// In the order of the call; `None` where there is no mint.
    pub mints: Vec<Option<MintInfo>>,
}

/// Something that was decided, for those who count, log and listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EngineEvent {
    /// An account's state changed, or was seen for the first time.
    Changed { address: Pubkey, record: Record },
    /// Older than what was known.
    Superseded,
    /// Sources contradict each other over an account; who spoke last, and against whom.
    Disputed { address: Pubkey, by: ObservedVia, against: ObservedVia },
    /// An endpoint's subscription passed in silence a change that another source showed.
    Missed { address: Pubkey, endpoint: EndpointId },
    /// The processed view of an account changed.
    Overlaid { address: Pubkey, shown: Shown },
    /// What the processed view showed of an account did not come to be.
    Reverted { address: Pubkey },
    /// An endpoint's slots are ahead of what time allows: nothing that it says is taken for a while.
    Quarantined { endpoint: EndpointId, slot: Slot },
    /// An endpoint is on another chain than the mirror.
    Foreign { endpoint: EndpointId },
    /// Every endpoint is on a new chain, or set back: slots have a new order, and every record begins anew.
    Reset { epoch: u32 },
    /// A position that held nothing is no longer watched.
    Swept { address: Pubkey },
    /// A sell in flight ended, as the mirror found out by itself.
    SellEnded { address: Pubkey, amount: u64, signature: Signature, outcome: TradeOutcome },
    /// An endpoint is used from now on, or no more.
    Enabled { endpoint: EndpointId, enabled: bool },
}

/// Who is suspected of having missed a change of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suspects {
    /// The subscription at one endpoint.
    One(EndpointId),
    /// All of them: it is not known who is right.
    All,
}

/// Accounts that cannot be watched. None of the accounts of the call is watched anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The mirror's limit of accounts is reached.
    #[error("{limit} accounts are watched, the limit; unwatch some, or raise max_accounts")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The account is watched already, with other expectations.
    #[error("account {address} is watched with another mint, owner or program; unwatch it first")]
    Contradiction {
        /// The account.
        address: Pubkey,
    },
    /// The mirror has shut down.
    #[error("the mirror has shut down")]
    Stopped,
}
