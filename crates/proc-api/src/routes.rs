//! One line per route: which call of the supervisor answers it.

use std::time::Duration;

use hyper::body::Bytes;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use proc_spec::{Loader, Project};
use proc_supervisor::{
    EventStream, Handle, RestartOptions, StartOptions, StopOptions, SupervisorStatus, Who,
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::body::Reply;
use crate::peer::Peer;
use crate::problem::{Refusal, json};
use crate::wire::{
    Applied, ConfigRequest, Info, Named, NoOptions, ResizeRequest, ScaleRequest, SendRequest,
    SignalRequest, WaitRequest,
};

type Answer = Result<Response<Reply>, Refusal>;

/// How many transitions `why` shows unless asked for more or fewer.
const WHY_EVENTS: usize = 20;

/// Answers one request.
pub(crate) async fn route(head: &Parts, body: &[u8], peer: Peer, handle: &Handle) -> Answer {
    let path = head.uri.path();
    let Some(call) = path.strip_prefix("/v1/") else {
        return Err(no_such_route(path));
    };
    if head.method == Method::GET {
        return get(call, head.uri.query().unwrap_or(""), handle).await;
    }
    if head.method == Method::POST {
        return post(call, body, peer, handle).await;
    }
    let text = format!("{} is not a method of `{path}`", head.method);
    Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, 2, text))
}

fn no_such_route(path: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, 2, format!("no route `{path}`"))
}

async fn get(call: &str, query: &str, handle: &Handle) -> Answer {
    match call {
        "status" => Ok(json(&handle.status().await?)),
        "info" => info(handle).await,
        "events" => events(query, handle).await,
        _ => match call.strip_prefix("why/") {
            Some(name) => why(name, query, handle).await,
            None => Err(no_such_route(call)),
        },
    }
}

async fn post(call: &str, body: &[u8], peer: Peer, handle: &Handle) -> Answer {
    let who = || Who {
        verb: call.to_owned(),
        uid: Some(peer.uid),
        pid: Some(peer.pid),
    };
    match call {
        "start" => {
            let asked: Named<StartOptions> = parse(body)?;
            Ok(json(
                &handle.start(asked.names, asked.options, who()).await?,
            ))
        }
        "stop" => {
            let asked: Named<StopOptions> = parse(body)?;
            Ok(json(&handle.stop(asked.names, asked.options, who()).await?))
        }
        "restart" => {
            let asked: Named<RestartOptions> = parse(body)?;
            Ok(json(
                &handle.restart(asked.names, asked.options, who()).await?,
            ))
        }
        "reload" => {
            let asked: Named<NoOptions> = parse(body)?;
            Ok(json(&handle.reload(asked.names, who()).await?))
        }
        "signal" => {
            let asked: SignalRequest = parse(body)?;
            Ok(json(
                &handle.signal(asked.names, asked.signal, who()).await?,
            ))
        }
        "scale" => {
            let asked: ScaleRequest = parse(body)?;
            Ok(json(&handle.scale(asked.counts, who()).await?))
        }
        "down" => Ok(json(
            &handle.down(parse::<StopOptions>(body)?, who()).await?,
        )),
        "leave" => Ok(json(&handle.leave().await?)),
        "send" => send(parse(body)?, handle).await,
        "resize" => resize(parse(body)?, handle).await,
        "wait" => wait(parse(body)?, handle).await,
        "plan" => Ok(json(&handle.plan(load(parse(body)?).await?).await?)),
        "apply" => {
            let (plan, report) = handle.apply(load(parse(body)?).await?, who()).await?;
            Ok(json(&Applied { plan, report }))
        }
        _ => Err(no_such_route(call)),
    }
}

/// Reads a request's body; an empty one stands for `{}`.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("cannot read the request: {error}")))
}

/// Returns the value of `key` in a query string.
fn query_value<'q>(query: &'q str, key: &str) -> Option<&'q str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(k, _)| *k == key)
        .map(|(_, v)| v)
}

fn query_number(query: &str, key: &str) -> Result<Option<u64>, Refusal> {
    let Some(text) = query_value(query, key) else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|_| Refusal::bad_request(format!("`{key}={text}` is no number")))
}

async fn info(handle: &Handle) -> Answer {
    let status = handle.status().await?;
    let (pid, version) = match status.supervisor {
        Some(SupervisorStatus { pid, version, .. }) => (pid, version),
        None => (std::process::id(), env!("CARGO_PKG_VERSION").to_owned()),
    };
    Ok(json(&Info {
        project: status.project,
        pid,
        version,
    }))
}

async fn why(name: &str, query: &str, handle: &Handle) -> Answer {
    let last = query_number(query, "last")?.and_then(|n| usize::try_from(n).ok());
    Ok(json(
        &handle
            .why(name.to_owned(), last.unwrap_or(WHY_EVENTS))
            .await?,
    ))
}

async fn send(asked: SendRequest, handle: &Handle) -> Answer {
    let mut bytes = asked.text.into_bytes();
    bytes.extend(asked.bytes);
    handle.send_stdin(asked.name, bytes, asked.close).await?;
    Ok(json(&NoOptions {}))
}

async fn resize(asked: ResizeRequest, handle: &Handle) -> Answer {
    handle.resize(asked.name, asked.rows, asked.columns).await?;
    Ok(json(&NoOptions {}))
}

async fn wait(asked: WaitRequest, handle: &Handle) -> Answer {
    let timeout = asked.timeout_ms.map(Duration::from_millis);
    Ok(json(&handle.wait(asked.names, asked.what, timeout).await?))
}

/// Reads a configuration off the loop: files may lie on a slow disk.
async fn load(asked: ConfigRequest) -> Result<Project, Refusal> {
    let loader = Loader {
        dir: asked.dir,
        files: asked.files,
        project: asked.project,
        env: asked.env,
        ..Loader::default()
    };
    let loaded = tokio::task::spawn_blocking(move || loader.load()).await;
    match loaded {
        Ok(Ok(project)) => Ok(project),
        Ok(Err(errors)) => Err(Refusal::bad_request(errors.to_string()).hint("proc check")),
        Err(_) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            1,
            "loading was cut short",
        )),
    }
}

async fn events(query: &str, handle: &Handle) -> Answer {
    let since = query_number(query, "since")?;
    let follow = matches!(query_value(query, "follow"), Some("1" | "true"));
    // Without `since` a listing begins at the first event kept, a stream at the next one.
    let since = if follow {
        since
    } else {
        Some(since.unwrap_or(0))
    };
    let stream = handle.events(since).await?;
    let (sender, body) = Reply::lines();
    tokio::spawn(pump(stream, follow, sender));
    Ok(Response::new(body))
}

/// Copies events into a response until there are no more or nobody reads.
async fn pump(mut stream: EventStream, follow: bool, lines: mpsc::Sender<Bytes>) {
    loop {
        let event = if follow {
            tokio::select! {
                event = stream.next() => event,
                () = lines.closed() => return,
            }
        } else {
            stream.try_next()
        };
        let Some(event) = event else { return };
        let Ok(mut line) = serde_json::to_vec(&event) else {
            continue;
        };
        line.push(b'\n');
        if lines.send(line.into()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_by_key() {
        assert_eq!(query_value("since=7&follow=1", "since"), Some("7"));
        assert_eq!(query_value("since=7&follow=1", "follow"), Some("1"));
        assert_eq!(query_value("follow", "follow"), None);
        assert_eq!(query_number("since=7", "since").unwrap(), Some(7));
        assert!(query_number("since=x", "since").is_err());
    }

    #[test]
    fn an_empty_body_is_no_options() {
        assert_eq!(parse::<StopOptions>(b"").unwrap(), StopOptions::default());
        let refused = parse::<StopOptions>(b"{\"graze\":1}").unwrap_err();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(
            refused.problem.error.contains("graze"),
            "{:?}",
            refused.problem
        );
    }
}
