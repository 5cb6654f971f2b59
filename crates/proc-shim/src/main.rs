//! `proc-shim`: the parent, reaper and log writer of one service instance.

fn main() {}
