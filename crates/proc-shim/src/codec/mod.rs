//! Messages to frames and back. Tags are local to their message; both directions stand together.

mod attributes;
mod parts;
mod reply;
mod request;
mod spec;

pub use reply::{decode_incoming, encode_notice, encode_reply};
pub use request::{decode_request, encode_request};
