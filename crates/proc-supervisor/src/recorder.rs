//! The one writer of a supervisor's records and journal: a thread of its own, so that no full or
//! slow disk ever holds up a service.
//!
//! Jobs are carried out in order. What cannot be written stays first in the queue and is tried
//! again until it can; meanwhile the supervisor is told, and says so in `degraded`.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proc_store::{Journal, LifeLock, StateDir, WriteError};
use tokio::sync::mpsc;

use crate::record::{AppliedRecord, InstanceRecord, ProjectRecord};
use crate::view::Event;

/// The first and the longest pause before a failed write is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How many jobs wait for a disk that does not take them; older instance records give way to
/// newer ones of the same instance first.
const MAX_QUEUE: usize = 65_536;

/// How many waiting jobs are looked at for a later record of the same instance.
const LOOK_AHEAD: usize = 4_096;

/// One thing to write.
#[derive(Debug)]
pub(crate) enum Job {
    /// An instance's record and, if it has one, its new transition.
    Instance {
        name: String,
        record: Box<InstanceRecord>,
        event: Option<Event>,
    },
    /// A transition without a record.
    Event(Event),
    /// The project's record.
    Project(Box<ProjectRecord>),
    /// The configuration that is in force.
    Applied(Box<AppliedRecord>),
    /// An instance that is no more.
    Remove(String),
    /// Answer when everything before this is on the disk, or could not be written.
    Flush(Sender<bool>),
}

/// What the writer has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// The event of this number is in the journal, and with it the exit that it carries.
    Written {
        seq: u64,
        exit: Option<(String, u64)>,
    },
    /// A write failed; it is tried again.
    Trouble(String),
    /// Writes succeed again.
    Healed,
}

/// The end of the queue that the driver holds.
#[derive(Debug, Clone)]
pub(crate) struct Recorder(Sender<Job>);

impl Recorder {
    /// Starts the thread. It ends when the recorder and its clones are dropped.
    pub(crate) fn start(
        state: StateDir,
        journal: Journal,
        lock: Arc<LifeLock>,
        reports: mpsc::UnboundedSender<Report>,
    ) -> std::io::Result<(Self, End)> {
        let (sender, jobs) = channel();
        let (ended, end) = channel();
        let writer = Writer {
            state,
            journal,
            _lock: lock,
            reports,
            queue: VecDeque::new(),
            handed: None,
            trouble: false,
            pause: RETRY.0,
        };
        std::thread::Builder::new()
            .name("proc-recorder".to_owned())
            .spawn(move || {
                writer.run(&jobs);
                drop(ended);
            })?;
        Ok((Self(sender), End(Mutex::new(end))))
    }

    /// Queues one job.
    pub(crate) fn write(&self, job: Job) {
        // The thread only ends after this sender; should it have panicked, there is nobody to
        // tell but the status, which says so through the missing answers to flushes.
        let _gone = self.0.send(job);
    }

    /// Waits until everything queued so far was written, or failed at least once, for `patience`
    /// at most; tells whether it was written.
    pub(crate) fn flush(&self, patience: Duration) -> impl Future<Output = bool> + use<> {
        let (done, answer) = channel();
        self.write(Job::Flush(done));
        async move {
            let waited = tokio::task::spawn_blocking(move || answer.recv_timeout(patience));
            matches!(waited.await, Ok(Ok(true)))
        }
    }
}

/// Tells when the thread has ended, and with it the hold on the state directory.
#[derive(Debug)]
pub(crate) struct End(Mutex<Receiver<()>>);

impl End {
    /// Waits for it, for `patience` at most; every recorder must have been dropped.
    pub(crate) async fn wait(self, patience: Duration) {
        let waited = tokio::task::spawn_blocking(move || {
            // Nothing is ever sent: the other end goes with the thread.
            let end = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
            let _gone = end.recv_timeout(patience);
        });
        // Only a runtime that shuts down cancels it.
        let _shut_down = waited.await;
    }
}

struct Writer {
    state: StateDir,
    journal: Journal,
    /// Held until the last record is written, even where the supervisor is dropped before.
    _lock: Arc<LifeLock>,
    reports: mpsc::UnboundedSender<Report>,
    queue: VecDeque<Job>,
    /// The event that the journal has, though perhaps not yet on the disk.
    handed: Option<u64>,
    trouble: bool,
    pause: Duration,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let received = if self.queue.is_empty() {
                jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                jobs.recv_timeout(self.pause)
            };
            match received {
                Ok(job) => self.push(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.drain(jobs),
            }
            self.drain(jobs);
        }
    }

    fn push(&mut self, job: Job) {
        if self.trouble && self.queue.len() >= MAX_QUEUE {
            self.make_room();
        }
        self.queue.push_back(job);
    }

    /// Drops the oldest record that a later one replaces; its transition stays.
    fn make_room(&mut self) {
        if let Some(place) = self
            .queue
            .iter()
            .position(|job| matches!(job, Job::Project(_)))
        {
            self.queue.remove(place);
        } else if let Some(Job::Instance {
            event: Some(event), ..
        }) = self.queue.front()
        {
            self.queue[0] = Job::Event(event.clone());
        } else {
            self.queue.pop_front();
        }
    }

    /// Writes what waits, and what comes meanwhile, until there is nothing more or the disk refuses.
    fn drain(&mut self, jobs: &Receiver<Job>) {
        loop {
            while let Ok(job) = jobs.try_recv() {
                self.push(job);
            }
            let Some(job) = self.queue.pop_front() else {
                return;
            };
            if self.is_superseded(&job) {
                continue;
            }
            match self.carry_out(&job) {
                Ok(()) => self.succeeded(job),
                Err(error) => {
                    self.failed(&error);
                    self.queue.push_front(job);
                    self.answer_flushes();
                    return;
                }
            }
        }
    }

    /// Returns whether a record tells nothing that a later one, which waits already, will not: on a slow disk the
    /// first records after a restart of the supervisor would otherwise keep the exits behind them waiting.
    fn is_superseded(&self, job: &Job) -> bool {
        let Job::Instance {
            name, event: None, ..
        } = job
        else {
            return false;
        };
        for later in self.queue.iter().take(LOOK_AHEAD) {
            match later {
                // Somebody waits for what is before this.
                Job::Flush(_) => return false,
                Job::Instance { name: other, .. } | Job::Remove(other) if other == name => {
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    fn carry_out(&mut self, job: &Job) -> Result<(), String> {
        match job {
            Job::Instance {
                name,
                record,
                event,
            } => {
                self.state
                    .write_service(name, &**record)
                    .map_err(|e| describe(&e))?;
                event.as_ref().map_or(Ok(()), |event| self.append(event))
            }
            Job::Event(event) => self.append(event),
            Job::Project(record) => self
                .state
                .write("project", &**record)
                .map_err(|e| describe(&e)),
            Job::Applied(record) => self
                .state
                .write("applied", &**record)
                .map_err(|e| describe(&e)),
            Job::Remove(name) => match self.state.remove_service(name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(format!("state: {}", errno(&error)))
                }
                _ => Ok(()),
            },
            Job::Flush(_) => Ok(()),
        }
    }

    fn append(&mut self, event: &Event) -> Result<(), String> {
        if self.handed != Some(event.seq) {
            let seq = self
                .journal
                .append(event)
                .map_err(|error| format!("journal: {error}"))?;
            debug_assert_eq!(seq, event.seq, "the driver numbers as the journal does");
            self.handed = Some(event.seq);
        }
        if self.journal.flush() {
            return Ok(());
        }
        let why = self
            .journal
            .trouble()
            .map_or_else(|| "not written".to_owned(), errno);
        Err(format!("journal: {why}"))
    }

    fn succeeded(&mut self, job: Job) {
        if std::mem::take(&mut self.trouble) {
            self.pause = RETRY.0;
            self.tell(Report::Healed);
        }
        match job {
            Job::Flush(done) => {
                // Whoever asked may have stopped waiting.
                let _gone = done.send(true);
            }
            Job::Instance {
                name,
                event: Some(event),
                ..
            } => {
                let run = event.exit.as_ref().and_then(|exit| exit.run);
                self.tell(Report::Written {
                    seq: event.seq,
                    exit: run.map(|run| (name, run)),
                });
            }
            Job::Event(event) => self.tell(Report::Written {
                seq: event.seq,
                exit: None,
            }),
            Job::Instance { .. } | Job::Project(_) | Job::Applied(_) | Job::Remove(_) => {}
        }
    }

    fn failed(&mut self, error: &str) {
        self.pause = if self.trouble {
            (self.pause * 2).min(RETRY.1)
        } else {
            RETRY.0
        };
        self.trouble = true;
        self.tell(Report::Trouble(error.to_owned()));
    }

    /// A full disk must not hold up the end of a supervisor.
    fn answer_flushes(&mut self) {
        let (flushes, rest) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition::<VecDeque<Job>, _>(|job| matches!(job, Job::Flush(_)));
        self.queue = rest;
        for job in flushes {
            if let Job::Flush(done) = job {
                let _gone = done.send(false);
            }
        }
    }

    fn tell(&self, report: Report) {
        // The driver may have ended; the last writes go on.
        let _gone = self.reports.send(report);
    }
}

fn describe(error: &WriteError) -> String {
    format!("state: {}", errno(error.io()))
}

/// Returns an error by the name its number has in errno(3), where it is one that disks give.
pub(crate) fn errno(error: &std::io::Error) -> String {
    const NAMES: [(i32, &str); 10] = [
        (2, "ENOENT"),
        (5, "EIO"),
        (9, "EBADF"),
        (12, "ENOMEM"),
        (13, "EACCES"),
        (23, "ENFILE"),
        (24, "EMFILE"),
        (28, "ENOSPC"),
        (30, "EROFS"),
        (122, "EDQUOT"),
    ];
    let number = error.raw_os_error();
    let name = NAMES.into_iter().find(|(known, _)| Some(*known) == number);
    name.map_or_else(|| error.to_string(), |(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proc_store::JournalOptions;

    const RECORD: &str = r#"{"service":"web","index":1,"shown":"web","part":"current","state":"stopping","desired":"up","ready":false,"reason":"","run":1,"counted":0,"counters":{"attempt":0,"startup_failures":0,"counted":0,"restarts":[],"crashes":[]},"restarts":0,"attempt":0,"retry_at":null,"last_exit":null,"identity":null,"pgid":null,"started_at":null,"event":null}"#;
    const EVENT: &str = r#"{"seq":1,"at":"2026-11-28T21:09:39.544Z","service":"web","instance":"web","from":"running","to":"backoff","cause":{"kind":"exit","by":null,"detail":null},"exit":null,"delay_ms":null}"#;

    fn instance(name: &str, event: Option<&str>) -> Job {
        Job::Instance {
            name: name.to_owned(),
            record: serde_json::from_str(RECORD).unwrap(),
            event: event.map(|event| serde_json::from_str(event).unwrap()),
        }
    }

    #[test]
    fn only_what_a_later_record_says_too_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path().join("shop")).unwrap();
        let (reports, _reported) = mpsc::unbounded_channel();
        let mut writer = Writer {
            journal: Journal::open(state.journal(), JournalOptions::default()).unwrap(),
            _lock: Arc::new(state.lock().unwrap()),
            state,
            reports,
            queue: VecDeque::new(),
            handed: None,
            trouble: false,
            pause: RETRY.0,
        };
        let (done, _answer) = channel();
        writer.queue.extend([
            instance("a", Some(EVENT)),
            Job::Remove("gone".to_owned()),
            Job::Flush(done),
            instance("b", None),
        ]);
        assert!(writer.is_superseded(&instance("a", None)));
        assert!(writer.is_superseded(&instance("gone", None)));
        let told = instance("a", Some(EVENT));
        assert!(!writer.is_superseded(&told), "its transition is told");
        let waited_for = instance("b", None);
        assert!(!writer.is_superseded(&waited_for), "somebody waits for it");
        assert!(!writer.is_superseded(&instance("c", None)), "nothing later");
    }
}
