//! Several nodes: one after the other, or all at once.

use std::time::Duration;

use balance_mirror::{LinkPhase, Mirror, NodeHealth, NodeMode, ServedFrom};

use super::market::{Market, USUAL};
use crate::{
    checker::Checker,
    outcome::{Outcome, check, equal},
    proxy::{Cut, Direction, Proxy},
    world::{World, timed},
};

pub(super) fn node(mirror: &Mirror, place: usize) -> NodeHealth {
    mirror.health().nodes.swap_remove(place)
}

pub(super) fn is_live(mirror: &Mirror, place: usize) -> bool {
    node(mirror, place).phase == LinkPhase::Live
}

/// A node is taken from the mirror, and given back.
#[derive(Clone, Copy)]
enum Death {
    Dies,
    HalfOpen,
}

impl Death {
    fn begins(self, ws: &Proxy) {
        match self {
            Self::Dies => {
                ws.refuse(true);
                ws.cut(Cut::Reset);
            }
            Self::HalfOpen => ws.black_hole(Direction::Down, true),
        }
    }
}

async fn the_next_takes_over(world: &World<'_>, death: Death) -> Outcome {
    let market = Market::open(world, 3).await?;
    let door = world.back_door()?;
    let (mirror, readers) = market.follow(world, world.builder().node(door.node())).await?;
    check!(!node(&mirror, 1).enabled && door.ws.accepted() == 0, "the second is not needed: {:?}", mirror);
    let checker = Checker::start(world, &readers, USUAL)?;
    death.begins(&world.ws_side);
    let served = async {
        world.until("the second node live", || is_live(&mirror, 1)).await?;
        market.trade(world).await?;
        market.hold(world, &readers, 101).await
    };
    let (outcome, took) = timed(served).await;
    outcome?;
    // The deadline of its canary, as long in the dark, and what it takes to go live; on a busy
    // machine.
    let bound = 2 * world.canary_deadline() + Duration::from_secs(15);
    check!(took < bound, "it took {took:?}");
    check!(!is_live(&mirror, 0), "{:?}", mirror.health());
    world.ws_side.clear();
    world.until("the first node live again", || is_live(&mirror, 0)).await?;
    check!(node(&mirror, 1).enabled, "the second stays until the first is steady");
    // Now both speak for the accounts: nobody notices that one is gone.
    market.hold(world, &readers, 101).await?;
    world.until("both with all accounts", || (0..2).all(|place| node(&mirror, place).live == 3)).await?;
    death.begins(&door.ws);
    world.until("loss of the second", || !is_live(&mirror, 1)).await?;
    check!(readers.iter().all(|reader| reader.read().is_live()), "{:?}", readers[0].read());
    market.trade(world).await?;
    market.hold(world, &readers, 102).await?;
    world.agree(&readers).await?;
    equal!(mirror.health().disputes, 0, "disputes");
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn a_dead_node_is_replaced_by_the_next(world: &World<'_>) -> Outcome {
    the_next_takes_over(world, Death::Dies).await
}

pub(crate) async fn a_half_open_node_is_replaced_by_the_next(world: &World<'_>) -> Outcome {
    the_next_takes_over(world, Death::HalfOpen).await
}

pub(crate) async fn reads_go_to_the_next_node_where_the_first_fails(world: &World<'_>) -> Outcome {
    let market = Market::open(world, 2).await?;
    let door = world.back_door()?;
    // No link at all: what is served is RPC's.
    for ws in [&world.ws_side, &door.ws] {
        ws.refuse(true);
    }
    // Longer than any read may take: whoever waits for the first is served nothing.
    world.rpc_side.limit_rate(60);
    let (mirror, readers) = market.watch(world.builder().node(door.node()))?;
    for reader in &readers {
        let balance = mirror.balance(&reader.address(), Duration::ZERO).await?;
        equal!(
            (balance.state.token_amount(), balance.served_from),
            (Some(100), ServedFrom::Rpc),
            "by the second"
        );
    }
    check!(world.rpc_side.accepted() > 0, "the first was asked first");
    Ok(())
}

pub(crate) async fn in_a_race_no_reader_notices_one_node_go(world: &World<'_>) -> Outcome {
    let market = Market::open(world, 3).await?;
    let door = world.back_door()?;
    let builder = world.builder().node(door.node()).mode(NodeMode::Race);
    let (mirror, readers) = market.follow(world, builder).await?;
    let checker = Checker::start(world, &readers, USUAL)?;
    for round in 1..=2u64 {
        for (place, ws) in [&world.ws_side, &door.ws].into_iter().enumerate() {
            world
                .until("both with all accounts", || (0..2).all(|place| node(&mirror, place).live == 3))
                .await?;
            ws.refuse(true);
            ws.cut(Cut::Reset);
            world.until("its loss", || !is_live(&mirror, place)).await?;
            check!(readers.iter().all(|reader| reader.read().is_live()), "{:?}", readers[0].read());
            market.trade(world).await?;
            market.hold(world, &readers, 100 + 2 * (round - 1) + place as u64 + 1).await?;
            ws.refuse(false);
        }
    }
    world.agree(&readers).await?;
    equal!((mirror.health().disputes, mirror.health().missed), (0, 0), "disputes and misses");
    checker.finish(world)?;
    Ok(())
}
