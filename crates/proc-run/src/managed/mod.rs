//! Processes that run beside the program that started them: listed, watched, fed and ended by id.

mod entry;
mod event;
mod info;
mod lines;
mod manager;

pub use event::{Event, Line};
pub use info::{Id, Info, Status};
pub use manager::{Manager, ManagerError, ManagerOptions, StartOptions};
