//! State that survives anything: atomic files, life-long locks, PID files, a daemon registry and an event journal.
