//! Trading as a part of the engine: positions, the buys into them, and the transactions that are
//! followed.

use std::{collections::VecDeque, time::Duration};

use crate::core::{
    base::{ids::TradeId, time::Tick},
    trade::{
        positions::Positions,
        signatures::{Signatures, TradeOutcome},
    },
};

/// The state of trading: positions and the buys into them, and the transactions that are followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Trading {
    pub(super) positions: Positions,
    pub(super) signatures: Signatures,
    last_trade: u64,
    /// How followed transactions ended, to be reported.
    pub(super) outcomes: VecDeque<(TradeId, TradeOutcome)>,
}

impl Trading {
    pub(super) fn new(linger: Duration) -> Self {
        Self {
            positions: Positions::new(linger),
            signatures: Signatures::default(),
            last_trade: 0,
            outcomes: VecDeque::new(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Tick> {
        let due = [self.positions.next_deadline(), self.signatures.next_deadline()];
        due.into_iter().flatten().min()
    }

    pub(super) fn new_trade(&mut self) -> TradeId {
        self.last_trade += 1;
        TradeId(self.last_trade)
    }
}
