//! RPC answers that are wrong in form, or come in the wrong way.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    body::{Bytes, Frame},
    header::{self, HeaderValue},
};
use serde_json::{Value, json};
use tokio::{
    select,
    time::{Instant, sleep, sleep_until},
};

use crate::face::Face;

/// How long a huge answer is.
const HUGE: usize = 60_000_000;
/// Between two bytes of an answer that drips.
const DRIP: Duration = Duration::from_millis(50);
/// How long a part of a body is given to leave.
const FLUSH: Duration = Duration::from_millis(20);

/// The body of an answer. Its error ends the connection.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

super::listed! {
    /// How RPC answers are bad.
    pub enum BadAnswer {
        /// A list has one element too few.
        Short,
        /// A list has one element too many.
        Long,
        /// A list is in the wrong order.
        Reversed,
        /// Every element of a list is null.
        Nulls,
        /// There is no context.
        NoContext,
        /// The result is null.
        NullResult,
        /// The answer is to another request.
        WrongId,
        /// The answer is to the request `null`.
        NullId,
        /// The second half of the JSON is missing.
        Truncated,
        /// Not JSON.
        NotJson,
        /// Nothing.
        Empty,
        /// The connection ends halfway through the body.
        CutOff,
        /// The body has 60 MB.
        Huge,
        /// The body comes at 20 bytes a second. When the fault is over, the rest comes at once.
        Drip,
        /// A redirect (302) to the same address.
        Redirect,
    }
}

pub(crate) fn whole(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed_unsync()
}

impl BadAnswer {
    pub(crate) fn respond(self, face: &Arc<Face>, mut answer: Value) -> Response<Body> {
        match &mut answer {
            Value::Array(answers) => answers.iter_mut().for_each(|answer| self.bend(answer)),
            answer => self.bend(answer),
        }
        let mut text = answer.to_string();
        if self == Self::Huge {
            // A field more, written into the text: a debug build would escape so much for seconds.
            let padded = format!("{{\"padding\":\"{}\",", "x".repeat(HUGE));
            text = text.replacen('{', &padded, 1);
        }
        let (half, _) = text.split_at(text.len() / 2);
        let body = match self {
            Self::Truncated => whole(half.to_owned()),
            Self::NotJson => whole("<html>bad gateway</html>".into()),
            Self::Empty | Self::Redirect => whole(String::new()),
            Self::CutOff => cut_off(half.to_owned().into()),
            Self::Drip => drip(Arc::clone(face), text.into()),
            _ => whole(text),
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        if self == Self::Redirect {
            headers.insert(header::LOCATION, HeaderValue::from_static("/"));
            *response.status_mut() = StatusCode::FOUND;
        }
        response
    }

    /// What is wrong in the answer itself.
    fn bend(self, answer: &mut Value) {
        let list = |answer: &mut Value, change: fn(&mut Vec<Value>)| {
            if let Some(list) = answer.pointer_mut("/result/value").and_then(Value::as_array_mut) {
                change(list);
            }
        };
        match self {
            Self::Short => list(answer, |list| drop(list.pop())),
            Self::Long => list(answer, |list| list.push(list.last().cloned().unwrap_or_default())),
            Self::Reversed => list(answer, |list| list.reverse()),
            Self::Nulls => list(answer, |list| list.fill(Value::Null)),
            Self::NoContext => {
                let result = answer.pointer_mut("/result").and_then(Value::as_object_mut);
                result.map(|result| result.remove("context"));
            }
            Self::NullResult => answer["result"] = Value::Null,
            Self::WrongId => answer["id"] = json!(answer["id"].as_u64().unwrap_or(0) + 1_000_000),
            Self::NullId => answer["id"] = Value::Null,
            _ => {}
        }
    }
}

/// So much, and then the end of the connection instead of the rest.
fn cut_off(sent: Bytes) -> Body {
    let parts = stream::unfold(Some(sent), |sent| async move {
        match sent {
            Some(sent) if !sent.is_empty() => Some((Ok(Frame::data(sent)), Some(Bytes::new()))),
            // It has to leave before the connection does.
            Some(_) => {
                sleep(FLUSH).await;
                Some((Err(io::ErrorKind::ConnectionAborted.into()), None))
            }
            None => None,
        }
    });
    StreamBody::new(parts).boxed_unsync()
}

/// A byte at a time, for as long as the fault is in force.
fn drip(face: Arc<Face>, text: Bytes) -> Body {
    let bytes = stream::unfold((face, text, Instant::now()), |(face, mut left, due)| async move {
        if left.is_empty() {
            return None;
        }
        let over = face.faults.until(|state| state.bad_answers != Some(BadAnswer::Drip));
        let next = select! {
            () = over => left.split_to(left.len()),
            () = sleep_until(due) => left.split_to(1),
        };
        Some((Ok(Frame::data(next)), (face, left, due + DRIP)))
    });
    StreamBody::new(bytes).boxed_unsync()
}
