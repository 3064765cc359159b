//! Asks a node for the outcomes of transactions: `getEpochInfo` at the mirror's commitment, then
//! `getSignatureStatuses`.
//!
//! The decoder is lenient about statuses: a newer node may send an error that this client's types
//! do not know. All that matters is that it is an error.

use serde_json::{Value, json};
use solana_commitment_config::{CommitmentConfig, CommitmentLevel};
use solana_rpc_client_api::{client_error::Error, request::RpcRequest};

use super::{RpcSource, failure};
use crate::{
    core::trade::signatures::{Inquired, Inquiry, Status},
    error::RpcFailure,
    observability::counters::Counter,
};

/// The JSON-RPC code of a node that keeps no transaction history.
const NO_HISTORY: i64 = -32011;

impl RpcSource {
    /// Makes an inquiry, within the timeout of a single call, and counts its calls.
    pub(crate) async fn inquire(&self, inquiry: &Inquiry, calls: &Counter) -> Result<Inquired, RpcFailure> {
        let answer = tokio::time::timeout(self.timeout, self.inquire_in_order(inquiry, calls)).await;
        answer.unwrap_or(Err(RpcFailure::Timeout { after: self.timeout }))
    }

    async fn inquire_in_order(&self, inquiry: &Inquiry, calls: &Counter) -> Result<Inquired, RpcFailure> {
        let failure = |error: Error| failure(&error, 0, self.timeout, &self.endpoint);
        let commitment = CommitmentConfig { commitment: self.commitment };
        calls.add(1);
        // Ask for the bank first: a transaction that this bank can no longer take in is in the
        // statuses of a later bank, or nowhere.
        let bank = self.client.get_epoch_info_with_commitment(commitment).await.map_err(failure)?;
        let signatures: Vec<_> = inquiry.signatures.iter().map(ToString::to_string).collect();
        let ask = async |history: bool| {
            calls.add(1);
            let config = json!({ "searchTransactionHistory": history });
            let told: Value = self
                .client
                .send(RpcRequest::GetSignatureStatuses, json!([signatures, config]))
                .await
                .map_err(failure)?;
            statuses(&told, signatures.len(), self.commitment)
        };
        let told = match ask(inquiry.history).await {
            // Without history, ask for the recent statuses only: some hundred slots.
            Err(RpcFailure::Server { code, message })
                if inquiry.history
                    && (code == NO_HISTORY || message.to_ascii_lowercase().contains("history")) =>
            {
                ask(false).await
            }
            told => told,
        };
        let (statuses_slot, statuses) = told?;
        Ok(Inquired { slot: bank.absolute_slot, height: bank.block_height, statuses_slot, statuses })
    }
}

/// The slot and the statuses of an answer.
fn statuses(
    told: &Value,
    count: usize,
    commitment: CommitmentLevel,
) -> Result<(u64, Vec<Option<Status>>), RpcFailure> {
    let malformed = |reason: String| RpcFailure::Malformed { reason };
    let slot = told["context"]["slot"].as_u64().ok_or_else(|| malformed("statuses of no slot".to_owned()))?;
    let values = told["value"].as_array().ok_or_else(|| malformed("no list of statuses".to_owned()))?;
    if values.len() != count {
        return Err(malformed(format!("{} statuses for {count} signatures", values.len())));
    }
    let statuses = values.iter().map(|value| match value {
        Value::Null => Ok(None),
        value => {
            let slot = value["slot"].as_u64().ok_or_else(|| malformed("a status of no slot".to_owned()))?;
            Ok(Some(Status { slot, failed: !value["err"].is_null(), settled: is_settled(value, commitment) }))
        }
    });
    Ok((slot, statuses.collect::<Result<_, _>>()?))
}

/// Whether a status has reached a commitment, by the same rule as the client's
/// `satisfies_commitment`.
fn is_settled(status: &Value, commitment: CommitmentLevel) -> bool {
    // Rooted transactions have no count of confirmations.
    let rooted = status.get("confirmations").is_some_and(Value::is_null);
    match (commitment, status["confirmationStatus"].as_str()) {
        (CommitmentLevel::Finalized, _) => rooted,
        (_, Some(reached)) => matches!(reached, "confirmed" | "finalized"),
        // Older nodes do not send the field.
        (_, None) => rooted || status["confirmations"].as_u64().is_some_and(|count| count > 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(status: Value, commitment: CommitmentLevel) -> bool {
        let told = json!({ "context": { "slot": 9 }, "value": [status] });
        let (slot, statuses) = statuses(&told, 1, commitment).expect("statuses");
        assert_eq!(slot, 9);
        statuses[0].expect("a status").settled
    }

    #[test]
    fn a_status_counts_once_it_has_reached_the_commitment() {
        use CommitmentLevel::{Confirmed, Finalized};
        let status = |confirmations: Value, reached: Value| json!({ "slot": 7, "err": null, "confirmations": confirmations, "confirmationStatus": reached });
        for (confirmations, reached, at_confirmed, at_finalized) in [
            (json!(0), json!("processed"), false, false),
            (json!(5), json!("processed"), false, false),
            (json!(1), json!("confirmed"), true, false),
            (json!(null), json!("finalized"), true, true),
            (json!(null), json!(null), true, true),
            (json!(2), json!(null), true, false),
            (json!(1), json!(null), false, false),
            (json!(9), json!("unheard of"), false, false),
        ] {
            let status = status(confirmations, reached);
            assert_eq!(settled(status.clone(), Confirmed), at_confirmed, "{status}");
            assert_eq!(settled(status.clone(), Finalized), at_finalized, "{status}");
        }
    }

    #[test]
    fn an_error_that_no_type_knows_is_an_error_all_the_same() {
        let value = json!([
            null,
            { "slot": 7, "err": { "SomethingOfNextYear": [1, "x"] }, "confirmations": null },
            { "slot": 8, "err": null, "confirmations": null, "status": { "Ok": null } },
        ]);
        let told = json!({ "context": { "slot": 9 }, "value": value });
        let (_, told) = statuses(&told, 3, CommitmentLevel::Confirmed).expect("statuses");
        let status = |slot, failed| Some(Status { slot, failed, settled: true });
        assert_eq!(told, [None, status(7, true), status(8, false)]);
    }

    #[test]
    fn what_does_not_fit_the_question_is_no_answer() {
        let fits = |told: Value| statuses(&told, 1, CommitmentLevel::Confirmed).is_ok();
        assert!(fits(json!({ "context": { "slot": 9 }, "value": [null] })));
        assert!(!fits(json!({ "context": { "slot": 9 }, "value": [null, null] })));
        assert!(!fits(json!({ "context": { "slot": 9 }, "value": null })));
        assert!(!fits(json!({ "context": { "slot": -9 }, "value": [null] })));
        assert!(!fits(json!({ "context": { "slot": 9 }, "value": [{ "err": null }] })));
        assert!(!fits(json!([])));
    }
}
