//! A program that is its own shim, as `proc` is where no `proc-shim` stands beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args
        .next()
        .is_none_or(|verb| verb != proc_shim::HIDDEN_VERB)
    {
        return ExitCode::from(2);
    }
    ExitCode::from(u8::try_from(proc_shim::main(args)).unwrap_or(1))
}
