//! A token traded, from the expected buy to the swept account.

use std::time::Duration;

use balance_mirror::{Buy, SettledBy, StaleReason, TokenProgram};
use localnet::{Keypair, Signer};

use crate::{
    outcome::{Outcome, check, equal, shape},
    token::Token,
    world::World,
};

/// How long an empty account is watched on here.
const LINGER: Duration = Duration::from_millis(300);

pub(crate) async fn a_token_is_bought_held_sold_and_swept(world: &World<'_>) -> Outcome {
    for program in TokenProgram::ALL {
        let token = Token::create(world, program, &[]).await?;
        let wallet = Keypair::new();
        // Only a notification can be so quick.
        let mirror = world.builder().linger(LINGER).probe_after(world.soon()).start()?;
        let position = mirror.expect_buy(&wallet.pubkey(), &token.mint, None).await?;
        equal!(
            (position.program(), position.address()),
            (program, token.ata(&wallet.pubkey())),
            "its account"
        );
        equal!(position.baseline().map(|baseline| baseline.amount), Some(0), "there is none yet");
        // Nobody sells what has not come, and what waits for a buy is not swept.
        world.pass(3 * LINGER).await;
        world.live(position.reader()).await?;

        token.buy(world, &wallet.pubkey(), 500).await?;
        let settled = position.settled(Buy::at_least(500).deadline(world.soon())).await?;
        equal!((settled.received, settled.how), (500, SettledBy::Notification), "what was bought");
        equal!(position.cached()?.state.held(), Some(500), "and is there to be sold");

        token.sell_out(world, &wallet, 500).await?;
        world.until("sweep", || mirror.health().swept == 1).await?;
        equal!(mirror.watched(), [], "and nothing is watched");
        shape!(position.cached(), Err(stale) if stale.why == StaleReason::Unwatched, "its position");
        check!(mirror.positions().is_empty() && mirror.position(&position.address()).is_none(), "forgotten");
    }
    Ok(())
}
