//! Which files a `watch` means, and which directories have to be looked at for them.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::spec::WatchSpec;

/// What marks a part of a path as a pattern.
const META: [char; 5] = ['*', '?', '[', '{', '\\'];

/// The globs of a [`WatchSpec`], ready to match absolute paths.
#[derive(Debug, Clone)]
pub struct WatchedFiles {
    roots: Vec<WatchRoot>,
    wanted: GlobSet,
    ignored: GlobSet,
}

/// A directory below which something is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRoot {
    /// The directory, or the file itself where the glob is a plain path.
    pub path: PathBuf,
    /// How many levels of directories below it count; `None` is all.
    pub depth: Option<usize>,
}

impl WatchSpec {
    /// Returns the files that are meant, for a service with this working directory. A plain path
    /// means the file, or everything in the directory; `*` stays within a directory, `**` does not.
    #[must_use]
    pub fn files(&self, cwd: &Path) -> WatchedFiles {
        WatchedFiles {
            roots: self.paths.iter().map(|glob| root(cwd, glob)).collect(),
            wanted: set(cwd, &self.paths),
            ignored: set(cwd, &self.ignore),
        }
    }
}

impl WatchedFiles {
    /// Returns the directories to begin at.
    #[must_use]
    pub fn roots(&self) -> &[WatchRoot] {
        &self.roots
    }

    /// Tells whether a change of this file counts.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        self.wanted.is_match(path) && !self.ignores(path)
    }

    /// Tells whether a directory is left out with everything in it.
    #[must_use]
    pub fn ignores(&self, path: &Path) -> bool {
        path.ancestors().any(|part| self.ignored.is_match(part))
    }
}

fn set(cwd: &Path, globs: &[String]) -> GlobSet {
    let mut all = GlobSetBuilder::new();
    for glob in globs {
        let base = cwd.join(glob);
        let text = base.to_string_lossy();
        let text = text.trim_end_matches('/');
        let below = format!("{text}/**");
        let plain = !glob.contains(META);
        for text in std::iter::once(text).chain(plain.then_some(below.as_str())) {
            // Checked when the configuration was read.
            if let Ok(glob) = GlobBuilder::new(text).literal_separator(true).build() {
                all.add(glob);
            }
        }
    }
    all.build().unwrap_or_default()
}

/// Returns the part of a glob without a pattern, and how deep the rest goes.
fn root(cwd: &Path, glob: &str) -> WatchRoot {
    let mut path = cwd.to_owned();
    let mut parts = Path::new(glob).components().peekable();
    while let Some(part) = parts.next_if(|part| !has_meta(part.as_os_str())) {
        path.push(part);
    }
    let rest: Vec<_> = parts.collect();
    let endless = rest.iter().any(|part| {
        let text = part.as_os_str().to_string_lossy();
        // Braces may hold slashes.
        text.contains("**") || text.contains('{')
    });
    let depth = (!endless && !rest.is_empty()).then(|| rest.len() - 1);
    WatchRoot { path, depth }
}

fn has_meta(part: &std::ffi::OsStr) -> bool {
    part.to_string_lossy().contains(META)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn files(paths: &[&str], ignore: &[&str]) -> WatchedFiles {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let spec = WatchSpec {
            paths: texts(paths),
            ignore: texts(ignore),
            debounce: Duration::ZERO,
        };
        spec.files(Path::new("/app"))
    }

    #[test]
    fn globs_and_plain_paths_mean_what_they_look_like() {
        let table: &[(&str, &str, bool)] = &[
            ("src/**/*.py", "/app/src/a.py", true),
            ("src/**/*.py", "/app/src/x/y/a.py", true),
            ("src/**/*.py", "/app/src/a.pyc", false),
            ("src/**/*.py", "/app/a.py", false),
            ("*.toml", "/app/a.toml", true),
            ("*.toml", "/app/x/a.toml", false),
            ("conf", "/app/conf", true),
            ("conf", "/app/conf/x/y", true),
            ("conf/", "/app/conf/x", true),
            ("conf", "/app/config", false),
            ("/etc/app.conf", "/etc/app.conf", true),
            ("{a,b}/*.x", "/app/b/1.x", true),
        ];
        for (glob, path, wanted) in table {
            let found = files(&[glob], &[]).matches(Path::new(path));
            assert_eq!(found, *wanted, "{glob} {path}");
        }
    }

    #[test]
    fn what_is_ignored_is_left_out_with_everything_in_it() {
        let files = files(&["**/*"], &["**/.git", "target", "*.log"]);
        assert!(files.matches(Path::new("/app/src/main.rs")));
        for path in [
            "/app/.git/index",
            "/app/x/.git/a/b",
            "/app/target/debug/x",
            "/app/a.log",
        ] {
            assert!(!files.matches(Path::new(path)), "{path}");
        }
        assert!(files.ignores(Path::new("/app/target")));
    }

    #[test]
    fn only_what_a_glob_can_reach_is_looked_at() {
        let table: &[(&str, &str, Option<usize>)] = &[
            ("src/**/*.py", "/app/src", None),
            ("*.toml", "/app", Some(0)),
            ("a/*/b/*.x", "/app/a", Some(2)),
            ("conf", "/app/conf", None),
            ("/etc/app.conf", "/etc/app.conf", None),
        ];
        for (glob, path, depth) in table {
            let wanted = WatchRoot {
                path: PathBuf::from(path),
                depth: *depth,
            };
            assert_eq!(files(&[glob], &[]).roots(), [wanted], "{glob}");
        }
    }
}
