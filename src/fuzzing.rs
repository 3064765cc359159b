//! What nodes send, decoded as the mirror does it, without a node: for the fuzz targets in `fuzz/` and the property
//! test in `tests/hostile_input`.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Map, Value};
use solana_account_decoder_client_types::UiAccount;
use solana_pubkey::Pubkey;
use solana_rpc_client_api::response::Response;

use crate::{
    MintInfo, NotToken, Slot, TokenAccount,
    core::{base::time::Tick, chain::token::Presence},
    sources::{
        RawAccount,
        endpoint::Endpoint,
        lag_ms,
        rpc::{self, http},
    },
};

/// What stands at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Nothing.
    Absent,
    /// A token account.
    Token(TokenAccount),
    /// Something else.
    NotToken(NotToken),
}

/// All that the mirror takes from an account's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// As a watched account.
    pub stands: Stands,
    /// As a mint.
    pub mint: Option<MintInfo>,
    /// As a mint: the lamports, shown as an amount of it.
    pub shown: Option<String>,
    /// As the Clock sysvar: how far it lags this much wall time, in milliseconds.
    pub lag_ms: Option<i64>,
}

/// Account bytes, with the owning program and the lamports.
pub fn account(program: &Pubkey, lamports: u64, data: &[u8]) -> Seen {
    let raw = RawAccount { program: *program, lamports, data: data.to_vec() };
    seen(&raw)
}

/// An account in JSON, as `getMultipleAccounts` and `accountNotification` hold it; their clients read it as a value first.
///
/// # Errors
/// What is wrong with it.
pub fn ui_account(json: &[u8]) -> Result<Seen, String> {
    let account: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let account: UiAccount = serde_json::from_value(account).map_err(|error| error.to_string())?;
    RawAccount::decode(&account).map(|raw| seen(&raw))
}

/// A WebSocket message: what its notification says, by the steps that `solana-pubsub-client` takes.
///
/// # Errors
/// What is wrong with it.
pub fn notification(text: &[u8]) -> Result<(Slot, Seen), String> {
    let mut message: Map<String, Value> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let result = message.get_mut("params").and_then(Value::as_object_mut).and_then(|it| it.remove("result"));
    let result = result.ok_or("no notification")?;
    let response: Response<UiAccount> = serde_json::from_value(result).map_err(|error| error.to_string())?;
    RawAccount::decode(&response.value).map(|raw| (response.context.slot, seen(&raw)))
}

/// An answer's slot, how far its Clock lags, and each account for itself.
pub type Answered = (Slot, i64, Vec<Result<Option<Seen>, String>>);

/// The body of an HTTP answer to `getMultipleAccounts` for these keys, the last the Clock's, by the steps that our transport
/// and `solana-rpc-client` take; failures are told as by the node at `url`.
///
/// # Errors
/// What is wrong with it, without what is secret about the URL.
pub fn rpc_answer(
    url: &str,
    status: u16,
    body: &[u8],
    keys: &[Pubkey],
    min_slot: Slot,
) -> Result<Answered, String> {
    let endpoint = Endpoint::new(url, None, &[]).map_err(|error| error.to_string())?;
    let status = StatusCode::from_u16(status).map_err(|error| error.to_string())?;
    let failure = |error| rpc::failure(&error, min_slot, Duration::ZERO, &endpoint).to_string();
    let result = http::answer(status, body).map_err(failure)?;
    let answer = serde_json::from_value(result).map_err(|error| failure(error.into()))?;
    let answer = rpc::decode(&answer, keys, min_slot, Tick::NEVER, WALL_MS).map_err(|it| it.to_string())?;
    let told = |account: Result<Option<RawAccount>, crate::RpcFailure>| {
        account.map(|account| account.map(|raw| seen(&raw))).map_err(|failure| failure.to_string())
    };
    Ok((answer.slot, answer.lag_ms, answer.accounts.into_iter().map(told).collect()))
}

/// The wall time that chain times are compared with: in November 2023.
pub const WALL_MS: i64 = 1_700_000_000_000;

fn seen(raw: &RawAccount) -> Seen {
    let mint = MintInfo::decode(&raw.program, &raw.data);
    Seen {
        stands: match raw.presence() {
            Presence::Absent => Stands::Absent,
            Presence::Token(account) => Stands::Token(account),
            Presence::NotToken(reason) => Stands::NotToken(reason),
        },
        mint,
        shown: mint.and_then(|mint| mint.ui_amount(raw.lamports)),
        lag_ms: raw.unix_timestamp().map(|time| lag_ms(WALL_MS, time)),
    }
}
