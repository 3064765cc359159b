//! A traded token, from the expected buy until its account is swept.

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use solana_pubkey::Pubkey;

use crate::{
    api::{
        mirror::{Mirror, WeakMirror},
        reader::{Balance, Reader},
        trade::hold::{Hold, HoldError},
    },
    core::{
        account::{
            freshness::StaleError,
            reading::{Floor, ReadQuery, Reading},
            sellable::{Sellable, Unsellable},
        },
        base::{ids::ClaimId, time::Tick},
        chain::{state::Expected, token::TokenProgram},
        trade::buys::BuyBaseline,
    },
    error::{BuyError, MintError, ReadError, WatchError},
    observability::token_stats::TokenStats,
    store::SharedWriter,
};

/// How soon the mirror asks RPC again for a baseline after a failure.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// A wallet's token account of one mint, for trading. Clones are the same position.
///
/// Get it from [`expect_buy`](Mirror::expect_buy) before a buy, from [`prewarm`](Mirror::prewarm)
/// well ahead of one, or from [`Mirror::position`]. A position from `expect_buy` keeps its account
/// watched until the buy is over or the last clone is dropped. If an account holds nothing and
/// nothing else keeps it, the mirror sweeps it after [`linger`](crate::MirrorBuilder::linger): its
/// positions and readers go stale ([`Unwatched`](crate::StaleReason::Unwatched)), and the next
/// `expect_buy` subscribes it again. An account that you also [`watch`](Mirror::watch)ed is never
/// swept.
///
/// A position does not keep its mirror running.
#[derive(Clone)]
pub struct Position {
    wallet: Pubkey,
    mint: Pubkey,
    program: TokenProgram,
    reader: Reader,
    selling_age: Duration,
    probe_after: Duration,
    pub(crate) mirror: WeakMirror,
    pub(crate) shared: Arc<SharedWriter>,
    pub(crate) buy: Option<Arc<OpenBuy>>,
}

/// An expected buy. Dropping it ends the expectation, because no caller can wait for the buy any
/// more.
pub(crate) struct OpenBuy {
    shared: Arc<SharedWriter>,
    address: Pubkey,
    pub(crate) id: ClaimId,
    pub(crate) baseline: BuyBaseline,
}

impl Drop for OpenBuy {
    fn drop(&mut self) {
        self.shared.lock().drop_buy(&self.address, self.id);
    }
}

/// A mint that a caller waits for; dropping it ends the wait.
struct AwaitedMint<'a> {
    shared: &'a SharedWriter,
    mint: &'a Pubkey,
}

impl Drop for AwaitedMint<'_> {
    fn drop(&mut self) {
        self.shared.lock().unname_mint(self.mint);
    }
}

impl Mirror {
    /// Prepares for a buy; call it before you send the buy. It watches the wallet's associated
    /// token account (ATA) for the mint, which need not exist yet, and takes the baseline from
    /// which [`settled`](Position::settled) distinguishes the buy's tokens from those already
    /// there. When it returns, both are done: send the buy then. If you do not give the program,
    /// the mirror reads it once, from the mint's owner.
    ///
    /// Call it once for each buy. The baseline is a reading that a live link proves, or an RPC
    /// answer to a request sent after this call, whichever comes first. If the account is already
    /// live, there is no wait.
    ///
    /// Cancel safe: if dropped halfway, it expects nothing, and the account is swept after its
    /// linger.
    ///
    /// ```no_run
    /// use balance_mirror::{ExpectedBuy, Mirror, Position, Pubkey};
    ///
    /// # type Outcome = Result<(), Box<dyn std::error::Error>>;
    /// # async fn trade(mirror: Mirror, wallet: Pubkey, mint: Pubkey) -> Outcome {
    /// let position: Position = mirror.expect_buy(&wallet, &mint, None).await?;
    /// // Send the buy here.
    /// let settled = position.settled(ExpectedBuy::at_least(1_000_000)).await?;
    /// println!("{} arrived after {:?}, by {:?}", settled.received, settled.took, settled.through);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The account cannot be watched, the mint's program is not known, or the baseline cannot be
    /// read. Each of the latter two may take up to
    /// [`read_deadline`](crate::MirrorBuilder::read_deadline).
    pub async fn expect_buy(
        &self,
        wallet: &Pubkey,
        mint: &Pubkey,
        program: Option<TokenProgram>,
    ) -> Result<Position, BuyError> {
        let inner = &*self.inner;
        let program = self.program_of(mint, program).await?;
        let mut position = self.open(wallet, mint, program, Tick::NEVER)?;
        let address = position.address();
        let baseline = BuyBaseline::of(&position.reader.read());
        let id = inner.running.shared.lock().claim(&address);
        let mut buy = OpenBuy { shared: inner.running.shared.clone(), address, id, baseline };
        let known = self.baseline(&position.reader).await?;
        {
            // Nothing is published while this lock is held, so no other buy settles in between.
            let mut writer = inner.running.shared.lock();
            let newest = position.reader.read();
            let reading = if newest.fresh(inner.selling_age).is_ok() { newest } else { known };
            buy.baseline = BuyBaseline::of(&reading);
            writer.expect_buy(address, buy.id, buy.baseline);
        }
        position.buy = Some(Arc::new(buy));
        Ok(position)
    }

    /// Watches the account of a mint that you are likely to buy, for `keep` at least, so that the
    /// [`expect_buy`](Mirror::expect_buy) before the buy finds it live. It returns once the program
    /// is known (at once if you give it), and waits for nothing else. The position has no baseline.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The account cannot be watched, or the mint's program is not known.
    pub async fn prewarm(
        &self,
        wallet: &Pubkey,
        mint: &Pubkey,
        program: Option<TokenProgram>,
        keep: Duration,
    ) -> Result<Position, BuyError> {
        let program = self.program_of(mint, program).await?;
        self.open(wallet, mint, program, self.inner.running.store.clock.now().plus(keep))
    }

    /// The position of a watched account, however it came to be watched. `None` until its mint,
    /// owner and program are known, from you or from the chain. The position has no baseline, and
    /// does not keep its account from being swept.
    pub fn position(&self, address: &Pubkey) -> Option<Position> {
        let identity = self.inner.running.shared.lock().engine().identity(address)?;
        self.position_of(address, identity)
    }

    /// Every account that was opened as a position and is not swept yet, in no particular order.
    /// None of these positions has a baseline.
    pub fn positions(&self) -> Vec<Position> {
        let open = self.inner.running.shared.lock().engine().positions();
        open.into_iter().filter_map(|(address, identity)| self.position_of(&address, identity)).collect()
    }

    fn position_of(&self, address: &Pubkey, identity: Expected) -> Option<Position> {
        let Expected { program: Some(program), mint: Some(mint), owner: Some(wallet) } = identity else {
            return None;
        };
        Some(self.position_at(self.reader(address)?, &wallet, &mint, program))
    }

    pub(crate) fn position_at(
        &self,
        reader: Reader,
        wallet: &Pubkey,
        mint: &Pubkey,
        program: TokenProgram,
    ) -> Position {
        Position {
            wallet: *wallet,
            mint: *mint,
            program,
            reader,
            selling_age: self.inner.selling_age,
            probe_after: self.inner.probe_after,
            mirror: self.downgrade(),
            shared: self.inner.running.shared.clone(),
            buy: None,
        }
    }

    fn open(
        &self,
        wallet: &Pubkey,
        mint: &Pubkey,
        program: TokenProgram,
        keep_until: Tick,
    ) -> Result<Position, BuyError> {
        let address = program.associated_account(wallet, mint);
        Ok(self.open_at(address, wallet, mint, program, keep_until)?)
    }

    /// Opens any token account of a wallet as a position, and keeps it at least until `keep_until`.
    pub(crate) fn open_at(
        &self,
        address: Pubkey,
        wallet: &Pubkey,
        mint: &Pubkey,
        program: TokenProgram,
        keep_until: Tick,
    ) -> Result<Position, WatchError> {
        let expected = Expected { program: Some(program), mint: Some(*mint), owner: Some(*wallet) };
        let entry = self.inner.running.shared.lock().open_position(address, expected, keep_until)?;
        Ok(self.position_at(self.reader_of(entry), wallet, mint, program))
    }

    /// The program that owns a mint: the given one, or else read from the chain.
    async fn program_of(
        &self,
        mint: &Pubkey,
        program: Option<TokenProgram>,
    ) -> Result<TokenProgram, BuyError> {
        if let Some(program) = program.or_else(|| self.mint(mint).map(|mint| mint.program)) {
            return Ok(program);
        }
        let shared = &*self.inner.running.shared;
        shared.lock().name_mint(*mint);
        let _named = AwaitedMint { shared, mint };
        let deadline = self.inner.read_deadline;
        if let Some(read) = self.mint_ready(mint, deadline).await {
            return Ok(read.program);
        }
        let absent = shared.lock().no_mint(mint);
        let source = absent.map_or(MintError::NoAnswer { deadline }, |slot| MintError::Absent { slot });
        Err(BuyError::Mint { mint: *mint, source })
    }

    /// A reading that a live link proves, or an RPC answer to a request sent after this call.
    async fn baseline(&self, reader: &Reader) -> Result<Reading, ReadError> {
        let inner = &*self.inner;
        let live = reader.until(|reader| Some(reader.read()).filter(Reading::is_live));
        let mut live = pin!(live);
        let until = inner.running.store.clock.now().plus(inner.read_deadline);
        loop {
            let left = until.since(inner.running.store.clock.now());
            let query = ReadQuery::max_age(Duration::ZERO).deadline(left);
            let failed = tokio::select! {
                biased;
                reading = &mut live => return reading.map_err(|_| ReadError::Stopped),
                answer = self.probe(reader, &query) => match answer {
                    Ok(balance) => return Ok(balance.reading),
                    Err(error) => error,
                },
            };
            if !failed.is_transient() || left <= ASK_AGAIN {
                return Err(failed);
            }
            tokio::select! {
                biased;
                reading = &mut live => return reading.map_err(|_| ReadError::Stopped),
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        }
    }
}

impl Position {
    /// The wallet that owns the tokens.
    pub fn wallet(&self) -> Pubkey {
        self.wallet
    }

    /// The token's mint.
    pub fn mint(&self) -> Pubkey {
        self.mint
    }

    /// The token account's address.
    pub fn address(&self) -> Pubkey {
        self.reader.address()
    }

    /// The program that owns the account.
    pub fn program(&self) -> TokenProgram {
        self.program
    }

    /// The account's reader.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What the account held before the buy; `None` if this position does not come from
    /// `expect_buy`.
    pub fn baseline(&self) -> Option<BuyBaseline> {
        self.buy.as_ref().map(|buy| buy.baseline)
    }

    /// What memory holds now, if it was proved within
    /// [`selling_age`](crate::MirrorBuilder::selling_age). It never waits: use it on the hot path.
    ///
    /// # Errors
    /// Memory holds nothing proved that recently. Call [`balance`](Position::balance), which falls
    /// back to RPC.
    pub fn fresh(&self) -> Result<Balance, StaleError> {
        self.reader.fresh(self.selling_age)
    }

    /// The balance to sell on: from memory if proved within
    /// [`selling_age`](crate::MirrorBuilder::selling_age), else from RPC. Cancel safe.
    ///
    /// # Errors
    /// As [`Mirror::balance`].
    pub async fn balance(&self) -> Result<Balance, ReadError> {
        let mirror = self.mirror.upgrade().ok_or(ReadError::Stopped)?;
        mirror.balance(&self.address(), self.selling_age).await
    }

    /// What can be sold now, with the risks of that, or why nothing can: see [`Mirror::sellable`].
    /// It never waits.
    ///
    /// # Errors
    /// As [`Mirror::sellable`].
    pub fn sellable(&self) -> Result<Sellable, Unsellable> {
        self.reader.sellable(self.selling_age)
    }

    /// Sets tokens aside for a sell, so that no other hold gets them: see [`Mirror::hold`].
    ///
    /// # Errors
    /// As [`Mirror::hold`].
    pub fn hold(&self, amount: u64) -> Result<Hold, HoldError> {
        self.running()?.hold(&self.address(), amount)
    }

    /// Sets aside all tokens that are available: see [`Mirror::hold_all`].
    ///
    /// # Errors
    /// As [`Mirror::hold_all`].
    pub fn hold_all(&self) -> Result<Hold, HoldError> {
        self.running()?.hold_all(&self.address())
    }

    /// Marks what memory holds of the account as doubtful: see [`Mirror::invalidate`]. Returns
    /// `false` if the account is no longer watched.
    #[doc(alias = "minContextSlot")]
    pub fn invalidate(&self, floor: Option<Floor>) -> bool {
        self.shared.lock().invalidate(&self.address(), floor.map_or(0, Floor::slot))
    }

    /// The counts of the account since it was first watched.
    pub fn stats(&self) -> TokenStats {
        self.reader.stats()
    }

    /// The mirror, if it still runs.
    fn running(&self) -> Result<Mirror, HoldError> {
        self.mirror.upgrade().ok_or(HoldError::Stopped)
    }

    /// Adds an expected buy with this baseline.
    #[cfg(test)]
    pub(crate) fn expecting(mut self, baseline: BuyBaseline) -> Self {
        let (shared, address) = (self.shared.clone(), self.address());
        let id = shared.lock().claim(&address);
        shared.lock().expect_buy(address, id, baseline);
        self.buy = Some(Arc::new(OpenBuy { shared, address, id, baseline }));
        self
    }

    pub(crate) fn selling_age(&self) -> Duration {
        self.selling_age
    }

    pub(crate) fn probe_after(&self) -> Duration {
        self.probe_after
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Position")
            .field("address", &self.address())
            .field("wallet", &self.wallet)
            .field("mint", &self.mint)
            .field("program", &self.program)
            .field("baseline", &self.baseline())
            .finish_non_exhaustive()
    }
}
