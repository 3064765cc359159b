//! Which chain each endpoint is on, and which one the mirror is on.

use crate::core::base::ids::EndpointId;

/// A chain's genesis hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Genesis(pub [u8; 32]);

/// How an endpoint's genesis hash compares with the mirror's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainVerdict {
    /// The first hash that any endpoint reports: it becomes the mirror's chain.
    First,
    /// The mirror's chain.
    Same,
    /// Another chain, but not every endpoint reports it: ignore this endpoint.
    Foreign,
    /// Another chain, reported by every endpoint: it becomes the mirror's chain.
    Reset,
}

/// The genesis hashes that the endpoints report.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Chains {
    mirror: Option<Genesis>,
    told: Vec<Option<Genesis>>,
}

impl Chains {
    pub(super) fn new(endpoints: usize) -> Self {
        Self { mirror: None, told: vec![None; endpoints] }
    }

    pub(super) fn hear(&mut self, endpoint: EndpointId, genesis: Genesis) -> ChainVerdict {
        if let Some(told) = self.told.get_mut(usize::from(endpoint.0)) {
            *told = Some(genesis);
        }
        let Some(mirror) = self.mirror else {
            self.mirror = Some(genesis);
            return ChainVerdict::First;
        };
        // One endpoint's name may lead to a stranger's node, so its report alone cannot overrule an
        // endpoint that has not reported yet.
        let all_agree = self.told.iter().all(|told| *told == Some(genesis));
        if mirror == genesis {
            ChainVerdict::Same
        } else if all_agree {
            self.mirror = Some(genesis);
            ChainVerdict::Reset
        } else {
            ChainVerdict::Foreign
        }
    }

    pub(super) fn is_foreign(&self, endpoint: EndpointId) -> bool {
        let told = self.told.get(usize::from(endpoint.0)).copied().flatten();
        told.is_some() && told != self.mirror
    }
}
