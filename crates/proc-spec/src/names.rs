//! What services, projects and groups may be called, and what instances are called.

use std::path::Path;

/// The longest name.
pub const MAX_NAME: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("a name must not be empty")]
    Empty,
    /// It is longer than [`MAX_NAME`].
    #[error("a name has at most {MAX_NAME} characters, this one has {0}")]
    TooLong(usize),
    /// It has a character that no name has, or one that none begins with.
    #[error("a name {place} `{character}`")]
    Character {
        /// `must not contain` or `must not start with`.
        place: &'static str,
        /// The character, escaped.
        character: String,
    },
}

/// Checks the name of a service, project or group: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}`.
///
/// # Errors
/// [`NameError`] tells what is wrong with it.
///
/// ```
/// assert!(proc_spec::check_name("web-2.blue").is_ok());
/// assert!(proc_spec::check_name("../web").is_err());
/// ```
pub fn check_name(name: &str) -> Result<(), NameError> {
    let bad = |place, character: char| NameError::Character {
        place,
        character: character.escape_debug().to_string(),
    };
    let first = name.chars().next().ok_or(NameError::Empty)?;
    if let Some(c) = name
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !"_.-".contains(*c))
    {
        return Err(bad("must not contain", c));
    }
    if !first.is_ascii_alphanumeric() && first != '_' {
        return Err(bad("must not start with", first));
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong(name.len()));
    }
    Ok(())
}

/// Returns the name of instance `index` (from 1) of `count`: the service's own where there is one, else `web-2`.
///
/// ```
/// assert_eq!(proc_spec::instance_name("web", 1, 1), "web");
/// assert_eq!(proc_spec::instance_name("web", 2, 3), "web-2");
/// ```
#[must_use]
pub fn instance_name(service: &str, index: u32, count: u32) -> String {
    if count == 1 {
        service.to_owned()
    } else {
        format!("{service}-{index}")
    }
}

/// Splits `web-2` into `web` and 2.
pub(crate) fn split_instance(name: &str) -> Option<(&str, u32)> {
    let (service, index) = name.rsplit_once('-')?;
    let plain =
        !index.is_empty() && !index.starts_with('0') && index.bytes().all(|b| b.is_ascii_digit());
    Some((service, plain.then(|| index.parse().ok()).flatten()?))
}

/// Returns the name of a project in this directory that is given no other.
#[must_use]
pub fn project_name(dir: &Path) -> String {
    let last = dir.file_name().unwrap_or_default();
    from_directory(&last.to_string_lossy())
}

/// Makes a name of a directory's.
pub(crate) fn from_directory(directory: &str) -> String {
    let name: String = directory
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "_.-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let name: String = name
        .trim_start_matches(['-', '.'])
        .chars()
        .take(MAX_NAME)
        .collect();
    if name.is_empty() {
        "project".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in [
            "a",
            "A",
            "0",
            "_",
            "web",
            "web-1",
            "a.b_c-d",
            &"x".repeat(63),
        ] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "-a",
            ".a",
            "..",
            "../a",
            "a/b",
            "a b",
            "a\nb",
            "é",
            "a\u{1b}[31m",
            "@a",
            &"x".repeat(64),
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn directories_become_names() {
        for (directory, name) in [
            ("shop", "shop"),
            ("my shop", "my-shop"),
            (".hidden", "hidden"),
            ("", "project"),
            ("é", "project"),
        ] {
            assert_eq!(from_directory(directory), name, "{directory}");
            assert!(check_name(name).is_ok());
        }
    }

    #[test]
    fn instances() {
        for (name, split) in [
            ("web-2", Some(("web", 2))),
            ("a-b-10", Some(("a-b", 10))),
            ("web", None),
            ("web-", None),
            ("web-02", None),
            ("web-+2", None),
            ("web-0", None),
        ] {
            assert_eq!(split_instance(name), split, "{name}");
        }
    }
}
