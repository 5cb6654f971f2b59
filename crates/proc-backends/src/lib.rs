//! One spec, several ways to run it: the `Backend` trait, native services through the shim, systemd, launchd.
