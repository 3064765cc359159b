//! The strategies that use a trader: two buy and sell, and one sells whatever it finds. They share
//! positions.

use std::{sync::Arc, time::Duration};

use balance_mirror::{AccountState, Position, Pubkey};
use localnet::Rng;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    ledger::Ledger,
    trade::{Bought, NotBought, Share, Trader, Venue},
};

/// Becomes true when no further trade may begin.
pub(crate) type Closing = watch::Receiver<bool>;

/// A strategy, and what it trades with.
pub(crate) struct Strategy<V> {
    pub(crate) name: &'static str,
    pub(crate) trader: Arc<Trader<V>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) closing: Closing,
    pub(crate) random: Rng,
}

impl<V: Venue> Strategy<V> {
    /// Buys, and sells all of it as soon as it has arrived.
    pub(crate) async fn flip(mut self, mint: Pubkey) {
        while self.rest(200..600).await {
            if let Some(Bought { position, .. }) = self.buy(&mint).await {
                self.sell(&position, Share::All).await;
            }
        }
    }

    /// Buys, and sells it in three parts.
    pub(crate) async fn ladder(mut self, mint: Pubkey) {
        while self.rest(200..600).await {
            let Some(Bought { position, .. }) = self.buy(&mint).await else { continue };
            for share in [Share::Third, Share::Half, Share::All] {
                self.sell(&position, share).await;
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Sells half of what it finds in any position, whichever strategy bought it: a stop-loss that
    /// coordinates with none of them.
    pub(crate) async fn stop_loss(mut self) {
        while self.rest(50..350).await {
            let mut positions = self.trader.mirror.positions();
            let holds = |position: &Position| {
                position.reader().read().last_known().and_then(AccountState::token_amount) > Some(0)
            };
            positions.retain(holds);
            let count = positions.len().max(1) as u64;
            let chosen = self.chance(count) as usize;
            if let Some(position) = positions.get(chosen) {
                self.sell(position, Share::Half).await;
            }
        }
    }

    async fn buy(&mut self, mint: &Pubkey) -> Option<Bought> {
        let amount = 1_000_000 * (1 + self.chance(5_000));
        let bought: Result<Bought, NotBought> = self.trader.buy(mint, amount).await;
        self.ledger.bought(self.name, mint, amount, &bought);
        bought.ok()
    }

    async fn sell(&mut self, position: &Position, share: Share) {
        let sold = self.trader.sell(position, share).await;
        self.ledger.sold(self.name, position, &sold);
    }

    /// Waits for this many milliseconds; returns `false` once no further trade may begin.
    async fn rest(&mut self, between: std::ops::Range<u64>) -> bool {
        let pause = between.start + self.chance(between.end - between.start);
        let pause = Duration::from_millis(pause);
        // The stop signal came, or its sender is gone.
        timeout(pause, self.closing.wait_for(|closing| *closing)).await.is_err()
    }

    /// A pseudo-random number below `end`.
    fn chance(&mut self, end: u64) -> u64 {
        self.random.next() % end.max(1)
    }
}
