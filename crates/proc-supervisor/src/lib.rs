//! Keep services as wanted: the lifecycle machine, the dependency graph, the driver, adoption and reload.

pub mod machine;
pub mod request;
mod stamp;
mod state;
pub mod view;

pub use self::request::{
    Finished, Grace, Outcome, Report, RequestError, RestartOptions, StartOptions, StopOptions,
    WaitFor,
};
pub use self::stamp::Stamp;
pub use self::state::{Desired, State, UnknownState};
pub use self::view::{
    Cause, Event, EventExit, InstanceStatus, LastExit, PlanAction, PlanEntry, ProjectStatus,
    ServiceStatus, SupervisorStatus, SurvivorView, Who, Why,
};
