//! Frames that nobody asked for.

use serde_json::json;
use solana_pubkey::Pubkey;
use tokio_tungstenite::tungstenite::{
    Bytes, Message, Utf8Bytes,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

/// No subscription and no request has an id as high as this.
const UNKNOWN: u64 = 1 << 40;

super::listed! {
    /// One frame that no honest node sends.
    pub enum Junk {
        /// `[]`.
        EmptyArray,
        /// `null`.
        Null,
        /// `42`.
        Number,
        /// The first half of a notification.
        Truncated,
        /// Text that is no JSON.
        NotJson,
        /// A binary frame.
        Binary,
        /// A text frame that is no UTF-8.
        BadUtf8,
        /// An account notification for a subscription that was never made.
        UnknownSubscription,
        /// The answer to a request that was never sent.
        UnknownAnswer,
        /// An error that answers the request `null`.
        NullAnswer,
    }
}

impl Junk {
    pub(crate) fn frame(self) -> Message {
        match self {
            Self::EmptyArray => Message::text("[]"),
            Self::Null => Message::text("null"),
            Self::Number => Message::text("42"),
            Self::Truncated => {
                let whole = notification(UNKNOWN);
                Message::text(&whole[..whole.len() / 2])
            }
            Self::NotJson => Message::text("<html>502 Bad Gateway</html>"),
            Self::Binary => Message::binary(vec![0x82, 0, 0xff]),
            Self::BadUtf8 => {
                let text = OpCode::Data(Data::Text);
                Message::Frame(Frame::message(Bytes::from_static(&[b'{', 0xff, 0xfe]), text, true))
            }
            Self::UnknownSubscription => Message::text(notification(UNKNOWN)),
            Self::UnknownAnswer => {
                Message::text(json!({ "jsonrpc": "2.0", "result": 7, "id": UNKNOWN }).to_string())
            }
            Self::NullAnswer => {
                let error = json!({ "code": -32700, "message": "Parse error" });
                Message::text(json!({ "jsonrpc": "2.0", "error": error, "id": null }).to_string())
            }
        }
    }
}

/// A frame that is far too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Huge {
    /// An account notification with huge data, for a subscription of the connection if it has one.
    Notification,
    /// Text that is no JSON.
    Text,
}

impl Huge {
    /// The frame for a connection that holds this subscription.
    pub(crate) fn text(self, bytes: usize, subscription: Option<u64>) -> Utf8Bytes {
        match self {
            Self::Notification => {
                // Written into the text: a debug build would escape so much for seconds.
                let empty = notification(subscription.unwrap_or(UNKNOWN));
                let data = "A".repeat(bytes);
                empty.replace("[\"\",", &format!("[\"{data}\",")).into()
            }
            Self::Text => "x".repeat(bytes).into(),
        }
    }
}

/// The `n`th notification of a flood of unknown ids.
pub(crate) fn of_unknown_id(n: u64) -> Utf8Bytes {
    notification(UNKNOWN + n).into()
}

fn notification(subscription: u64) -> String {
    let value = json!({
        "lamports": 1,
        "owner": Pubkey::default().to_string(),
        "data": ["", "base64"],
        "executable": false,
        "rentEpoch": 0,
        "space": 0,
    });
    let result = json!({ "context": { "slot": 1 }, "value": value });
    let params = json!({ "result": result, "subscription": subscription });
    json!({ "jsonrpc": "2.0", "method": "accountNotification", "params": params }).to_string()
}
