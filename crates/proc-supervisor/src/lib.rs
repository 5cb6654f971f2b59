//! Keep services as wanted: the lifecycle machine, the dependency graph, the driver, adoption and reload.
