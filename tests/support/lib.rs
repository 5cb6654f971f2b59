//! What the whole-program suites share: a scratch project, the built binaries, and waiting for events.
