//! `proc-shim`: the parent, reaper and log writer of one service instance.

use std::process::ExitCode;

fn main() -> ExitCode {
    let code = proc_shim::main(std::env::args_os().skip(1));
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
