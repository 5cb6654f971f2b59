//! The small parent of one service: reaps it, keeps its exit code and its log, and outlives the supervisor.
