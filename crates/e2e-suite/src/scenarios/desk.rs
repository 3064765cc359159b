//! A wallet that trades one token: what every scenario of a whole trade begins with.

use balance_mirror::{
    BuyError, ExpectedBuy, InFlight, Mirror, MirrorBuilder, Position, Pubkey, TokenProgram,
};
use localnet::{
    Keypair, Signer,
    tokens::{self, Extension},
};

use super::ceiling::Ceiling;
use crate::{
    order::Order,
    outcome::{Outcome, check, equal},
    proxy::Direction,
    token::Token,
    world::World,
};

/// What the pool begins with: more than any scenario trades.
const POOL: u64 = 1_000_000_000;

/// A wallet, a token, and a pool that it buys from and sells to: the payer's own account.
pub(super) struct Desk {
    pub(super) token: Token,
    pub(super) wallet: Keypair,
}

impl Desk {
    pub(super) async fn open(world: &World<'_>, program: TokenProgram, kinds: &[Extension]) -> Outcome<Self> {
        let token = Token::create(world, program, kinds).await?;
        token.buy(world, &world.payer().pubkey(), POOL).await?;
        Ok(Self { token, wallet: Keypair::new() })
    }

    /// One of SPL Token.
    pub(super) async fn plain(world: &World<'_>) -> Outcome<Self> {
        Self::open(world, TokenProgram::Token, &[]).await
    }

    /// Another wallet with the same token.
    pub(super) fn neighbour(&self) -> Self {
        Self { token: self.token, wallet: Keypair::new() }
    }

    pub(super) fn owner(&self) -> Pubkey {
        self.wallet.pubkey()
    }

    pub(super) fn account(&self) -> Pubkey {
        self.token.ata(&self.owner())
    }

    // Orders.

    /// A buy as a router builds it: the account is created in the same transaction.
    pub(super) async fn buy_order(&self, world: &World<'_>, amount: u64) -> Outcome<Order> {
        let pool = world.payer().pubkey();
        let instructions =
            [self.token.create_ata(&self.owner()), self.token.transfer(&pool, &self.owner(), amount)];
        world.sign(&instructions, &[]).await
    }

    /// Buys, and waits until that is confirmed. Returns the slot.
    pub(super) async fn buy(&self, world: &World<'_>, amount: u64) -> Outcome<u64> {
        let order = self.buy_order(world, amount).await?;
        world.post(&order).await?;
        world.landed(&order).await
    }

    pub(super) async fn sell_order(&self, world: &World<'_>, amount: u64) -> Outcome<Order> {
        let pool = world.payer().pubkey();
        world.sign(&[self.token.transfer(&self.owner(), &pool, amount)], &[&self.wallet]).await
    }

    /// A sell that fails on chain, however much there is.
    pub(super) async fn failing_sell(&self, world: &World<'_>) -> Outcome<Order> {
        self.sell_order(world, POOL + 1).await
    }

    /// Sells by an order of its own, which no mirror is told of. Returns the slot.
    pub(super) async fn sell(&self, world: &World<'_>, amount: u64) -> Outcome<u64> {
        let order = self.sell_order(world, amount).await?;
        world.post(&order).await?;
        world.landed(&order).await
    }

    /// A stranger's gift, that the wallet did not ask for. Returns the slot.
    pub(super) async fn dust(&self, world: &World<'_>, amount: u64) -> Outcome<u64> {
        let pool = world.payer().pubkey();
        world.send(&[self.token.transfer(&pool, &self.owner(), amount)], &[]).await
    }

    /// Lets a delegate move some of the wallet's tokens.
    pub(super) async fn approve(&self, world: &World<'_>, delegate: &Pubkey, amount: u64) -> Outcome<u64> {
        let program = self.token.program.id();
        let approve = tokens::approve(&program, &self.account(), delegate, &self.owner(), amount);
        world.send(&[approve], &[&self.wallet]).await
    }

    // Positions.

    /// Expects a buy as a bot does, whether it knows the program or not.
    pub(super) async fn open_buy(
        &self,
        mirror: &Mirror,
        program: Option<TokenProgram>,
    ) -> Result<Position, BuyError> {
        mirror.expect_buy(&self.owner(), &self.token.mint, program).await
    }

    /// Expects a buy, and waits until the link proves the account.
    pub(super) async fn expect(&self, world: &World<'_>, mirror: &Mirror) -> Outcome<Position> {
        let position = world.within("baseline", self.open_buy(mirror, Some(self.token.program))).await??;
        world.live(position.reader()).await?;
        Ok(position)
    }

    /// Buys through the mirror, and waits until nothing is left for it to ask RPC for.
    pub(super) async fn bought(&self, world: &World<'_>, mirror: &Mirror, amount: u64) -> Outcome<Position> {
        let position = self.expect(world, mirror).await?;
        let before = position.baseline().ok_or("no baseline")?.amount;
        let order = self.buy_order(world, amount).await?;
        let buy = ExpectedBuy::at_least(amount).signature(order.signature());
        world.post(&order).await?;
        let settled = world.within("settled buy", position.settled(buy)).await??;
        equal!(settled.received, amount, "what arrived");
        world.holds(position.reader(), before + amount).await?;
        world.until("mint", || mirror.mint(&self.token.mint).is_some()).await?;
        Ok(position)
    }

    /// Fails unless the chain says that the wallet's account holds so much.
    pub(super) async fn chain_holds(&self, world: &World<'_>, amount: u64) -> Outcome {
        let held = world.chain_amount(&self.account()).await?;
        check!(held.unwrap_or(0) == amount, "the chain holds {held:?}, not {amount}");
        Ok(())
    }

    /// Waits until the account is no longer watched, and no longer subscribed at a server that
    /// tells.
    pub(super) async fn swept(&self, world: &World<'_>, mirror: &Mirror) -> Outcome {
        let account = self.account();
        world.until("sweep", || mirror.reader(&account).is_none()).await?;
        if let Ok(net) = world.local() {
            world.until("unsubscribe", || net.subscribers(&account) == 0).await?;
        }
        Ok(())
    }
}

/// A wallet that has bought so much of a token, and the mirror through which it did.
pub(super) async fn holding(world: &World<'_>, amount: u64) -> Outcome<(Desk, Mirror, Position)> {
    holding_with(world, world.builder(), amount).await
}

/// As [`holding`], through a mirror with these settings.
pub(super) async fn holding_with(
    world: &World<'_>,
    builder: MirrorBuilder,
    amount: u64,
) -> Outcome<(Desk, Mirror, Position)> {
    let desk = Desk::plain(world).await?;
    let mirror = builder.start()?;
    let position = desk.bought(world, &mirror, amount).await?;
    Ok((desk, mirror, position))
}

/// What is left to hold.
pub(super) fn available(position: &Position) -> Option<u64> {
    position.reader().read().available()
}

/// Holds an order's tokens and sends it, in the order in which a bot must do it.
pub(super) async fn send(
    world: &World<'_>,
    position: &Position,
    ceiling: &Ceiling,
    amount: u64,
    order: &Order,
) -> Outcome<InFlight> {
    let hold = position.hold(amount)?;
    ceiling.lower(amount);
    let flight = order.sells(hold);
    world.post(order).await?;
    Ok(flight)
}

/// Bytes that mirrors have sent to RPC. A mirror that sends none asks for nothing, whatever it
/// counts itself.
pub(super) fn asked(world: &World<'_>) -> u64 {
    world.rpc_side.passed(Direction::Up)
}
