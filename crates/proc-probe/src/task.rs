//! A probe that runs beside a service: checks when its time has come, counts, and tells what
//! changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::check::ProbeContext;
use crate::evidence::{Evidence, Verdict};
use crate::probe::{Probe, ProbeKind, Role};
use crate::state::{Change, ProbeState};

/// The first pause of a probe that has not succeeded yet. It doubles up to the interval, so that a
/// service that starts quickly is seen quickly whatever its interval.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What changed, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeEvent {
    /// What the answers decide.
    pub role: Role,
    /// What changed.
    pub change: Change,
    /// What the check saw that changed it.
    pub evidence: Evidence,
}

/// A running probe of one instance; dropping it ends it, and the tree of a command it runs.
pub struct ProbeTask {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    role: Role,
    probe: Probe,
    begin: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    state: ProbeState,
    evidence: Option<Evidence>,
    on_event: Box<dyn FnMut(ProbeEvent) + Send>,
}

impl ProbeTask {
    /// Starts probing. `on_event` is called with every change, on whatever task brought it; it
    /// must not block and must not call back. Must be called within a tokio runtime.
    pub fn start(
        role: Role,
        probe: Probe,
        context: ProbeContext,
        on_event: impl FnMut(ProbeEvent) + Send + 'static,
    ) -> Self {
        let state = ProbeState::new(role, &probe);
        let inner = Mutex::new(Inner {
            state,
            evidence: None,
            on_event: Box::new(on_event),
        });
        let shared = Arc::new(Shared {
            role,
            probe,
            begin: Instant::now(),
            inner,
        });
        let task = tokio::spawn(run(Arc::clone(&shared), context));
        ProbeTask { shared, task }
    }

    /// Takes a line of the service's output; a [`ProbeKind::Log`] probe looks at it.
    pub fn feed_line(&self, line: &[u8]) {
        let ProbeKind::Log(pattern) = &self.shared.probe.kind else {
            return;
        };
        if !self.is_up() && pattern.is_match(line) {
            self.shared
                .state_that(true, Verdict::pass("a line matched").quoting_start(line));
        }
    }

    /// Takes what the service itself said about its readiness: `READY=1`, `RELOADING=1`, a
    /// newline on its descriptor. `reason` is kept as evidence.
    pub fn feed_statement(&self, ready: bool, reason: &str) {
        let verdict = if ready {
            Verdict::pass(reason)
        } else {
            Verdict::fail(reason)
        };
        self.shared.state_that(ready, verdict);
    }

    /// Returns what the last check saw; before the first one, what is waited for.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let last = self.shared.lock().evidence.clone();
        last.unwrap_or_else(|| {
            let verdict = Verdict::fail("not checked yet");
            verdict.into_evidence(self.shared.probe.kind.to_string(), Duration::ZERO)
        })
    }

    /// Tells whether the service counts as ready, alive or started.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shared.lock().state.is_up()
    }
}

impl std::fmt::Debug for ProbeTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeTask")
            .field("role", &self.shared.role)
            .field("kind", &self.shared.probe.kind)
            .finish_non_exhaustive()
    }
}

impl Drop for ProbeTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer; tells whether another one can still change anything.
    fn answer(&self, evidence: Evidence) -> bool {
        let mut inner = self.lock();
        let change = inner.state.on_result(evidence.passed);
        inner.settle(self.role, change, evidence);
        !inner.state.is_finished()
    }

    fn state_that(&self, ready: bool, verdict: Verdict) {
        let evidence = verdict.into_evidence(self.probe.kind.to_string(), self.begin.elapsed());
        let mut inner = self.lock();
        let change = inner.state.on_statement(ready);
        inner.settle(self.role, change, evidence);
    }
}

impl Inner {
    fn settle(&mut self, role: Role, change: Option<Change>, evidence: Evidence) {
        if let Some(change) = change {
            (self.on_event)(ProbeEvent {
                role,
                change,
                evidence: evidence.clone(),
            });
        }
        self.evidence = Some(evidence);
    }
}

async fn run(shared: Arc<Shared>, context: ProbeContext) {
    let probe = &shared.probe;
    sleep(probe.initial_delay).await;
    match &probe.kind {
        ProbeKind::Delay(delay) => {
            sleep(*delay).await;
            shared.state_that(true, Verdict::pass(format!("{delay:?} have passed")));
        }
        ProbeKind::Log(_) | ProbeKind::Notify | ProbeKind::NotifyFd(_) => {
            let waiting = probe.check(&context).await;
            shared.lock().evidence.get_or_insert(waiting);
        }
        _ => {
            let mut pause = FIRST_PAUSE;
            while shared.answer(probe.check(&context).await) {
                sleep(next_pause(&shared, &mut pause)).await;
            }
        }
    }
}

/// Returns the interval, or less while nothing has succeeded and no failure counts yet.
fn next_pause(shared: &Shared, pause: &mut Duration) -> Duration {
    let interval = shared.probe.interval;
    let uncounted = match shared.role {
        Role::Ready => true,
        Role::Startup => shared.probe.failures == 0,
        Role::Alive => false,
    };
    if !uncounted || *pause >= interval || shared.lock().state.is_up() {
        // Once up, a later loss is watched at the interval that was asked for.
        *pause = interval;
        return interval;
    }
    std::mem::replace(pause, *pause * 2)
}
