//! `proc`: process supervision without orphans, lost logs and guessing.
//!
//! This file only hands over: [`args`] parses, [`verbs`] calls the libraries, [`render`] writes,
//! and [`exit`] names the codes. One verb is one file under `verbs/`.

#![forbid(unsafe_code)]
#![expect(dead_code, reason = "the verbs that need the rest are on their way")]

mod args;
mod context;
mod error;
mod exit;
mod render;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = args::parse().and_then(|(globals, verb)| {
        render::set_color(globals.color);
        verbs::dispatch(globals, verb)
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(error.report()),
    }
}
