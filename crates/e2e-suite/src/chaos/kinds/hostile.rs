//! What no honest node does: floods, junk, forgeries and lies.

use std::time::Duration;

use balance_mirror::Reader;
use localnet::{BadAnswer, Flood, Forged, Huge, Junk, Malformed, Side};

use super::{
    Stage,
    node::{faults, last, last_while_resubscribing},
};
use crate::{chaos::random::Draw, outcome::Outcome};

/// Past every buffer, and quick to make; nodes send at most 10 MiB of an account.
const HUGE: std::ops::RangeInclusive<u64> = 1..=8;

fn everybody(stage: &Stage<'_>) {
    stage.bot.judge().excuse(stage.bot.readers.iter().map(Reader::address));
}

pub(super) async fn junk_frames(stage: &Stage<'_>, draw: Draw) -> Outcome {
    for _ in 0..draw.size(1, 5) {
        faults(stage)?.send_junk(*draw.victim(Junk::ALL));
        stage.last(&draw, 0.0, 0.1).await;
    }
    Ok(())
}

pub(super) async fn huge_frame(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let bytes = draw.size(*HUGE.start(), *HUGE.end()) as usize * 1_000_000;
    let what = if draw.coin { Huge::Notification } else { Huge::Text };
    faults(stage)?.send_huge_frame(what, bytes);
    Ok(())
}

pub(super) async fn flood(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let victim = draw.victim(&stage.bot.readers).address();
    let of = if draw.coin { Flood::Account(victim) } else { Flood::UnknownIds };
    faults(stage)?.flood(of, draw.size(500, 5_000));
    last(stage, &draw, 0.5, 2.0).await
}

pub(super) async fn forged_acknowledgements(stage: &Stage<'_>, draw: Draw) -> Outcome {
    // One of them gives two accounts' subscriptions one id: then neither is told what is its own.
    everybody(stage);
    faults(stage)?.forge_acknowledgements(Some(*draw.victim(Forged::ALL)));
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn malformed_notifications(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let victim = draw.victim(&stage.bot.readers).address();
    stage.bot.judge().excuse([victim]);
    faults(stage)?.malform(Some(*draw.victim(Malformed::ALL)), Some(&victim));
    last(stage, &draw, 0.5, 2.0).await
}

pub(super) async fn bad_answers(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let how = *draw.victim(BadAnswer::ALL);
    if matches!(how, BadAnswer::Reversed | BadAnswer::Nulls) {
        everybody(stage);
    }
    if how == BadAnswer::Redirect {
        stage.bot.judge().excuse_errors();
    }
    faults(stage)?.rpc_only(super::node::READS);
    faults(stage)?.bad_answers(Some(how));
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn slots_ahead(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let side = *draw.victim(&[Side::Notifications, Side::Rpc, Side::Both]);
    // By more than is thought possible: less is believed, and outrun.
    let by = if draw.coin { u64::MAX } else { draw.size(5_000, 1_000_000) };
    faults(stage)?.slots_ahead(side, by, None);
    last(stage, &draw, 0.2, 1.5).await
}

pub(super) async fn lies(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let victim = draw.victim(&stage.bot.readers).address();
    stage.bot.judge().excuse([victim]);
    let side = *draw.victim(&[Side::Notifications, Side::Rpc, Side::Both]);
    faults(stage)?.lie(&victim, draw.size(1, 1 << 40), side);
    last(stage, &draw, 0.3, 1.5).await
}

pub(super) async fn tells_another(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let readers = &stage.bot.readers;
    let (victim, other) = (draw.victim(readers).address(), draw.victim(&readers[1..]).address());
    stage.bot.judge().excuse([victim]);
    faults(stage)?.tell_instead(&victim, &other, Side::Notifications);
    last(stage, &draw, 0.3, 1.5).await
}

// Providers.

pub(super) async fn refuses_slices(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.refuse_slices(true);
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn ignores_slices(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.ignore_slices(true);
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn limits_subscriptions(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let limit = draw.size(1, stage.bot.readers.len() as u64) as usize;
    faults(stage)?.limit_subscriptions(Some(limit), -32603, "too many subscriptions");
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn closes_idle(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.close_idle(Some(draw.size_of(Duration::from_secs(1), 0.05, 1.0)));
    last(stage, &draw, 0.5, 2.0).await
}

pub(super) async fn limits_keys(stage: &Stage<'_>, draw: Draw) -> Outcome {
    use localnet::TooMany::{InvalidParams, PayloadTooLarge};
    let how = if draw.coin { InvalidParams } else { PayloadTooLarge };
    // An account and the Clock fit: without that, there is nothing to read.
    faults(stage)?.limit_keys(Some(draw.size(2, 12) as usize), how);
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn refuses_the_clock(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.refuse_subscriptions_to(&clock(), -32602, "not offered");
    last_while_resubscribing(stage, &draw).await
}

pub(super) async fn never_ticks(stage: &Stage<'_>, draw: Draw) -> Outcome {
    faults(stage)?.silence_account(&clock());
    last(stage, &draw, 0.5, 2.5).await
}

pub(super) async fn drops_the_clock(stage: &Stage<'_>, _: Draw) -> Outcome {
    faults(stage)?.kill_subscriptions_to(&clock());
    Ok(())
}

pub(super) async fn lags_whole(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let blocks = draw.size(2, 40);
    stage.bot.judge().excuse_node(stage.world.slots(1) * u32::try_from(blocks)?);
    faults(stage)?.lag(blocks);
    last(stage, &draw, 0.5, 2.0).await
}

pub(super) async fn reorders(stage: &Stage<'_>, draw: Draw) -> Outcome {
    // Across slots, so that the Clock overtakes accounts: no server's queue does that, and no proof
    // stands it.
    everybody(stage);
    faults(stage)?.reorder_notifications(draw.size(2, 12) as usize);
    last(stage, &draw, 0.5, 2.0).await
}

fn clock() -> balance_mirror::Pubkey {
    balance_mirror::Pubkey::from_str_const("SysvarC1ock11111111111111111111111111111111")
}
