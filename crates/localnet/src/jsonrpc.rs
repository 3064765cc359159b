//! JSON-RPC 2.0 envelopes, and the reading of parameters.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) const PARSE_ERROR: i64 = -32700;
pub(crate) const INVALID_REQUEST: i64 = -32600;
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
pub(crate) const INVALID_PARAMS: i64 = -32602;
pub(crate) const INTERNAL_ERROR: i64 = -32603;

/// The error object of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CallError {
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl CallError {
    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(crate) fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    pub(crate) fn invalid_param(what: impl std::fmt::Display) -> Self {
        Self::new(INVALID_PARAMS, format!("Invalid param: {what}"))
    }
}

/// One request, as far as it could be read.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: Value,
    pub(crate) method: String,
    pub(crate) params: Params,
}

impl Request {
    pub(crate) fn read(value: Value) -> Result<Self, CallError> {
        let invalid = || CallError::new(INVALID_REQUEST, "Invalid request");
        let Value::Object(mut fields) = value else {
            return Err(invalid());
        };
        let Some(Value::String(method)) = fields.remove("method") else {
            return Err(invalid());
        };
        let params = match fields.remove("params") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(params)) => params,
            Some(_) => {
                let text = "Invalid params: invalid type: expected an array";
                return Err(CallError::new(INVALID_PARAMS, text));
            }
        };
        Ok(Self { id: fields.remove("id").unwrap_or(Value::Null), method, params: Params(params) })
    }
}

/// Positional parameters.
#[derive(Debug)]
pub(crate) struct Params(Vec<Value>);

impl Params {
    /// A parameter that must be there.
    pub(crate) fn get<T: DeserializeOwned>(&self, index: usize) -> Result<T, CallError> {
        let value = self.0.get(index).cloned().unwrap_or(Value::Null);
        serde_json::from_value(value)
            .map_err(|error| CallError::new(INVALID_PARAMS, format!("Invalid params: {error}.")))
    }

    /// A parameter that may be missing or null.
    pub(crate) fn optional<T: DeserializeOwned + Default>(&self, index: usize) -> Result<T, CallError> {
        match self.0.get(index) {
            None | Some(Value::Null) => Ok(T::default()),
            Some(_) => self.get(index),
        }
    }

    /// A parameter written as text: an address, a signature, a hash.
    pub(crate) fn parsed<T: FromStr>(&self, index: usize) -> Result<T, CallError>
    where
        T::Err: std::fmt::Debug,
    {
        parse(&self.get::<String>(index)?)
    }
}

pub(crate) fn parse<T: FromStr>(text: &str) -> Result<T, CallError>
where
    T::Err: std::fmt::Debug,
{
    // The server prints these errors so.
    text.parse().map_err(|error| CallError::invalid_param(format_args!("{error:?}")))
}

/// The answer to a call.
pub(crate) fn answer(id: &Value, outcome: Result<Value, CallError>) -> Value {
    match outcome {
        Ok(result) => json!({ "jsonrpc": "2.0", "result": result, "id": id }),
        Err(CallError { code, message, data }) => {
            let mut error = json!({ "code": code, "message": message });
            if let Some(data) = data {
                error["data"] = data;
            }
            json!({ "jsonrpc": "2.0", "error": error, "id": id })
        }
    }
}
