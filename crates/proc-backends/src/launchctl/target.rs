//! Which job of which domain an instance is.

use serde::{Deserialize, Serialize};

use crate::error::StartError;
use crate::manager::ManagerError;
use crate::spec::InstanceSpec;

/// The longest label that is taken.
const LONGEST: usize = 200;

/// A job and how launchd is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Target {
    /// The job's name.
    pub(crate) label: String,
    /// `gui/501` or `system`.
    pub(crate) domain: String,
    /// Whether its file is generated from the spec; otherwise it exists and is never rewritten.
    pub(crate) own: bool,
    /// Whether verbs that change something go through `sudo -n`.
    pub(crate) sudo: bool,
}

impl Target {
    /// Reads the settings that are launchd's.
    pub(crate) fn of(spec: &InstanceSpec, uid: u32) -> Result<Self, StartError> {
        let (mut named, mut user, mut sudo) = (None, uid != 0, false);
        for (key, value) in &spec.foreign {
            match key.as_str() {
                "label" => named = Some(value.clone()),
                "scope" => user = value == "user",
                "sudo" => sudo = value == "true",
                other => {
                    return Err(StartError::Unsupported {
                        field: other.to_owned(),
                        backend: super::NAME,
                    });
                }
            }
        }
        if user && sudo {
            return Err(StartError::Unsupported {
                field: "scope = \"user\" together with sudo".to_owned(),
                backend: super::NAME,
            });
        }
        let label = named.unwrap_or_else(|| format!("proc.{}.{}", spec.project, spec.instance));
        check(&label).map_err(|source| StartError::Manager {
            instance: spec.instance.clone(),
            source,
        })?;
        Ok(Self {
            label,
            domain: if user {
                format!("gui/{uid}")
            } else {
                "system".to_owned()
            },
            own: !spec.argv.is_empty(),
            sudo,
        })
    }

    /// Returns the name by which verbs address the job: `gui/501/com.example.x`.
    pub(crate) fn service(&self) -> String {
        format!("{}/{}", self.domain, self.label)
    }

    pub(crate) fn no_job(&self) -> ManagerError {
        ManagerError::NoUnit {
            unit: self.label.clone(),
        }
    }

    pub(crate) fn disabled(&self) -> ManagerError {
        ManagerError::Barred {
            unit: self.label.clone(),
            how: "disabled; `launchctl enable` allows it again",
        }
    }
}

/// Refuses what launchctl(1) would read as something else.
fn check(label: &str) -> Result<(), ManagerError> {
    let bad = |reason| ManagerError::BadName {
        key: "label",
        value: label.escape_debug().to_string(),
        reason,
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match label {
        "" => Err(bad("it is empty")),
        _ if label.starts_with('-') => Err(bad("it starts with `-`, as an option does")),
        _ if label.len() > LONGEST => Err(bad("it is too long")),
        _ if !label.chars().all(allowed) => {
            Err(bad("only letters, digits and `.` `_` `-` are allowed"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_labels_are_refused_with_a_reason() {
        for label in ["", "-k", "a b", "a/b", "a\nb", "ä", &"x".repeat(201)] {
            let error = check(label).unwrap_err().to_string();
            assert!(
                error.starts_with("label `") && !error.contains('\n'),
                "{error}"
            );
        }
        assert!(check("com.example.web-2").is_ok());
    }
}
