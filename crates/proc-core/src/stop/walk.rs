//! The members of a tree as `/proc` shows them: the best-effort tier.

use std::io;
use std::rc::Rc;

use crate::sys::pidfd::{self, Pidfd, Whom};
use crate::sys::stat::Stat;
use crate::sys::table::{Children, Table};
use crate::{ProcessHandle, Signal};

/// A member of the tree, verified at the moment it was met.
pub(crate) struct Member {
    pub(crate) stat: Stat,
    /// None only for our own child, whose number is its own until we reap it, when no descriptor is left.
    fd: Option<Rc<Pidfd>>,
}

impl Member {
    /// Sends to this process or to nothing.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match &self.fd {
            Some(fd) => pidfd::send(fd, signal, Whom::Process),
            None => pidfd::kill_number(self.stat.pid, signal),
        }
    }

    /// Says whether we have no permission to signal it.
    pub(crate) fn refuses(&self) -> bool {
        self.signal(Signal::PROBE)
            .is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
    }

    pub(crate) fn into_fd(self) -> Option<Pidfd> {
        Rc::try_unwrap(self.fd?).ok()
    }

    /// What tells it from a later owner of its number, as far as a set of the current moment needs.
    pub(crate) const fn key(&self) -> (u32, u64) {
        (self.stat.pid, self.stat.start_ticks)
    }
}

/// Below whom a walk begins.
pub(crate) enum Root<'a> {
    /// The calling process: its direct children are its own by number, until it reaps them.
    Caller,
    /// Another process, itself not visited.
    Process(&'a ProcessHandle),
    /// A known member, itself not visited.
    Pidfd(u32, &'a Pidfd),
}

pub(crate) fn is_reaped(fd: &Pidfd) -> bool {
    pidfd::send(fd, Signal::PROBE, Whom::Process)
        .is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
}

/// Visits the living descendants, parents first, each verified: its parent was, at one and the same moment, a process
/// that we hold. A number reused while we look is never visited. Children of a visited process are looked up after
/// the visit, so a process killed in its visit leaves no child unseen: it is the subreaper's then.
pub(crate) fn walk(root: &Root<'_>, visit: &mut dyn FnMut(Member)) {
    let own_pid = std::process::id();
    let table = Table::own();
    let mut children = Children::new(&table);
    let (root_pid, root_fd) = match root {
        Root::Caller => (own_pid, None),
        Root::Process(handle) => (handle.pid(), handle.pidfd().try_clone().ok()),
        Root::Pidfd(pid, fd) => (*pid, fd.try_clone().ok()),
    };
    let of_caller = matches!(root, Root::Caller);
    if !of_caller && root_fd.is_none() {
        return;
    }
    let root_fd = root_fd.map(Rc::new);
    let mut stack: Vec<(u32, u32, Option<Rc<Pidfd>>)> = children
        .of(root_pid)
        .into_iter()
        .rev()
        .map(|child| (child, root_pid, root_fd.clone()))
        .collect();
    let mut budget = MOST;
    while let Some((pid, parent, parent_fd)) = stack.pop() {
        budget -= 1;
        if pid == own_pid || budget == 0 {
            continue;
        }
        let Some(member) = verify(
            pid,
            parent,
            parent_fd.as_deref(),
            of_caller.then_some(own_pid),
        ) else {
            continue;
        };
        let (fd, stat) = (member.fd.clone(), member.stat.clone());
        visit(member);
        let Some(fd) = fd else { continue };
        stack.extend(
            children
                .of_known(&stat)
                .into_iter()
                .rev()
                .map(|child| (child, pid, Some(Rc::clone(&fd)))),
        );
    }
}

/// Looks at the caller's descendants without opening them, for counting, never for signalling; says whether it met
/// them all with looking at no more than `most`.
pub(crate) fn glance(most: usize, visit: &mut dyn FnMut(Stat)) -> bool {
    let table = Table::own();
    let mut children = Children::new(&table);
    let mut stack = children.of(std::process::id());
    let mut budget = most;
    while let Some(pid) = stack.pop() {
        if budget == 0 {
            return false;
        }
        budget -= 1;
        let Ok(stat) = Stat::of(pid) else { continue };
        if !stat.is_zombie() {
            stack.extend(children.of_known(&stat));
            visit(stat);
        }
    }
    true
}

/// More processes than a machine can have: the bound of one walk, should parents and children chase each other.
pub(super) const MOST: usize = 1 << 22;

/// Opens a number and makes sure that it is a child of the process we hold (or of the caller as its subreaper).
fn verify(
    pid: u32,
    parent: u32,
    parent_fd: Option<&Pidfd>,
    subreaper: Option<u32>,
) -> Option<Member> {
    let opened = pidfd::open(pid);
    let stat = Stat::of(pid).ok()?;
    if stat.is_zombie() {
        return None;
    }
    let ours = subreaper.is_some_and(|own| stat.ppid == own);
    let fd = match opened {
        Ok(fd) => fd,
        Err(_) if ours => return Some(Member { stat, fd: None }),
        Err(_) => return None,
    };
    // It had this parent, by number, while the number was its own …
    if is_reaped(&fd) {
        return None;
    }
    // … and the parent's number was the held parent's own at that moment, since it is not reaped even now.
    let below = stat.ppid == parent && parent_fd.is_some_and(|parent| !is_reaped(parent));
    (ours || below).then(|| Member {
        stat,
        fd: Some(Rc::new(fd)),
    })
}

/// Opens a number and keeps it if the check holds while the number is its own.
pub(crate) fn open_if(pid: u32, check: &dyn Fn(&Stat) -> bool) -> Option<Member> {
    if pid == std::process::id() {
        return None;
    }
    let fd = pidfd::open(pid).ok()?;
    let stat = Stat::of(pid).ok()?;
    (!stat.is_zombie() && check(&stat) && !is_reaped(&fd)).then(|| Member {
        stat,
        fd: Some(Rc::new(fd)),
    })
}
