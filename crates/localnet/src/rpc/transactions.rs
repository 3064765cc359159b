//! Methods around transactions. They run in the open bank, at once; statuses are read from a frozen
//! one.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use solana_account_decoder_client_types::UiAccountEncoding;
use solana_commitment_config::{CommitmentConfig, CommitmentLevel};
use solana_hash::Hash;
use solana_message::VersionedMessage;
use solana_pubkey::Pubkey;
use solana_rpc_client_api::{
    config::{RpcSendTransactionConfig, RpcSimulateTransactionConfig},
    custom_error::{
        JSON_RPC_SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE as PREFLIGHT_FAILURE,
        JSON_RPC_SERVER_ERROR_TRANSACTION_SIGNATURE_VERIFICATION_FAILURE as SIGNATURE_FAILURE,
    },
};
use solana_signature::Signature;
use solana_signer::Signer;
use solana_system_interface::instruction::transfer;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_status_client_types::{
    TransactionConfirmationStatus, TransactionStatus, UiTransactionEncoding, UiTransactionError,
};

use super::{Outcome, Server, in_context};
use crate::{
    chain::{Failed, LAMPORTS_PER_SIGNATURE},
    encoding,
    jsonrpc::{self, CallError, Params, parse},
    send,
};

/// The longest transaction.
const PACKET_DATA_SIZE: usize = 1232;
/// The most signatures in one request.
const MAX_SIGNATURES: usize = 256;

impl Server<'_> {
    pub(super) fn latest_blockhash(&self, params: &Params) -> Outcome {
        let view = self.view_of(params, 0)?;
        let (blockhash, height) = view.chain.blockhash(view.slot);
        view.answer(json!({
            "blockhash": blockhash.to_string(),
            "lastValidBlockHeight": height,
        }))
    }

    pub(super) fn is_blockhash_valid(&self, params: &Params) -> Outcome {
        let blockhash: Hash = params.parsed(0)?;
        let view = self.view_of(params, 1)?;
        view.answer(view.chain.is_blockhash_valid(&blockhash, view.slot))
    }

    pub(super) fn fee_for_message(&self, params: &Params) -> Outcome {
        let text: String = params.get(0)?;
        let message: VersionedMessage = decode(&text, UiTransactionEncoding::Base64)?;
        let view = self.view_of(params, 1)?;
        let valid = view.chain.is_blockhash_valid(message.recent_blockhash(), view.slot);
        let signatures = u64::from(message.header().num_required_signatures);
        view.answer(valid.then_some(signatures * LAMPORTS_PER_SIGNATURE))
    }

    pub(super) fn signature_statuses(&self, params: &Params) -> Outcome {
        let signatures: Vec<String> = params.get(0)?;
        if signatures.len() > MAX_SIGNATURES {
            let text = format!("Too many inputs provided; max {MAX_SIGNATURES}");
            return Err(CallError::new(jsonrpc::INVALID_PARAMS, text));
        }
        let chain = self.face.chain();
        let slot = |commitment| self.slot(&chain, commitment);
        let tip = slot(CommitmentLevel::Processed);
        let (confirmed, finalized) = (slot(CommitmentLevel::Confirmed), slot(CommitmentLevel::Finalized));
        let mut statuses = Vec::new();
        for signature in &signatures {
            let signature: Signature = parse(signature)?;
            let status = chain.status(&signature).filter(|s| s.slot <= tip);
            statuses.push(status.map(|status| {
                let depth = chain.height(tip) - chain.height(status.slot);
                let (confirmations, level) = if status.slot <= finalized {
                    (None, TransactionConfirmationStatus::Finalized)
                } else if status.slot <= confirmed {
                    (Some(depth), TransactionConfirmationStatus::Confirmed)
                } else {
                    (Some(depth), TransactionConfirmationStatus::Processed)
                };
                TransactionStatus {
                    slot: status.slot,
                    confirmations: confirmations.map(|depth| depth as usize),
                    status: status.err.clone().map_or(Ok(()), Err),
                    err: status.err.clone(),
                    confirmation_status: Some(level),
                }
            }));
        }
        in_context(self.told(tip), statuses)
    }

    pub(super) fn send_transaction(&self, params: &Params) -> Outcome {
        let text: String = params.get(0)?;
        let config: RpcSendTransactionConfig = params.optional(1)?;
        let encoding = config.encoding.unwrap_or(UiTransactionEncoding::Base58);
        let tx: VersionedTransaction = decode(&text, encoding)?;
        let signature = *tx
            .signatures
            .first()
            .ok_or_else(|| CallError::invalid_param("Transaction signatures are missing"))?;
        let verified = tx.verify_and_hash_message().is_ok();
        if config.skip_preflight {
            // Whatever becomes of it, the sender learns only the signature.
            if verified {
                let _ = self.face.chain().execute(tx);
            }
            return Ok(json!(signature.to_string()));
        }
        if !verified {
            let text = "Transaction signature verification failure";
            return Err(CallError::new(SIGNATURE_FAILURE, text));
        }
        let commitment = config.preflight_commitment.unwrap_or_default();
        let commitment = CommitmentConfig { commitment };
        let mut view = self.view(Some(commitment), config.min_context_slot)?;
        if let Err(failed) = view.chain.simulate(tx.clone()) {
            let text = format!("Transaction simulation failed: {}", failed.err);
            let data = simulated(Err(failed), None);
            return Err(CallError::new(PREFLIGHT_FAILURE, text).with_data(data));
        }
        // The simulation has just passed on this very bank.
        let _ = view.chain.execute(tx);
        Ok(json!(signature.to_string()))
    }

    pub(super) fn simulate_transaction(&self, params: &Params) -> Outcome {
        let text: String = params.get(0)?;
        let config: RpcSimulateTransactionConfig = params.optional(1)?;
        let encoding = config.encoding.unwrap_or(UiTransactionEncoding::Base58);
        let mut tx: VersionedTransaction = decode(&text, encoding)?;
        let view = self.view(config.commitment, config.min_context_slot)?;
        if config.replace_recent_blockhash {
            let (blockhash, _) = view.chain.blockhash(view.slot);
            tx.message.set_recent_blockhash(blockhash);
        }
        let outcome = if config.sig_verify && tx.verify_and_hash_message().is_err() {
            let text = "Transaction signature verification failure";
            return Err(CallError::new(SIGNATURE_FAILURE, text));
        } else {
            view.chain.simulate(tx)
        };
        let accounts = config.accounts.map(|accounts| accounts.addresses);
        view.answer(simulated(outcome, accounts.as_deref()))
    }

    /// The payer is the faucet.
    pub(super) fn request_airdrop(&self, params: &Params) -> Outcome {
        let to: Pubkey = params.parsed(0)?;
        let lamports = params.get(1)?;
        let mut chain = self.face.chain();
        let payer = chain.payer.insecure_clone();
        let instruction = transfer(&payer.pubkey(), &to, lamports);
        let sent = send::send(&mut chain, &payer, &[instruction], &[]);
        let landed = sent
            .map_err(|error| CallError::new(jsonrpc::INTERNAL_ERROR, format!("airdrop failed: {error}")))?;
        Ok(json!(landed.signature.to_string()))
    }
}

/// The result of a simulation, as the server tells it.
fn simulated(
    outcome: Result<litesvm::types::SimulatedTransactionInfo, Failed>,
    accounts: Option<&[String]>,
) -> Value {
    match outcome {
        Err(Failed { err, logs, .. }) => json!({
            "err": UiTransactionError::from(err),
            "logs": logs,
            "accounts": null,
            "unitsConsumed": 0,
            "returnData": null,
            "innerInstructions": null,
            "replacementBlockhash": null,
        }),
        Ok(info) => {
            let encode = |wanted: &String| {
                let found = info.post_accounts.iter();
                let mut found = found.filter(|(address, _)| address.to_string() == *wanted);
                found.next().map(|(address, account)| {
                    encoding::ui_account(address, account, UiAccountEncoding::Base64, None, None)
                })
            };
            let accounts: Option<Vec<_>> = accounts.map(|all| all.iter().map(encode).collect());
            json!({
                "err": null,
                "logs": info.meta.logs,
                "accounts": accounts,
                "unitsConsumed": info.meta.compute_units_consumed,
                "returnData": null,
                "innerInstructions": null,
                "replacementBlockhash": null,
            })
        }
    }
}

/// Decodes a transaction or a message from its text.
fn decode<T: DeserializeOwned>(text: &str, encoding: UiTransactionEncoding) -> Result<T, CallError> {
    let bytes = match encoding {
        UiTransactionEncoding::Base64 => BASE64_STANDARD.decode(text).map_err(|error| error.to_string()),
        UiTransactionEncoding::Base58 => bs58::decode(text).into_vec().map_err(|error| error.to_string()),
        other => Err(format!("unsupported encoding: {other}. Supported encodings: base58, base64")),
    };
    let bytes = bytes.map_err(|text| CallError::new(jsonrpc::INVALID_PARAMS, text))?;
    if bytes.len() > PACKET_DATA_SIZE {
        let size = bytes.len();
        let text = format!("decoded too large: {size} bytes (max: {PACKET_DATA_SIZE} bytes)");
        return Err(CallError::new(jsonrpc::INVALID_PARAMS, text));
    }
    bincode::deserialize(&bytes).map_err(|error| {
        let text = format!("failed to deserialize {}: {error}", std::any::type_name::<T>());
        CallError::new(jsonrpc::INVALID_PARAMS, text)
    })
}
