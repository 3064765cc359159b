//! Checks that the mirror equals the chain.

use std::time::Duration;

use balance_mirror::{AccountState, LinkPhase, Mirror, Pubkey};
use base64::{Engine, prelude::BASE64_STANDARD};
use solana_account_decoder_client_types::{UiAccount, UiAccountData, UiAccountEncoding};
use solana_client::{nonblocking::rpc_client::RpcClient, rpc_config::RpcAccountInfoConfig};
use tokio::time::sleep;

use crate::client::call;

/// How long the mirror and the chain may take to settle after the last fault.
const REST: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

/// Compares what the mirror serves from a live link with what RPC returns, at a slot not before
/// `since`, the last slot in which anything was written. Returns how many accounts it compared.
pub(crate) async fn compare(
    mirror: &Mirror,
    rpc: &RpcClient,
    accounts: &[Pubkey],
    since: u64,
) -> Result<usize, String> {
    let told = tokio::time::timeout(REST, told(rpc, accounts, since));
    let (slot, told) = told.await.map_err(|_| format!("RPC did not come to slot {since} within {REST:?}"))?;
    let mut differences = Vec::new();
    for (account, told) in accounts.iter().zip(told) {
        let reader = mirror.reader(account).ok_or_else(|| format!("account {account} is not watched"))?;
        let proved = reader.wait_for(|reading| reading.is_live() && reading.as_of() >= Some(slot), REST);
        let reading = proved.await.map_err(|error| error.to_string())?;
        let mirrored = reading.last_known().map(held);
        if mirrored != Some(told.clone()) {
            differences.push(format!("account {account} is {told:?} on chain, {mirrored:?} in the mirror"));
        }
    }
    // Readers see the first proof a moment before the link's status changes.
    let live = async {
        while mirror.health().phase != LinkPhase::Live {
            sleep(LOOK).await;
        }
    };
    tokio::time::timeout(REST, live).await.map_err(|_| format!("the link is not live within {REST:?}"))?;
    if differences.is_empty() { Ok(accounts.len()) } else { Err(differences.join("; ")) }
}

/// What RPC returns at that slot or later.
async fn told(rpc: &RpcClient, accounts: &[Pubkey], since: u64) -> (u64, Vec<Option<Held>>) {
    loop {
        let config = RpcAccountInfoConfig {
            encoding: Some(UiAccountEncoding::Base64),
            min_context_slot: Some(since),
            ..RpcAccountInfoConfig::default()
        };
        match call(rpc.get_multiple_ui_accounts_with_config(accounts, config)).await {
            Ok(answer) if answer.context.slot >= since => {
                return (
                    answer.context.slot,
                    answer.value.iter().map(|account| account.as_ref().and_then(decode)).collect(),
                );
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(target: "watcher", %error, "RPC is not there yet"),
        }
        sleep(LOOK).await;
    }
}

/// What a token account holds: its mint, its owner, its amount, and whether it is frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    mint: Pubkey,
    owner: Pubkey,
    amount: u64,
    frozen: bool,
}

fn held(state: &AccountState) -> Option<Held> {
    state.token().map(|token| Held {
        mint: token.mint,
        owner: token.owner,
        amount: token.amount,
        frozen: token.frozen,
    })
}

/// Decoded by hand, so that the mirror is not checked by its own decoder.
fn decode(account: &UiAccount) -> Option<Held> {
    let UiAccountData::Binary(text, _) = &account.data else { return None };
    let data = BASE64_STANDARD.decode(text).ok()?;
    Some(Held {
        mint: Pubkey::try_from(data.get(0..32)?).ok()?,
        owner: Pubkey::try_from(data.get(32..64)?).ok()?,
        amount: u64::from_le_bytes(data.get(64..72)?.try_into().ok()?),
        frozen: *data.get(108)? == 2,
    })
}
