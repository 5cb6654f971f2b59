//! Start, identify, watch and end processes: verified identities, pidfd waits, tree kills that prove nothing survived.
