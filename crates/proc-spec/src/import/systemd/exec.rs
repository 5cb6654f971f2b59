//! Command lines of systemd.service(5): prefixes, words, variables.

use crate::command::join;
use crate::import::draft::literal;

/// A command line as a shell runs it.
pub(super) struct Exec {
    pub(super) command: String,
    /// Its failure is none (`-`).
    pub(super) may_fail: bool,
    lost: Vec<String>,
}

impl Exec {
    /// Reads a value whose specifiers are resolved.
    pub(super) fn parse(value: &str) -> Result<Self, String> {
        let plain = value.trim_start_matches(['-', ':', '@', '+', '!']);
        let prefixes = &value[..value.len() - plain.len()];
        if plain.starts_with('|') {
            return Err("the prefix `|` has no counterpart: write the shell it means".to_owned());
        }
        let mut words = shlex::split(plain).ok_or("a quote has no end")?;
        let mut lost = Vec::new();
        if prefixes.contains('@') {
            if words.len() < 2 {
                return Err("the prefix `@` needs a second word, the program's name".to_owned());
            }
            let name = words.remove(1);
            lost.push(format!(
                "the prefix `@`: the program's own name is its path, not `{name}`"
            ));
        }
        if prefixes.contains(['+', '!']) {
            lost.push(
                "the prefixes `+`, `!` and `!!`: it has no more privileges than the service's user"
                    .to_owned(),
            );
        }
        let verbatim = prefixes.contains(':');
        let words = words.iter().map(|word| match verbatim {
            true => join([word]),
            false => expanding(word),
        });
        Ok(Exec {
            command: literal(&words.collect::<Vec<_>>().join(" ")),
            may_fail: prefixes.contains('-'),
            lost,
        })
    }

    /// Says what of it is not carried over, for the caller to report.
    pub(super) fn lost(self) -> Result<(), String> {
        match self.lost.is_empty() {
            true => Ok(()),
            false => Err(self.lost.join("; ")),
        }
    }
}

/// Quotes a word in which variables are expanded. There is no shell in systemd, but variables there are; a shell expands them.
fn expanding(word: &str) -> String {
    let name = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if word.strip_prefix('$').is_some_and(name) {
        word.to_owned() // Alone it is split into words, as systemd does.
    } else if word.contains("${") {
        format!(
            "\"{}\"",
            word.replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('`', "\\`")
        )
    } else {
        join([&word.replace("$$", "$")])
    }
}
