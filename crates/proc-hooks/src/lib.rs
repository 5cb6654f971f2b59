//! Lifecycle hooks: phases, modes, timeouts and validation; a slow hook never blocks its caller.
