//! The ids of the core. None is used twice within a mirror.

/// A slot of the chain. Slots can be compared only within one commitment; a mirror has exactly one.
pub type Slot = u64;

/// The most endpoints that a mirror can have.
pub const MAX_ENDPOINTS: usize = 4;

/// A node configured for the mirror, numbered in the order given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u8);

/// A place for one connection of the mirror, fixed when the mirror starts. Each reconnect begins a
/// new [`Generation`] of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

/// One connection of a link, from connect to disconnect. Never used twice within a mirror, so a
/// message that carries the generation of a closed connection never matches an open one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    pub link: LinkId,
    /// 0 before the first connect.
    pub life: u32,
}

/// Distinguishes one watch of an address from a later watch of the same address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// Identifies a caller's ask. Never used twice within a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Identifies a claim on an account. Never used twice within a mirror; later claims have greater
/// ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimId(pub u64);

/// Identifies a trade: a buy, or a hold from the moment it is reserved. Never used twice within a
/// mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TradeId(pub u64);
