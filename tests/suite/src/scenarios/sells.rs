//! Sells in flight of which nobody says how they ended: the mirror finds it out by RPC.

use balance_mirror::{HoldError, SellOutcome, StaleReason};
use localnet::{CommitmentConfig, Signer};
use solana_rpc_client_api::config::RpcSendTransactionConfig;
use solana_transaction::Transaction;

use super::market::USUAL;
use crate::{
    outcome::{Outcome, check, equal, shape},
    token::Token,
    world::World,
};

/// A sell of so many of the payer's tokens, and the last block height at which it can land.
async fn signed(world: &World<'_>, token: &Token, amount: u64) -> Outcome<(Transaction, u64)> {
    let payer = world.payer();
    let (blockhash, last_valid) =
        world.rpc.get_latest_blockhash_with_commitment(CommitmentConfig::confirmed()).await?;
    let burn = token.burn(&payer.pubkey(), amount);
    Ok((Transaction::new_signed_with_payer(&[burn], Some(&payer.pubkey()), &[payer], blockhash), last_valid))
}

/// Also where it can only fail.
async fn sent(world: &World<'_>, sell: &Transaction) -> Outcome {
    let config = RpcSendTransactionConfig { skip_preflight: true, ..RpcSendTransactionConfig::default() };
    world.rpc.send_transaction_with_config(sell, config).await?;
    Ok(())
}

pub(crate) async fn a_sell_in_flight_is_looked_after_until_its_end(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = world.payer().pubkey();
    token.buy(world, &wallet, 100).await?;
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.holds(&reader, 100).await?;
    let address = reader.address();
    let available = || reader.read().available();

    // One that lands.
    let (sell, last_valid) = signed(world, &token, 30).await?;
    let landing = mirror.hold(&address, 30)?.sending(sell.signatures[0], last_valid);
    shape!(mirror.hold(&address, 71), Err(HoldError::TooMuch { available: 70, .. }), "another strategy");
    sent(world, &sell).await?;
    let outcome = landing.outcome(world.soon()).await?;
    shape!(outcome, SellOutcome::Landed { .. }, "it landed");
    world.holds(&reader, 70).await?;
    equal!(available(), Some(70), "it is deducted once");

    // One that fails on chain: there are not so many.
    let (sell, last_valid) = signed(world, &token, 1_000).await?;
    let failing = mirror.hold(&address, 50)?.sending(sell.signatures[0], last_valid);
    sent(world, &sell).await?;
    let outcome = failing.outcome(world.soon()).await?;
    shape!(outcome, SellOutcome::Failed { .. }, "it failed");
    equal!(available(), Some(70), "its tokens are free");
    shape!(reader.fresh(USUAL), Err(stale) if stale.why == StaleReason::Invalidated, "and in doubt");
    equal!(mirror.balance(&address, USUAL).await?.state.held(), Some(70), "until RPC has said so");

    // One that reaches nobody, whose handle is dropped.
    let (sell, _) = signed(world, &token, 70).await?;
    let height = world.rpc.get_block_height_with_commitment(CommitmentConfig::confirmed()).await?;
    drop(mirror.hold_all(&address)?.sending(sell.signatures[0], height + 4));
    equal!(available(), Some(0), "it may land");
    world.until("its expiry", || available() == Some(70)).await?;
    let passed = world.rpc.get_block_height_with_commitment(CommitmentConfig::confirmed()).await?;
    check!(passed > height + 4, "free at height {passed}, valid up to {}", height + 4);
    equal!(mirror.hold_all(&address)?.amount(), 70, "all can be sold again");
    Ok(())
}
