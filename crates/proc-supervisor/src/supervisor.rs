//! The beginning of a supervisor.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use proc_backends::Backend;
use proc_store::{Disk, Journal, JournalOptions, StateDir};
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::driver::{Driver, Fixed, Inputs, Left};
use crate::graph::Graph;
use crate::handle::Handle;
use crate::history::History;
use crate::offline::last_events;
use crate::options::{Begin, Options, StartError};
use crate::recorder::Recorder;
use crate::stamp::Stamp;
use crate::view::Event;

/// How many requests wait before their senders wait too.
const REQUESTS: usize = 256;

/// How many of the journal's last events are kept in memory from the start.
const REMEMBERED: u64 = 1024;

/// Starts supervisors.
#[derive(Debug)]
pub struct Supervisor;

impl Supervisor {
    /// Locks the state directory, takes over what an earlier supervisor left in it, and begins to
    /// supervise on the present tokio runtime, which needs time and I/O enabled.
    ///
    /// Returns as soon as requests can be made; nothing need have started by then.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs that did not run before.
    pub async fn start(options: Options) -> Result<Handle, StartError> {
        let clock = Clock::start();
        let graph = Graph::new(&options.project.services);
        if let Some(cycle) = graph.cycle() {
            return Err(StartError::Cycle(cycle.join(" -> ")));
        }
        let backends = backends(&options)?;
        let opened = tokio::task::spawn_blocking({
            let (root, lock) = (options.state_dir.clone(), options.lock.clone());
            let disk = options.disk.clone();
            move || Opened::open(disk, root, lock)
        });
        let opened = opened
            .await
            .map_err(|_| records(&options.state_dir, interrupted()))??;
        let (reports, report_queue) = mpsc::unbounded_channel();
        let (recorder, writer) =
            Recorder::start(opened.state.clone(), opened.journal, opened.lock, reports)
                .map_err(|source| records(&options.state_dir, source))?;
        let (inbox, inbox_queue) = Driver::channel();
        let (requests, request_queue) = mpsc::channel(REQUESTS);
        let (finished, outcome) = watch::channel(None);
        let driver = Driver {
            fixed: Fixed {
                runtime_dir: options
                    .runtime_dir
                    .unwrap_or_else(|| options.state_dir.join("run")),
                log_dir: opened.state.log(),
                journal: opened.state.journal(),
                state_dir: options.state_dir,
                env: options.env,
                foreground: options.foreground,
                exit_with: options.exit_with,
                local_time: options.local_time.clone(),
                version: options.version,
                warning: options.warning,
                pid: std::process::id(),
                started_at: Stamp::from(SystemTime::now()),
            },
            clock,
            project: options.project,
            graph,
            backends,
            services: BTreeMap::new(),
            instances: BTreeMap::new(),
            inbox,
            recorder,
            writer,
            history: History::new(opened.next, opened.events),
            flushing: false,
            tickets: Vec::new(),
            watchers: BTreeMap::new(),
            buckets: BTreeMap::new(),
            trouble: BTreeMap::new(),
            hold: true,
            last_ended: None,
            ending: None,
            finished,
            left: opened.left,
            who: options.who.clone(),
        };
        if let Begin::ByHand(names) = &options.begin {
            for name in names {
                if driver.services_named(std::slice::from_ref(name)).is_empty() {
                    return Err(StartError::NoSuch(name.clone()));
                }
            }
        }
        let inputs = Inputs {
            requests: request_queue,
            inbox: inbox_queue,
            reports: report_queue,
        };
        tokio::spawn(driver.run(inputs, options.begin, options.who));
        Ok(Handle {
            requests,
            finished: outcome,
        })
    }
}

/// What is on the disk.
struct Opened {
    state: StateDir,
    lock: Arc<proc_store::LifeLock>,
    journal: Journal,
    next: u64,
    events: Vec<Event>,
    left: Left,
}

impl Opened {
    fn open(
        disk: Disk,
        root: PathBuf,
        lock: Option<Arc<proc_store::LifeLock>>,
    ) -> Result<Self, StartError> {
        let state = StateDir::open_on(disk.clone(), &root).map_err(StartError::State)?;
        let lock = match lock {
            Some(lock) => lock,
            None => Arc::new(state.lock().map_err(StartError::Lock)?),
        };
        let path = state.journal();
        let mut journal = Journal::open_on(disk, &path, JournalOptions::default())
            .map_err(|source| records(&path, source))?;
        let left = Left::read(&state).map_err(|source| records(&root, source))?;
        complete(&mut journal, &left);
        let next = journal.last_seq() + 1;
        let events = last_events(&path, REMEMBERED).unwrap_or_default();
        Ok(Self {
            state,
            lock,
            journal,
            next,
            events,
            left,
        })
    }
}

/// Appends the transition that was recorded but did not reach the journal before a crash. Records
/// are written in the order of the journal, so that there is at most one.
fn complete(journal: &mut Journal, left: &Left) {
    let last = journal.last_seq();
    let events = left
        .instances
        .values()
        .filter_map(|record| record.event.as_ref());
    if let Some(event) = events
        .max_by_key(|event| event.seq)
        .filter(|e| e.seq == last + 1)
    {
        // A disk that refuses is found out at once by the writer, which goes on trying.
        let _tried_again = journal.append(event);
    }
}

fn backends(options: &Options) -> Result<BTreeMap<String, Arc<dyn Backend>>, StartError> {
    let named = options
        .backends
        .iter()
        .map(|b| (b.name().to_owned(), Arc::clone(b)));
    let backends: BTreeMap<String, Arc<dyn Backend>> = named.collect();
    for service in &options.project.services {
        let backend = service.backend.as_str();
        if !backends.contains_key(backend) {
            return Err(StartError::NoBackend {
                service: service.name.clone(),
                backend: backend.to_owned(),
            });
        }
    }
    Ok(backends)
}

fn records(path: &std::path::Path, source: std::io::Error) -> StartError {
    StartError::Records {
        path: path.to_owned(),
        source,
    }
}

fn interrupted() -> std::io::Error {
    std::io::Error::other("the runtime is shutting down")
}
