//! `proc-shim`: the parent, reaper and log writer of one service instance; `proc-shim init` is PID 1 of a container.

use std::process::ExitCode;

// musl's own maps a page for nearly every size and gives it back at once: thirty calls and as many page faults until the
// service begins. This one takes one mapping.
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    let code = match args.next_if(|word| word == "init") {
        Some(_) => proc_shim::init_main(args),
        None => proc_shim::main(args),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
