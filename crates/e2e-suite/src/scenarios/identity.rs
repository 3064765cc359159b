//! What stands at an address is told apart: no account, another's account, no token account, both
//! programs.

use balance_mirror::{AccountState, NotToken, Pubkey, TokenProgram, Unsellable, WatchTarget};
use localnet::{
    Keypair, Signer,
    tokens::{self, Extension},
};
use solana_system_interface::instruction::transfer;

use crate::{
    outcome::{Outcome, check, equal, shape},
    token::Token,
    world::World,
};

pub(crate) async fn closed_and_created_anew(world: &World<'_>) -> Outcome {
    for program in TokenProgram::ALL {
        let token = Token::create(world, program, &[]).await?;
        let wallet = Keypair::new();
        token.buy(world, &wallet.pubkey(), 10).await?;
        let mirror = world.mirror()?;
        let reader = mirror.watch(token.target(&wallet.pubkey()))?;
        world.holds(&reader, 10).await?;

        let slot = token.sell_out(world, &wallet, 10).await?;
        let closed = world.is(&reader, "closed").await?;
        check!(closed.slot() >= Some(slot), "closed at {slot}: {closed:?}");
        equal!(closed.last_known(), Some(&AccountState::Closed), "not merely absent, nor empty");

        token.buy(world, &wallet.pubkey(), 3).await?;
        world.holds(&reader, 3).await?;
        // Both within one transaction: the account is never seen closed.
        let again = [
            token.burn(&wallet.pubkey(), 3),
            token.close(&wallet.pubkey()),
            token.create_ata(&wallet.pubkey()),
            token.mint_to(&token.ata(&wallet.pubkey()), 4),
        ];
        world.send(&again, &[&wallet]).await?;
        world.holds(&reader, 4).await?;
    }
    Ok(())
}

pub(crate) async fn frozen_and_thawed(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 10).await?;
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.holds(&reader, 10).await?;
    world.send(&[token.freeze(&reader.address())], &[]).await?;
    let frozen = world.is(&reader, "frozen").await?;
    equal!(frozen.last_known().and_then(AccountState::token_amount), Some(10), "its tokens are there");
    check!(frozen.last_known().and_then(AccountState::token).is_some_and(|token| token.frozen), "{frozen:?}");
    world.send(&[token.thaw(&reader.address())], &[]).await?;
    world.holds(&reader, 10).await?;
    Ok(())
}

pub(crate) async fn an_account_given_away_is_not_ours(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let (wallet, thief) = (Keypair::new(), Keypair::new());
    token.buy(world, &wallet.pubkey(), 10).await?;
    let mirror = world.mirror()?;
    let expected = mirror.watch(token.target(&wallet.pubkey()))?;
    world.holds(&expected, 10).await?;
    // Where the owner was not given, the first one seen is the one expected.
    let other = world.mirror()?;
    let learnt = other.watch(WatchTarget::account(expected.address()))?;
    world.holds(&learnt, 10).await?;

    let give = token.give_account(&expected.address(), &wallet.pubkey(), &thief.pubkey());
    world.send(&[give], &[&wallet]).await?;
    for reader in [&expected, &learnt] {
        let given = world.is(reader, "owner_changed").await?;
        let account = given.last_known().and_then(AccountState::token);
        equal!(account.map(|account| account.owner), Some(thief.pubkey()), "the new owner");
        equal!(account.map(|account| account.amount), Some(10), "its tokens");
    }
    let back = token.give_account(&expected.address(), &thief.pubkey(), &wallet.pubkey());
    world.send(&[back], &[&thief]).await?;
    world.holds(&expected, 10).await?;
    world.holds(&learnt, 10).await?;
    Ok(())
}

pub(crate) async fn what_is_not_the_account_expected_says_why(world: &World<'_>) -> Outcome {
    let (token, other) = (Token::plain(world).await?, Token::plain(world).await?);
    let modern = Token::create(world, TokenProgram::Token2022, &[]).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 10).await?;
    modern.buy(world, &wallet, 20).await?;
    // Anybody can send lamports to the address where an account will be.
    let dusted = other.ata(&wallet);
    world.send(&[transfer(&world.payer().pubkey(), &dusted, 2_000_000)], &[]).await?;

    let mirror = world.mirror()?;
    let wrong_mint = mirror.watch(WatchTarget::account(token.ata(&wallet)).mint(other.mint))?;
    let mint = mirror.watch(WatchTarget::account(token.mint))?;
    let modern_mint = mirror.watch(WatchTarget::account(modern.mint))?;
    let program = mirror.watch(WatchTarget::account(modern.ata(&wallet)).program(TokenProgram::Token))?;
    let foreign = mirror.watch(WatchTarget::account(TokenProgram::Token.id()))?;
    let dust = mirror.watch(other.target(&wallet))?;

    let reading = world.is(&wrong_mint, "wrong_mint").await?;
    equal!(
        reading.last_known().and_then(AccountState::token_amount),
        Some(10),
        "what it holds, of another mint"
    );
    for reader in [&mint, &modern_mint] {
        let reading = world.is(reader, "not_token").await?;
        equal!(reading.last_known(), Some(&AccountState::NotToken(NotToken::Mint)), "a mint");
        equal!(
            reading.last_known().and_then(AccountState::token_amount),
            None,
            "a mint holds no tokens to count"
        );
    }
    let reading = world.is(&program, "not_token").await?;
    let reason = NotToken::WrongTokenProgram(TokenProgram::Token2022);
    equal!(reading.last_known(), Some(&AccountState::NotToken(reason)), "the other program's");
    let reading = world.is(&foreign, "not_token").await?;
    shape!(
        reading.last_known(),
        Some(AccountState::NotToken(NotToken::ForeignProgram(_))),
        "a program is no token account"
    );
    world.is(&dust, "absent").await?;
    other.buy(world, &wallet, 1).await?;
    world.holds(&dust, 1).await?;
    Ok(())
}

pub(crate) async fn token_2022_with_extensions(world: &World<'_>) -> Outcome {
    let fee = Extension::TransferFee { basis_points: 100, maximum: 1_000_000 };
    let token = Token::create(world, TokenProgram::Token2022, &[fee]).await?;
    let (seller, buyer) = (Keypair::new(), Keypair::new().pubkey());
    token.buy(world, &seller.pubkey(), 1_000_000).await?;
    world.send(&[token.create_ata(&buyer)], &[]).await?;
    let mirror = world.mirror()?;
    let readers = mirror.watch_all([token.target(&seller.pubkey()), token.target(&buyer)])?;
    world.holds(&readers[0], 1_000_000).await?;
    let empty = world.holds(&readers[1], 0).await?;
    let extensions = empty.last_known().and_then(AccountState::token).map(|account| account.extensions);
    // ImmutableOwner is 7, TransferFeeAmount 2.
    check!(extensions.is_some_and(|set| set.contains(7) && set.contains(2)), "{extensions:?}");
    check!(extensions.is_some_and(|set| !set.has_unknown() && !set.contains(1)), "{extensions:?}");

    world.send(&[token.transfer(&seller.pubkey(), &buyer, 500_000)], &[&seller]).await?;
    world.holds(&readers[0], 500_000).await?;
    // A hundredth is withheld, outside the amount.
    let arrived = world.holds(&readers[1], 495_000).await?;
    let mint = token.mint;
    world.until("mint", || mirror.mint(&mint).is_some()).await?;
    let held = arrived.last_known().and_then(AccountState::token_amount).unwrap_or_default();
    let shown = mirror.mint(&mint).and_then(|mint| mint.ui_amount(held));
    equal!(shown.as_deref(), Some("0.495"), "the UI amount");
    Ok(())
}

/// What is said of selling what a wallet holds of a token: the amount and the warnings, or the
/// obstacles.
async fn said(world: &World<'_>, token: &Token, wallet: &Pubkey) -> Outcome<String> {
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(wallet))?;
    world.until("live", || reader.read().is_live()).await?;
    world.until("mint", || mirror.mint(&token.mint).is_some()).await?;
    let said = match mirror.sellable(&reader.address()) {
        Ok(sellable) => format!("{}: {}", sellable.amount, sellable.warnings),
        Err(Unsellable::Blocked(obstacles)) => obstacles.to_string(),
        Err(stale) => return Err(stale.into()),
    };
    let balance = mirror.balance(&reader.address(), mirror.selling_age()).await?.sellable();
    let again =
        balance.map(|it| format!("{}: {}", it.amount, it.warnings)).unwrap_or_else(|it| it.to_string());
    equal!(said, again, "by the balance");
    Ok(said)
}

pub(crate) async fn what_cannot_be_sold_says_why_and_the_program_refuses_it(world: &World<'_>) -> Outcome {
    let (seller, buyer, payer) = (Keypair::new(), Keypair::new().pubkey(), world.payer().pubkey());
    let wallet = seller.pubkey();
    let delegate = Extension::PermanentDelegate(payer);
    let fee = Extension::TransferFee { basis_points: 100, maximum: 1_000_000 };
    for (extension, before, after) in [
        (Extension::Pausable, "700: freeze_authority, pausable", "paused"),
        (delegate, "700: freeze_authority, permanent_delegate", "frozen"),
        (fee, "700: freeze_authority, transfer_fee", "frozen"),
        (Extension::NonTransferable, "non_transferable", "non_transferable"),
    ] {
        let token = Token::create(world, TokenProgram::Token2022, &[extension]).await?;
        token.buy(world, &wallet, 700).await?;
        world.send(&[token.create_ata(&buyer)], &[]).await?;
        equal!(said(world, &token, &wallet).await?, before, "before");
        let sell = || [token.transfer(&wallet, &buyer, 100)];
        let sold = world.send(&sell(), &[&seller]).await;
        equal!(sold.is_ok(), extension != Extension::NonTransferable, "what is said, of {extension:?}");
        match after {
            "paused" => world.send(&[tokens::pause(&token.mint, &payer)], &[]).await?,
            "frozen" => world.send(&[token.freeze(&token.ata(&wallet))], &[]).await?,
            _ => 0,
        };
        equal!(said(world, &token, &wallet).await?, after, "after");
        check!(world.send(&sell(), &[&seller]).await.is_err(), "{after}, and it was sold");
        if extension == fee {
            equal!(
                said(world, &token, &buyer).await?,
                "99: freeze_authority, transfer_fee, withheld_fees",
                "where a fee is withheld"
            );
        }
    }

    let token = Token::create(world, TokenProgram::Token2022, &[Extension::DefaultFrozen]).await?;
    let account = token.ata(&wallet);
    let thawed = [token.create_ata(&wallet), token.thaw(&account), token.mint_to(&account, 5)];
    world.send(&thawed, &[]).await?;
    equal!(said(world, &token, &wallet).await?, "5: freeze_authority, frozen_by_default", "thawed");
    world.send(&tokens::enable_cpi_guard(&account, &payer, &wallet), &[&seller]).await?;
    equal!(said(world, &token, &wallet).await?, "cpi_guard", "guarded");
    Ok(())
}

pub(crate) async fn a_ui_amount_that_moves_with_time_is_not_shown(world: &World<'_>) -> Outcome {
    for extension in [Extension::InterestBearing(500), Extension::ScaledUiAmount(2.5)] {
        let token = Token::create(world, TokenProgram::Token2022, &[extension]).await?;
        let wallet = Keypair::new().pubkey();
        token.buy(world, &wallet, 8).await?;
        let mirror = world.mirror()?;
        let reader = mirror.watch(token.target(&wallet))?;
        world.holds(&reader, 8).await?;
        world.until("mint", || mirror.mint(&token.mint).is_some()).await?;
        let mint = mirror.mint(&token.mint).ok_or("no mint")?;
        equal!((mint.decimals, mint.ui_amount(8)), (6, None), "the raw amount is the only exact one");
    }
    Ok(())
}

pub(crate) async fn wrapped_sol_counts_what_is_synced(world: &World<'_>) -> Outcome {
    let native = "So11111111111111111111111111111111111111112".parse()?;
    let (wallet, payer) = (Keypair::new().pubkey(), world.payer().pubkey());
    let program = TokenProgram::Token;
    let account = program.associated_account(&wallet, &native);
    let sync = || tokens::sync_native(&program.id(), &account);
    let create = tokens::create_ata(&program.id(), &payer, &wallet, &native);
    world.send(&[create, transfer(&payer, &account, 5_000_000), sync()], &[]).await?;
    let mirror = world.mirror()?;
    let reader = mirror.watch(WatchTarget::ata(&wallet, &native, program))?;
    let reading = world.holds(&reader, 5_000_000).await?;
    let reserve = reading.last_known().and_then(AccountState::token).and_then(|token| token.native_reserve);
    check!(reserve.is_some_and(|reserve| reserve > 0), "wrapped SOL keeps back its rent: {reading:?}");

    let slot = world.send(&[transfer(&payer, &account, 1_000_000)], &[]).await?;
    let unsynced =
        reader.wait_for(|reading| reading.is_live() && reading.as_of() >= Some(slot), world.soon()).await?;
    equal!(unsynced.last_known().and_then(AccountState::token_amount), Some(5_000_000), "not synced yet");
    world.send(&[sync()], &[]).await?;
    world.holds(&reader, 6_000_000).await?;
    world.until("mint", || mirror.mint(&native).is_some()).await?;
    equal!(mirror.mint(&native).and_then(|mint| mint.ui_amount(6_000_000)).as_deref(), Some("0.006"), "SOL");
    Ok(())
}
