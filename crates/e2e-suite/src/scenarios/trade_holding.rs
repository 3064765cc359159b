//! Many strategies and one balance: nothing is sold twice.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use balance_mirror::{ExpectedBuy, Floor, Hold, HoldError, Position, StaleReason};
use futures::future::join_all;

use super::{
    ceiling::Ceiling,
    desk::{Desk, asked, available, holding},
};
use crate::{
    outcome::{Outcome, check, equal, shape},
    proxy::Cut,
    world::World,
};

const STRATEGIES: u64 = 8;

pub(crate) async fn more_than_there_is_cannot_be_held(world: &World<'_>) -> Outcome {
    let (desk, mirror, position) = holding(world, 100).await?;
    let before = asked(world);
    let first = position.hold(60)?;
    equal!((first.amount(), first.address()), (60, desk.account()), "held");
    equal!(available(&position), Some(40), "what is left");
    equal!(position.fresh()?.state.token_amount(), Some(100), "what the chain holds is no other for it");
    shape!(
        position.hold(41),
        Err(HoldError::TooMuch { address, wanted: 41, available: 40 }) if *address == desk.account(),
        "one too many"
    );
    shape!(position.hold(u64::MAX), Err(HoldError::TooMuch { available: 40, .. }), "far too many");
    shape!(position.hold(0), Err(HoldError::Nothing { .. }), "none");
    // By whichever handle.
    let second = mirror.hold(&desk.account(), 40)?;
    shape!(
        mirror.position(&desk.account()).map(|same| same.hold_all()),
        Some(Err(HoldError::Nothing { .. })),
        "no more"
    );
    drop(first);
    equal!(available(&position), Some(60), "dropped");
    let again = position.hold_all()?;
    equal!(again.amount(), 60, "what was dropped");
    drop((again, second));
    equal!(available(&position), Some(100), "all of it");
    equal!(asked(world), before, "bytes sent to RPC");
    // More arrives while some is held.
    let held = position.hold(100)?;
    desk.buy(world, 5).await?;
    world.holds(position.reader(), 105).await?;
    equal!(available(&position), Some(5), "what came");
    // Or goes away: then less than nothing is left, and that is nothing.
    desk.sell(world, 50).await?;
    world.holds(position.reader(), 55).await?;
    equal!(available(&position), Some(0), "what is left of what somebody holds");
    shape!(position.hold(1), Err(HoldError::TooMuch { wanted: 1, available: 0, .. }), "nothing");
    drop(held);
    equal!(position.hold_all()?.amount(), 55, "what is there");
    Ok(())
}

pub(crate) async fn nothing_is_held_on_a_balance_that_is_too_old(world: &World<'_>) -> Outcome {
    let desk = Desk::plain(world).await?;
    let age = world.short_age();
    let mirror = world.builder().selling_age(age).start()?;
    let position = desk.bought(world, &mirror, 100).await?;
    let held = position.hold(10)?;
    for proxy in [&world.ws_side, &world.rpc_side] {
        proxy.refuse(true);
        proxy.cut(Cut::Reset);
    }
    world.until("end of fresh", || position.fresh().is_err()).await?;
    shape!(
        position.hold(1),
        Err(HoldError::Stale(stale)) if stale.why == StaleReason::Expired && stale.age > Some(age),
        "too old"
    );
    shape!(position.hold_all(), Err(HoldError::Stale(_)), "too old");
    world.rpc_side.refuse(false);
    let balance = async {
        loop {
            match position.balance().await {
                Err(error) if error.is_transient() => {}
                balance => return balance,
            }
        }
    };
    equal!(world.within("balance", balance).await??.state.token_amount(), Some(100), "RPC is back");
    // What was held before is held still.
    equal!(position.hold_all()?.amount(), 90, "what is left");
    drop(held);
    mirror.shutdown().await;
    shape!(position.hold(1), Err(HoldError::Stopped), "over");
    Ok(())
}

/// Every strategy tries at the same moment, on a thread of its own. Returns what each got, in no
/// order.
fn all_at_once(
    position: &Position,
    hold: impl Fn(&Position, u64) -> Result<Hold, HoldError> + Send + Sync + 'static,
) -> Outcome<Vec<Result<Hold, HoldError>>> {
    let (start, hold) = (Arc::new(Barrier::new(STRATEGIES as usize)), Arc::new(hold));
    let strategies: Vec<_> = (0..STRATEGIES)
        .map(|number| {
            let (position, start, hold) = (position.clone(), Arc::clone(&start), Arc::clone(&hold));
            thread::spawn(move || {
                start.wait();
                hold(&position, number)
            })
        })
        .collect();
    let got =
        strategies.into_iter().map(|strategy| strategy.join().map_err(|_| "a strategy panicked".into()));
    got.collect()
}

pub(crate) async fn of_many_who_want_all_one_gets_it(world: &World<'_>) -> Outcome {
    let (desk, _mirror, position) = holding(world, 100).await?;
    let ceiling = Ceiling::over(&position, 100)?;
    for round in 0..50u64 {
        let got = all_at_once(&position, |position, _| position.hold_all())?;
        let (won, lost): (Vec<_>, Vec<_>) = got.into_iter().partition(Result::is_ok);
        equal!((won.len(), available(&position)), (1, Some(0)), "round {round}");
        for lost in lost {
            shape!(lost, Err(HoldError::Nothing { .. }), "round {round}");
        }
        drop(won);
        // Parts that do not all fit: as many as fit.
        let got = all_at_once(&position, |position, _| position.hold(30))?;
        let won = got.into_iter().filter(Result::is_ok).count();
        equal!((won, available(&position)), (3, Some(100)), "round {round}, dropped");
    }
    ceiling.finish()?;
    desk.chain_holds(world, 100).await
}

/// One balance, and how much of it nobody has held yet.
struct Sale<'a> {
    world: &'a World<'a>,
    desk: &'a Desk,
    position: &'a Position,
    ceiling: &'a Ceiling,
    left: AtomicU64,
}

impl Sale<'_> {
    /// Sells parts of it until nothing is left. Returns how much.
    async fn go_on(&self, number: u64) -> Outcome<u64> {
        let (mut sold, mut round) = (0, 0);
        while self.left.load(Relaxed) > 0 {
            round += 1;
            let (own, wanted) = (self.position.clone(), 1 + (number * 37 + round * 11) % 60);
            // On any thread of the runtime, beside the others.
            let hold = tokio::spawn(async move { own.hold(wanted).or_else(|_| own.hold_all()) }).await?;
            let hold = match hold {
                Ok(hold) => hold,
                // Between a sell's notification and the news that it landed too little is
                // available.
                Err(HoldError::Nothing { .. }) => {
                    self.world.pass(Duration::from_millis(2)).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.ceiling.lower(hold.amount());
            self.left.fetch_sub(hold.amount(), Relaxed);
            sold += hold.amount();
            self.sell(hold, round).await?;
        }
        Ok(sold)
    }

    async fn sell(&self, hold: Hold, round: u64) -> Outcome {
        let order = self.desk.sell_order(self.world, hold.amount()).await?;
        let flight = order.sells(hold);
        self.world.post(&order).await?;
        // Two sells of the same tokens: one of them would fail.
        let slot = self.world.landed(&order).await?;
        match round % 3 {
            // The mirror finds out.
            0 => drop(flight),
            _ => flight.landed(Floor::confirmed(slot)),
        }
        Ok(())
    }
}

pub(crate) async fn strategies_that_race_sell_nothing_twice(world: &World<'_>) -> Outcome {
    let (desk, mirror, position) = holding(world, 1_000).await?;
    let ceiling = Ceiling::over(&position, 1_000)?;
    let left = AtomicU64::new(1_000);
    let sale = Sale { world, desk: &desk, position: &position, ceiling: &ceiling, left };
    let selling = (0..STRATEGIES).map(|number| sale.go_on(number));
    let sold = world.within_time(4 * world.soon(), "end of the sale", join_all(selling)).await?;
    let sold: Vec<_> = sold.into_iter().collect::<Outcome<_>>()?;
    equal!(sold.iter().sum::<u64>(), 1_000, "sold, by {sold:?}");
    check!(sold.iter().filter(|amount| **amount > 0).count() > 1, "one sold it all: {sold:?}");
    desk.chain_holds(world, 0).await?;
    world.holds(position.reader(), 0).await?;
    // Nothing of it stays behind to eat what comes next.
    ceiling.raise(9);
    let again = desk.expect(world, &mirror).await?;
    desk.buy(world, 9).await?;
    world.within("settled buy", again.settled(ExpectedBuy::at_least(9))).await??;
    world.until("all of it, to sell", || available(&position) == Some(9)).await?;
    ceiling.finish()?;
    equal!(position.hold_all()?.amount(), 9, "bought anew");
    Ok(())
}
