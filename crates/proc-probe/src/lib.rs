//! Readiness, liveness and startup probes, detectors, sd_notify and a health server.
