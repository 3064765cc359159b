//! The methods of the WebSocket face.

use std::time::Duration;

use serde_json::{Value, json};
use solana_account_decoder_client_types::UiAccountEncoding;
use solana_rpc_client_api::config::{RpcAccountInfoConfig, RpcSignatureSubscribeConfig};

use crate::{
    conditions::State,
    face::Face,
    hostile::forged::Forged,
    hub::Topic,
    jsonrpc::{self, CallError, Params, Request},
};

/// What to do with a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is never answered.
    Nothing,
    Now(String),
    /// The subscription stands, but is acknowledged later.
    Late {
        by: Duration,
        subscription: u64,
        answer: String,
    },
}

/// Carries out a request of a connection.
pub(crate) fn handle(face: &Face, connection: u64, text: &str) -> Answer {
    let now = |id: &Value, outcome| Answer::Now(jsonrpc::answer(id, outcome).to_string());
    let parsed = serde_json::from_str(text)
        .map_err(|_| CallError::new(jsonrpc::PARSE_ERROR, "Parse error"))
        .and_then(Request::read);
    let Request { id, method, params } = match parsed {
        Ok(request) => request,
        Err(error) => return now(&Value::Null, Err(error)),
    };
    if method.ends_with("Unsubscribe") {
        face.counters.unsubscribes.add_one();
        return now(&id, unsubscribe(face, connection, &method, &params));
    }
    face.counters.subscribes.add_one();
    let mut topic = match topic(&method, &params) {
        Ok(topic) => topic,
        Err(error) => return now(&id, Err(error)),
    };
    let held = face.hub.lock().held(connection);
    let (delay, forged, fault) = {
        let faults = face.faults.read();
        if let Topic::Account { slice, .. } = &mut topic
            && faults.ignore_slices
        {
            *slice = None;
        }
        (faults.acknowledgement_delay, faults.forged, fault(&faults, &topic, held))
    };
    match fault {
        Some(Fault::Ignored) => return Answer::Nothing,
        Some(Fault::Refused(error)) => return now(&id, Err(error)),
        None => {}
    }
    let subscription = face.hub.lock().subscribe(connection, topic);
    let answer = jsonrpc::answer(&id, Ok(subscription.into()));
    let answer = match forged {
        None => answer,
        Some(forged) => {
            let known_as = match forged {
                Forged::SharedId => face.hub.lock().share_id(connection, subscription),
                _ => subscription,
            };
            forged.forge(answer, known_as)
        }
    }
    .to_string();
    if delay.is_zero() {
        return Answer::Now(answer);
    }
    Answer::Late { by: delay, subscription, answer }
}

fn topic(method: &str, params: &Params) -> Result<Topic, CallError> {
    match method {
        "accountSubscribe" => {
            let config: RpcAccountInfoConfig = params.optional(1)?;
            Ok(Topic::Account {
                address: named(params, "pubkey")?,
                commitment: config.commitment.unwrap_or_default().commitment,
                encoding: config.encoding.unwrap_or(UiAccountEncoding::Binary),
                slice: config.data_slice,
            })
        }
        "signatureSubscribe" => {
            let config: RpcSignatureSubscribeConfig = params.optional(1)?;
            Ok(Topic::Signature {
                signature: named(params, "signature")?,
                commitment: config.commitment.unwrap_or_default().commitment,
            })
        }
        "slotSubscribe" => Ok(Topic::Slot),
        _ => Err(method_not_found()),
    }
}

fn unsubscribe(face: &Face, connection: u64, method: &str, params: &Params) -> Result<Value, CallError> {
    match method {
        "accountUnsubscribe" | "signatureUnsubscribe" | "slotUnsubscribe" => {
            let id = params.get(0)?;
            if face.hub.lock().unsubscribe(connection, id) {
                Ok(json!(true))
            } else {
                let text = "Invalid subscription id.";
                Err(CallError::new(jsonrpc::INVALID_PARAMS, text))
            }
        }
        _ => Err(method_not_found()),
    }
}

fn method_not_found() -> CallError {
    CallError::new(jsonrpc::METHOD_NOT_FOUND, "Method not found")
}

/// A first parameter, refused in the words of the server.
fn named<T: std::str::FromStr>(params: &Params, name: &str) -> Result<T, CallError> {
    let text: String = params.get(0)?;
    text.parse().map_err(|_| {
        let text = format!("Invalid Request: Invalid {name} provided");
        CallError::new(jsonrpc::INVALID_PARAMS, text)
    })
}

enum Fault {
    Ignored,
    Refused(CallError),
}

/// What the faults make of a subscription of a connection that holds so many.
fn fault(faults: &State, topic: &Topic, held: usize) -> Option<Fault> {
    let address = topic.address();
    if faults.ignore_subscriptions || address.is_some_and(|a| faults.ignore_accounts.contains(a)) {
        return Some(Fault::Ignored);
    }
    if let Topic::Account { slice: Some(_), .. } = topic
        && faults.refuse_slices
    {
        let error = CallError::new(jsonrpc::INVALID_PARAMS, "Invalid params: dataSlice is not supported");
        return Some(Fault::Refused(error));
    }
    let limit = faults.subscription_limit.as_ref();
    if let Some((_, refused)) = limit.filter(|(limit, _)| held >= *limit) {
        return Some(Fault::Refused(CallError::new(refused.code, &refused.message)));
    }
    let refused = address
        .and_then(|address| faults.refuse_accounts.get(address))
        .or(faults.refuse_subscriptions.as_ref())?;
    let error = CallError::new(refused.code, &refused.message);
    Some(Fault::Refused(error))
}
