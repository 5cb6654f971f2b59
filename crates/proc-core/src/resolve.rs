//! Attributes looked up before the fork: names to numbers, text to limits.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use crate::attributes::both_text;
use crate::sys::apply::{Failure, Prepared, Step, rlimit_of};
use crate::sys::users::{self, Account};
use crate::{Attributes, Cgroup, Downgrade, IoClass, Limit, Resource};

/// [`Attributes`] with every name looked up: ready to be applied between fork and exec.
#[derive(Debug)]
pub struct ResolvedAttributes {
    prepared: Prepared,
    source: Attributes,
    account: Option<Account>,
    downgrades: Vec<Downgrade>,
    /// Keeps the descriptor that `prepared` names open.
    cgroup: Option<(OwnedFd, PathBuf)>,
}

/// One attribute that could not be applied; the program did not run.
///
/// It prints as ``PermissionDenied: user `www`: Operation not permitted (os error 1)``.
#[derive(Debug)]
pub struct AttributeError {
    /// The attribute as in [`Attributes`]: `user`, `limits.nofile`, …
    pub attribute: String,
    /// The value asked for.
    pub value: String,
    /// What the system answered.
    pub error: io::Error,
}

impl AttributeError {
    pub(crate) fn new(
        attribute: impl Into<String>,
        value: impl fmt::Display,
        error: io::Error,
    ) -> Self {
        Self {
            attribute: attribute.into(),
            value: value.to_string(),
            error,
        }
    }

    /// Returns the system's error number, if the system refused.
    pub fn errno(&self) -> Option<i32> {
        self.error.raw_os_error()
    }
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The kind is part of the promise: scripts look for `PermissionDenied`.
        write!(
            f,
            "{:?}: {} `{}`: {}",
            self.error.kind(),
            self.attribute,
            self.value,
            self.error
        )
    }
}

impl std::error::Error for AttributeError {}

/// What [`ResolvedAttributes::apply`] failed at: small and plain, to be passed from a forked child to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyFailure(pub(crate) Failure);

impl ApplyFailure {
    /// Returns it as bytes, for a pipe.
    pub const fn to_bytes(self) -> [u8; 8] {
        let errno = self.0.errno.to_ne_bytes();
        [
            self.0.step as u8,
            self.0.index,
            0,
            0,
            errno[0],
            errno[1],
            errno[2],
            errno[3],
        ]
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        let step = Step::ALL.get(usize::from(bytes[0])).copied()?;
        let errno = i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        Some(Self(Failure {
            step,
            index: bytes[1],
            errno,
        }))
    }
}

impl Attributes {
    /// Looks names up and checks values, so that what is left to do after fork are plain system calls.
    ///
    /// With a `cgroup` the process will be born into it, and the limits it carries are not set a second time.
    ///
    /// # Errors
    /// [`AttributeError`] for an unknown user or group and for a value out of range.
    pub fn resolve(&self, cgroup: Option<&Cgroup>) -> Result<ResolvedAttributes, AttributeError> {
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        let mut prepared = Prepared {
            session: self.session,
            no_new_privs: self.no_new_privs,
            close_fds: self.close_fds,
            ..Prepared::default()
        };
        let account = self.account(&mut prepared)?;
        if let Some(umask) = self.umask {
            let valid = umask <= 0o777;
            prepared.umask = Some(valid.then_some(umask).ok_or_else(|| {
                AttributeError::new("umask", format_args!("{umask:o}"), invalid())
            })?);
        }
        // setpriority(2) clamps what is out of range; a silent other value is not what was asked for.
        prepared.nice = in_range("nice", self.nice, -20, 19)?;
        prepared.oom_score_adj = in_range("oom_score_adj", self.oom_score_adj, -1000, 1000)?;
        if let Some(priority) = self.io_priority {
            let class = match priority.class {
                IoClass::RealTime => 1,
                IoClass::BestEffort => 2,
                IoClass::Idle => 3,
            };
            if priority.level > 7 {
                return Err(AttributeError::new("io_priority", priority, invalid()));
            }
            prepared.io_priority = Some((class << 13) | i32::from(priority.level));
        }
        for cpu in &self.cpu_affinity {
            prepared
                .allow_cpu(*cpu)
                .ok_or_else(|| AttributeError::new("cpu_affinity", cpu, invalid()))?;
        }
        let mut downgrades = Vec::new();
        for limit in &self.limits {
            self.limit(limit, cgroup, &mut prepared, &mut downgrades);
        }
        let join = cgroup.map(|cgroup| {
            let path = cgroup.path();
            match cgroup.procs_file() {
                Ok(procs) => Ok((procs, path.to_owned())),
                Err(error) => Err(AttributeError::new("cgroup", path.display(), error)),
            }
        });
        let join = join.transpose()?;
        prepared.cgroup = join.as_ref().map(|(procs, _)| procs.as_raw_fd());
        Ok(ResolvedAttributes {
            prepared,
            source: self.clone(),
            account,
            downgrades,
            cgroup: join,
        })
    }

    fn account(&self, prepared: &mut Prepared) -> Result<Option<Account>, AttributeError> {
        let missing =
            |what: &str| io::Error::new(io::ErrorKind::NotFound, format!("no such {what}"));
        let group_id = |attribute: &str, name: &String| {
            users::group(name)
                .and_then(|gid| gid.ok_or_else(|| missing("group")))
                .map_err(|error| AttributeError::new(attribute, name, error))
        };
        let gid = self
            .group
            .as_ref()
            .map(|name| group_id("group", name))
            .transpose()?;
        let account = match &self.user {
            None => None,
            Some(name) => {
                let found = users::account(name)
                    .map_err(|error| AttributeError::new("user", name, error))?;
                let found = found.or_else(|| {
                    // A number without an account is fine once its group is said.
                    let uid = name.parse().ok()?;
                    Some(Account {
                        name: name.clone(),
                        uid,
                        gid: gid?,
                        home: "/".into(),
                        shell: "/bin/sh".into(),
                    })
                });
                Some(found.ok_or_else(|| AttributeError::new("user", name, missing("user")))?)
            }
        };
        let gid = gid.or(account.as_ref().map(|account| account.gid));
        let mut groups = Vec::new();
        for name in &self.groups {
            groups.push(group_id("groups", name)?);
        }
        refuse_unchanged(
            "user",
            self.user.as_deref(),
            account.as_ref().map(|a| a.uid),
        )?;
        refuse_unchanged("group", self.group.as_deref(), gid)?;
        prepared.uid = account.as_ref().map(|account| account.uid);
        prepared.gid = gid;
        if let (Some(account), Some(gid)) = (&account, gid) {
            let mut all = users::groups_of(&account.name, gid)
                .map_err(|error| AttributeError::new("user", &account.name, error))?;
            all.extend(groups);
            prepared.set_groups(all, self.groups.is_empty());
        } else if !groups.is_empty() {
            let mut all = users::own_groups()
                .map_err(|error| AttributeError::new("groups", self.groups.join(","), error))?;
            all.extend(groups);
            prepared.set_groups(all, false);
        }
        Ok(account)
    }

    /// `memory` and `pids` are the tree's where a cgroup carries them; else what comes nearest, and that is said.
    fn limit(
        &self,
        limit: &Limit,
        cgroup: Option<&Cgroup>,
        prepared: &mut Prepared,
        downgrades: &mut Vec<Downgrade>,
    ) {
        let carried = |file: &str| cgroup.is_some_and(|cgroup| cgroup.has(file));
        let mut say = |reason: &str| {
            downgrades.push(Downgrade {
                attribute: format!("limits.{}", limit.resource),
                reason: reason.to_owned(),
            });
        };
        let raw = match limit.resource {
            Resource::Memory if carried("memory.max") => return,
            Resource::Memory => {
                say(
                    "no memory controller here: limits the address space of each process, not the memory of the tree",
                );
                rlimit_of(Resource::As)
            }
            Resource::Pids if carried("pids.max") => return,
            Resource::Pids if prepared.uid.unwrap_or_else(users::own_uid) == 0 => {
                say(
                    "not applied: no pids controller here, and the kernel does not count root's processes",
                );
                return;
            }
            Resource::Pids => {
                say(
                    "no pids controller here: counts all processes of the user, not those of the tree",
                );
                rlimit_of(Resource::Nproc)
            }
            other => rlimit_of(other),
        };
        prepared.limits.push((
            raw,
            limit.soft.unwrap_or(u64::MAX),
            limit.hard.unwrap_or(u64::MAX),
        ));
        prepared.limit_names.push(*limit);
    }
}

fn in_range(
    attribute: &str,
    value: Option<i32>,
    low: i32,
    high: i32,
) -> Result<Option<i32>, AttributeError> {
    match value {
        Some(value) if !(low..=high).contains(&value) => Err(AttributeError::new(
            attribute,
            value,
            io::Error::from_raw_os_error(libc::EINVAL),
        )),
        value => Ok(value),
    }
}

impl ResolvedAttributes {
    /// Applies everything to the calling process; makes only async-signal-safe system calls, allocates nothing.
    ///
    /// Also sets every signal to its default and empties the mask. With `close_fds` all descriptors from 3 up become
    /// close-on-exec, so put those to be passed on into place afterwards. Meant for a child between fork and exec,
    /// which must not go on after a failure; [`Spawn::attributes`](crate::Spawn::attributes) does all of that.
    ///
    /// # Errors
    /// What failed first; see [`explain`](Self::explain).
    pub fn apply(&self) -> Result<(), ApplyFailure> {
        self.prepared.apply().map_err(ApplyFailure)
    }

    /// Says whether applying these changes what the kernel keeps with the memory and not with the process. A child that
    /// shares its parent's memory (`CLONE_VM`) needs a copy for these.
    ///
    /// All who share it have one `oom_score_adj`; a change of user makes it undumpable; and whoever the kernel ends
    /// because a cgroup is out of memory takes all along who share his, also from outside of that cgroup. Always true where
    /// [`apply`](Self::apply) may change `errno`, which such a child has in the same place.
    pub fn needs_own_memory(&self) -> bool {
        let prepared = &self.prepared;
        !crate::sys::LEAVES_ERRNO_ALONE
            || prepared.oom_score_adj.is_some()
            || prepared.uid.is_some()
            || prepared.gid.is_some()
            || prepared.cgroup.is_some()
    }

    /// Turns a failure into words: which attribute, which value, what the system said.
    pub fn explain(&self, failure: ApplyFailure) -> AttributeError {
        let source = &self.source;
        let failure = failure.0;
        let list = |items: &[String]| items.join(",");
        let (attribute, value) = match failure.step {
            Step::Signals => ("signals".to_owned(), "default".to_owned()),
            Step::Session => (
                "session".to_owned(),
                format!("{:?}", source.session).to_lowercase(),
            ),
            Step::Cgroup => {
                let path = self.cgroup.as_ref().map(|(_, path)| path.display());
                let path = path.map(|path| path.to_string()).unwrap_or_default();
                ("cgroup".to_owned(), path)
            }
            Step::OomScoreAdj => (
                "oom_score_adj".to_owned(),
                source.oom_score_adj.unwrap_or(0).to_string(),
            ),
            Step::Nice => ("nice".to_owned(), source.nice.unwrap_or(0).to_string()),
            Step::IoPriority => (
                "io_priority".to_owned(),
                source
                    .io_priority
                    .map(|p| p.to_string())
                    .unwrap_or_default(),
            ),
            Step::CpuAffinity => {
                let cpus: Vec<String> = source.cpu_affinity.iter().map(u32::to_string).collect();
                ("cpu_affinity".to_owned(), list(&cpus))
            }
            Step::Limit => match self.prepared.limit_names.get(usize::from(failure.index)) {
                Some(limit) => (format!("limits.{}", limit.resource), both_text(limit)),
                None => ("limits".to_owned(), String::new()),
            },
            Step::Umask => (
                "umask".to_owned(),
                format!("{:03o}", source.umask.unwrap_or(0)),
            ),
            Step::Groups if source.groups.is_empty() => {
                ("user".to_owned(), source.user.clone().unwrap_or_default())
            }
            Step::Groups => ("groups".to_owned(), list(&source.groups)),
            Step::Group if source.group.is_none() => {
                ("user".to_owned(), source.user.clone().unwrap_or_default())
            }
            Step::Group => ("group".to_owned(), source.group.clone().unwrap_or_default()),
            Step::User => ("user".to_owned(), source.user.clone().unwrap_or_default()),
            Step::NoNewPrivs => ("no_new_privs".to_owned(), "true".to_owned()),
            Step::CloseFds => ("close_fds".to_owned(), "true".to_owned()),
        };
        AttributeError::new(
            attribute,
            value,
            io::Error::from_raw_os_error(failure.errno),
        )
    }

    /// Returns what was asked for and is done in another way, or not at all, on this system.
    pub fn downgrades(&self) -> &[Downgrade] {
        &self.downgrades
    }

    /// Returns the variables that go with the user: `HOME`, `USER`, `LOGNAME`, `SHELL`; empty without a user.
    pub fn user_environment(&self) -> Vec<(&'static str, String)> {
        self.account.as_ref().map_or_else(Vec::new, |account| {
            vec![
                ("HOME", account.home.clone()),
                ("USER", account.name.clone()),
                ("LOGNAME", account.name.clone()),
                ("SHELL", account.shell.clone()),
            ]
        })
    }

    /// Returns the user and group numbers it will run as, where they change.
    pub const fn ids(&self) -> (Option<u32>, Option<u32>) {
        (self.prepared.uid, self.prepared.gid)
    }

    pub(crate) const fn prepared(&self) -> &Prepared {
        &self.prepared
    }
}

/// Refuses the number that means "as it is" to setresuid(2): the program would run as somebody whom nobody named.
fn refuse_unchanged(
    attribute: &str,
    name: Option<&str>,
    id: Option<u32>,
) -> Result<(), AttributeError> {
    if id != Some(u32::MAX) {
        return Ok(());
    }
    let invalid = io::Error::from_raw_os_error(libc::EINVAL);
    Err(AttributeError::new(
        attribute,
        name.unwrap_or_default(),
        invalid,
    ))
}
