//! Keeps services as wanted: the lifecycle machine, the dependency graph, the driver, adoption and
//! reload.
//!
//! For programs that run other programs for a long time: `proc` itself, and applications that want
//! a supervisor inside. Not for a single child process: `proc-core` and `proc-run` are enough.
//!
//! * [`Supervisor::start`] takes [`Options`] (a project, a state directory, backends) and returns a
//!   [`Handle`]: start, stop, restart, status, events, plan and apply.
//! * [`view`] is what leaves the supervisor as JSON; [`request`] is what can be asked of it.
//! * [`machine`] is one instance's lifecycle as a pure function, with its table.
//! * [`offline`] answers from the records when no supervisor runs.
//!
//! A supervisor that is dropped, or killed, touches no service; the next one on the same state
//! directory finds them, counts what ended meanwhile once, and goes on.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use proc_spec::{Command, Project, ServiceSpec};
//! use proc_supervisor::{Options, Supervisor, WaitFor, Who};
//! # fn native() -> Arc<dyn proc_backends::Backend> { unimplemented!() }
//!
//! let web = ServiceSpec::plain("web", Some(Command::parse("sleep 1000")?), "/".as_ref());
//! let mut shop = Project::plain("shop", "/".as_ref());
//! shop.services.push(web);
//! let options = Options::new(shop, "/tmp/state".into(), vec![native()]);
//! let project = Supervisor::start(options).await?;
//!
//! project.wait(vec![], WaitFor::Ready, None).await?;
//! println!("{}", serde_json::to_string(&project.status().await?)?);
//! let me = Who { verb: "down".into(), uid: None, pid: None };
//! project.down(Default::default(), me).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Limitations
//! It needs a tokio runtime with time and I/O. It never prints and never reads the environment:
//! what services inherit is in [`Options::env`]. On macOS, where nothing of it has run, each watched file takes a descriptor,
//! and a supervisor that goes on opens the sockets of `listen` anew.

#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeCompiles;

mod changes;
mod clock;
mod driver;
mod graph;
mod handle;
mod history;
mod local_time;
pub mod machine;
pub mod offline;
mod options;
mod record;
mod recorder;
pub mod request;
mod stamp;
mod state;
mod supervisor;
mod sys;
pub mod view;

pub use self::handle::{EventStream, Handle};
pub use self::local_time::LocalTime;
pub use self::options::{Begin, Options, StartError};
pub use self::supervisor::Supervisor;

pub use self::request::{
    Finished, Grace, Outcome, Report, RequestError, RestartOptions, StartOptions, StopOptions,
    WaitFor,
};
pub use self::stamp::Stamp;
pub use self::state::{Desired, State, UnknownState};
pub use proc_spec::{Action as PlanAction, Change as PlanEntry};

pub use self::view::{
    Cause, Event, EventExit, InstanceStatus, LastExit, ProjectStatus, ServiceStatus,
    SupervisorStatus, SurvivorView, Who, Why,
};
