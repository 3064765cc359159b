//! Chaos on a real validator: see `suite::chaos`. `CHAOS_ROUNDS=20 cargo test --test chaos` plays each kind of fault 20
//! times, `CHAOS_SEED` another order and other sizes.

use std::time::Duration;

use solana_keypair::Keypair;
use suite::{Cluster, chaos};
use validator::Validator;

/// What a validator aims at.
const SLOT: Duration = Duration::from_millis(400);
/// Mirrors side by side on the one validator, each with networks of its own to break.
const LANES: usize = 6;

struct Real(Validator);

impl Cluster for Real {
    fn name(&self) -> &str {
        "a real validator"
    }

    fn rpc_url(&self) -> String {
        self.0.rpc_url().to_owned()
    }

    fn ws_url(&self) -> String {
        self.0.ws_url().to_owned()
    }

    fn payer(&self) -> &Keypair {
        self.0.payer()
    }

    fn slot_time(&self) -> Duration {
        SLOT
    }
}

#[test]
fn every_kind_of_fault_again_and_again() {
    let plan = chaos::Plan::from_env().expect("numbers");
    let validator = Real(Validator::start().expect("the validator starts"));
    let lanes: Vec<&dyn Cluster> = vec![&validator; LANES];
    if let Err(error) = chaos::run(&lanes, plan) {
        panic!("{error}");
    }
}
