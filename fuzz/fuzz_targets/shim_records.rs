#![no_main]

#[path = "../../tests/fuzz/targets.rs"]
#[allow(dead_code, reason = "each program here feeds one target")]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::shim_records(bytes));
