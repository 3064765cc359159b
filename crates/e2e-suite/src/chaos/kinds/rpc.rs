//! The network of RPC.

use std::time::Duration;

use super::{Stage, link::cut};
use crate::{
    chaos::random::Draw,
    outcome::Outcome,
    proxy::{Direction, Proxy},
};

async fn last(stage: &Stage<'_>, draw: &Draw) -> Outcome {
    stage.last(draw, 0.3, 2.0).await;
    stage.world.rpc_side.clear();
    Ok(())
}

fn proxy<'a>(stage: &'a Stage<'_>) -> &'a Proxy {
    &stage.world.rpc_side
}

pub(super) async fn silent(stage: &Stage<'_>, draw: Draw) -> Outcome {
    proxy(stage).black_hole(Direction::Up, true);
    proxy(stage).black_hole(Direction::Down, true);
    last(stage, &draw).await
}

pub(super) async fn refused(stage: &Stage<'_>, draw: Draw) -> Outcome {
    proxy(stage).refuse(true);
    proxy(stage).cut(cut(&draw));
    last(stage, &draw).await
}

pub(super) async fn delayed(stage: &Stage<'_>, draw: Draw) -> Outcome {
    // The timeout of a call is a second.
    proxy(stage).delay(Direction::Up, draw.size_of(Duration::from_secs(1), 0.05, 0.6));
    proxy(stage).delay(Direction::Down, draw.size_of(Duration::from_secs(1), 0.05, 0.6));
    last(stage, &draw).await
}

pub(super) async fn trickling(stage: &Stage<'_>, draw: Draw) -> Outcome {
    proxy(stage).throttle(Direction::Down, Some(draw.size(200, 8_000) as u32));
    last(stage, &draw).await
}

pub(super) async fn cut_in_an_answer(stage: &Stage<'_>, draw: Draw) -> Outcome {
    proxy(stage).cut_after(Direction::Down, Some(draw.size(1, 600)));
    last(stage, &draw).await
}

pub(super) async fn limited(stage: &Stage<'_>, draw: Draw) -> Outcome {
    proxy(stage).answer_http(Some(429));
    last(stage, &draw).await
}

pub(super) async fn failing(stage: &Stage<'_>, draw: Draw) -> Outcome {
    proxy(stage).answer_http(Some(if draw.coin { 500 } else { 503 }));
    last(stage, &draw).await
}

pub(super) async fn storm(stage: &Stage<'_>, draw: Draw) -> Outcome {
    for _ in 0..draw.size(5, 30) {
        proxy(stage).cut(cut(&draw));
        stage.last(&draw, 0.01, 0.08).await;
    }
    Ok(())
}
