//! Every id of the core: none is used twice within a mirror.

/// A slot of the chain. Slots compare only within one commitment, and a mirror has one.
pub type Slot = u64;

/// Endpoints a mirror can have.
pub const MAX_ENDPOINTS: usize = 4;

/// A node that the mirror was given, in the order given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u8);

/// A place for a connection in the mirror, fixed when it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

/// One life of one connection. Never used twice within a mirror, so whatever carries the generation of
/// a dead connection can match nothing that lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    pub link: LinkId,
    /// 0 before the first connect.
    pub life: u32,
}

/// Tells one watch of an address from a later one of the same address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// Names a caller's ask. Never used twice within a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Names a claim on an account. Never used twice within a mirror; later claims have greater names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimId(pub u64);

/// Names a trade: a hold from when it is reserved, or a buy. Never used twice within a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TradeId(pub u64);
