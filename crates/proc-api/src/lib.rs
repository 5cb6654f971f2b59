//! HTTP and JSON over a private Unix socket: the server inside the supervisor and its client.
