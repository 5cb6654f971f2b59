//! What a service runs: a program with arguments, a line for a shell, or a bash script.

use serde::{Deserialize, Serialize};

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A program and its arguments; never empty.
    Argv(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A bash script.
    Script(String),
}

/// Why a command line cannot be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is nothing but blanks.
    #[error("the command is empty")]
    Empty,
    /// A quote has no end.
    #[error("a quote in the command has no end")]
    Quote,
    /// A NUL byte cannot be passed to a program.
    #[error("the command has a NUL byte")]
    Nul,
}

impl Command {
    /// Reads a command line: split like a shell would; a shell runs it only where it has syntax
    /// that needs one (a pipe, a variable, a glob, an assignment before the program, a builtin …).
    ///
    /// # Errors
    /// [`CommandError`] when it is empty, has an unterminated quote or a NUL byte.
    ///
    /// ```
    /// use proc_spec::Command;
    /// let plain = Command::parse("./api --name 'a b'").unwrap();
    /// assert_eq!(plain, Command::Argv(vec!["./api".into(), "--name".into(), "a b".into()]));
    /// assert_eq!(Command::parse("a | b").unwrap(), Command::Shell("a | b".into()));
    /// ```
    pub fn parse(line: &str) -> Result<Self, CommandError> {
        if line.contains('\0') {
            return Err(CommandError::Nul);
        }
        if line.trim().is_empty() {
            return Err(CommandError::Empty);
        }
        if needs_shell(line) {
            return Ok(Self::Shell(line.trim().to_owned()));
        }
        let argv = shlex::split(line).ok_or(CommandError::Quote)?;
        match argv.first() {
            None => Err(CommandError::Empty),
            Some(program) if program.is_empty() => Err(CommandError::Empty),
            Some(program) if BUILTINS.contains(&program.as_str()) => {
                Ok(Self::Shell(line.trim().to_owned()))
            }
            Some(_) => Ok(Self::Argv(argv)),
        }
    }

    /// Returns the program and its arguments, the shell included where there is one.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Argv(argv) => argv.clone(),
            Self::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            Self::Script(script) => vec!["bash".to_owned(), "-c".to_owned(), script.clone()],
        }
    }

    /// Returns one line for people: the arguments quoted where they need it, a script's first line.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::Argv(argv) => join(argv),
            Self::Shell(line) => line.clone(),
            Self::Script(script) => {
                let mut lines = script.lines().filter(|line| !line.trim().is_empty());
                let first = lines.next().unwrap_or_default().trim().to_owned();
                if lines.next().is_some() {
                    format!("{first} …")
                } else {
                    first
                }
            }
        }
    }
}

/// Joins words so that a shell splits them into the same words again.
pub(crate) fn join<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    let words = words.into_iter().map(|word| {
        // Quoting fails for NUL bytes only, which never get this far.
        shlex::try_quote(word).map_or_else(|_| String::new(), |quoted| quoted.into_owned())
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Words that only a shell knows: there is no such program.
const BUILTINS: [&str; 38] = [
    ".", ":", "alias", "bg", "break", "builtin", "case", "cd", "continue", "declare", "eval",
    "exec", "exit", "export", "fg", "for", "function", "hash", "if", "jobs", "let", "local",
    "popd", "pushd", "read", "readonly", "return", "select", "set", "shift", "shopt", "source",
    "trap", "typeset", "ulimit", "umask", "unset", "wait",
];
const KEYWORDS: [&str; 3] = ["until", "while", "time"];

/// Says whether a command line has syntax beyond words and quotes. When in doubt it says yes: a
/// shell reads plain words the same way.
fn needs_shell(line: &str) -> bool {
    let mut chars = line.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), _) => {}
            (Some(_), '$' | '`') => return true,
            (_, '\\') => match chars.next() {
                Some('\n') => return true, // A continued line, which only a shell joins.
                Some(_) => {}
                None => return false, // The splitter reports it.
            },
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, c) if "|&;<>()$`*?[]{}~#!\n".contains(c) => return true,
            (None, _) => {}
        }
    }
    quote.is_none()
        && (is_assignment(line) || KEYWORDS.iter().any(|word| starts_with_word(line, word)))
}

fn starts_with_word(line: &str, word: &str) -> bool {
    line.split_whitespace().next() == Some(word)
}

/// `NAME=value` as the first word.
fn is_assignment(line: &str) -> bool {
    let Some((name, _)) = line.trim_start().split_once('=') else {
        return false;
    };
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_need_no_shell() {
        let table: &[(&str, &[&str])] = &[
            ("a", &["a"]),
            ("  ./api  --port 80 ", &["./api", "--port", "80"]),
            ("a 'b c' \"d e\"", &["a", "b c", "d e"]),
            ("a '' \"\"", &["a", "", ""]),
            ("a '$HOME | x'", &["a", "$HOME | x"]),
            ("a b\\ c", &["a", "b c"]),
            ("a \\$HOME \\*", &["a", "$HOME", "*"]),
            ("a \"x\\\"y\\\\z\"", &["a", "x\"y\\z"]),
            ("a --x=1 b=2", &["a", "--x=1", "b=2"]),
            ("a 'it''s'", &["a", "its"]),
            ("a x,y:z%+@^", &["a", "x,y:z%+@^"]),
            ("sleep 5", &["sleep", "5"]),
        ];
        for (line, argv) in table {
            let argv = argv.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(Command::parse(line), Ok(Command::Argv(argv)), "{line}");
        }
    }

    #[test]
    fn shell_syntax_gets_a_shell() {
        for line in [
            "a | b",
            "a && b",
            "a;b",
            "a &",
            "a > f",
            "a < f",
            "(a)",
            "echo $HOME",
            "echo \"$HOME\"",
            "echo `a`",
            "echo \"`a`\"",
            "ls *.rs",
            "ls ?",
            "ls [ab]",
            "echo {a,b}",
            "cd ~/x",
            "X=1 a",
            "_X= a",
            "a # note",
            "! a",
            "a\nb",
            "a \\\n b",
            "exit 3",
            "exec a",
            "if true",
            "while true",
            ": x",
            ". ./env",
            "echo ${PROC_INSTANCE}",
        ] {
            assert_eq!(
                Command::parse(line),
                Ok(Command::Shell(line.trim().into())),
                "{line}"
            );
        }
    }

    #[test]
    fn what_cannot_run() {
        for (line, error) in [
            ("", CommandError::Empty),
            (" \t", CommandError::Empty),
            ("''", CommandError::Empty),
            ("a 'b", CommandError::Quote),
            ("a \"b", CommandError::Quote),
            ("a \\", CommandError::Quote),
            ("a\0b", CommandError::Nul),
        ] {
            assert_eq!(Command::parse(line), Err(error), "{line:?}");
        }
    }

    #[test]
    fn words_are_split_as_the_shell_splits_them() {
        for line in [
            "a 'b c'  d",
            "a \"b\\\"c\\x\" 'e'f\"g\"",
            "a\\ b c\\\\d \\'",
            "a ''b\"\"",
        ] {
            let Ok(Command::Argv(ours)) = Command::parse(line) else {
                panic!("{line}")
            };
            let script = format!("printf '%s\\n' {line}");
            let output = std::process::Command::new("/bin/sh")
                .args(["-c", &script])
                .output()
                .unwrap();
            let theirs = String::from_utf8(output.stdout).unwrap();
            assert_eq!(ours.join("\n") + "\n", theirs, "{line}");
        }
    }

    #[test]
    fn what_is_shown_can_be_pasted() {
        let command = Command::parse("a 'b c' d").unwrap();
        assert_eq!(Command::parse(&command.display()), Ok(command));
    }
}
