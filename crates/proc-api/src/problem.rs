//! Errors on the wire: what went wrong, what to type next, and the exit code it deserves.

use hyper::{Response, StatusCode, header};
use proc_supervisor::RequestError;
use serde::{Deserialize, Serialize};

use crate::body::Reply;

/// The body of every response that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What went wrong: a lowercase fragment.
    pub error: String,
    /// The next command or action, where one helps.
    #[serde(default)]
    pub hint: Option<String>,
    /// The exit code that CONTRACT.md gives this failure.
    pub code: u8,
}

/// The exit code of a request that no supervisor is there for.
const NO_SUPERVISOR: u8 = 5;

impl Problem {
    /// Returns whether it says that the supervisor has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.code == NO_SUPERVISOR
    }
}

/// A problem and the HTTP status that goes with it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) problem: Problem,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: u8, error: impl Into<String>) -> Refusal {
        Refusal {
            status,
            problem: Problem {
                error: error.into(),
                hint: None,
                code,
            },
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Refusal {
        self.problem.hint = Some(hint.into());
        self
    }

    /// Makes a refusal for a request that is not understood.
    pub(crate) fn bad_request(error: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, 2, error)
    }

    pub(crate) fn into_response(self) -> Response<Reply> {
        let mut response = json(&self.problem);
        *response.status_mut() = self.status;
        response
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Refusal {
        let text = error.to_string();
        match error {
            RequestError::NoSuch(_) => {
                Refusal::new(StatusCode::NOT_FOUND, 4, text).hint("proc status")
            }
            RequestError::Config(_) => Refusal::bad_request(text).hint("proc check"),
            RequestError::TimedOut { .. } => Refusal::new(StatusCode::REQUEST_TIMEOUT, 124, text),
            RequestError::Gone => {
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, NO_SUPERVISOR, text)
                    .hint("proc up -d")
            }
            _ => Refusal::new(StatusCode::CONFLICT, 1, text),
        }
    }
}

/// Makes a successful response of one JSON document.
pub(crate) fn json<T: Serialize>(value: &T) -> Response<Reply> {
    let body = match serde_json::to_vec(value) {
        Ok(body) => body,
        // Our own types serialize; should one not, the client reports an answer it cannot read.
        Err(error) => error.to_string().into_bytes(),
    };
    let mut response = Response::new(Reply::whole(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}
