//! What a project wants: service specs, proc.toml, Procfile, environment files, durations and sizes.
