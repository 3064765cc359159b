//! The real validator as the suite's cluster.

use std::time::{Duration, Instant};

use e2e_suite::Cluster;
use solana_keypair::Keypair;
use validator::Validator;

/// What a validator aims at; it keeps some 10 % ahead of that.
const SLOT: Duration = Duration::from_millis(400);
/// For the list of what passed where.
pub(crate) const NAME: &str = "a real validator";

pub(crate) struct Real(Validator);

impl Real {
    pub(crate) fn start() -> Self {
        let started = Instant::now();
        let validator = Validator::start().expect("the validator starts");
        println!("{validator:?} after {:?}", started.elapsed());
        Self(validator)
    }
}

impl Cluster for Real {
    fn name(&self) -> &str {
        NAME
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
