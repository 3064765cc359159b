//! Which chain each endpoint is on, and which one the mirror is on.

use crate::core::base::ids::EndpointId;

/// A chain's genesis hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Genesis(pub [u8; 32]);

/// What an endpoint's genesis hash is to the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chain {
    /// The first that the mirror hears: it is the mirror's chain from now on.
    First,
    /// The mirror's.
    Same,
    /// Another chain, and not every endpoint has said so: not to be listened to.
    Foreign,
    /// Another chain, by the word of every endpoint: it is the mirror's from now on.
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

    pub(super) fn hear(&mut self, endpoint: EndpointId, genesis: Genesis) -> Chain {
        if let Some(told) = self.told.get_mut(usize::from(endpoint.0)) {
            *told = Some(genesis);
        }
        let Some(mirror) = self.mirror else {
            self.mirror = Some(genesis);
            return Chain::First;
        };
        // A stranger's node behind one name must not be believed against a witness that nobody has asked.
        let all_agree = self.told.iter().all(|told| *told == Some(genesis));
        if mirror == genesis {
            Chain::Same
        } else if all_agree {
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
