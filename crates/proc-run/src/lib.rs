//! Run programs, bash scripts and pipelines to their end, with timeouts that take the whole tree.
