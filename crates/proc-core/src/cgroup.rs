//! A cgroup v2 of its own: made, limited, killed and removed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::{AttributeError, CgroupSpec, Downgrade};

/// A cgroup (version 2) of one service: everything its processes start is in it, whatever they do with groups and
/// sessions; only root can leave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Returns where cgroup2 is mounted, from `/proc/self/mountinfo`.
    pub fn mount() -> Option<&'static Path> {
        static MOUNT: OnceLock<Option<PathBuf>> = OnceLock::new();
        MOUNT
            .get_or_init(|| find_mount(&fs::read_to_string("/proc/self/mountinfo").ok()?))
            .as_deref()
    }

    /// Returns the cgroup that the calling process is in, below which it may make others if it may write there.
    pub fn own() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/cgroup").ok()?;
        let below = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let path = Self::mount()?.join(below);
        path.is_dir().then_some(Self { path })
    }

    /// Makes one below our own. A name that exists already is taken over if nothing runs in it.
    ///
    /// # Errors
    /// `NotFound` without cgroup2, `PermissionDenied` where it is not writable, `AlreadyExists` when something runs
    /// in it, `InvalidInput` for a name with `/` or a leading dot.
    pub fn create(name: &str) -> io::Result<Self> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\n', '\0']) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let own = Self::own().ok_or(io::ErrorKind::NotFound)?;
        let cgroup = Self {
            path: own.path.join(name),
        };
        match fs::create_dir(&cgroup.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if cgroup.is_populated()? {
                    return Err(error);
                }
            }
            result => result?,
        }
        if !cgroup.has("cgroup.events") || cgroup.procs_file().is_err() {
            let _ours_and_empty = fs::remove_dir(&cgroup.path);
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(cgroup)
    }

    /// Opens one that exists, for example one named in a record.
    ///
    /// # Errors
    /// `NotFound` when the directory is not there or is no cgroup.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let cgroup = Self { path: path.into() };
        if cgroup.has("cgroup.events") {
            Ok(cgroup)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Returns its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says whether it has this file, which is how a controller shows.
    pub fn has(&self, file: &str) -> bool {
        self.path.join(file).exists()
    }

    /// Says whether all its processes can be killed at once (`cgroup.kill`, Linux 5.14).
    pub fn can_kill(&self) -> bool {
        rustix::fs::access(self.path.join("cgroup.kill"), rustix::fs::Access::WRITE_OK).is_ok()
    }

    /// Opens `cgroup.procs` for writing; a process that writes `0` to it moves itself.
    ///
    /// # Errors
    /// When it is not writable.
    pub fn procs_file(&self) -> io::Result<OwnedFd> {
        Ok(OpenOptions::new()
            .write(true)
            .open(self.path.join("cgroup.procs"))?
            .into())
    }

    /// Opens `cgroup.events`; `poll(2)` reports `POLLPRI` when "populated" changes.
    ///
    /// # Errors
    /// When it is gone.
    pub fn events_file(&self) -> io::Result<OwnedFd> {
        Ok(File::open(self.path.join("cgroup.events"))?.into())
    }

    /// Says whether any process, zombies aside, is in it or below it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn is_populated(&self) -> io::Result<bool> {
        let text = fs::read_to_string(self.path.join("cgroup.events"))?;
        Ok(text.lines().any(|line| line == "populated 1"))
    }

    /// Kills everything in it and below it, at once.
    ///
    /// # Errors
    /// `NotFound` before Linux 5.14 and for the root cgroup.
    pub fn kill(&self) -> io::Result<()> {
        write(&self.path.join("cgroup.kill"), "1")
    }

    /// Returns the processes in it and below it. A snapshot: never a proof that there are no others.
    ///
    /// # Errors
    /// When it is gone.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        let mut dirs = vec![self.path.clone()];
        while let Some(dir) = dirs.pop() {
            let text = match fs::read_to_string(dir.join("cgroup.procs")) {
                Ok(text) => text,
                // One below may go away meanwhile, and a threaded one has no list.
                Err(_) if dir != self.path => continue,
                Err(error) => return Err(error),
            };
            // 0 is a process of a namespace we cannot see.
            pids.extend(
                text.lines()
                    .filter_map(|line| line.parse::<u32>().ok())
                    .filter(|pid| *pid != 0),
            );
            for entry in fs::read_dir(&dir)?.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    dirs.push(entry.path());
                }
            }
        }
        Ok(pids)
    }

    /// Says whether a number is, at this moment, in it or below it.
    pub(crate) fn contains(&self, pid: u32) -> bool {
        let Some(below) = Self::mount().and_then(|mount| self.path.strip_prefix(mount).ok()) else {
            return false;
        };
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let Some(found) = text.lines().find_map(|line| line.strip_prefix("0::/")) else {
            return false;
        };
        Path::new(found).starts_with(below)
    }

    /// Sets limits as far as there are controllers, and says which could not be set.
    ///
    /// # Errors
    /// When the kernel refuses a value although the controller is there: which, as `cgroup.cpu.max`.
    pub fn limit(&self, spec: &CgroupSpec) -> Result<Vec<Downgrade>, AttributeError> {
        let mut missing = Vec::new();
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        let cpu = spec
            .cpu_max_us
            .map(|quota| format!("{quota} {}", spec.cpu_period_us.unwrap_or(100_000)));
        for (file, value) in [
            ("memory.max", number(spec.memory_max)),
            ("pids.max", number(spec.pids_max)),
            ("cpu.max", cpu),
        ] {
            let Some(value) = value else { continue };
            if !self.has(file) {
                self.enable(file);
            }
            if self.has(file) {
                write(&self.path.join(file), &value).map_err(|error| {
                    AttributeError::new(format!("cgroup.{file}"), &value, error)
                })?;
            } else {
                let reason = format!(
                    "not applied: cgroup `{}` has no such controller",
                    self.path.display()
                );
                missing.push(Downgrade {
                    attribute: format!("cgroup.{file}"),
                    reason,
                });
            }
        }
        Ok(missing)
    }

    /// Asks the parent to hand a controller down; refused where processes live beside cgroups in it.
    fn enable(&self, file: &str) {
        if let (Some(parent), Some((controller, _))) = (self.path.parent(), file.split_once('.')) {
            let _shows_by_the_file = write(
                &parent.join("cgroup.subtree_control"),
                &format!("+{controller}"),
            );
        }
    }

    /// Returns how many of its processes the kernel ended for lack of memory; `None` without the controller.
    pub fn oom_kills(&self) -> Option<u64> {
        let text = fs::read_to_string(self.path.join("memory.events")).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
    }

    /// Removes it and the empty ones below it.
    ///
    /// # Errors
    /// `ResourceBusy` while something runs in it.
    pub fn remove(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                Self { path: entry.path() }.remove()?;
            }
        }
        fs::remove_dir(&self.path)
    }
}

/// Writes a control file in one call, as the kernel wants it; never creates one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(
        &mut OpenOptions::new().write(true).open(path)?,
        text.as_bytes(),
    )
}

/// Finds the mount point of the first cgroup2 line whose root is the hierarchy's own.
fn find_mount(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        (right.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(unescape(point)))
    })
}

/// Decodes the `\040` of mountinfo.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_among_others() {
        let text = "24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                    40 31 0:37 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids\n\
                    42 31 0:38 /a /elsewhere rw - cgroup2 cgroup2 rw\n\
                    41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(
            find_mount(text),
            Some(PathBuf::from("/sys/fs/cgroup/uni fied"))
        );
        assert_eq!(find_mount("nonsense"), None);
    }

    /// What is written where, on a machine whose cgroup2 has the controllers: files stand in for the kernel's.
    #[test]
    fn limits_are_written_as_the_kernel_wants_them_and_missing_controllers_are_told() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("web");
        fs::create_dir(&dir).unwrap();
        let files = ["cgroup.events", "memory.max", "pids.max", "cpu.max"];
        for file in files {
            fs::write(dir.join(file), "").unwrap();
        }
        let asked = parent.path().join("cgroup.subtree_control");
        fs::write(&asked, "").unwrap();
        let cgroup = Cgroup::open(&dir).unwrap();
        let spec = CgroupSpec {
            memory_max: Some(1 << 20),
            pids_max: Some(7),
            cpu_max_us: Some(50_000),
            ..CgroupSpec::default()
        };
        assert_eq!(cgroup.limit(&spec).unwrap().len(), 0);
        let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap();
        let written = ["memory.max", "pids.max", "cpu.max"].map(read);
        assert_eq!(written, ["1048576", "7", "50000 100000"]);
        assert_eq!(fs::read_to_string(&asked).unwrap(), "");

        files[1..]
            .iter()
            .for_each(|file| fs::remove_file(dir.join(file)).unwrap());
        let only = CgroupSpec {
            pids_max: Some(7),
            ..CgroupSpec::default()
        };
        let missing = cgroup.limit(&only).unwrap();
        assert_eq!(fs::read_to_string(&asked).unwrap(), "+pids");
        let told: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let path = dir.display();
        let wanted =
            format!("cgroup.pids.max: not applied: cgroup `{path}` has no such controller");
        assert_eq!(told, [wanted]);
    }

    #[test]
    fn a_refused_limit_is_named_with_its_value() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("cgroup.events"), "").unwrap();
        fs::write(parent.path().join("memory.max"), "").unwrap();
        // What cannot be written to stands in for a file whose kernel says no.
        fs::create_dir(parent.path().join("cpu.max")).unwrap();
        let spec = CgroupSpec {
            memory_max: Some(1 << 20),
            cpu_max_us: Some(7),
            ..CgroupSpec::default()
        };
        let cgroup = Cgroup::open(parent.path()).unwrap();
        let error = cgroup.limit(&spec).unwrap_err();
        assert_eq!(
            (
                error.attribute.as_str(),
                error.value.as_str(),
                error.errno()
            ),
            ("cgroup.cpu.max", "7 100000", Some(libc::EISDIR))
        );
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for name in ["", ".", "..", "a/b", ".hidden", "a\nb"] {
            assert_eq!(
                Cgroup::create(name).map_err(|error| error.kind()),
                Err(io::ErrorKind::InvalidInput)
            );
        }
    }
}
