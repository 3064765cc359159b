//! The loop for everything except the connections: RPC calls, and the deadlines that do not belong
//! to a link.

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::watch;

use crate::{
    core::{
        base::failure::RpcFailure,
        chain::{mint::MintInfo, token::Presence},
        engine::events::CallAnswer,
        rpc::scheduler::Call,
    },
    observability::log_target,
    sources::rpc::RpcSource,
    store::{SharedWriter, Store},
};

/// How often at least the host's clocks are compared, even when nothing happens.
const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(1);

/// Runs until `stop` changes. `rpcs` are the endpoints' RPC sources, in the order of the endpoints.
pub(crate) async fn run(
    rpcs: Vec<Arc<RpcSource>>,
    shared: Arc<SharedWriter>,
    store: Arc<Store>,
    mut stop: watch::Receiver<()>,
) {
    let wake = shared.lock().rpc_driver_wake();
    let mut flights = FuturesUnordered::new();
    let mut inquiries = FuturesUnordered::new();
    loop {
        let (calls, inquiry, due) = shared.lock().expire();
        if let Some(inquiry) = inquiry
            && let Some(rpc) = rpcs.get(usize::from(inquiry.endpoint.0)).cloned()
        {
            let calls = &store.stats.rpc_calls;
            inquiries.push(async move {
                let outcome = rpc.inquire(&inquiry, calls).await;
                (inquiry.number, rpc, outcome)
            });
        }
        for call in calls {
            if let Some(rpc) = rpcs.get(usize::from(call.endpoint.0)).cloned() {
                store.stats.rpc_calls.add(1);
                let entries = store.entries();
                for entry in call.accounts.iter().filter_map(|address| entries.get(address)) {
                    entry.counters.rpc_reads.add(1);
                }
                flights.push(async move {
                    let outcome = fly(&rpc, &call).await;
                    (call.number, rpc, outcome)
                });
            }
        }
        let wait = due.map_or(HEARTBEAT, |due| due.since(store.clock.now()).min(HEARTBEAT));
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            Some((number, rpc, outcome)) = flights.next(), if !flights.is_empty() => {
                if let Err(failure) = &outcome {
                    store.stats.rpc_failures.add(1);
                    tracing::debug!(target: log_target::LOG, url = rpc.url(), error = %failure, "an RPC read failed: other nodes are asked first; if it lasts, check this node's URL and rate limit");
                }
                shared.lock().answered(number, outcome);
            }
            Some((number, rpc, outcome)) = inquiries.next(), if !inquiries.is_empty() => {
                if let Err(failure) = &outcome {
                    store.stats.rpc_failures.add(1);
                    tracing::debug!(target: log_target::LOG, url = rpc.url(), error = %failure, "an inquiry about transactions failed: it is made again; if it lasts, check this node's URL and rate limit");
                }
                shared.lock().inquired(number, outcome);
            }
            () = wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn fly(rpc: &RpcSource, call: &Call) -> Result<CallAnswer, RpcFailure> {
    let keys: Vec<_> = call.accounts.iter().chain(&call.mints).copied().collect();
    let answer = rpc.read(&keys, call.min_slot).await?;
    let mut accounts = answer.accounts.into_iter();
    let presences = accounts.by_ref().take(call.accounts.len());
    let presences = presences
        .map(|account| account.map(|account| account.map_or(Presence::Absent, |account| account.presence())));
    let presences = presences.collect();
    let mints = accounts.map(|account| {
        account.ok().flatten().and_then(|account| MintInfo::decode(&account.program, &account.data))
    });
    Ok(CallAnswer {
        slot: answer.slot,
        sent: answer.sent,
        lag_ms: answer.lag_ms,
        mints: mints.collect(),
        accounts: presences,
    })
}
