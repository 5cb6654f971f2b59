//! `proc`: process supervision without orphans, lost logs and guessing.
//!
//! This file only hands over: [`args`] parses, [`verbs`] calls the libraries, [`render`] writes,
//! and [`exit`] names the codes. One verb is one file under `verbs/`.

#![forbid(unsafe_code)]

mod args;
mod context;
mod engine;
mod error;
mod exit;
mod keeper;
mod manager;
mod registry;
mod render;
mod select;
mod sources;
mod sys;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = shim() {
        return code;
    }
    let outcome = args::parse().and_then(|(globals, verb)| {
        unblock_signals(&verb);
        render::set_color(globals.color);
        render::set_tracing(globals.verbose);
        verbs::dispatch(globals, verb)
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(error.report()),
    }
}

/// A caller that blocks TERM must not make us deaf. `init` takes what waits from its queue and loses none of it.
fn unblock_signals(verb: &verbs::Verb) {
    if !matches!(verb, verbs::Verb::Init(_)) {
        proc_core::unblock_signals();
    }
}

/// Is the shim when called as `proc __shim …`: first of all, so that a shim parses nothing.
fn shim() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != proc_shim::HIDDEN_VERB {
        return None;
    }
    Some(ExitCode::from(
        u8::try_from(proc_shim::main(args)).unwrap_or(exit::FAILED),
    ))
}
