//! Which chain each endpoint is on, and which one the mirror is on.

use super::super::observation::EndpointId;

/// A chain's genesis hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Genesis(pub(crate) [u8; 32]);

/// What an endpoint's genesis hash is to the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Chain {
    /// The first that the mirror hears: it is the mirror's chain from now on.
    First,
    /// The mirror's.
    Same,
    /// Another chain, while an endpoint is on the mirror's, or the endpoints do not agree: not to be listened to.
    Foreign,
    /// Another chain, and nobody is on the mirror's any more: it is the mirror's chain from now on.
    Reset,
}

/// What the endpoints say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Chains {
    mirror: Option<Genesis>,
    told: Vec<Option<Genesis>>,
}

impl Chains {
    pub(super) fn new(endpoints: usize) -> Self {
        Self { mirror: None, told: vec![None; endpoints] }
    }

    /// An endpoint that is no longer in use holds the mirror on no chain.
    pub(super) fn forget(&mut self, endpoint: EndpointId) {
        if let Some(told) = self.told.get_mut(usize::from(endpoint.0)) {
            *told = None;
        }
    }

    pub(super) fn hear(&mut self, endpoint: EndpointId, genesis: Genesis) -> Chain {
        if let Some(told) = self.told.get_mut(usize::from(endpoint.0)) {
            *told = Some(genesis);
        }
        let Some(mirror) = self.mirror else {
            self.mirror = Some(genesis);
            return Chain::First;
        };
        let mut others = self.told.iter().flatten();
        if mirror == genesis {
            Chain::Same
        } else if others.all(|other| *other == genesis) {
            self.mirror = Some(genesis);
            Chain::Reset
        } else {
            Chain::Foreign
        }
    }

    pub(super) fn is_foreign(&self, endpoint: EndpointId) -> bool {
        let told = self.told.get(usize::from(endpoint.0)).copied().flatten();
        told.is_some() && told != self.mirror
    }
}
