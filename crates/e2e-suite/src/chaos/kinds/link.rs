//! The link's network, both networks at once, and the bot's own runtime.

use std::time::Duration;

use super::Stage;
use crate::{
    chaos::random::Draw,
    outcome::Outcome,
    proxy::{Cut, Direction, Proxy},
};

pub(super) fn cut(draw: &Draw) -> Cut {
    if draw.coin { Cut::Reset } else { Cut::Fin }
}

fn hole(proxy: &Proxy, on: bool) {
    proxy.black_hole(Direction::Up, on);
    proxy.black_hole(Direction::Down, on);
}

fn refuse(proxy: &Proxy, draw: &Draw) {
    proxy.refuse(true);
    proxy.cut(cut(draw));
}

pub(super) async fn reset(stage: &Stage<'_>, _: Draw) -> Outcome {
    stage.world.ws_side.cut(Cut::Reset);
    Ok(())
}

pub(super) async fn closed(stage: &Stage<'_>, _: Draw) -> Outcome {
    stage.world.ws_side.cut(Cut::Fin);
    Ok(())
}

pub(super) async fn silent(stage: &Stage<'_>, draw: Draw) -> Outcome {
    hole(&stage.world.ws_side, true);
    stage.last(&draw, 1.1, 2.5).await;
    stage.world.ws_side.clear();
    Ok(())
}

pub(super) async fn deaf(stage: &Stage<'_>, draw: Draw) -> Outcome {
    stage.world.ws_side.black_hole(Direction::Down, true);
    stage.last(&draw, 1.1, 2.5).await;
    stage.world.ws_side.clear();
    Ok(())
}

pub(super) async fn unheard(stage: &Stage<'_>, draw: Draw) -> Outcome {
    stage.world.ws_side.black_hole(Direction::Up, true);
    stage.last(&draw, 0.5, 2.5).await;
    stage.world.ws_side.clear();
    Ok(())
}

pub(super) async fn refused(stage: &Stage<'_>, draw: Draw) -> Outcome {
    refuse(&stage.world.ws_side, &draw);
    stage.last(&draw, 0.3, 2.0).await;
    stage.world.ws_side.clear();
    Ok(())
}

pub(super) async fn turned_away(stage: &Stage<'_>, draw: Draw) -> Outcome {
    stage.world.ws_side.answer_http(Some(if draw.coin { 429 } else { 503 }));
    stage.last(&draw, 0.3, 2.0).await;
    stage.world.ws_side.clear();
    Ok(())
}

pub(super) async fn delayed(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let by = draw.size_of(stage.canary(), 0.2, 0.9);
    stage.world.ws_side.delay(Direction::Up, by);
    stage.world.ws_side.delay(Direction::Down, by);
    stage.last(&draw, 1.0, 2.5).await;
    stage.world.ws_side.clear();
    Ok(())
}

pub(super) async fn trickling(stage: &Stage<'_>, draw: Draw) -> Outcome {
    // The Clock alone needs some 400 bytes a slot.
    let needed = 400.0 / stage.world.slots(1).as_secs_f64();
    let rate = needed / 100.0 * draw.size(5, 150) as f64;
    stage.world.ws_side.throttle(Direction::Down, Some(rate as u32));
    stage.last(&draw, 1.0, 2.5).await;
    stage.world.ws_side.clear();
    Ok(())
}

pub(super) async fn stalled(stage: &Stage<'_>, draw: Draw) -> Outcome {
    hole(&stage.world.ws_side, true);
    stage.last(&draw, 0.2, 0.9).await;
    stage.world.ws_side.clear();
    Ok(())
}

pub(super) async fn cut_while_subscribing(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let ws = &stage.world.ws_side;
    // The handshake takes some 250 bytes, each subscribe some 150.
    ws.cut_after(Direction::Up, Some(draw.size(250, 2_500)));
    ws.cut(Cut::Reset);
    stage.last(&draw, 0.5, 2.0).await;
    ws.clear();
    Ok(())
}

pub(super) async fn cut_in_a_message(stage: &Stage<'_>, draw: Draw) -> Outcome {
    stage.world.ws_side.cut_after(Direction::Down, Some(draw.size(1, 4_000)));
    stage.last(&draw, 0.3, 1.0).await;
    stage.world.ws_side.clear();
    Ok(())
}

pub(super) async fn storm(stage: &Stage<'_>, draw: Draw) -> Outcome {
    for _ in 0..draw.size(4, 10) {
        stage.world.ws_side.cut(cut(&draw));
        stage.last(&draw, 0.02, 0.25).await;
    }
    Ok(())
}

// Both networks.

pub(super) async fn both_reset(stage: &Stage<'_>, draw: Draw) -> Outcome {
    stage.world.ws_side.cut(cut(&draw));
    stage.world.rpc_side.cut(cut(&draw));
    Ok(())
}

pub(super) async fn both_refused(stage: &Stage<'_>, draw: Draw) -> Outcome {
    refuse(&stage.world.ws_side, &draw);
    refuse(&stage.world.rpc_side, &draw);
    stage.last(&draw, 0.5, 2.5).await;
    stage.world.ws_side.clear();
    stage.world.rpc_side.clear();
    Ok(())
}

pub(super) async fn both_silent(stage: &Stage<'_>, draw: Draw) -> Outcome {
    hole(&stage.world.ws_side, true);
    hole(&stage.world.rpc_side, true);
    stage.last(&draw, 0.5, 2.5).await;
    stage.world.ws_side.clear();
    stage.world.rpc_side.clear();
    Ok(())
}

pub(super) async fn reset_while_rpc_is_slow(stage: &Stage<'_>, draw: Draw) -> Outcome {
    // Past the timeout of a call, now and then.
    stage.world.rpc_side.delay(Direction::Down, draw.size_of(Duration::from_secs(1), 0.2, 1.2));
    stage.world.ws_side.cut(cut(&draw));
    stage.last(&draw, 1.0, 2.5).await;
    stage.world.rpc_side.clear();
    Ok(())
}

pub(super) async fn reset_while_rpc_is_limited(stage: &Stage<'_>, draw: Draw) -> Outcome {
    stage.world.rpc_side.answer_http(Some(429));
    stage.world.ws_side.cut(cut(&draw));
    stage.last(&draw, 0.5, 2.0).await;
    stage.world.rpc_side.clear();
    Ok(())
}

pub(super) async fn reset_while_rpc_is_refused(stage: &Stage<'_>, draw: Draw) -> Outcome {
    refuse(&stage.world.rpc_side, &draw);
    stage.world.ws_side.cut(cut(&draw));
    stage.last(&draw, 0.5, 2.0).await;
    stage.world.rpc_side.clear();
    Ok(())
}

// The bot.

pub(super) async fn starved(stage: &Stage<'_>, draw: Draw) -> Outcome {
    stage.bot.starve(draw.length(stage.canary(), 0.3, 2.0)).await
}

pub(super) async fn starved_while_cut(stage: &Stage<'_>, draw: Draw) -> Outcome {
    let starving = stage.bot.starve(draw.length(stage.canary(), 0.3, 2.0));
    let cutting = async {
        stage.world.pass(draw.length(stage.canary(), 0.0, 0.3)).await;
        stage.world.ws_side.cut(cut(&draw));
    };
    futures::join!(starving, cutting).0
}
