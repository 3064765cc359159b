//! The HTTP face: JSON-RPC over POST, and what the faults make of it.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    conditions::TooMany,
    face::Face,
    hostile::answers::{self, BadAnswer, Body},
    jsonrpc::{self, CallError},
    rpc,
};

/// The longest request body, as on the real server.
const MAX_BODY: usize = 50 * 1024;

/// Accepts connections for ever.
pub(crate) async fn serve(face: Arc<Face>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    face.counters.rpc_connections.add_one();
                    connections.spawn(connection(Arc::clone(&face), stream));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(face: Arc<Face>, stream: TcpStream) {
    if face.faults.read().rpc_down {
        let _ = stream.set_zero_linger();
        return;
    }
    let _ = stream.set_nodelay(true);
    let mut restarts = face.restarts();
    let mut hang_ups = face.hang_ups();
    let used = AtomicBool::new(false);
    let service = service_fn(|request| {
        used.store(true, Relaxed);
        respond(&face, request)
    });
    let mut served = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let mut down = pin!(face.faults.until(|state| state.rpc_down));
    loop {
        select! {
            biased; // A request that comes after the fault must not slip through.
            () = &mut down => break,
            _ = restarts.changed() => break,
            _ = hang_ups.changed() => {
                // Before its first request, a connection would be left open.
                if !used.load(Relaxed) {
                    break;
                }
                served.as_mut().graceful_shutdown();
            }
            // A connection that fails has nobody to tell it to.
            _ = &mut served => break,
        }
    }
}

/// An error ends the connection without an answer.
async fn respond(face: &Arc<Face>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    if request.method() == Method::GET && request.uri().path() == "/health" {
        return Ok(plain(StatusCode::OK, "ok"));
    }
    if request.method() != Method::POST {
        // Whoever follows a redirect comes back with a GET.
        if face.faults.read().bad_answers == Some(BadAnswer::Redirect) {
            return Ok(BadAnswer::Redirect.respond(face, Value::Null));
        }
        let text = "Used HTTP Method is not allowed. POST or OPTIONS is required";
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, ""));
    };
    let body = serde_json::from_slice::<Value>(&body.to_bytes());
    let methods: Vec<&str> = match &body {
        Ok(Value::Array(calls)) => calls.iter().filter_map(|c| c["method"].as_str()).collect(),
        Ok(call) => call["method"].as_str().into_iter().collect(),
        Err(_) => Vec::new(),
    };
    for method in &methods {
        face.counters.count_rpc(method);
    }
    let faulty = {
        let faults = face.faults.read();
        let confined = &faults.rpc_methods;
        confined.is_empty() || methods.iter().any(|method| confined.contains(*method))
    };
    if !faulty {
        return Ok(answer(&call_all(face, body, false)));
    }
    let started = Instant::now();
    if face.faults.read().rpc_stalled {
        face.faults.until(|state| !state.rpc_stalled).await;
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    if let Some(refusal) = face.faults.refuse_request() {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut response = plain(status, "refused");
        if let Some(seconds) = refusal.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        return Ok(response);
    }
    if exceeds_key_limit(face, &body) {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "too many accounts"));
    }
    let value = call_all(face, body, true);
    let mut changes = face.faults.changes();
    loop {
        let delay = face.faults.read().rpc_delay;
        select! {
            biased;
            () = sleep_until(started + delay), if !delay.is_zero() => break,
            () = std::future::ready(()), if delay.is_zero() => break,
            _ = changes.changed() => {}
        }
    }
    let bad = face.faults.read().bad_answers;
    Ok(match bad {
        Some(bad) => bad.respond(face, value),
        None => answer(&value),
    })
}

/// Whether a provider would refuse the whole request for the number of accounts in it.
fn exceeds_key_limit(face: &Face, body: &Result<Value, serde_json::Error>) -> bool {
    let Some((limit, TooMany::PayloadTooLarge)) = face.faults.read().key_limit else {
        return false;
    };
    let exceeds = |call: &Value| {
        let keys = call.pointer("/params/0").and_then(Value::as_array);
        call["method"] == "getMultipleAccounts" && keys.is_some_and(|keys| keys.len() > limit)
    };
    match body {
        Ok(Value::Array(calls)) => calls.iter().any(exceeds),
        Ok(call) => exceeds(call),
        Err(_) => false,
    }
}

fn call_all(face: &Face, body: Result<Value, serde_json::Error>, faulty: bool) -> Value {
    match body {
        Ok(Value::Array(calls)) => calls.into_iter().map(|call| rpc::call(face, call, faulty)).collect(),
        Ok(call) => rpc::call(face, call, faulty),
        Err(_) => {
            let error = CallError::new(jsonrpc::PARSE_ERROR, "Parse error");
            jsonrpc::answer(&Value::Null, Err(error))
        }
    }
}

fn answer(value: &Value) -> Response<Body> {
    let mut response = plain(StatusCode::OK, &value.to_string());
    let json = header::HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(answers::whole(text.to_owned()));
    *response.status_mut() = status;
    response
}
