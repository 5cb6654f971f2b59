//! Specifiers of systemd.unit(5): `%n`, `%i`, `%t` and their like.

use std::path::Path;

/// Replaces the specifiers that a unit's file tells. What only a running machine or a user's session knows is an error that
/// says what to write instead.
pub(super) fn resolve(value: &str, file: &Path) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') | None => out.push('%'), // At the end: CPUQuota=50%.
            Some(letter) => out.push_str(&Unit::of(file).specifier(letter)?),
        }
    }
    Ok(out)
}

/// The parts of a unit's name, `prefix@instance`, and whose unit it is.
struct Unit {
    stem: String,
    prefix: String,
    /// Empty for a unit that is no template, as in systemd; `None` for a template itself.
    instance: Option<String>,
    of_user: bool,
}

impl Unit {
    fn of(file: &Path) -> Self {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let (prefix, instance) = match stem.split_once('@') {
            Some((prefix, "")) => (prefix, None),
            Some((prefix, instance)) => (prefix, Some(instance)),
            None => (&*stem, Some("")),
        };
        Unit {
            prefix: prefix.to_owned(),
            instance: instance.map(str::to_owned),
            of_user: file
                .parent()
                .is_some_and(|dir| dir.ends_with("systemd/user")),
            stem: stem.into_owned(),
        }
    }

    fn specifier(&self, letter: char) -> Result<String, String> {
        let last = || self.prefix.rsplit('-').next().unwrap_or_default();
        Ok(match letter {
            'n' => format!("{}.service", self.stem),
            'N' => self.stem.clone(),
            'p' => self.prefix.clone(),
            'P' => unescaped(&self.prefix),
            'j' => last().to_owned(),
            'J' => unescaped(last()),
            'i' => self.instance(letter)?.to_owned(),
            'I' => unescaped(self.instance(letter)?),
            'h' => "${HOME}".to_owned(),
            'T' => "/tmp".to_owned(),
            'V' => "/var/tmp".to_owned(),
            _ => self.of_manager(letter)?.to_owned(),
        })
    }

    fn instance(&self, letter: char) -> Result<&str, String> {
        self.instance.as_deref().ok_or_else(|| {
            let prefix = &self.prefix;
            format!(
                "the specifier `%{letter}` is the instance's name, and this is the template: \
                 copy it to `{prefix}@NAME.service` and import that"
            )
        })
    }

    /// What the machine's manager has; a user's manager has it from the session.
    fn of_manager(&self, letter: char) -> Result<&'static str, String> {
        let known = match letter {
            't' => "/run",
            'S' => "/var/lib",
            'C' => "/var/cache",
            'L' => "/var/log",
            'E' => "/etc",
            'u' | 'g' => "root",
            'U' | 'G' => "0",
            _ => {
                return Err(format!(
                    "the specifier `%{letter}` is not known here: write its value in its place"
                ));
            }
        };
        if self.of_user {
            return Err(format!(
                "the specifier `%{letter}` of a user's unit depends on the user: write its value in its place"
            ));
        }
        Ok(known)
    }
}

/// Undoes systemd-escape(1): `-` is a slash, `\x2d` a byte.
fn unescaped(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let byte = rest
            .strip_prefix("\\x")
            .and_then(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok());
        let taken = match byte {
            Some(byte) => {
                out.push(byte);
                "\\x2d".len()
            }
            None if c == '-' => {
                out.push(b'/');
                1
            }
            None => {
                out.extend_from_slice(&rest.as_bytes()[..c.len_utf8()]);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    String::from_utf8_lossy(&out).into_owned()
}
