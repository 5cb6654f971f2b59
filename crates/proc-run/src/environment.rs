//! The environment of a command, inherited or replaced, each variable set at most once.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use thiserror::Error;

/// An entry that is no variable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// There is no `=`, or nothing before it, or a NUL byte.
    #[error("invalid environment variable format: `{0}`")]
    Malformed(String),
    /// The variable is set twice.
    #[error("duplicate environment variable: `{0}`")]
    Duplicate(String),
}

/// What a command finds in its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    inherit: bool,
    set: BTreeMap<OsString, OsString>,
}

impl Default for Environment {
    fn default() -> Self {
        Environment::inherited()
    }
}

impl Environment {
    /// Returns the environment of this process, to add to.
    #[must_use]
    pub fn inherited() -> Self {
        Environment {
            inherit: true,
            set: BTreeMap::new(),
        }
    }

    /// Returns an empty environment, to add to.
    #[must_use]
    pub fn empty() -> Self {
        Environment {
            inherit: false,
            set: BTreeMap::new(),
        }
    }

    /// Sets a variable.
    ///
    /// # Errors
    /// Refuses names that are empty or contain `=`, NUL bytes, and a variable set before; the
    /// environment is unchanged then. What is inherited may be set.
    pub fn set(
        &mut self,
        name: impl Into<OsString>,
        value: impl Into<OsString>,
    ) -> Result<(), EnvironmentError> {
        let (name, value) = (name.into(), value.into());
        let nul = |text: &OsStr| text.as_bytes().contains(&0);
        if name.is_empty() || name.as_bytes().contains(&b'=') || nul(&name) || nul(&value) {
            return Err(EnvironmentError::Malformed(
                name.to_string_lossy().into_owned(),
            ));
        }
        if self.set.contains_key(&name) {
            return Err(EnvironmentError::Duplicate(
                name.to_string_lossy().into_owned(),
            ));
        }
        self.set.insert(name, value);
        Ok(())
    }

    /// Adds entries of the form `NAME=value`.
    ///
    /// # Errors
    /// Refuses entries without a name or `=`, and a variable that is set twice.
    pub fn with<I>(mut self, entries: I) -> Result<Self, EnvironmentError>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        for entry in entries {
            let entry: OsString = entry.into();
            let bytes = entry.as_bytes();
            let Some(equals) = bytes.iter().position(|&byte| byte == b'=') else {
                return Err(EnvironmentError::Malformed(
                    entry.to_string_lossy().into_owned(),
                ));
            };
            let part = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            self.set(part(&bytes[..equals]), part(&bytes[equals + 1..]))?;
        }
        Ok(self)
    }

    /// Tells whether this process's own environment is the base.
    #[must_use]
    pub fn inherits(&self) -> bool {
        self.inherit
    }

    /// Returns what was set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.set
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Returns the `PATH` that programs are looked up in.
    #[must_use]
    pub fn path(&self) -> Option<OsString> {
        let set = self.set.get(OsStr::new("PATH")).cloned();
        set.or_else(|| {
            if self.inherit {
                std::env::var_os("PATH")
            } else {
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_and_duplicate_entries_are_refused() {
        let with = |entries: &[&str]| Environment::empty().with(entries.iter().copied());
        assert!(with(&["A=1", "B=", "C=a=b"]).is_ok());
        for (entries, message) in [
            (&["A"][..], "invalid environment variable format: `A`"),
            (&["=x"], "invalid environment variable format: ``"),
            (&[""], "invalid environment variable format: ``"),
            (&["A=1", "A=2"], "duplicate environment variable: `A`"),
            (&["A=1", "A=1"], "duplicate environment variable: `A`"),
        ] {
            assert_eq!(with(entries).unwrap_err().to_string(), message);
        }
    }
}
