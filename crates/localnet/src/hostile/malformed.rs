//! Account notifications that are wrong in form.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

super::listed! {
    /// How account notifications are malformed.
    pub enum Malformed {
        /// The data is no base64.
        BadBase64,
        /// The data is said to be base58.
        WrongEncoding,
        /// Half of the data is missing; what is left decodes.
        ShortData,
        /// The account is said to have 2^64 - 1 bytes.
        HugeSpace,
        /// The lamports are negative.
        NegativeLamports,
        /// The lamports have a fraction.
        FloatLamports,
        /// The context slot is negative.
        NegativeSlot,
        /// The context slot has a fraction.
        FloatSlot,
        /// There is no context.
        NoContext,
        /// The account is null.
        NullValue,
        /// There is no subscription id.
        NoSubscription,
    }
}

impl Malformed {
    pub(crate) fn apply(self, notification: &mut Value) {
        let params = &mut notification["params"];
        let result = &mut params["result"];
        match self {
            Self::BadBase64 => result["value"]["data"][0] = json!("*not base64*"),
            Self::WrongEncoding => result["value"]["data"][1] = json!("base58"),
            Self::ShortData => {
                let data = result["value"]["data"][0].as_str().map(|text| BASE64_STANDARD.decode(text));
                if let Some(Ok(data)) = data {
                    let half = BASE64_STANDARD.encode(&data[..data.len() / 2]);
                    result["value"]["data"][0] = json!(half);
                }
            }
            Self::HugeSpace => result["value"]["space"] = json!(u64::MAX),
            Self::NegativeLamports => result["value"]["lamports"] = json!(-1),
            Self::FloatLamports => result["value"]["lamports"] = json!(1.5),
            Self::NegativeSlot => result["context"]["slot"] = json!(-1),
            Self::FloatSlot => result["context"]["slot"] = json!(1.5),
            Self::NoContext => remove(result, "context"),
            Self::NullValue => result["value"] = Value::Null,
            Self::NoSubscription => remove(params, "subscription"),
        }
    }
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}
