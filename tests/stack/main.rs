//! The main job on real services: Redis, PostgreSQL and nginx from one `proc.toml`.

mod bad_input;
mod give_up;
mod real_services;
