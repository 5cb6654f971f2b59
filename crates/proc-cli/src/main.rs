//! `proc`: process supervision without orphans, lost logs and guessing.

fn main() {}
