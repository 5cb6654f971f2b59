//! `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$` in texts.

/// A text after expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expansion {
    pub(crate) text: String,
    /// Plain variables that were unset and became empty (or were left to the shell).
    pub(crate) unset: Vec<String>,
    /// Something was replaced.
    pub(crate) changed: bool,
}

/// Why a text cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExpandError {
    /// Byte offset in the text.
    pub(crate) offset: usize,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// What a text is, which says what its dollar signs mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// A value of `proc.toml`: `$X` without braces is plain text.
    Config,
    /// A command or script, which a shell may expand later: what is unset here, or is an expansion that
    /// only a shell knows, is left to it.
    Shell,
    /// An environment file: `$X` expands too.
    EnvFile,
}

/// Names that only exist per instance: they are left in place until one is started.
pub(crate) fn is_deferred(name: &str) -> bool {
    matches!(
        name,
        "PROC_INSTANCE" | "PROC_NAME" | "PROC_SERVICE" | "PROC_PROJECT"
    ) || name.starts_with("PROC_LISTEN_")
        || name.starts_with("PROC_HOOK_")
}

/// Expands the text of an environment file.
pub(crate) fn expand_shell_like(text: &str, lookup: &Lookup<'_>) -> Result<Expansion, ExpandError> {
    expand(text, Syntax::EnvFile, lookup)
}

/// Expands `text`.
pub(crate) fn expand(
    text: &str,
    syntax: Syntax,
    lookup: &Lookup<'_>,
) -> Result<Expansion, ExpandError> {
    let mut expander = Expander {
        text,
        syntax,
        lookup,
        unset: Vec::new(),
        changed: false,
        depth: 0,
    };
    let (text, _) = expander.until(0, text.len())?;
    Ok(Expansion {
        text,
        unset: expander.unset,
        changed: expander.changed,
    })
}

struct Expander<'a> {
    text: &'a str,
    syntax: Syntax,
    lookup: &'a Lookup<'a>,
    unset: Vec<String>,
    changed: bool,
    depth: usize,
}

impl Expander<'_> {
    /// Expands from `at` to `end`.
    fn until(&mut self, mut at: usize, end: usize) -> Result<(String, usize), ExpandError> {
        let mut out = String::new();
        while at < end {
            let rest = &self.text[at..end];
            let Some(dollar) = rest.find('$') else {
                out.push_str(rest);
                return Ok((out, end));
            };
            out.push_str(&rest[..dollar]);
            at += dollar;
            let after = &self.text[at + 1..end];
            if after.starts_with('$') {
                out.push('$');
                self.changed = true;
                at += 2;
            } else if after.starts_with('{') {
                at = self.braced(at, end, &mut out)?;
            } else if self.syntax == Syntax::EnvFile {
                at = self.bare(at, end, &mut out)?;
            } else {
                out.push('$');
                at += 1;
            }
        }
        Ok((out, at))
    }

    /// `$NAME`.
    fn bare(&mut self, at: usize, end: usize, out: &mut String) -> Result<usize, ExpandError> {
        let length = name_length(&self.text[at + 1..end]);
        if length == 0 {
            return Err(ExpandError {
                offset: at,
                message: "a lone `$`; write `$$` for a dollar sign".to_owned(),
                hint: None,
            });
        }
        let name = &self.text[at + 1..at + 1 + length];
        out.push_str(&(self.lookup)(name).unwrap_or_default());
        self.changed = true;
        Ok(at + 1 + length)
    }

    /// `${NAME}` and its forms; `at` is the dollar sign.
    fn braced(&mut self, at: usize, end: usize, out: &mut String) -> Result<usize, ExpandError> {
        let Some(close) = closing(self.text, at, end) else {
            return Err(ExpandError {
                offset: at,
                message: format!("`{}` has no closing brace", clip(&self.text[at..end])),
                hint: Some("write `$$` for a dollar sign".to_owned()),
            });
        };
        let whole = &self.text[at..=close];
        let start = at + 2;
        let length = name_length(&self.text[start..close]);
        let name = &self.text[start..start + length];
        let operator = &self.text[start + length..close];
        let split = ["", ":-", "-", ":?", "?", ":+", "+"]
            .into_iter()
            .rev()
            .find(|known| {
                if known.is_empty() {
                    operator.is_empty()
                } else {
                    operator.starts_with(known)
                }
            });
        let Some(form) = split.filter(|_| length > 0) else {
            if self.syntax == Syntax::Shell {
                out.push_str(whole); // `${x%.txt}`, `${#x}`: a shell's business.
                return Ok(close + 1);
            }
            return Err(ExpandError {
                offset: at,
                message: format!("`{}` is not a variable", clip(whole)),
                hint: Some("`${VAR}`, `${VAR:-default}` and `${VAR:?message}` are; write `$$` for a dollar sign".to_owned()),
            });
        };
        if is_deferred(name) && self.syntax != Syntax::EnvFile {
            out.push_str(&format!("${{{name}}}"));
            return Ok(close + 1);
        }
        self.depth += 1;
        if self.depth > 32 {
            return Err(ExpandError {
                offset: at,
                message: "variables nested deeper than 32 levels".to_owned(),
                hint: None,
            });
        }
        let word = start + length + form.len();
        let value = self.form(name, form, (at, word, close), whole)?;
        self.depth -= 1;
        out.push_str(&value);
        Ok(close + 1)
    }

    fn form(
        &mut self,
        name: &str,
        form: &str,
        (at, word, close): (usize, usize, usize),
        whole: &str,
    ) -> Result<String, ExpandError> {
        let value = (self.lookup)(name);
        let set = match form.strip_prefix(':') {
            Some(_) => value.as_ref().is_some_and(|value| !value.is_empty()),
            None => value.is_some(),
        };
        self.changed = true;
        match form.trim_start_matches(':') {
            "-" if !set => Ok(self.until(word, close)?.0),
            "+" if set => Ok(self.until(word, close)?.0),
            "+" => Ok(String::new()),
            "?" if !set => {
                let (message, _) = self.until(word, close)?;
                let message = if message.is_empty() {
                    "it must be set"
                } else {
                    message.as_str()
                };
                Err(ExpandError {
                    offset: at,
                    message: format!("`{name}` is not set: {message}"),
                    hint: Some(format!("set `{name}` in the environment or in an env_file")),
                })
            }
            "" if value.is_none() => {
                self.unset.push(name.to_owned());
                Ok(if self.syntax == Syntax::Shell {
                    whole.to_owned()
                } else {
                    String::new()
                })
            }
            _ => Ok(value.unwrap_or_default()),
        }
    }
}

fn name_length(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

/// Finds the brace that closes `${` at `at`, nested ones counted.
fn closing(text: &str, at: usize, end: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = 0;
    let mut i = at;
    while i < end {
        if bytes[i] == b'$' && i + 1 < end && bytes[i + 1] == b'{' {
            open += 1;
            i += 1;
        } else if bytes[i] == b'}' {
            open -= 1;
            if open == 0 {
                return Some(i);
            }
        }
        i += 1;
    }
    None
}

fn clip(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        format!("{short}…")
    } else {
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn config(text: &str) -> String {
        expand(text, Syntax::Config, &lookup).unwrap().text
    }

    #[test]
    fn forms() {
        let table: &[(&str, &str)] = &[
            ("plain", "plain"),
            ("${A}", "1"),
            ("x${A}y${A}", "x1y1"),
            ("${B}", ""),
            ("${B:-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${B-d}", "d"),
            ("${A:-d}", "1"),
            ("${A:?m}", "1"),
            ("${EMPTY?m}", ""),
            ("${A:+alt}", "alt"),
            ("${B:+alt}", ""),
            ("${EMPTY+alt}", "alt"),
            ("${B:-${A}x}", "1x"),
            ("${B:-a:b-c?}", "a:b-c?"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("$$$${A}", "$${A}"),
            ("$A", "$A"),
            ("100$", "100$"),
            ("^ready$", "^ready$"),
            ("${PROC_INSTANCE}", "${PROC_INSTANCE}"),
            ("${PROC_NAME:-x}", "${PROC_NAME}"),
            ("é${A}é", "é1é"),
        ];
        for (text, expected) in table {
            assert_eq!(config(text), *expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_offset() {
        for (text, offset, part) in [
            ("ab${B:?gone}", 2, "`B` is not set: gone"),
            ("${EMPTY:?}", 0, "must be set"),
            ("x${A", 1, "no closing brace"),
            ("${}", 0, "is not a variable"),
            ("${1}", 0, "is not a variable"),
            ("${A%x}", 0, "is not a variable"),
            ("${A:x}", 0, "is not a variable"),
        ] {
            let error = expand(text, Syntax::Config, &lookup).unwrap_err();
            assert_eq!(error.offset, offset, "{text}");
            assert!(error.message.contains(part), "{text}: {}", error.message);
        }
    }

    #[test]
    fn what_only_a_shell_knows_is_left_to_it() {
        let text = "for f in *; do echo ${f%.txt} ${#f} ${f} ${A} $$; done";
        let expanded = expand(text, Syntax::Shell, &lookup).unwrap();
        assert_eq!(
            expanded.text,
            "for f in *; do echo ${f%.txt} ${#f} ${f} 1 $; done"
        );
        assert_eq!(expanded.unset, ["f"]);
        assert!(expand("${B:?no}", Syntax::Shell, &lookup).is_err());
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        let text = format!("{}{}", "${B:-".repeat(100_000), "}".repeat(100_000));
        assert!(expand(&text, Syntax::Config, &lookup).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[A-B${}:?+\\-é ]{0,40}") {
            for syntax in [Syntax::Config, Syntax::Shell, Syntax::EnvFile] {
                let _ = expand(&text, syntax, &lookup);
            }
        }

        #[test]
        fn doubled_dollars_are_literal(text in "[^$]*(\\$[^$]*)*") {
            prop_assert_eq!(config(&text.replace('$', "$$")), text);
        }
    }
}
