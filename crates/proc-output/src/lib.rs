//! Capture output without losing a byte: rings, lines, rotated log files, tail, follow and truncation.
