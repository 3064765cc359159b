//! The HTTP face: JSON-RPC over POST, and what the faults make of it.

use std::{io, sync::Arc};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
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
    cluster::Cluster,
    jsonrpc::{self, CallError},
    rpc,
};

/// The longest request body, as on the real server.
const MAX_BODY: usize = 50 * 1024;

/// Accepts connections for ever.
pub(crate) async fn serve(cluster: Arc<Cluster>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    cluster.counters.rpc_connections.add_one();
                    connections.spawn(connection(Arc::clone(&cluster), stream));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(cluster: Arc<Cluster>, stream: TcpStream) {
    if cluster.faults.read().rpc_down {
        let _ = stream.set_zero_linger();
        return;
    }
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| respond(&cluster, request));
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    select! {
        biased; // A request that comes after the fault must not slip through.
        () = cluster.faults.until(|state| state.rpc_down) => {}
        // A connection that fails has nobody to tell it to.
        _ = served => {}
    }
}

/// An error ends the connection without an answer.
async fn respond(cluster: &Cluster, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    if request.method() == Method::GET && request.uri().path() == "/health" {
        return Ok(plain(StatusCode::OK, "ok"));
    }
    if request.method() != Method::POST {
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
        cluster.counters.count_rpc(method);
    }
    let faulty = {
        let faults = cluster.faults.read();
        let confined = &faults.rpc_methods;
        confined.is_empty() || methods.iter().any(|method| confined.contains(*method))
    };
    if !faulty {
        return Ok(answer(&call_all(cluster, body, false)));
    }
    let started = Instant::now();
    if cluster.faults.read().rpc_stalled {
        cluster.faults.until(|state| !state.rpc_stalled).await;
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    if let Some(refusal) = cluster.faults.refuse_request() {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut response = plain(status, "refused");
        if let Some(seconds) = refusal.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        return Ok(response);
    }
    let value = call_all(cluster, body, true);
    let mut changes = cluster.faults.changes();
    loop {
        let delay = cluster.faults.read().rpc_delay;
        select! {
            biased;
            () = sleep_until(started + delay), if !delay.is_zero() => break,
            () = std::future::ready(()), if delay.is_zero() => break,
            _ = changes.changed() => {}
        }
    }
    Ok(answer(&value))
}

fn call_all(cluster: &Cluster, body: Result<Value, serde_json::Error>, faulty: bool) -> Value {
    match body {
        Ok(Value::Array(calls)) => calls.into_iter().map(|call| rpc::call(cluster, call, faulty)).collect(),
        Ok(call) => rpc::call(cluster, call, faulty),
        Err(_) => {
            let error = CallError::new(jsonrpc::PARSE_ERROR, "Parse error");
            jsonrpc::answer(&Value::Null, Err(error))
        }
    }
}

fn answer(value: &Value) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::OK, &value.to_string());
    let json = header::HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = status;
    response
}
