//! Which unit of which manager an instance is.

use serde::{Deserialize, Serialize};

use super::name;
use crate::error::StartError;
use crate::manager::ManagerError;
use crate::spec::InstanceSpec;

/// A unit and how its manager is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Its full name.
    pub(crate) unit: String,
    /// Whether it is generated from the spec; otherwise it exists and is never rewritten.
    pub(crate) own: bool,
    /// The user's manager instead of the machine's.
    pub(crate) user: bool,
    /// Whether verbs that change something go through `sudo -n`.
    pub(crate) sudo: bool,
    /// Another machine, through ssh(1).
    pub(crate) host: Option<String>,
}

impl Target {
    /// Reads the settings that are systemd's.
    pub(crate) fn of(spec: &InstanceSpec, root: bool) -> Result<Self, StartError> {
        let refused = |source| StartError::Manager {
            instance: spec.instance.clone(),
            source,
        };
        let unsupported = |field: &str| StartError::Unsupported {
            field: field.to_owned(),
            backend: super::NAME,
        };
        let (mut unit, mut scope, mut sudo, mut host) = (None, None, false, None);
        for (key, value) in &spec.foreign {
            match key.as_str() {
                "unit" => unit = Some(name::unit(value).map_err(refused)?),
                "scope" => scope = Some(value == "user"),
                "sudo" => sudo = value == "true",
                "host" => host = Some(name::host(value).map_err(refused)?),
                other => return Err(unsupported(other)),
            }
        }
        let user = scope.unwrap_or(!root && host.is_none());
        if user && host.is_some() {
            return Err(unsupported("scope = \"user\" together with host"));
        }
        if user && sudo {
            return Err(unsupported("scope = \"user\" together with sudo"));
        }
        let own = unit.is_none();
        if own && host.is_some() {
            return Err(unsupported("host without unit"));
        }
        let unit = match unit {
            Some(unit) => unit,
            None => {
                let ours = super::unit::name(spec);
                name::unit(&ours).map_err(refused)?
            }
        };
        Ok(Self {
            unit,
            own,
            user,
            sudo,
            host,
        })
    }

    pub(crate) fn no_unit(&self) -> ManagerError {
        ManagerError::NoUnit {
            unit: self.unit.clone(),
        }
    }
}
