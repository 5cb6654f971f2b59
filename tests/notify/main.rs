//! sd_notify and socket activation with clients and servers that others wrote.

mod activation;
mod clients;
mod servers;
