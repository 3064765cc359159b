//! Acknowledgements of subscriptions that are not what was asked for.

use serde_json::{Value, json};

super::listed! {
    /// How the acknowledgement of a subscription is forged. The subscription itself is made.
    pub enum Forged {
        /// It answers a request that was never sent.
        WrongRequest,
        /// The id of its request is null.
        NullRequest,
        /// It carries no id of a request.
        NoRequest,
        /// The id of its request is a text.
        TextRequest,
        /// It gives the id of the oldest subscription of the connection once more, and what is
        /// notified for either carries that id.
        SharedId,
        /// The subscription's id is null.
        NullId,
        /// The subscription's id is a text.
        TextId,
        /// The subscription's id is negative.
        NegativeId,
    }
}

impl Forged {
    /// Forges an answer; `oldest` is the id of the connection's oldest subscription.
    pub(crate) fn forge(self, mut answer: Value, oldest: u64) -> Value {
        match self {
            Self::WrongRequest => answer["id"] = json!(answer["id"].as_u64().unwrap_or(0) + 1_000_000),
            Self::NullRequest => answer["id"] = Value::Null,
            Self::NoRequest => {
                let fields = answer.as_object_mut();
                fields.map(|fields| fields.remove("id"));
            }
            Self::TextRequest => answer["id"] = json!(answer["id"].to_string()),
            Self::SharedId => answer["result"] = json!(oldest),
            Self::NullId => answer["result"] = Value::Null,
            Self::TextId => answer["result"] = json!("one"),
            Self::NegativeId => answer["result"] = json!(-1),
        }
        answer
    }
}
