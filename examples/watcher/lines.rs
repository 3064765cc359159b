//! The JSON lines. Scripts rely on their shape: changing it is a breaking change.
//!
//! Amounts are text, because many JSON readers lose whole numbers above 2^53.

use balance_mirror::{AccountState, Health, Pubkey, ServedFrom};
use serde::Serialize;

use crate::events::{Change, Moment, Preview, Read, chain};

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Line {
    Balance(BalanceLine),
    Processed(ProcessedLine),
    Reverted {
        ts: String,
        account: String,
    },
    Reset {
        ts: String,
        epoch: u32,
    },
    Missed {
        count: u64,
    },
    Reading(ReadingLine),
    Health {
        ts: String,
        #[serde(flatten)]
        health: Box<Health>,
    },
}

/// An account's record changed.
#[derive(Debug, Serialize)]
pub(crate) struct BalanceLine {
    ts: String,
    account: String,
    mint: Option<String>,
    owner: Option<String>,
    /// `spl-token` or `token-2022`.
    program: Option<String>,
    /// The raw amount in the account's bytes: "0" if there is no account, null if it is not known.
    amount: Option<String>,
    /// Null until the mint is known.
    decimals: Option<u8>,
    /// Exact. Null until the mint is known, and if the amount depends on the time.
    ui_amount: Option<String>,
    state: &'static str,
    slot: u64,
    origin: &'static str,
}

/// What the processed bank shows of an account. The chain may take it back: do not trade on it.
#[derive(Debug, Serialize)]
pub(crate) struct ProcessedLine {
    ts: String,
    account: String,
    amount: Option<String>,
    ui_amount: Option<String>,
    state: &'static str,
    slot: u64,
}

/// The result of a read on a sell path. If there is an error, there is no result.
#[derive(Debug, Serialize)]
pub(crate) struct ReadingLine {
    ts: String,
    account: String,
    amount: Option<String>,
    state: Option<&'static str>,
    slot: Option<u64>,
    as_of: Option<u64>,
    freshness: &'static str,
    served_from: &'static str,
    age_ms: Option<u64>,
    elapsed_us: u64,
    error: Option<String>,
}

impl Line {
    pub(crate) fn health(at: Moment, health: Health) -> Self {
        Self::Health { ts: at.rfc3339(), health: Box::new(health) }
    }

    pub(crate) fn reverted(at: Moment, account: &Pubkey) -> Self {
        Self::Reverted { ts: at.rfc3339(), account: account.to_string() }
    }
}

impl From<&Change> for Line {
    fn from(change: &Change) -> Self {
        let Change { at, account, identity, state, mint, slot, origin } = change;
        let amount = state.token_amount();
        Self::Balance(BalanceLine {
            ts: at.rfc3339(),
            account: account.to_string(),
            mint: identity.mint.map(|mint| mint.to_string()),
            owner: identity.owner.map(|owner| owner.to_string()),
            program: identity.program.map(|program| program.to_string()),
            amount: amount.map(|amount| amount.to_string()),
            decimals: mint.map(|mint| mint.decimals),
            ui_amount: amount.and_then(|amount| mint.and_then(|mint| mint.ui_amount(amount))),
            state: state.name(),
            slot: *slot,
            origin: origin.name(),
        })
    }
}

impl From<&Preview> for Line {
    fn from(preview: &Preview) -> Self {
        let amount = preview.state.token_amount();
        Self::Processed(ProcessedLine {
            ts: preview.at.rfc3339(),
            account: preview.account.to_string(),
            amount: amount.map(|amount| amount.to_string()),
            ui_amount: amount.and_then(|amount| preview.mint.and_then(|mint| mint.ui_amount(amount))),
            state: preview.state.name(),
            slot: preview.slot,
        })
    }
}

impl From<&Read> for Line {
    fn from(read: &Read) -> Self {
        let served = read.answer.as_ref().ok();
        let reading = served.map(|balance| &balance.reading);
        Self::Reading(ReadingLine {
            ts: read.at.rfc3339(),
            account: read.account.to_string(),
            amount: served.and_then(|balance| balance.state.token_amount()).map(|amount| amount.to_string()),
            state: served.map(|balance| AccountState::name(&balance.state)),
            slot: reading.and_then(|reading| reading.slot()),
            as_of: reading.and_then(|reading| reading.as_of()),
            freshness: read.freshness(),
            served_from: read.served_from(),
            age_ms: read.age().map(|age| number(age.as_millis())),
            elapsed_us: number(read.took.as_micros()),
            error: read.answer.as_ref().err().map(|error| chain(error)),
        })
    }
}

impl Read {
    /// `live` or `aging`; `stale` only with an error: a balance that was served met the requested
    /// age when it was asked for.
    pub(crate) fn freshness(&self) -> &'static str {
        match &self.answer {
            Ok(balance) if balance.reading.is_live() => "live",
            Ok(_) => "aging",
            Err(_) => "stale",
        }
    }

    pub(crate) fn served_from(&self) -> &'static str {
        match &self.answer {
            Ok(balance) if balance.served_from == ServedFrom::Cache => "cache",
            Ok(_) => "rpc",
            Err(_) => "error",
        }
    }

    /// The age of the proof: of the balance served, or of the one too old to serve.
    pub(crate) fn age(&self) -> Option<std::time::Duration> {
        use balance_mirror::ReadError;
        match &self.answer {
            Ok(balance) => balance.reading.age(),
            Err(ReadError::Rpc { stale, .. } | ReadError::Deadline { stale, .. }) => stale.age,
            Err(_) => None,
        }
    }
}

fn number(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use balance_mirror::{Mirror, Pubkey, ReadError, StateOrigin, TokenProgram};
    use serde_json::{Value, json};

    use super::*;
    use crate::events::Identity;

    fn json_of(line: &Line) -> Value {
        serde_json::to_value(line).expect("a line")
    }

    fn names(value: &Value) -> Vec<&str> {
        let mut names: Vec<_> = value.as_object().expect("an object").keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_balance_line_of_an_account_that_is_not_there() {
        let wallet = Pubkey::new_from_array([2; 32]);
        let change = Change {
            at: Moment::now(),
            account: Pubkey::new_from_array([1; 32]),
            identity: Identity { mint: None, owner: Some(wallet), program: Some(TokenProgram::Token2022) },
            state: AccountState::Absent,
            mint: None,
            slot: 7,
            origin: StateOrigin::Rpc,
        };
        let mut line = json_of(&Line::from(&change));
        assert!(line["ts"].take().as_str().is_some_and(|ts| ts.ends_with('Z')));
        assert_eq!(
            line,
            json!({
                "type": "balance", "ts": null, "account": change.account.to_string(), "mint": null,
                "owner": wallet.to_string(), "program": "token-2022", "amount": "0", "decimals": null,
                "ui_amount": null, "state": "absent", "slot": 7, "origin": "rpc",
            })
        );
        let text = serde_json::to_string(&Line::from(&change)).expect("a line");
        assert!(text.starts_with(r#"{"type":"balance","ts":"#), "the type comes first: {text}");
    }

    #[test]
    fn a_reading_that_failed_holds_no_amount() {
        let address = Pubkey::new_from_array([1; 32]);
        let read = Read {
            at: Moment::now(),
            account: address,
            answer: Err(ReadError::NotWatched { address }),
            took: Duration::from_micros(12),
        };
        let line = json_of(&Line::from(&read));
        for name in ["amount", "state", "slot", "as_of", "age_ms"] {
            assert_eq!(line[name], Value::Null, "{name}");
        }
        assert_eq!((&line["freshness"], &line["served_from"]), (&json!("stale"), &json!("error")));
        assert_eq!(line["elapsed_us"], 12);
        assert!(line["error"].as_str().is_some_and(|error| error.contains("not watched")));
    }

    #[test]
    fn missed_has_a_count() {
        assert_eq!(json_of(&Line::Missed { count: 3 }), json!({ "type": "missed", "count": 3 }));
    }

    #[tokio::test]
    async fn a_health_line_has_every_field_of_health() {
        // Nobody listens there; a mirror starts all the same.
        let mirror = Mirror::builder("http://127.0.0.1:9").start().expect("a mirror");
        let health = mirror.health();
        let line = json_of(&Line::health(Moment::now(), health.clone()));
        let bare = serde_json::to_value(&health).expect("health");
        let mut expected = names(&bare);
        expected.extend(["ts", "type"]);
        expected.sort_unstable();
        assert_eq!(names(&line), expected);
        assert_eq!(line["type"], "health");
        mirror.shutdown().await;
    }
}
