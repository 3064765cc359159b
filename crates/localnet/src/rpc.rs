//! The methods of the HTTP face.

mod accounts;
mod transactions;

use parking_lot::MutexGuard;
use serde::Serialize;
use serde_json::{Value, json};
use solana_clock::DEFAULT_SLOTS_PER_EPOCH;
use solana_commitment_config::{CommitmentConfig, CommitmentLevel};
use solana_rpc_client_api::{
    config::RpcContextConfig,
    custom_error::{
        JSON_RPC_SERVER_ERROR_MIN_CONTEXT_SLOT_NOT_REACHED as MIN_CONTEXT_SLOT_NOT_REACHED,
        JSON_RPC_SERVER_ERROR_NODE_UNHEALTHY as NODE_UNHEALTHY,
    },
    response::{RpcApiVersion, RpcResponseContext},
};

use crate::{
    chain::Chain,
    conditions::State,
    face::Face,
    jsonrpc::{self, CallError, Params, Request},
    lies::{Lies, Side},
};

type Outcome = Result<Value, CallError>;

/// Answers one call; `faulty` says whether the RPC faults are for it.
pub(crate) fn call(face: &Face, call: Value, faulty: bool) -> Value {
    let request = match Request::read(call) {
        Ok(request) => request,
        Err(error) => return jsonrpc::answer(&Value::Null, Err(error)),
    };
    let server = Server { face, faulty };
    let refused = server.fault(|state| state.rpc_error.clone());
    let outcome = match refused {
        Some(refused) => Err(CallError::new(refused.code, refused.message)),
        None => server.dispatch(&request.method, &request.params),
    };
    jsonrpc::answer(&request.id, outcome)
}

struct Server<'a> {
    face: &'a Face,
    faulty: bool,
}

/// The chain as a request sees it: one bank, locked for as long as the answer takes.
struct View<'a> {
    chain: MutexGuard<'a, Chain>,
    slot: u64,
    /// The slot that it is told to be of.
    told: u64,
    lies: Lies,
}

impl View<'_> {
    /// An answer that says which bank it is of.
    fn answer(&self, value: impl Serialize) -> Outcome {
        in_context(self.told, value)
    }
}

fn in_context(slot: u64, value: impl Serialize) -> Outcome {
    Ok(json!({ "context": RpcResponseContext::new(slot), "value": value }))
}

impl<'a> Server<'a> {
    /// What a fault says, if the faults are for this request.
    fn fault<T: Default>(&self, of: impl FnOnce(&State) -> T) -> T {
        match self.faulty {
            true => of(&self.face.faults.read()),
            false => T::default(),
        }
    }

    /// The newest slot that this node shows at a commitment.
    fn slot(&self, chain: &Chain, commitment: CommitmentLevel) -> u64 {
        let slot = chain.slot(commitment);
        let (frozen_at, behind) = {
            let faults = self.face.faults.read();
            (faults.rpc_frozen_at, faults.rpc_behind)
        };
        let known = slot.min(frozen_at.unwrap_or(slot));
        chain.ancestor(known, behind.saturating_add(self.face.behind(chain)))
    }

    /// What a slot is told to be.
    fn told(&self, slot: u64) -> u64 {
        slot.saturating_add(self.face.faults.ahead(Side::Rpc))
    }

    /// The bank that answers; the default commitment is finalized.
    fn view(
        &self,
        commitment: Option<CommitmentConfig>,
        min_context_slot: Option<u64>,
    ) -> Result<View<'a>, CallError> {
        let chain = self.face.chain();
        let slot = self.slot(&chain, commitment.unwrap_or_default().commitment);
        if min_context_slot.is_none_or(|min| slot >= min) {
            let told = self.told(slot);
            let lies = self.fault(|state| state.lies.clone());
            return Ok(View { chain, slot, told, lies });
        }
        let text = "Minimum context slot has not been reached";
        if self.fault(|state| state.min_context_slot_as_internal_error) {
            return Err(CallError::new(jsonrpc::INTERNAL_ERROR, text));
        }
        let data = json!({ "contextSlot": slot });
        Err(CallError::new(MIN_CONTEXT_SLOT_NOT_REACHED, text).with_data(data))
    }

    /// The bank for a method whose only configuration, at `index`, is commitment and
    /// `minContextSlot`.
    fn view_of(&self, params: &Params, index: usize) -> Result<View<'a>, CallError> {
        let config: RpcContextConfig = params.optional(index)?;
        self.view(config.commitment, config.min_context_slot)
    }

    fn dispatch(&self, method: &str, params: &Params) -> Outcome {
        match method {
            "getHealth" => match self.fault(|state| state.unhealthy) {
                None => Ok(json!("ok")),
                Some(slots) => {
                    let text = format!("Node is behind by {slots} slots");
                    let data = json!({ "numSlotsBehind": slots });
                    Err(CallError::new(NODE_UNHEALTHY, text).with_data(data))
                }
            },
            "getVersion" => Ok(json!({
                "solana-core": RpcApiVersion::default().to_string(),
                "feature-set": 0,
            })),
            "getGenesisHash" => {
                let hash = self.face.chain().genesis_hash();
                Ok(json!(hash.to_string()))
            }
            "getSlot" => Ok(json!(self.view_of(params, 0)?.told)),
            "getBlockHeight" => {
                let view = self.view_of(params, 0)?;
                Ok(json!(view.chain.height(view.slot)))
            }
            "getEpochInfo" => {
                let view = self.view_of(params, 0)?;
                Ok(json!({
                    "absoluteSlot": view.slot,
                    "blockHeight": view.chain.height(view.slot),
                    "epoch": view.slot / DEFAULT_SLOTS_PER_EPOCH,
                    "slotIndex": view.slot % DEFAULT_SLOTS_PER_EPOCH,
                    "slotsInEpoch": DEFAULT_SLOTS_PER_EPOCH,
                }))
            }
            "getMinimumBalanceForRentExemption" => {
                let space = params.get(0)?;
                Ok(json!(self.face.chain().minimum_balance(space)))
            }
            "getBalance" => self.balance(params),
            "getAccountInfo" => self.account_info(params),
            "getMultipleAccounts" => self.multiple_accounts(params),
            "getTokenAccountsByOwner" => self.token_accounts_by_owner(params),
            "getTokenAccountBalance" => self.token_account_balance(params),
            "getTokenSupply" => self.token_supply(params),
            "getLatestBlockhash" => self.latest_blockhash(params),
            "isBlockhashValid" => self.is_blockhash_valid(params),
            "getFeeForMessage" => self.fee_for_message(params),
            "getSignatureStatuses" => self.signature_statuses(params),
            "sendTransaction" => self.send_transaction(params),
            "simulateTransaction" => self.simulate_transaction(params),
            "requestAirdrop" => self.request_airdrop(params),
            _ => Err(CallError::new(jsonrpc::METHOD_NOT_FOUND, "Method not found")),
        }
    }
}
