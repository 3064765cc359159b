//! Decodes what nodes send as the mirror does, but without a node. The fuzz targets in `fuzz/` and
//! the property test in `tests/hostile_input` use it.

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

/// What an address holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Nothing.
    Absent,
    /// A token account.
    Token(TokenAccount),
    /// Something else.
    NotToken(NotToken),
}

/// Everything that the mirror reads from an account's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Read as a watched account.
    pub stands: Stands,
    /// Read as a mint.
    pub mint: Option<MintInfo>,
    /// Read as a mint: the account's lamports, printed as an amount of that mint.
    pub shown: Option<String>,
    /// Read as the Clock sysvar: how far it is behind the wall time [`WALL_MS`], in milliseconds.
    pub lag_ms: Option<i64>,
}

/// Decodes an account from its owning program, its lamports and its bytes.
pub fn account(program: &Pubkey, lamports: u64, data: &[u8]) -> Seen {
    let raw = RawAccount { program: *program, lamports, data: data.to_vec() };
    seen(&raw)
}

/// Decodes an account in JSON, as `getMultipleAccounts` and `accountNotification` contain it. Like
/// their clients, it parses the text to a JSON value first.
///
/// # Errors
/// What is wrong with the input.
pub fn ui_account(json: &[u8]) -> Result<Seen, String> {
    let account: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let account: UiAccount = serde_json::from_value(account).map_err(|error| error.to_string())?;
    RawAccount::decode(&account).map(|raw| seen(&raw))
}

/// Decodes the notification in a WebSocket message, in the steps that `solana-pubsub-client` takes.
///
/// # Errors
/// What is wrong with the input.
pub fn notification(text: &[u8]) -> Result<(Slot, Seen), String> {
    let mut message: Map<String, Value> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let result = message.get_mut("params").and_then(Value::as_object_mut).and_then(|it| it.remove("result"));
    let result = result.ok_or("no notification")?;
    let response: Response<UiAccount> = serde_json::from_value(result).map_err(|error| error.to_string())?;
    RawAccount::decode(&response.value).map(|raw| (response.context.slot, seen(&raw)))
}

/// An answer's slot, how far its Clock lags in milliseconds, and the result for each account.
pub type Answered = (Slot, i64, Vec<Result<Option<Seen>, String>>);

/// Decodes the body of an HTTP answer to `getMultipleAccounts` for these keys, the last of which is
/// the Clock's. It takes the same steps as the mirror's transport and `solana-rpc-client`, and
/// describes failures as if the node at `url` had caused them.
///
/// # Errors
/// What is wrong with the answer, without the secrets in the URL.
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
