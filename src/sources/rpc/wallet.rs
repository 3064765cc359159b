//! A wallet's token accounts of one program: `getTokenAccountsByOwner`.
//!
//! The call has no paging. So the mirror calls it for one program at a time, with each account cut
//! to the fields needed, and reports an answer beyond its own limits, or beyond the node's, as
//! such.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use solana_rpc_client_api::{
    client_error::{Error, ErrorKind},
    request::RpcRequest,
};

use super::{RpcSource, failure};
use crate::{
    core::{base::ids::Slot, chain::token::TokenProgram},
    error::RpcFailure,
    sources::rpc::http::{Refusal, patience, refusal},
};

/// How many bytes of a token account are needed: mint, owner and amount are the first 72 bytes, the
/// state is byte 108.
const NEEDED: usize = 109;

/// The JSON-RPC code of a node that keeps no index by owner, or leaves the program out of its
/// index.
const NO_INDEX: i64 = -32010;

/// A token account that holds tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) address: Pubkey,
    pub(crate) program: TokenProgram,
    pub(crate) mint: Pubkey,
    pub(crate) amount: u64,
}

/// A wallet's token accounts of one program that hold tokens, as of one bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) slot: Slot,
    pub(crate) holdings: Vec<Holding>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The answer would be larger than the mirror accepts, or than the node sends.
    TooLarge(RpcFailure),
    /// The node cannot look up accounts by their owner.
    NoIndex(RpcFailure),
    Failed(RpcFailure),
}

impl RpcSource {
    /// The wallet's token accounts of a program that hold tokens, as of a bank of `min_slot` or
    /// later.
    pub(crate) async fn owned(
        &self,
        wallet: &Pubkey,
        program: TokenProgram,
        min_slot: Slot,
    ) -> Result<Owned, Unanswered> {
        const REQUEST: RpcRequest = RpcRequest::GetTokenAccountsByOwner;
        let mut config = json!({
            "encoding": "base64",
            "commitment": self.commitment.to_string(),
            "dataSlice": { "offset": 0, "length": NEEDED },
        });
        if min_slot > 0 {
            config["minContextSlot"] = min_slot.into();
        }
        let params = json!([wallet.to_string(), { "programId": program.id().to_string() }, config]);
        let patience = patience(REQUEST, self.timeout);
        let answer = tokio::time::timeout(patience, self.client.send::<Value>(REQUEST, params))
            .await
            .map_err(|_| Unanswered::Failed(RpcFailure::Timeout { after: patience }))?
            .map_err(|error| unanswered(&error, failure(&error, min_slot, patience, &self.endpoint)))?;
        decode(&answer, wallet, program, min_slot).map_err(Unanswered::Failed)
    }
}

/// Separates the failures that a bot can do something about from the rest.
fn unanswered(error: &Error, failure: RpcFailure) -> Unanswered {
    let ours = matches!(error.kind(), ErrorKind::Custom(custom) if matches!(refusal(custom), Some(Refusal::TooLarge(_))));
    let theirs = match &failure {
        RpcFailure::Status { status } => *status == 413,
        RpcFailure::Server { message, .. } => {
            let message = message.to_ascii_lowercase();
            let too_many = message.contains("too many") && !message.contains("too many requests");
            too_many || message.contains("too large") || message.contains("too big")
        }
        _ => false,
    };
    match failure {
        _ if ours || theirs => Unanswered::TooLarge(failure),
        RpcFailure::Server { code: NO_INDEX, .. } => Unanswered::NoIndex(failure),
        _ => Unanswered::Failed(failure),
    }
}

/// Decodes the node's answer. One account that is not the wallet's, or cannot be read, makes the
/// whole answer invalid.
fn decode(
    answer: &Value,
    wallet: &Pubkey,
    program: TokenProgram,
    min_slot: Slot,
) -> Result<Owned, RpcFailure> {
    let malformed = |reason: &str| RpcFailure::Malformed { reason: reason.to_owned() };
    let slot = answer["context"]["slot"].as_u64().ok_or_else(|| malformed("no context slot"))?;
    if slot < min_slot {
        return Err(RpcFailure::Behind { min_slot });
    }
    let accounts = answer["value"].as_array().ok_or_else(|| malformed("no list of accounts"))?;
    let mut holdings = BTreeMap::new();
    for account in accounts {
        if let Some(holding) = holding(account, wallet, program).map_err(malformed)? {
            holdings.insert(holding.address, holding);
        }
    }
    Ok(Owned { slot, holdings: holdings.into_values().collect() })
}

/// `None` if the account holds nothing.
fn holding(account: &Value, wallet: &Pubkey, program: TokenProgram) -> Result<Option<Holding>, &'static str> {
    let key = |value: &Value| value.as_str().and_then(|text| text.parse::<Pubkey>().ok());
    let address = key(&account["pubkey"]).ok_or("an account without its address")?;
    let account = &account["account"];
    if key(&account["owner"]) != Some(program.id()) {
        return Err("an account of another program than asked for");
    }
    let data = &account["data"];
    if data[1] != "base64" {
        return Err("an account that is not in base64");
    }
    let data = data[0].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
    let data = data.filter(|data| data.len() >= NEEDED).ok_or("an account that cannot be read")?;
    let owner = Pubkey::try_from(&data[32..64]).map_err(|_| "an account without an owner")?;
    if owner != *wallet {
        return Err("an account of another wallet than asked for");
    }
    let mint = Pubkey::try_from(&data[..32]).map_err(|_| "an account without a mint")?;
    let amount =
        data[64..72].try_into().map(u64::from_le_bytes).map_err(|_| "an account without an amount")?;
    let initialized = data[108] != 0;
    Ok((initialized && amount > 0).then_some(Holding { address, program, mint, amount }))
}

#[cfg(test)]
mod tests {
    use solana_rpc_client_api::request::{RpcError, RpcResponseErrorData};

    use super::*;
    use crate::core::chain::token::tests::account_bytes;

    const PROGRAM: TokenProgram = TokenProgram::Token2022;

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    fn bytes(owner: u8, amount: u64) -> Vec<u8> {
        let mut data = account_bytes(key(1), key(owner), amount);
        data.truncate(NEEDED);
        data
    }

    /// As Agave puts it, with a rent epoch beyond what a u64 in the client takes.
    fn account(address: u8, data: &[u8]) -> Value {
        json!({
            "account": {
                "data": [BASE64_STANDARD.encode(data), "base64"],
                "executable": false,
                "lamports": 2_039_280,
                "owner": PROGRAM.id().to_string(),
                "rentEpoch": 1.844_674_407_370_955_2e19,
                "space": 165,
            },
            "pubkey": key(address).to_string(),
        })
    }

    fn said(accounts: Value) -> Result<Owned, RpcFailure> {
        let answer = json!({ "context": { "apiVersion": "4.2.2", "slot": 7 }, "value": accounts });
        decode(&answer, &key(2), PROGRAM, 7)
    }

    #[test]
    fn what_holds_tokens_is_found_and_nothing_else() {
        let mut uninitialized = bytes(2, 5);
        uninitialized[108] = 0;
        let mut frozen = bytes(2, 6);
        frozen[108] = 2;
        let whole = account_bytes(key(1), key(2), 7);
        let accounts = [
            account(9, &bytes(2, 4)),
            account(10, &bytes(2, 0)),
            account(11, &uninitialized),
            account(12, &frozen),
            account(13, &whole),
            account(9, &bytes(2, 4)),
        ];
        let found = said(accounts.into()).expect("an answer");
        let holding =
            |address, amount| Holding { address: key(address), program: PROGRAM, mint: key(1), amount };
        assert_eq!(found, Owned { slot: 7, holdings: vec![holding(9, 4), holding(12, 6), holding(13, 7)] });
    }

    #[test]
    fn an_answer_with_one_account_that_does_not_fit_is_none() {
        let good = account(9, &bytes(2, 4));
        let with = |field: &str, value: Value| {
            let mut bad = good.clone();
            *bad.pointer_mut(field).expect("a field") = value;
            said(json!([good, bad]))
        };
        for (field, value) in [
            ("/pubkey", json!("nobody")),
            ("/account/owner", json!(TokenProgram::Token.id().to_string())),
            ("/account/data", json!(BASE64_STANDARD.encode(bytes(2, 4)))),
            ("/account/data/0", json!("!")),
            ("/account/data/1", json!("base64+zstd")),
            ("/account/data/0", json!(BASE64_STANDARD.encode(&bytes(2, 4)[..NEEDED - 1]))),
            ("/account/data/0", json!(BASE64_STANDARD.encode(bytes(3, 4)))),
        ] {
            let told = with(field, value.clone());
            assert!(matches!(told, Err(RpcFailure::Malformed { .. })), "{field} {value}: {told:?}");
        }
        assert!(with("/account/lamports", json!(-1)).is_ok(), "what is not needed is not looked at");
        for whole in [json!(null), json!([]), json!({ "context": { "slot": 7 } }), json!({ "value": [] })] {
            assert!(decode(&whole, &key(2), PROGRAM, 0).is_err(), "{whole}");
        }
    }

    #[test]
    fn an_answer_older_than_asked_for_is_behind() {
        let answer = json!({ "context": { "slot": 6 }, "value": [] });
        assert_eq!(decode(&answer, &key(2), PROGRAM, 7), Err(RpcFailure::Behind { min_slot: 7 }));
        assert_eq!(decode(&answer, &key(2), PROGRAM, 6), Ok(Owned { slot: 6, holdings: Vec::new() }));
    }

    #[test]
    fn what_a_bot_can_do_something_about_is_told_apart() {
        let server = |code, message: &str| -> Error {
            let (message, data) = (message.to_owned(), RpcResponseErrorData::Empty);
            RpcError::RpcResponseError { code, message, data }.into()
        };
        let told = |error: Error| {
            let endpoint = crate::sources::endpoint::Endpoint::new("http://host", None, &[]).expect("a URL");
            unanswered(&error, failure(&error, 1, std::time::Duration::ZERO, &endpoint))
        };
        let custom = |text: &str| Error::from(ErrorKind::Custom(text.to_owned()));
        for large in [
            custom("too large: more than 9 bytes"),
            custom("status 413"),
            server(-32600, "Too many accounts requested (100001 pubkeys)"),
            server(-32000, "response is too large"),
        ] {
            let told = told(large);
            assert!(matches!(told, Unanswered::TooLarge(_)), "{told:?}");
        }
        let excluded = "excluded from account secondary indexes; this RPC method unavailable for key";
        assert!(matches!(told(server(-32010, excluded)), Unanswered::NoIndex(_)));
        for other in [custom("status 500"), custom("rate limited 3"), server(-32005, "Too many requests")] {
            let told = told(other);
            assert!(matches!(told, Unanswered::Failed(_)), "{told:?}");
        }
        let behind = told(server(-32016, "Minimum context slot has not been reached"));
        assert_eq!(behind, Unanswered::Failed(RpcFailure::Behind { min_slot: 1 }));
    }
}
