//! The judge: compares what the mirror reported with the chain's own history.

use std::{fmt, time::Duration};

use balance_mirror::{Health, Mirror, SellOutcome};
use localnet::CommitmentConfig;
use solana_client::nonblocking::rpc_client::RpcClient;
use tokio::time::sleep;

use crate::{
    ledger::{Ended, Ledger, Used},
    stage::Stage,
};

/// How long the mirror may take to reach the chain's newest state once all faults are over.
const CATCHES_UP: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(50);

/// The result of the comparison.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    balances: usize,
    wrong_balances: Vec<String>,
    sells: usize,
    wrong_sells: Vec<String>,
    positions: usize,
    wrong_positions: Vec<String>,
    enough: bool,
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        let wrong = [&self.wrong_balances, &self.wrong_sells, &self.wrong_positions];
        wrong.iter().all(|wrong| wrong.is_empty()) && self.enough
    }
}

/// Compares every balance that a trade used, the outcome of every sell, and what the wallet holds
/// at the end.
pub(crate) async fn judge(
    stage: &Stage,
    rpc: &RpcClient,
    mirror: &Mirror,
    ledger: &Ledger,
) -> Result<Verdict, Box<dyn std::error::Error + Send + Sync>> {
    let (used, ended) = ledger.claims();
    let trades = ledger.trades();
    let mut verdict = Verdict {
        balances: used.len(),
        sells: ended.len(),
        // A run without trades proves nothing.
        enough: trades.0 > 0 && trades.1 > 0,
        ..Verdict::default()
    };
    for Used { account, as_of, held } in used {
        let truth = as_of.map(|slot| stage.held(&account, slot));
        if truth.is_none() || truth != held {
            verdict
                .wrong_balances
                .push(format!("{account} as of {as_of:?}: {held:?}, and the chain {truth:?}"));
        }
    }
    for chunk in ended.chunks(256) {
        let signatures: Vec<_> = chunk.iter().map(|ended| ended.signature).collect();
        let statuses = rpc.get_signature_statuses(&signatures).await?.value;
        for (Ended { signature, outcome }, status) in chunk.iter().zip(statuses) {
            // The swap's own instruction comes after the priority fee. It fails if the wallet had
            // fewer tokens than were held.
            let failure = status.as_ref().and_then(|status| status.err.as_ref()).map(|it| format!("{it:?}"));
            if failure.as_deref() == Some("InstructionError(1, Custom(1))") {
                verdict.wrong_sells.push(format!("{signature} sold more than there was"));
            }
            let truth = status.map(|status| (status.slot, status.err.is_some()));
            let told = match outcome {
                SellOutcome::Landed { slot } => Some((*slot, false)),
                SellOutcome::Failed { slot } => Some((*slot, true)),
                _ => None,
            };
            if truth != told {
                verdict.wrong_sells.push(format!("{signature}: {outcome:?}, and the chain {truth:?}"));
            }
        }
    }
    let tip = stage.net.slot(CommitmentConfig::confirmed());
    for position in mirror.positions() {
        verdict.positions += 1;
        let caught_up = async {
            loop {
                let reading = position.reader().read();
                if reading.as_of() >= Some(tip) {
                    return reading;
                }
                sleep(LOOK).await;
            }
        };
        let reading = tokio::time::timeout(CATCHES_UP, caught_up).await;
        let held =
            reading.ok().and_then(|reading| reading.last_known().and_then(|state| state.token_amount()));
        let truth = stage.held(&position.address(), u64::MAX);
        if held != Some(truth) {
            verdict.wrong_positions.push(format!("{position:?}: {held:?}, and the chain {truth}"));
        }
    }
    Ok(verdict)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { balances, wrong_balances, sells, wrong_sells, positions, wrong_positions, enough } = self;
        write!(
            f,
            "truth          {balances} balances that trades used, against the chain's history: {} wrong\n               \
             {sells} sells' ends, against the chain's statuses: {} wrong\n               \
             {positions} positions at the end, against the chain: {} wrong",
            wrong_balances.len(),
            wrong_sells.len(),
            wrong_positions.len()
        )?;
        for wrong in wrong_balances.iter().chain(wrong_sells).chain(wrong_positions) {
            write!(f, "\n  WRONG        {wrong}")?;
        }
        if !enough {
            write!(f, "\n  WRONG        too little was traded to show anything")?;
        }
        Ok(())
    }
}

/// Counts where the balances were served from.
pub(crate) struct Served<'a>(pub(crate) &'a Health);

impl fmt::Display for Served<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Health { hits, misses, fallbacks, rpc_calls_avoided: avoided, adopted, reconnects, .. } = self.0;
        let Health { rpc_calls, rpc_failures, .. } = self.0;
        let reads = hits + misses;
        let rate = if reads == 0 { 0.0 } else { *hits as f64 * 100.0 / reads as f64 };
        write!(
            f,
            "reads          {reads}: {rate:.1} % from memory, {fallbacks} asked RPC; {avoided} RPC calls avoided\n\
             mirror         {rpc_calls} RPC calls of its own ({rpc_failures} failed) for all accounts, {reconnects} {}, \
             {adopted} accounts found in the wallet",
            if *reconnects == 1 { "reconnect" } else { "reconnects" }
        )
    }
}
