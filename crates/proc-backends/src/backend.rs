//! What a supervisor asks of the thing that runs its instances.

use std::future::Future;
use std::pin::Pin;

use proc_core::{Signal, StopReport, StopSequence};

use crate::capability::Capabilities;
use crate::error::{AdoptError, OperateError, StartError};
use crate::event::BackendEvents;
use crate::spec::InstanceSpec;
use crate::status::{Adopted, InstanceStatus, Started};

/// A boxed future, so that the trait stays usable as `dyn Backend`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whom a signal reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignalTarget {
    /// The leader alone.
    #[default]
    Leader,
    /// The leader's process group.
    Group,
    /// Every process of the instance's tree that can be seen at that moment.
    Tree,
}

/// One way to run instances.
///
/// Instances are addressed by name (`web`, `web-2`). Calls for different instances never wait for
/// each other; calls for one instance are carried out in the order in which they were made, with
/// one exception: a [`stop`](Backend::stop) does not hold up anything.
///
/// **Run numbers.** Each start of an instance has a number, `run`, that only grows, over restarts
/// of the supervisor and of the machine alike. Every exit carries it, and an exit may be told
/// more than once (in an event, and again to the next supervisor through
/// [`adopt`](Backend::adopt)) until it is [acknowledged](Backend::acknowledge): count exits by
/// (instance, run).
///
/// **Order of events.** For one run: `Exited` once, then `TreeEmpty` once (at the same moment, or
/// when the last background child ended). A start that failed emits neither.
pub trait Backend: Send + Sync + 'static {
    /// Returns the backend's name as configs spell it: `native`, `systemctl`, `launchctl`, `slurm`.
    fn name(&self) -> &'static str;

    /// Returns what this backend can do on this machine, probed at run time.
    fn capabilities(&self) -> Capabilities;

    /// Returns the stream of events; the first call gets it, later ones get `None`.
    fn events(&self) -> Option<BackendEvents>;

    /// Returns the instances that have records from an earlier supervisor, for
    /// [`adopt`](Backend::adopt). Names whose records cannot be read are included: adopting
    /// them says what is wrong.
    fn recorded(&self) -> Vec<String>;

    /// Starts one run. It is complete when the program was executed: user, limits, directory and
    /// every other attribute were in force by then, or nothing runs and the error names what failed.
    ///
    /// # Errors
    /// [`StartError`] tells apart program not found (127), not executable (126), an attribute
    /// that could not be applied, a run that is still alive, and a backend that failed.
    fn start(&self, spec: InstanceSpec) -> BoxFuture<'_, Result<Started, StartError>>;

    /// Gives up a start that is under way, which fails then: for starts that may take hours, as
    /// in the queue of a cluster. One that does not wait for others need not hear it.
    fn call_off<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, ()> {
        let _ = instance;
        Box::pin(async {})
    }

    /// Ends the instance's whole tree by the sequence, and proves that it is gone. On a tree
    /// whose leader has exited it ends what was left in the background; on nothing it succeeds
    /// at once. A second stop while one runs replaces the rest of the first one's sequence
    /// (faster, never slower) and both get the one report.
    ///
    /// `Exited` arrives as an event as well.
    ///
    /// # Errors
    /// Only when nothing could be attempted; survivors are in the report.
    fn stop<'a>(
        &'a self,
        instance: &'a str,
        sequence: StopSequence,
    ) -> BoxFuture<'a, Result<StopReport, OperateError>>;

    /// Sends one signal; it never escalates.
    ///
    /// # Errors
    /// [`OperateError::NotRunning`] when there is nobody to signal.
    fn signal<'a>(
        &'a self,
        instance: &'a str,
        signal: Signal,
        target: SignalTarget,
    ) -> BoxFuture<'a, Result<(), OperateError>>;

    /// Makes the instance re-read its configuration. The native backend sends `signal` to the leader.
    ///
    /// # Errors
    /// As [`signal`](Backend::signal).
    fn reload<'a>(
        &'a self,
        instance: &'a str,
        signal: Signal,
    ) -> BoxFuture<'a, Result<(), OperateError>>;

    /// Returns what the backend knows right now.
    ///
    /// # Errors
    /// [`OperateError::Unknown`] for an instance that was neither started nor adopted.
    fn status<'a>(
        &'a self,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<InstanceStatus, OperateError>>;

    /// Takes an instance of an earlier supervisor over, or says that there is nothing (`None`).
    /// What happened meanwhile is in the answer and is not told again as an event.
    ///
    /// # Errors
    /// Records that cannot be read; they were set aside under the name in the error.
    fn adopt<'a>(&'a self, instance: &'a str)
    -> BoxFuture<'a, Result<Option<Adopted>, AdoptError>>;

    /// Says that the exit of `run` is on the supervisor's own record, so it need not be told again.
    fn acknowledge<'a>(
        &'a self,
        instance: &'a str,
        run: u64,
    ) -> BoxFuture<'a, Result<(), OperateError>>;

    /// Writes to the instance's standard input. Completes when the bytes are in the pipe; while
    /// the service does not read it waits, without holding up a stop or a signal.
    ///
    /// # Errors
    /// [`OperateError::NoStdin`] when stdin is not a pipe or pty, or the service closed it.
    fn stdin_write<'a>(
        &'a self,
        instance: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), OperateError>>;

    /// Closes the instance's standard input: the service reads an end of file.
    ///
    /// # Errors
    /// As [`stdin_write`](Backend::stdin_write).
    fn stdin_close<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), OperateError>>;

    /// Sets the size of the terminal that the instance's stdin is, in characters; its foreground gets WINCH.
    ///
    /// # Errors
    /// [`OperateError::NoStdin`] when stdin is not a pty, as with every backend that knows none.
    fn resize<'a>(
        &'a self,
        instance: &'a str,
        _rows: u16,
        _columns: u16,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        let instance = instance.to_owned();
        Box::pin(async { Err(OperateError::NoStdin { instance }) })
    }

    /// Closes the live log file and begins a new one, whatever its size.
    ///
    /// # Errors
    /// [`OperateError`] when the instance has no log of its own or the rename failed.
    fn rotate_log<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), OperateError>>;

    /// Decides what happens to the instance when its supervisor is gone: ended by the stop
    /// sequence of its spec (`true`), or kept (`false`). An upgrade switches it off for a moment.
    ///
    /// # Errors
    /// [`OperateError`] when the instance is unknown or cannot be asked.
    fn set_die_with_supervisor<'a>(
        &'a self,
        instance: &'a str,
        die: bool,
    ) -> BoxFuture<'a, Result<(), OperateError>>;

    /// Makes another process of the instance's tree the one whose end is the end of the run: that
    /// of a live leader, or of one that has just ended (its exit was told, and not acknowledged)
    /// and has left others behind. `None` is the only process that it left. The exit is told
    /// again, as that process's. A backend that follows by itself need not offer it.
    ///
    /// # Errors
    /// [`OperateError::NotRunning`] when that process is not one of the tree, or the run is over.
    fn follow<'a>(
        &'a self,
        instance: &'a str,
        run: u64,
        pid: Option<u32>,
    ) -> BoxFuture<'a, Result<Started, OperateError>> {
        let _ = (instance, run, pid);
        let backend = self.name();
        Box::pin(async move {
            Err(OperateError::Unsupported {
                operation: "follow",
                backend,
            })
        })
    }

    /// Forgets an instance that does not run: its keeper ends and its records go. The log stays.
    ///
    /// # Errors
    /// [`OperateError::StillRunning`] while a process of its tree lives.
    fn forget<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), OperateError>>;
}
