//! Restart policy as arithmetic: modes, exit filters, backoff, budgets, profiles and a simulator.
