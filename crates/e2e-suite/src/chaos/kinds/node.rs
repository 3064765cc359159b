//! What only the local cluster's node does, being told to.

use std::time::{Duration, Instant};

use balance_mirror::{Health, LinkPhase};
use localnet::{Accounts, Faults, Localnet};

use super::{Stage, link::cut};
use crate::{
    chaos::random::Draw,
    outcome::{Outcome, check},
};

/// What mirrors ask of RPC.
pub(super) const READS: &[&str] = &["getMultipleAccounts"];
/// From when a mirror finds a dead subscription until it no longer trusts it, at most.
const LETS_GO: Duration = Duration::from_millis(300);

pub(super) fn faults<'a>(stage: &'a Stage<'_>) -> Outcome<&'a Faults> {
    stage.world.local().map(Localnet::faults)
}

/// Lasts so many canary deadlines, and ends.
pub(super) async fn last(stage: &Stage<'_>, draw: &Draw, from: f64, to: f64) -> Outcome {
    stage.last(draw, from, to).await;
    faults(stage)?.clear();
    Ok(())
}

/// Lasts while everything is subscribed anew, and ends.
pub(super) async fn last_while_resubscribing(stage: &Stage<'_>, draw: &Draw) -> Outcome {
    stage.world.ws_side.cut(cut(draw));
    last(stage, draw, 0.5, 2.0).await
}

pub(super) async fn close_frame(stage: &Stage<'_>, _: Draw) -> Outcome {
    faults(stage)?.cut_with_close_frame();
    Ok(())
}

pub(super) async fn junk(stage: &Stage<'_>, draw: Draw) -> Outcome {
    const JUNK: &[&str] = &[
        "no JSON at all",
        "[]",
        r#"{"jsonrpc":"2.0","result":18446744073709551616,"id":1}"#,
        r#"{"jsonrpc":"2.0","result":1,"id":99999999999}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}"#,
    ];
    faults(stage)?.inject(draw.victim::<&str>(JUNK));
    Ok(())
}

pub(super) async fn silent(stage: &Stage<'_>, draw: Draw) -> Outcome {
    // What is lost while the link still counts as live is a subscription that died in silence, for
    // each account: the canary stops as well, and so no proof is wrong. But it may go on in time.
    faults(stage)?.silence(true);
    last(stage, &draw, 1.3, 2.5).await
}

pub(super) async fn lags(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.lag_notifications(draw.size(3, 24));
    last(stage, &draw, 1.0, 2.5).await
}

pub(super) async fn slow(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.delay_notifications(draw.size_of(stage.canary(), 0.3, 0.9));
    last(stage, &draw, 1.0, 2.5).await
}

pub(super) async fn stands_still(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let net = stage.world.local()?;
    net.pause_slots();
    stage.last(&draw, 0.5, 2.0).await;
    net.resume_slots();
    Ok(())
}

pub(super) async fn clock_stands_still(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.freeze_clock(true);
    last(stage, &draw, 0.5, 2.0).await
}

pub(super) async fn clock_behind(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.clock_behind(draw.size_of(Duration::from_secs(1), 1.0, 60.0));
    last(stage, &draw, 0.5, 2.0).await
}

pub(super) async fn skips(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.check_every(draw.size(2, 6));
    last(stage, &draw, 0.5, 2.0).await
}

pub(super) async fn duplicates(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.duplicate_notifications(draw.size(1, 4));
    last(stage, &draw, 0.5, 2.0).await
}

pub(super) async fn undecodable(stage: &Stage<'_>, draw: Draw) -> Outcome {
    // Solana's client drops them without a word: the server conceals every change.
    stage.bot.judge().excuse(stage.bot.readers.iter().map(balance_mirror::Reader::address));
    faults(stage)?.undecodable_rent_epoch(true);
    last(stage, &draw, 0.2, 1.5).await
}

pub(super) async fn drops_one_subscription(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let net = stage.world.local()?;
    let victim = draw.victim(&stage.bot.readers);
    let of = |health: &Health| (health.missed + health.disputes, health.losses);
    let (found, losses) = of(&stage.bot.mirror.health());
    stage.bot.judge().excuse([victim.address()]);
    net.faults().kill_subscriptions_to(&victim.address());
    let killed = Instant::now();
    let is_over = || {
        let health = stage.bot.mirror.health();
        // A busy machine may lose the node's connection, and the dead subscription with it.
        let anew = health.nodes.first().is_some_and(|node| {
            node.phase == LinkPhase::Live && Duration::from_millis(node.phase_ms) < killed.elapsed()
        });
        of(&health).0 > found || (of(&health).1 > losses && anew)
    };
    // It is over when the mirror has found out, which takes a change that is not told, and lets go
    // of the dead one. Thrice that, for a machine that is slower still: who never finds it is found
    // out all the same.
    let until = Instant::now() + 3 * stage.bot.bounds.recovery();
    while !is_over() {
        check!(Instant::now() < until, "the dead subscription of {} was not found", victim.address());
        stage.world.pass(Duration::from_millis(5)).await;
    }
    let let_go = victim.wait_for(|reading| !reading.is_live(), LETS_GO);
    // It may be so quick that nobody sees it.
    let _ = let_go.await;
    Ok(())
}

pub(super) async fn drops_notifications(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let victim = draw.victim(&stage.bot.readers).address();
    stage.bot.judge().excuse([victim]);
    faults(stage)?.drop_notifications(&victim, draw.size(1, 5));
    last(stage, &draw, 0.3, 1.5).await
}

pub(super) async fn refuses_all(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.refuse_subscriptions(-32603, "too many");
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn refuses_one(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.refuse_subscriptions_to(&draw.victim(&stage.bot.readers).address(), -32603, "too many");
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn answers_none(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.ignore_subscriptions(true);
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn answers_all_but_one(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.ignore_subscriptions_to(&draw.victim(&stage.bot.readers).address());
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn acknowledges_late(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.delay_acknowledgements(draw.size_of(stage.canary(), 0.1, 1.5));
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn takes_effect_late(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let faults = faults(stage)?;
    faults.delay_baselines(draw.size(2, 12));
    stage.world.ws_side.cut(cut(&draw));
    stage.last(&draw, 0.5, 2.0).await;
    // With its connection: a barrier subscribed when this is over would overtake those still to
    // take effect, which no server's queue allows.
    stage.world.ws_side.cut(cut(&draw));
    faults.clear();
    Ok(())
}

// The chain.

pub(super) async fn reverts(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let faults = faults(stage)?;
    faults.silent_reverts(draw.coin);
    for _ in 0..draw.size(1, 8) {
        let abandoned = faults.revert(1);
        // Nothing is sent while this runs: with the newest bank goes what was in the open one.
        let from = abandoned.first().ok_or("nothing was reverted")?;
        stage.bot.truth().revert(*from);
        stage.last(&draw, 0.02, 0.2).await;
    }
    faults.clear();
    Ok(())
}

pub(super) async fn begins_anew(stage: &Stage<'_>, draw: Draw) -> Outcome {
    stage.world.local()?.new_chain(Accounts::Keep);
    stage.bot.truth().begin_anew();
    stage.last(&draw, 0.0, 0.5).await;
    Ok(())
}

// RPC.

pub(super) async fn rpc_unanswered(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.rpc_only(READS);
    faults(stage)?.rpc_stall(true);
    last(stage, &draw, 0.5, 2.0).await
}

pub(super) async fn rpc_unhealthy(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.rpc_only(READS);
    faults(stage)?.rpc_error(-32005, "Node is unhealthy");
    last(stage, &draw, 0.5, 2.0).await
}

pub(super) async fn rpc_behind(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let blocks = draw.size(2, 30);
    stage.bot.judge().excuse_node(stage.world.slots(1) * u32::try_from(blocks)?);
    faults(stage)?.min_context_slot_as_internal_error(draw.coin);
    faults(stage)?.hold_rpc(blocks);
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn rpc_frozen(stage: &Stage<'_>, draw: Draw) -> Outcome {
    stage.bot.judge().excuse_node(draw.length(stage.canary(), 0.5, 2.0) + Duration::from_millis(500));
    faults(stage)?.freeze_rpc(true);
    if draw.coin { last_while_resubscribing(stage, &draw).await } else { last(stage, &draw, 0.5, 2.0).await }
}

pub(super) async fn rpc_short(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.rpc_only(READS);
    faults(stage)?.short_answers(true);
    last_while_resubscribing(stage, &draw).await
}
