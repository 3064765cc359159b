//! What a wallet holds is found: at start, again and again, and on nodes that will not say.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use balance_mirror::{
    AdoptError, AdoptedWallet, Mirror, Position, Pubkey, RpcFailure, TokenProgram, WatchError, WatchTarget,
};
use localnet::{Keypair, Signer, tokens::Extension};

use crate::{
    outcome::{Outcome, check, equal, shape},
    proxy::Cut,
    token::Token,
    world::World,
};

const OFTEN: Duration = Duration::from_millis(200);

/// A wallet with accounts of every kind, and what an adoption should find in it.
struct Holder {
    wallet: Keypair,
    tokens: Vec<Token>,
    found: BTreeMap<Pubkey, u64>,
}

impl Holder {
    async fn open(world: &World<'_>) -> Outcome<Self> {
        let (wallet, stranger) = (Keypair::new(), Keypair::new());
        let (owner, other) = (wallet.pubkey(), stranger.pubkey());
        let fee = Extension::TransferFee { basis_points: 100, maximum: u64::MAX };
        let tokens = vec![
            Token::plain(world).await?,
            Token::create(world, TokenProgram::Token2022, &[fee]).await?,
            Token::plain(world).await?,
            Token::plain(world).await?,
        ];
        let [plain, with_fee, frozen, empty] = &tokens[..] else { unreachable!("four tokens") };
        plain.buy(world, &owner, 11).await?;
        with_fee.buy(world, &owner, 12).await?;
        frozen.buy(world, &owner, 13).await?;
        world.send(&[frozen.freeze(&frozen.ata(&owner))], &[]).await?;
        world.send(&[empty.create_ata(&owner)], &[]).await?;
        // A stranger's account of the same mint, and one that was a stranger's: no ATA of this
        // wallet.
        empty.buy(world, &other, 99).await?;
        plain.buy(world, &other, 14).await?;
        let given = plain.ata(&other);
        world.send(&[plain.give_account(&given, &other, &owner)], &[&stranger]).await?;
        let found =
            [(plain.ata(&owner), 11), (with_fee.ata(&owner), 12), (frozen.ata(&owner), 13), (given, 14)];
        Ok(Self { found: found.into(), tokens, wallet })
    }

    fn owner(&self) -> Pubkey {
        self.wallet.pubkey()
    }

    /// Waits until every account that was found is live, and compares what they hold.
    async fn holds(&self, world: &World<'_>, adopted: &AdoptedWallet) -> Outcome {
        equal!(addresses(adopted), self.found.keys().copied().collect::<Vec<_>>(), "what was found");
        for position in &adopted.positions {
            let reading = world.live(position.reader()).await?;
            let held = reading.last_known().and_then(|state| state.token_amount());
            equal!(held, self.found.get(&position.address()).copied(), "{reading:?}");
            equal!(position.wallet(), self.owner(), "whose it is");
            let token = self.tokens.iter().find(|token| token.mint == position.mint());
            equal!(token.map(|token| token.program), Some(position.program()), "its program");
        }
        Ok(())
    }
}

fn addresses(adopted: &AdoptedWallet) -> Vec<Pubkey> {
    let mut addresses: Vec<Pubkey> = adopted.positions.iter().map(Position::address).collect();
    addresses.sort_unstable();
    addresses
}

async fn adopted(world: &World<'_>, mirror: &Mirror, wallet: &Pubkey) -> Outcome<AdoptedWallet> {
    Ok(world.within("adoption", mirror.adopt(wallet)).await??)
}

pub(crate) async fn everything_that_a_wallet_holds_is_found(world: &World<'_>) -> Outcome {
    let holder = Holder::open(world).await?;
    let tip = world.slot().await?;
    let mirror = world.mirror()?;
    // One of them is watched by hand already, and the search may come before the link.
    let by_hand = mirror.watch(WatchTarget::account(holder.tokens[0].ata(&holder.owner())))?;
    let first = adopted(world, &mirror, &holder.owner()).await?;
    equal!((first.newly_watched, first.left_out.len()), (3, 0), "new ones, and those left out");
    check!(first.slot >= tip, "searched as of {}, after {tip}", first.slot);
    holder.holds(world, &first).await?;
    world.holds(&by_hand, 11).await?;

    // On a live link, a second time: nothing is new, and nothing is disturbed.
    let again = adopted(world, &mirror, &holder.owner()).await?;
    equal!((again.newly_watched, addresses(&again)), (0, addresses(&first)), "the second time");
    equal!((mirror.health().adopted, mirror.health().watched), (3, 4), "adopted, and watched");
    check!(again.positions.iter().all(|position| position.reader().read().is_live()), "{again:?}");
    let nobody = adopted(world, &mirror, &Keypair::new().pubkey()).await?;
    equal!((nobody.positions.len(), nobody.newly_watched), (0, 0), "of a wallet with nothing");
    Ok(())
}

pub(crate) async fn tokens_that_arrive_uninvited_are_found(world: &World<'_>) -> Outcome {
    let (first, second) = (Token::plain(world).await?, Token::plain(world).await?);
    let wallet = Keypair::new().pubkey();
    first.buy(world, &wallet, 5).await?;
    let outer = tokio::runtime::Handle::current();
    // In a runtime of its own, where nobody else has tasks.
    tokio::task::block_in_place(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async {
            let tasks = tokio::runtime::Handle::current().metrics();
            let mirror = world.mirror()?;
            mirror.keep_adopting(&wallet, OFTEN);
            for (token, amount) in [(&first, 5), (&second, 6)] {
                if amount == 6 {
                    // Not in this runtime: the bot's own client may keep a connection in it.
                    let buy =
                        || outer.block_on(token.buy(world, &wallet, amount)).map_err(|why| why.to_string());
                    let bought = std::thread::scope(|scope| scope.spawn(buy).join());
                    bought.map_err(|_| "the buy panicked")??;
                }
                world.until("account found", || mirror.reader(&token.ata(&wallet)).is_some()).await?;
                let reader = mirror.reader(&token.ata(&wallet)).ok_or("gone again")?;
                world.holds(&reader, amount).await?;
            }
            equal!(mirror.health().adopted, 2, "adopted");
            // Also one that sleeps for long ends with the mirror.
            mirror.keep_adopting(&wallet, Duration::from_secs(3600));
            world.pass(2 * OFTEN).await;
            drop(mirror);
            world.until("end of every task", || tasks.num_alive_tasks() == 0).await
        })
    })
}

pub(crate) async fn what_cannot_be_watched_is_named(world: &World<'_>) -> Outcome {
    let holder = Holder::open(world).await?;
    let mirror = world.builder().max_accounts(3).start()?;
    let (plain, with_fee) = (holder.tokens[0].ata(&holder.owner()), holder.tokens[1].ata(&holder.owner()));
    let foreign = mirror.watch(WatchTarget::account(with_fee).mint(holder.tokens[0].mint))?;
    let by_hand = mirror.watch(WatchTarget::account(plain))?;
    let found = adopted(world, &mirror, &holder.owner()).await?;
    let mut seen = addresses(&found);
    check!(found.newly_watched == 1 && seen.len() == 2 && seen.contains(&plain), "{found:?}");
    for left_out in &found.left_out {
        equal!(holder.found.get(&left_out.address).copied(), Some(left_out.amount), "{left_out:?}");
        match left_out.why {
            WatchError::Contradiction { address } => equal!(address, with_fee, "{left_out:?}"),
            WatchError::TooMany { limit } => equal!(limit, 3, "{left_out:?}"),
            _ => check!(false, "{left_out:?}"),
        }
        seen.push(left_out.address);
    }
    seen.sort_unstable();
    equal!(seen, holder.found.keys().copied().collect::<Vec<_>>(), "watched or named, each once");
    // What was watched before stays as it was.
    world.is(&foreign, "wrong_mint").await?;
    world.holds(&by_hand, 11).await?;
    Ok(())
}

pub(crate) async fn a_node_that_does_not_answer_is_not_the_last_one_asked(world: &World<'_>) -> Outcome {
    let holder = Holder::open(world).await?;
    let door = world.back_door()?;
    let mirror = world.builder().node(door.node()).start()?;
    world.rpc_side.answer_http(Some(503));
    let found = adopted(world, &mirror, &holder.owner()).await?;
    check!(world.rpc_side.accepted() > 0, "the first was asked first");
    holder.holds(world, &found).await?;
    door.rpc.refuse(true);
    door.rpc.cut(Cut::Reset);
    let refused = mirror.adopt(&holder.owner()).await;
    shape!(refused, Err(error @ AdoptError::Rpc { .. }) if error.is_transient(), "by both");
    mirror.shutdown().await;
    shape!(mirror.adopt(&holder.owner()).await, Err(AdoptError::Stopped), "after the end");
    Ok(())
}

pub(crate) async fn refused_searches_back_off_and_go_on(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 5).await?;
    // No link, and nothing watched: nobody else asks.
    world.ws_side.refuse(true);
    world.rpc_side.answer_http(Some(429));
    let mirror = world.mirror()?;
    mirror.keep_adopting(&wallet, OFTEN);
    world.until("two tries", || mirror.health().rpc_calls >= 2).await?;
    let (began, before) = (Instant::now(), mirror.health().rpc_calls);
    world.until("two more", || mirror.health().rpc_calls >= before + 2).await?;
    // The node asks for a second each time, which is five times as long as the interval.
    let calls = mirror.health().rpc_calls - before;
    check!(calls <= began.elapsed().as_secs() + 1, "{calls} tries in {:?}", began.elapsed());
    world.rpc_side.clear();
    world.until("account found", || mirror.reader(&token.ata(&wallet)).is_some()).await?;
    Ok(())
}

pub(crate) async fn a_new_interval_replaces_the_old_one(world: &World<'_>) -> Outcome {
    // No link, and a wallet with nothing: nobody else asks.
    world.ws_side.refuse(true);
    let mirror = world.mirror()?;
    let nobody = Keypair::new().pubkey();
    let seldom = Duration::from_secs(3600);
    // Counted where no other search can be under way: the first is over, and the next is an hour
    // off.
    mirror.keep_adopting(&nobody, seldom);
    world.until("the first search", || mirror.health().rpc_calls >= 3).await?;
    let before = mirror.health().rpc_calls;
    mirror.keep_adopting(&nobody, 2 * seldom);
    world.until("search at once", || mirror.health().rpc_calls >= before + 3).await?;
    mirror.keep_adopting(&nobody, OFTEN);
    world.until("several searches", || mirror.health().rpc_calls >= before + 12).await?;
    let before = mirror.health().rpc_calls;
    mirror.keep_adopting(&nobody, seldom);
    world.until("the last search", || mirror.health().rpc_calls >= before + 3).await?;
    world.until_still("end of the searches", 5 * OFTEN, || mirror.health().rpc_calls).await?;
    Ok(())
}

pub(crate) async fn a_node_that_is_behind_hides_nothing(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&Keypair::new().pubkey()))?;
    world.live(&reader).await?;
    net.faults().hold_rpc(100_000);
    let sent = net.send(&[token.create_ata(&wallet), token.mint_to(&token.ata(&wallet), 5)], &[]);
    let slot = sent.map_err(|error| error.to_string())?.slot;
    world.until("canary past the trade", || mirror.health().slot > Some(slot + 2)).await?;
    let behind = world.within("end of its patience", mirror.adopt(&wallet)).await?;
    shape!(behind, Err(AdoptError::Rpc { source: RpcFailure::Behind { .. }, .. }), "a node that is behind");
    // A little behind is waited for.
    net.faults().hold_rpc(20);
    let found = adopted(world, &mirror, &wallet).await?;
    check!(addresses(&found) == [token.ata(&wallet)] && found.slot > slot, "{found:?}");
    Ok(())
}

pub(crate) async fn a_node_that_is_not_believed_is_not_searched(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 5).await?;
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&Keypair::new().pubkey()))?;
    world.live(&reader).await?;
    net.faults().rpc_ahead(1_000_000_000);
    shape!(
        mirror.adopt(&wallet).await,
        Err(AdoptError::Rpc { source: RpcFailure::Implausible { .. }, .. }),
        "a slot that cannot be"
    );
    equal!((mirror.health().adopted, mirror.health().quarantines), (0, 1), "adopted, and quarantines");
    net.faults().clear();
    let found = async {
        loop {
            match mirror.adopt(&wallet).await {
                Ok(found) => return found,
                Err(_) => world.pass(Duration::from_millis(20)).await,
            }
        }
    };
    equal!(world.within("end of the quarantine", found).await?.newly_watched, 1, "afterwards");
    // A Clock far behind proves nothing, whatever its node holds.
    net.faults().clock_behind(Duration::from_secs(60));
    let slot = world.slot().await?;
    world.until_slot(slot + 3).await?;
    let lagging = mirror.adopt(&wallet).await;
    shape!(lagging, Err(AdoptError::Rpc { source: RpcFailure::Lagging { .. }, .. }), "a chain that lags");
    Ok(())
}

pub(crate) async fn what_a_node_cannot_tell_is_told_with_a_remedy(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let holder = Holder::open(world).await?;
    let mirror = world.mirror()?;
    let faults = net.faults();
    faults.rpc_only(&["getTokenAccountsByOwner"]);
    faults.rpc_error(-32010, "excluded from account secondary indexes; this RPC method unavailable for key");
    let error = mirror.adopt(&holder.owner()).await.err().ok_or("found without an index")?;
    shape!(error, AdoptError::NoIndex { .. } if !error.is_transient(), "no index");
    check!(error.to_string().contains("by their mints"), "{error}");
    faults.rpc_error(-32600, "Too many accounts requested (100001 pubkeys)");
    let error = mirror.adopt(&holder.owner()).await.err().ok_or("found, though refused")?;
    shape!(error, AdoptError::TooLarge { .. } if !error.is_transient(), "refused for its size");
    check!(error.to_string().contains("rpc_client"), "{error}");
    faults.clear();
    faults.rpc_only(&["getTokenAccountsByOwner"]);
    for how in localnet::BadAnswer::ALL {
        faults.bad_answers(Some(*how));
        match (how, mirror.adopt(&holder.owner()).await) {
            // That an account is missing from a list, no list tells: what is repeated finds it.
            (localnet::BadAnswer::Short, Ok(found)) => {
                check!(found.positions.len() < 4, "{}", found.positions.len())
            }
            (_, Ok(found)) => equal!(found.positions.len(), 4, "{how:?}"),
            (_, Err(error)) => {
                shape!(error, AdoptError::Rpc { .. } | AdoptError::TooLarge { .. }, "{how:?}");
            }
        }
        faults.bad_answers(None);
    }
    holder.holds(world, &adopted(world, &mirror, &holder.owner()).await?).await
}

pub(crate) async fn a_wallet_of_thousands_is_found_up_to_the_limit_of_an_answer(
    world: &World<'_>,
) -> Outcome {
    let net = world.local()?;
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 1).await?;
    let template = net.account(&token.ata(&wallet), localnet::CommitmentConfig::processed()).1;
    let template = template.ok_or("an account")?;
    let add = |count: usize| {
        (0..count).for_each(|_| {
            net.set_account(&Keypair::new().pubkey(), template.clone());
        })
    };
    add(2_999);
    net.advance(2);
    let mirror = world.mirror()?;
    let found = adopted(world, &mirror, &wallet).await?;
    equal!((found.positions.len(), found.newly_watched, found.left_out.len()), (3_000, 3_000, 0), "of 3 000");
    mirror.shutdown().await;
    add(500);
    net.advance(2);
    let mirror = world.mirror()?;
    shape!(mirror.adopt(&wallet).await, Err(AdoptError::TooLarge { .. }), "of 3 500");
    Ok(())
}
