//! Attributes as plain numbers: what is left to do between fork and exec.

use std::os::fd::RawFd;

use crate::{Limit, SessionMode};

/// One thing to apply, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Signals,
    Session,
    Cgroup,
    OomScoreAdj,
    Nice,
    IoPriority,
    CpuAffinity,
    Limit,
    Umask,
    Groups,
    Group,
    User,
    NoNewPrivs,
    CloseFds,
}

impl Step {
    /// Every step, each at the index that is its number.
    pub(crate) const ALL: &[Self] = &[
        Self::Signals,
        Self::Session,
        Self::Cgroup,
        Self::OomScoreAdj,
        Self::Nice,
        Self::IoPriority,
        Self::CpuAffinity,
        Self::Limit,
        Self::Umask,
        Self::Groups,
        Self::Group,
        Self::User,
        Self::NoNewPrivs,
        Self::CloseFds,
    ];
}

/// The step that failed, which of several, and the error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) index: u8,
    pub(crate) errno: i32,
}

/// Room for 1024 CPUs, what the kernel's default mask has.
const CPU_WORDS: usize = 16;

/// Everything as plain numbers.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) session: SessionMode,
    pub(crate) cgroup: Option<RawFd>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) nice: Option<i32>,
    pub(crate) io_priority: Option<i32>,
    pub(crate) cpus: Option<[u64; CPU_WORDS]>,
    /// Resource number, soft, hard.
    pub(crate) limits: Vec<(i32, u64, u64)>,
    pub(crate) limit_names: Vec<Limit>,
    pub(crate) umask: Option<u32>,
    pub(crate) groups: Option<Vec<u32>>,
    pub(crate) gid: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) no_new_privs: bool,
    pub(crate) close_fds: bool,
}

impl Prepared {
    /// Adds a CPU to the mask; `None` when there is no room for it.
    pub(crate) fn allow_cpu(&mut self, cpu: u32) -> Option<()> {
        let mask = self.cpus.get_or_insert([0; CPU_WORDS]);
        *mask.get_mut((cpu / 64) as usize)? |= 1 << (cpu % 64);
        Some(())
    }

    /// Notes the supplementary groups. An unprivileged caller that asks for itself and nothing more needs no call.
    pub(crate) fn set_groups(&mut self, mut groups: Vec<u32>, only_the_users: bool) {
        groups.sort_unstable();
        groups.dedup();
        let own = super::users::own_uid();
        let unchanged =
            own != 0 && self.uid == Some(own) && self.gid == Some(super::users::own_gid());
        if unchanged && only_the_users {
            return;
        }
        self.groups = Some(groups);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_found_at_its_own_number() {
        for (index, step) in Step::ALL.iter().enumerate() {
            assert_eq!(*step as usize, index);
        }
    }
}
