//! Waits for a buy's tokens, which show by a notification, by the buy's landing, or by an RPC
//! answer.

use std::{pin::pin, time::Duration};

use solana_pubkey::Pubkey;
use solana_signature::Signature;
use tokio::sync::watch;

use crate::{
    api::{
        reader::{Balance, ServedFrom},
        trade::position::{OpenBuy, Position},
    },
    core::{
        account::{
            observation::StateOrigin,
            reading::{Floor, ReadQuery, Reading},
        },
        base::ids::{ClaimId, TradeId},
        trade::{
            buys::BuyVerdict,
            signatures::{TooManyTrades, TradeOutcome},
        },
    },
    error::{BuyLanding, SettleError},
    observability::log_target,
    store::SharedWriter,
};

/// The longest wait between two probes while no live link would notify the tokens.
const OFTEN: Duration = Duration::from_secs(4);
/// The wait between two probes while a live link would notify the tokens.
const SELDOM: Duration = Duration::from_secs(15);

/// What you know about a buy, for [`Position::settled`]. The minimum is required; give as much of
/// the rest as you can.
///
/// With its signature, a buy also settles when it lands, however little arrived (a Token-2022
/// transfer fee is withheld from what was sent), and its failure or expiry is reported. Without it,
/// only arriving tokens settle the buy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ExpectedBuy {
    pub(crate) minimum: u64,
    pub(crate) signature: Option<Signature>,
    pub(crate) landed: Option<Floor>,
    pub(crate) last_valid: Option<u64>,
    pub(crate) deadline: Duration,
}

impl ExpectedBuy {
    /// A buy that brings at least this raw amount: what the swap guarantees, less any transfer fee.
    /// Smaller amounts from strangers are then not taken for the buy. A buy always brings
    /// something: 0 counts as 1.
    pub const fn at_least(minimum: u64) -> Self {
        let minimum = if minimum == 0 { 1 } else { minimum };
        // A transaction lives for 150 blocks, a minute or so; the mirror then still has to see its
        // expiry.
        let deadline = Duration::from_secs(90);
        Self { minimum, signature: None, landed: None, last_valid: None, deadline }
    }

    /// The buy's transaction. The mirror asks RPC for its outcome.
    #[doc(alias = "getSignatureStatuses")]
    pub const fn signature(mut self, signature: Signature) -> Self {
        self.signature = Some(signature);
        self
    }

    /// You know that the buy landed at that slot and did not fail there.
    #[doc(alias = "minContextSlot")]
    pub const fn landed_at(mut self, slot: Floor) -> Self {
        self.landed = Some(slot);
        self
    }

    /// The last block height at which the buy can land, as it came with its blockhash. Without it,
    /// the mirror never reports the buy as expired.
    #[doc(alias = "blockhash")]
    #[doc(alias = "lastValidBlockHeight")]
    pub const fn valid_until(mut self, last_valid_block_height: u64) -> Self {
        self.last_valid = Some(last_valid_block_height);
        self
    }

    /// How long to wait. Default: 90 s.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// A buy whose tokens have arrived.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SettledBuy {
    /// The account's balance when the tokens were seen.
    pub balance: Balance,
    /// How much arrived over the baseline, as a raw amount.
    pub received: u64,
    /// How the mirror found out.
    pub through: SettledThrough,
    /// How long it took from the call of [`settled`](Position::settled).
    pub took: Duration,
}

/// How the mirror found out that a buy settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SettledThrough {
    /// A notification showed the tokens.
    Notification,
    /// The buy landed, and the account was observed as of its slot or later.
    Landing,
    /// An RPC answer showed the tokens: either to a probe of this wait, or to another read of the
    /// account.
    Probe,
}

/// The account with the buy's tokens and how the mirror found out, or why there are none.
type Found = Result<(Balance, SettledThrough), SettleError>;

/// Keeps the account watched while a caller waits for a buy of it.
struct BuyClaim<'a> {
    shared: &'a SharedWriter,
    address: Pubkey,
    claim: ClaimId,
}

impl<'a> BuyClaim<'a> {
    fn new(position: &'a Position, open: &OpenBuy, buy: &ExpectedBuy) -> Self {
        let address = position.address();
        let mut writer = position.shared.lock();
        let signed = buy.signature.is_some() || buy.landed.is_some();
        writer.await_buy(&address, open.id, buy.minimum, signed);
        Self { shared: &position.shared, address, claim: writer.claim(&address) }
    }
}

impl Drop for BuyClaim<'_> {
    fn drop(&mut self) {
        self.shared.lock().unclaim(&self.address, self.claim);
    }
}

/// A signature whose status the mirror asks for while a caller waits for it.
struct Tracked<'a> {
    shared: &'a SharedWriter,
    id: TradeId,
    outcome: watch::Receiver<Option<TradeOutcome>>,
}

impl<'a> Tracked<'a> {
    fn new(
        shared: &'a SharedWriter,
        signature: Signature,
        last_valid: Option<u64>,
    ) -> Result<Self, TooManyTrades> {
        let (id, outcome) = shared.lock().track(signature, last_valid)?;
        Ok(Self { shared, id, outcome })
    }

    /// The signature's outcome; stays pending for ever if the outcome never becomes known.
    async fn outcome(&mut self) -> TradeOutcome {
        let known = self.outcome.wait_for(Option::is_some).await;
        let known = known.ok().and_then(|known| *known);
        match known {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Tracked<'_> {
    fn drop(&mut self) {
        self.shared.lock().untrack(self.id);
    }
}

impl Position {
    /// Waits for the tokens of a buy and returns as soon as they have arrived; at once if they
    /// arrived before this call.
    ///
    /// The tokens have arrived when the account holds the minimum over the
    /// [`baseline`](Position::baseline); or, whatever arrived, when the buy has landed and the
    /// account was observed as of its slot or later. After
    /// [`probe_after`](crate::MirrorBuilder::probe_after) without news, the mirror reads the
    /// account by RPC, and repeats it: rarely while a live link would notify the tokens, else every
    /// few seconds. If you gave a signature, the mirror also asks for its outcome.
    ///
    /// After a buy failed or expired, its account is swept at once if it holds nothing and nothing
    /// else keeps it. After a deadline the mirror still expects the buy: you can call this again
    /// for as long as the position lives.
    ///
    /// # Several buys of one mint at once
    /// Each buy needs an [`expect_buy`](crate::Mirror::expect_buy) of its own; give their
    /// signatures. Nothing marks which buy a token came from. So while another buy of the account
    /// is open, a buy with a signature settles only by its landing. Buys without a signature get
    /// what arrives in the order in which they were expected, each its minimum. If the first of
    /// them never lands, it takes the tokens of the next one for its own; nothing on chain shows
    /// the difference. Nor can the mirror detect, without a signature, that tokens arrived while
    /// others were sold or sent away.
    ///
    /// Cancel safe: dropping it leaves nothing behind, and the next call finds what arrived
    /// meanwhile.
    ///
    /// ```no_run
    /// use balance_mirror::{BuyLanding, ExpectedBuy, Position, SettleError, Signature};
    ///
    /// # type Outcome = Result<(), SettleError>;
    /// # async fn wait(position: &Position, signature: Signature, last_valid: u64) -> Outcome {
    /// let buy = ExpectedBuy::at_least(1_000_000).signature(signature).valid_until(last_valid);
    /// match position.settled(buy).await {
    ///     Ok(settled) => println!("{} to sell", settled.received),
    ///     Err(SettleError::Failed { slot, .. }) => println!("failed on chain at slot {slot}"),
    ///     Err(SettleError::Expired { .. }) => println!("never landed, and never will"),
    ///     Err(SettleError::Deadline { landing: BuyLanding::Pending, .. }) => {
    ///         println!("it may still land")
    ///     }
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The buy failed, expired, or did not settle within its deadline; the limit of followed
    /// signatures is reached; the account is no longer watched; the chain began anew; or the
    /// position does not come from `expect_buy`.
    pub async fn settled(&self, buy: ExpectedBuy) -> Result<SettledBuy, SettleError> {
        let open = self.buy.as_deref().ok_or(SettleError::NoBaseline)?;
        let began = self.reader().now();
        let waiting = BuyClaim::new(self, open, &buy);
        let found = self.await_tokens(open, &buy).await;
        drop(waiting);
        match found {
            Ok((balance, through)) => Ok(SettledBuy {
                balance,
                received: open.baseline.received(&balance.reading),
                through,
                took: self.reader().now().since(began),
            }),
            Err(error) => {
                if matches!(error, SettleError::Failed { .. } | SettleError::Expired { .. }) {
                    self.shared.lock().end_buy(&self.address(), open.id, false);
                }
                Err(error)
            }
        }
    }

    async fn await_tokens(&self, open: &OpenBuy, buy: &ExpectedBuy) -> Found {
        let mut outcome = buy.landed.map(|floor| TradeOutcome::Landed { slot: floor.slot() });
        if let Some(judged) = self.judge(open, buy, outcome, self.reader().read()) {
            return judged;
        }
        let mut tracked = match buy.signature {
            Some(signature) if outcome.is_none() => {
                let tracked = Tracked::new(&self.shared, signature, buy.last_valid);
                Some(tracked.map_err(|TooManyTrades { limit }| SettleError::TooMany { limit })?)
            }
            _ => None,
        };
        let mut probing = pin!(self.probe(outcome, self.probe_after()));
        let mut deadline = pin!(tokio::time::sleep(buy.deadline));
        loop {
            let judged = self.reader().until(|reader| self.judge(open, buy, outcome, reader.read()));
            let told = async {
                match &mut tracked {
                    Some(tracked) => tracked.outcome().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                judged = judged => return judged.unwrap_or_else(|stale| Err(SettleError::Ended(stale))),
                told = told, if outcome.is_none() => {
                    outcome = Some(told);
                    // A live link usually reaches that slot by itself.
                    let live = self.reader().read().is_live();
                    probing.set(self.probe(outcome, if live { self.probe_after() } else { Duration::ZERO }));
                }
                () = &mut probing => {}
                () = &mut deadline => return Err(self.overdue(open, buy, outcome)),
            }
        }
    }

    /// The verdict on the buy by the account's record; `None` while undecided.
    fn judge(
        &self,
        open: &OpenBuy,
        buy: &ExpectedBuy,
        outcome: Option<TradeOutcome>,
        reading: Reading,
    ) -> Option<Found> {
        if reading.ended.is_some() {
            return None;
        }
        let judged = self.shared.lock().judge_buy(open.id, &reading, outcome, self.selling_age());
        let state = reading.last_known().copied();
        let balance = |served_from| Some(Balance { state: state?, reading, served_from });
        let lost = match judged? {
            BuyVerdict::Arrived { by: StateOrigin::Subscription } => {
                return Some(Ok((balance(ServedFrom::Cache)?, SettledThrough::Notification)));
            }
            BuyVerdict::Arrived { by: StateOrigin::Rpc } => {
                return Some(Ok((balance(ServedFrom::Rpc)?, SettledThrough::Probe)));
            }
            BuyVerdict::Landed => return Some(Ok((balance(ServedFrom::Cache)?, SettledThrough::Landing))),
            BuyVerdict::Failed { slot } => SettleError::Failed { signature: buy.signature?, slot },
            BuyVerdict::Expired => {
                SettleError::Expired { signature: buy.signature?, last_valid_block_height: buy.last_valid? }
            }
            BuyVerdict::Reset => SettleError::Reset,
        };
        Some(Err(lost))
    }

    /// Reads the account by RPC after `wait`, then again and again; it never returns. The answers
    /// go into the account's record.
    async fn probe(&self, outcome: Option<TradeOutcome>, mut wait: Duration) {
        let slot = match outcome {
            Some(TradeOutcome::Landed { slot } | TradeOutcome::Expired { slot }) => Some(slot),
            _ => None,
        };
        let mut query = ReadQuery::max_age(Duration::ZERO);
        query.floor = slot.map(Floor::confirmed);
        let mut pause = self.probe_after();
        loop {
            tokio::time::sleep(wait).await;
            let Some(mirror) = self.mirror.upgrade() else { return std::future::pending().await };
            if let Err(error) = mirror.probe(self.reader(), &query.deadline(mirror.rpc_timeout())).await {
                tracing::debug!(target: log_target::LOG, account = %self.address(), %error, "a probe for a buy failed");
            }
            drop(mirror);
            pause = pause.saturating_mul(2).min(OFTEN.max(self.probe_after()));
            wait = if self.reader().read().is_live() { SELDOM.max(pause) } else { pause };
        }
    }

    fn overdue(&self, open: &OpenBuy, buy: &ExpectedBuy, outcome: Option<TradeOutcome>) -> SettleError {
        let landing = match outcome {
            Some(TradeOutcome::Landed { slot }) => BuyLanding::Landed { slot },
            Some(TradeOutcome::Expired { .. }) => BuyLanding::Expired,
            _ if buy.signature.is_some() => BuyLanding::Pending,
            _ => BuyLanding::Unknown,
        };
        SettleError::Deadline {
            received: open.baseline.received(&self.reader().read()),
            expected: buy.minimum,
            deadline: buy.deadline,
            landing,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;
    use crate::{Mirror, TokenProgram, core::trade::buys::BuyBaseline};

    /// Claims on an account, mints waited for, and signatures followed.
    fn kept(mirror: &Mirror, position: &Position) -> (usize, usize, usize) {
        mirror.inner.running.shared.lock().engine().kept_for(&position.address())
    }

    #[tokio::test]
    async fn what_is_dropped_halfway_leaves_nothing_behind() {
        // Nobody answers there.
        let mirror = Mirror::builder("http://127.0.0.1:9").start().expect("a mirror");
        let [wallet, mint] = [7, 8].map(|byte| Pubkey::new_from_array([byte; 32]));
        let program = Some(TokenProgram::Token);
        let warm = mirror.prewarm(&wallet, &mint, program, Duration::ZERO).await.expect("room");

        let mut naming = Box::pin(mirror.expect_buy(&wallet, &mint, None));
        assert!(poll!(&mut naming).is_pending());
        assert_eq!(kept(&mirror, &warm), (0, 1, 0));
        drop(naming);
        assert_eq!(kept(&mirror, &warm), (0, 0, 0));

        let mut expecting = Box::pin(mirror.expect_buy(&wallet, &mint, program));
        assert!(poll!(&mut expecting).is_pending());
        assert_eq!(kept(&mirror, &warm), (1, 0, 0));
        drop(expecting);
        assert_eq!(kept(&mirror, &warm), (0, 0, 0));

        let position = warm.clone().expecting(BuyBaseline::of(&warm.reader().read()));
        let buy = ExpectedBuy::at_least(1).signature(Signature::default()).valid_until(9);
        for _ in 0..2 {
            let mut waiting = Box::pin(position.settled(buy));
            assert!(poll!(&mut waiting).is_pending());
            assert_eq!(kept(&mirror, &warm), (2, 0, 1), "the buy, who waits for it, and its signature");
            drop(waiting);
            assert_eq!(kept(&mirror, &warm), (1, 0, 0));
        }
        let late = position.settled(buy.deadline(Duration::ZERO)).await.err();
        let missed = |landing| {
            let deadline = Duration::ZERO;
            Some(SettleError::Deadline { received: 0, expected: 1, deadline, landing })
        };
        assert_eq!(late, missed(BuyLanding::Pending));
        let unsigned = position.settled(ExpectedBuy::at_least(0).deadline(Duration::ZERO)).await.err();
        assert_eq!(unsigned, missed(BuyLanding::Unknown));
        let again = position.clone();
        drop(position);
        assert_eq!(kept(&mirror, &warm), (1, 0, 0), "after a deadline it is still expected");
        drop(again);
        assert_eq!(kept(&mirror, &warm), (0, 0, 0));
    }
}
