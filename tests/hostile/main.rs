//! Misbehaving programs under a real shim: whatever they do, a stop ends all of them or says who is left.
//!
//! Each program of `programs/hostile.rs` runs as root and as an unprivileged user, and is stopped by each tier in
//! turn. The proof is independent of what is tested: every process of a tree holds the writing end of one pipe, so
//! end-of-file on it says that nobody is left, and who is left is listed from outside as the shim's descendants.

mod cases;
mod clock;
mod reaping;
mod stage;
mod stops;
