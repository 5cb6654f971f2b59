//! How much of anything one connection may ask for. What goes beyond is answered with a 4xx.

use std::time::Duration;

/// Bytes of request line and headers together.
pub(crate) const HEADER_BYTES: usize = 16 * 1024;
/// Bytes of a request's body.
pub(crate) const BODY_BYTES: usize = 1024 * 1024;
/// Time for a request's head, and again for its body.
pub(crate) const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Connections at one time.
pub(crate) const CONNECTIONS: usize = 1024;
