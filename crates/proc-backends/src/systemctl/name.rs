//! What may stand as a unit's or a host's name in a command line.

use crate::manager::ManagerError;

/// The longest unit name that systemd takes.
const LONGEST: usize = 255;

/// The kinds of units there are; only services are run.
const KINDS: &[&str] = &[
    "socket",
    "timer",
    "target",
    "mount",
    "automount",
    "swap",
    "path",
    "slice",
    "scope",
    "device",
    "snapshot",
];

fn bad(key: &'static str, value: &str, reason: &'static str) -> ManagerError {
    ManagerError::BadName {
        key,
        value: value.escape_debug().to_string(),
        reason,
    }
}

/// Returns the unit's full name: `nginx` is `nginx.service`.
///
/// # Errors
/// A name that systemd would not take, that would be read as an option, or that is no service.
pub(crate) fn unit(name: &str) -> Result<String, ManagerError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":_.\\@-".contains(c);
    if name.is_empty() {
        return Err(bad("unit", name, "it is empty"));
    }
    if name.starts_with('-') {
        return Err(bad("unit", name, "it starts with `-`, as an option does"));
    }
    if !name.chars().all(allowed) {
        return Err(bad(
            "unit",
            name,
            "only letters, digits and `:` `_` `.` `\\` `@` `-` are allowed",
        ));
    }
    let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
    if KINDS.contains(&kind) {
        return Err(bad("unit", name, "it is not a service"));
    }
    let full = if kind == "service" {
        name.to_owned()
    } else {
        format!("{name}.service")
    };
    let stem = full.trim_end_matches(".service");
    if stem.is_empty() || stem.ends_with('@') {
        return Err(bad("unit", name, "it names no unit"));
    }
    if full.len() > LONGEST {
        return Err(bad("unit", name, "it is longer than 255 bytes"));
    }
    Ok(full)
}

/// Checks `user@node` as `systemctl --host` takes it.
///
/// # Errors
/// A name that ssh(1) could read as an option, or with bytes that are in no host name.
pub(crate) fn host(name: &str) -> Result<String, ManagerError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._@:%[]-".contains(c);
    if name.is_empty() || name.starts_with('-') || name.contains("@-") {
        return Err(bad("host", name, "it is empty or looks like an option"));
    }
    if !name.chars().all(allowed) {
        return Err(bad("host", name, "it is not like `user@node`"));
    }
    Ok(name.to_owned())
}

/// Returns the D-Bus object path of a unit.
pub(crate) fn object_path(unit: &str) -> String {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for (at, byte) in unit.bytes().enumerate() {
        let plain = byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit());
        if plain {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_become_full() {
        for (name, full) in [
            ("nginx", "nginx.service"),
            ("nginx.service", "nginx.service"),
            ("getty@tty1", "getty@tty1.service"),
            ("a.b", "a.b.service"),
            ("dev-\\x2dfoo.service", "dev-\\x2dfoo.service"),
        ] {
            assert_eq!(unit(name).unwrap(), full);
        }
    }

    #[test]
    fn bad_names_are_refused_with_a_reason() {
        let long = "x".repeat(250);
        for name in [
            "", "--user", "-x", "a\nb", "a b", "a;b", "a*", "x.socket", "x.timer", ".service",
            "a@", "a/b", "nginx\0", "ä", &long,
        ] {
            let error = unit(name).unwrap_err().to_string();
            assert!(error.starts_with("unit `"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        for name in ["", "-oProxyCommand=x", "a b", "root@-x", "a\nb", "a'b"] {
            assert!(host(name).is_err(), "{name}");
        }
        assert_eq!(host("root@node-1:22").unwrap(), "root@node-1:22");
    }

    #[test]
    fn paths_escape_as_systemd_does() {
        assert_eq!(
            object_path("sshd@1.service"),
            "/org/freedesktop/systemd1/unit/sshd_401_2eservice"
        );
        assert_eq!(
            object_path("1a.service"),
            "/org/freedesktop/systemd1/unit/_31a_2eservice"
        );
    }
}
