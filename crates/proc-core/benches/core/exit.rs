//! Noticing the end of one of many children, against a raw pidfd in an epoll set.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use proc_core::{Child, Signal};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, WaitOptions, getrlimit, setrlimit};

use crate::{row, sleepers};

const CHILDREN: usize = 5000;
const ROUNDS: usize = 200;

/// From the end of one of 5,000 children to its reaping by somebody who waits for all of them.
pub(crate) fn run() {
    if !enough_descriptors() {
        println!("SKIP exit notice: too few descriptors");
        return;
    }
    let mut children = sleepers(CHILDREN);
    let raw: Vec<OwnedFd> = children.iter().map(|child| pidfd(child.pid())).collect();
    let all_raw = watch(raw.iter().map(AsFd::as_fd));
    let all_ours = watch(children.iter().map(AsFd::as_fd));
    let mut times = (Vec::new(), Vec::new());
    for round in 0..2 * ROUNDS {
        let child = children.pop().unwrap();
        let at = children.len();
        // One of the two sets at a time, so that each end wakes one waiter.
        let (ours, other, other_fd) = if round % 2 == 0 {
            (false, &all_ours, child.as_fd())
        } else {
            (true, &all_raw, raw[at].as_fd())
        };
        epoll::delete(other, other_fd).unwrap();
        let elapsed = if ours {
            notice(&child, &all_ours, at, || {
                child.wait().unwrap();
            })
        } else {
            notice(&child, &all_raw, at, || {
                let pid = Pid::from_raw(child.pid().cast_signed());
                rustix::process::waitpid(pid, WaitOptions::empty()).unwrap();
            })
        };
        let (kept, fd) = if ours {
            (&all_ours, child.as_fd())
        } else {
            (&all_raw, raw[at].as_fd())
        };
        epoll::delete(kept, fd).unwrap();
        if ours { &mut times.1 } else { &mut times.0 }.push(elapsed);
    }
    row("exit notice among 5,000 children", times.0, times.1, 1.3);
    for child in &children {
        child.signal(Signal::KILL).unwrap();
    }
    for child in children {
        child.wait().unwrap();
    }
}

fn notice(child: &Child, all: &OwnedFd, at: usize, reap: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    child.signal(Signal::KILL).unwrap();
    let mut events = Vec::with_capacity(1);
    epoll::wait(all, rustix::buffer::spare_capacity(&mut events), None).unwrap();
    assert_eq!(events[0].data.u64(), at as u64);
    reap();
    begun.elapsed()
}

fn pidfd(pid: u32) -> OwnedFd {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap()
}

fn watch<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>) -> OwnedFd {
    let all = epoll::create(CreateFlags::CLOEXEC).unwrap();
    for (fd, at) in fds.zip(0..) {
        epoll::add(&all, fd, EventData::new_u64(at), EventFlags::IN).unwrap();
    }
    all
}

fn enough_descriptors() -> bool {
    let needed = 2 * CHILDREN as u64 + 100;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|most| most >= needed) {
        return true;
    }
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    limit.maximum.is_none_or(|most| most >= needed) && setrlimit(Resource::Nofile, wanted).is_ok()
}
