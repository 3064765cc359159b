//! Servers that mean harm: the mirror keeps its promises, its bounds and its wits.

use std::time::{Duration, Instant};

use balance_mirror::{LinkPhase, Mirror, MirrorUpdate, MirrorUpdates, Reader, Reading};
use localnet::{Accounts, BadAnswer, CommitmentConfig, Flood, Forged, Huge, Junk, Malformed};

use super::market::{Market, USUAL};
use crate::{
    checker::Checker,
    outcome::{Outcome, check, equal},
    world::{World, amount},
};

/// The memory of this process, in MiB: of what runs beside this scenario, too.
fn resident() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).ok_or("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kib / 1024)
}

/// Three accounts, live, while the server does its worst.
struct Siege {
    market: Market,
    mirror: Mirror,
    readers: Vec<Reader>,
    amount: u64,
}

impl Siege {
    async fn open(world: &World<'_>) -> Outcome<Self> {
        let market = Market::open(world, 3).await?;
        let builder = world.builder().audit_every(Duration::from_millis(500));
        let (mirror, readers) = market.follow(world, builder).await?;
        Ok(Self { market, mirror, readers, amount: 100 })
    }

    async fn trade(&mut self, world: &World<'_>) -> Outcome {
        self.market.trade(world).await?;
        self.amount += 1;
        Ok(())
    }

    /// It is over: the mirror is live and true again.
    async fn lifted(&mut self, world: &World<'_>) -> Outcome {
        world.local()?.faults().clear();
        self.trade(world).await?;
        self.market.hold(world, &self.readers, self.amount).await?;
        world.agree(&self.readers).await
    }
}

async fn flooded(world: &World<'_>, of: impl Fn(&Market) -> Flood) -> Outcome {
    let net = world.local()?;
    let mut siege = Siege::open(world).await?;
    // A link that is slow from its first notification on looks so much younger.
    let checker = Checker::start_with(world, &siege.readers, USUAL, Duration::from_secs(1))?;
    let (before, tasks) = (resident()?, tokio::runtime::Handle::current().metrics().num_alive_tasks());
    net.faults().flood(of(&siege.market), 15_000);
    let (began, mut most) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(2) {
        world.pass(Duration::from_millis(50)).await;
        most = most.max(resident()?);
    }
    siege.trade(world).await?;
    siege.lifted(world).await?;
    check!(most.saturating_sub(before) < 300, "from {before} to {most} MiB");
    let now = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    check!(now <= tasks + 20, "from {tasks} to {now} tasks");
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn a_flood_of_an_accounts_own_state_is_survived(world: &World<'_>) -> Outcome {
    flooded(world, |market| Flood::Account(market.accounts[0])).await
}

pub(crate) async fn a_flood_of_unknown_subscriptions_is_survived(world: &World<'_>) -> Outcome {
    flooded(world, |_| Flood::UnknownIds).await
}

pub(crate) async fn huge_frames_are_survived(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let mut siege = Siege::open(world).await?;
    let checker = Checker::start(world, &siege.readers, USUAL)?;
    let before = resident()?;
    for (what, mib) in [(Huge::Text, 8), (Huge::Notification, 8), (Huge::Text, 60), (Huge::Notification, 60)]
    {
        net.faults().send_huge_frame(what, mib << 20);
        siege.trade(world).await?;
        siege.lifted(world).await.map_err(|error| format!("after {what:?} of {mib} MiB: {error}"))?;
    }
    let grown = resident()?.saturating_sub(before);
    check!(grown < 700, "{grown} MiB more");
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn every_kind_of_junk_is_survived(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let mut siege = Siege::open(world).await?;
    let checker = Checker::start(world, &siege.readers, USUAL)?;
    for junk in Junk::ALL {
        net.faults().send_junk(*junk);
        siege.trade(world).await?;
        siege.lifted(world).await.map_err(|error| format!("after {junk:?}: {error}"))?;
    }
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn forged_acknowledgements_are_survived(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let mut siege = Siege::open(world).await?;
    let checker = Checker::start(world, &siege.readers, USUAL)?;
    for forged in Forged::ALL {
        let (losses, connects) = (siege.mirror.health().losses, siege.mirror.health().connects);
        net.faults().forge_acknowledgements(Some(*forged));
        net.faults().cut_with_reset();
        world.until("a loss", || siege.mirror.health().losses > losses).await?;
        siege.trade(world).await?;
        world.until("a connection", || siege.mirror.health().connects > connects).await?;
        world.pass(Duration::from_millis(300)).await;
        net.faults().clear();
        // A subscribe that is never answered costs the connection after 5 s, and backoff comes on
        // top.
        let lifted = siege.lifted(world);
        let lifted = world.within_time(Duration::from_secs(20), "live", lifted).await?;
        lifted.map_err(|error| format!("after {forged:?}: {error}"))?;
    }
    checker.finish_among_lies()?;
    Ok(())
}

pub(crate) async fn malformed_notifications_are_survived(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let mut siege = Siege::open(world).await?;
    let checker = Checker::start(world, &siege.readers, USUAL)?;
    for malformed in Malformed::ALL {
        for only in [Some(siege.market.accounts[0]), None] {
            net.faults().malform(Some(*malformed), only.as_ref());
            siege.trade(world).await?;
            siege.trade(world).await?;
            net.faults().clear();
            // Without another change: what was not understood is asked for.
            siege.market.hold(world, &siege.readers, siege.amount).await?;
            siege.lifted(world).await.map_err(|error| format!("after {malformed:?} of {only:?}: {error}"))?;
        }
    }
    checker.finish_among_lies()?;
    Ok(())
}

pub(crate) async fn bad_answers_of_rpc_are_survived(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let mut siege = Siege::open(world).await?;
    let checker = Checker::start(world, &siege.readers, USUAL)?;
    for bad in BadAnswer::ALL {
        net.faults().rpc_only(&["getMultipleAccounts"]);
        net.faults().bad_answers(Some(*bad));
        let address = siege.market.accounts[0];
        let answer = siege.mirror.balance(&address, Duration::ZERO).await;
        if let Ok(balance) = answer {
            equal!(balance.state.token_amount(), Some(siege.amount), "under {bad:?}");
        }
        siege.trade(world).await?;
        siege.lifted(world).await.map_err(|error| format!("after {bad:?}: {error}"))?;
    }
    checker.finish_among_lies()?;
    Ok(())
}

async fn until_reset(world: &World<'_>, updates: &mut MirrorUpdates, epoch: u32) -> Outcome {
    let reset = async {
        while let Some(update) = updates.next().await {
            if update == (MirrorUpdate::Reset { epoch }) {
                return true;
            }
        }
        false
    };
    check!(world.within_time(Duration::from_secs(25), "reset", reset).await?, "the updates ended");
    Ok(())
}

pub(crate) async fn a_new_chain_is_told_and_the_old_one_is_forgotten(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let siege = Siege::open(world).await?;
    let mut updates = siege.mirror.updates();
    let old = siege.readers[0].read().slot();
    net.new_chain(Accounts::Fresh);
    until_reset(world, &mut updates, 1).await?;
    // From here on: nothing of the old chain, whoever asks.
    let wrong = |reading: &Reading| reading.fresh(USUAL).is_ok_and(|state| state.token_amount() != Some(0));
    let began = Instant::now();
    let mut live = 0;
    while live < siege.readers.len() {
        check!(began.elapsed() < world.soon(), "not live again: {:?}", siege.readers[0].read());
        live = 0;
        for reader in &siege.readers {
            let reading = reader.read();
            check!(!wrong(&reading) && reading.epoch() == 1, "of the old chain: {reading:?}");
            live += usize::from(reading.is_live());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for reader in &siege.readers {
        let reading = world.is(reader, "absent").await?;
        check!(reading.slot() < old || old < Some(50), "slots begin anew: {reading:?}");
        check!(reading.as_of() <= Some(net.slot(CommitmentConfig::processed())), "{reading:?}");
    }
    equal!((siege.mirror.health().resets, siege.mirror.health().phase), (1, LinkPhase::Live), "Health");
    // It works as ever.
    let market = Market::open(world, 1).await?;
    let reader = siege.mirror.watch(market.token.target(&market.wallets[0]))?;
    world.holds(&reader, 100).await?;
    market.trade(world).await?;
    world.holds(&reader, 101).await?;
    Ok(())
}

pub(crate) async fn a_new_chain_with_the_same_accounts_is_a_new_chain(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let mut siege = Siege::open(world).await?;
    let mut updates = siege.mirror.updates();
    for epoch in 1..=2 {
        net.new_chain(Accounts::Keep);
        until_reset(world, &mut updates, epoch).await?;
        siege.trade(world).await?;
        siege.market.hold(world, &siege.readers, siege.amount).await?;
        equal!(siege.readers[0].read().epoch(), epoch, "epoch of the reading");
        world.agree(&siege.readers).await?;
    }
    equal!(siege.mirror.health().resets, 2, "resets");
    Ok(())
}

pub(crate) async fn a_chain_set_far_back_is_a_reset(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    // Before the mirror comes: it would not believe that a chain is so fast.
    net.advance(2_500);
    let siege = Siege::open(world).await?;
    let (mut updates, old) = (siege.mirror.updates(), siege.readers[0].read().slot());
    net.roll_back(1_800);
    // The market was opened later than that: on this chain it never was.
    until_reset(world, &mut updates, 1).await?;
    for reader in &siege.readers {
        let reading = world.is(reader, "absent").await?;
        check!(reading.slot() < old && reading.epoch() == 1, "{reading:?}");
    }
    equal!(siege.mirror.health().resets, 1, "resets");
    Ok(())
}

pub(crate) async fn a_chain_set_a_little_back_is_true_again_in_time(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let mut siege = Siege::open(world).await?;
    // Far enough from their creation, which must not be undone.
    world.until_slot(world.slot().await? + 40).await?;
    siege.trade(world).await?;
    siege.market.hold(world, &siege.readers, siege.amount).await?;
    let old = siege.readers[0].read().slot();
    let tip = net.slot(CommitmentConfig::confirmed());
    let back = old.map_or(0, |old| tip.saturating_sub(old)) + 10;
    net.roll_back(back);
    // Not by RPC: its connections were reset as well.
    let (_, account) = net.account(&siege.market.accounts[0], CommitmentConfig::confirmed());
    let truth = account.and_then(|account| amount(&account.data));
    equal!(truth, Some(siege.amount - 1), "the trade is undone");
    world.until("the slots of before", || net.slot(CommitmentConfig::confirmed()) > tip + 5).await?;
    for reader in &siege.readers {
        world.holds(reader, siege.amount - 1).await?;
    }
    world.agree(&siege.readers).await?;
    Ok(())
}
