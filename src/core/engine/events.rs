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
    /// The connection is open. `genesis` is the genesis hash that the endpoint's RPC returned, if
    /// it did.
    Connected { genesis: Option<[u8; 32]> },
    /// The connect failed, or the connection is gone.
    Lost,
    /// Anything else; only the connection's session understands it.
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
    /// Feeds the mirror at the mirror's own commitment.
    Mirror,
    /// Shows the processed bank: hints, which prove nothing.
    Processed,
}

/// The answer to a call, taken from one bank.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallAnswer {
    pub slot: Slot,
    /// When the request was sent: the answer was true at that moment or later.
    pub sent: Tick,
    /// Wall time at arrival less the chain's Clock.
    pub lag_ms: i64,
    /// In the order of the call. An account that failed carries its own error.
    pub accounts: Vec<Result<Presence, RpcFailure>>,
    /// In the order of the call. `None` means that there is no mint.
    pub mints: Vec<Option<MintInfo>>,
}

/// Something that the engine decided, for counters, logs and listeners.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EngineEvent {
    /// An account's state changed, or was seen for the first time.
    Changed { address: Pubkey, record: Record },
    /// An observation was older than what was known.
    Superseded,
    /// Sources contradict each other about an account: `by` reported last, `against` said
    /// otherwise.
    Disputed { address: Pubkey, by: ObservedVia, against: ObservedVia },
    /// Another source showed a change of which an endpoint's subscription sent no notification.
    Missed { address: Pubkey, endpoint: EndpointId },
    /// The processed view of an account changed.
    Overlaid { address: Pubkey, shown: Shown },
    /// What the processed view showed of an account was never confirmed.
    Reverted { address: Pubkey },
    /// An endpoint's slots are further ahead than time allows: the engine ignores everything from
    /// it for a while.
    Quarantined { endpoint: EndpointId, slot: Slot },
    /// An endpoint is on another chain than the mirror.
    Foreign { endpoint: EndpointId },
    /// Every endpoint is on a new chain, or its chain was set back: slots have a new order, and
    /// every record begins anew.
    Reset { epoch: u32 },
    /// A position that held nothing was swept: it is no longer watched.
    Swept { address: Pubkey },
    /// A sell in flight ended, as the mirror found out itself.
    SellEnded { address: Pubkey, amount: u64, signature: Signature, outcome: TradeOutcome },
    /// The engine starts using an endpoint, or stops.
    Enabled { endpoint: EndpointId, enabled: bool },
}

/// The subscriptions suspected of having missed a change of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suspects {
    /// The subscription at one endpoint.
    One(EndpointId),
    /// All of them: it is not known which source is right.
    All,
}

/// The accounts cannot be watched. The call added no watch for any of its accounts.
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
