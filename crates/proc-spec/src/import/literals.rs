//! Object literals as JavaScript writes them, of which JSON is a part. Nothing is ever run.

use super::tree::{Fault, MAX_DEPTH, Tree, Value};

/// What a file that computes needs first.
const COMPUTED: &str = "is computed, and nothing is run here; write it as JSON first: \
     node -p 'JSON.stringify(require(\"./ecosystem.config.js\"))'";

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

/// Reads `{…}`, `module.exports = {…}` or `export default {…}`.
pub(crate) fn parse(text: &str) -> Result<Tree, Fault> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
    };
    reader.skip_prologue()?;
    let tree = reader.value()?;
    reader.blanks()?;
    while reader.eat(";") {
        reader.blanks()?;
    }
    if reader.at < text.len() {
        return Err(reader.fault(COMPUTED));
    }
    Ok(tree)
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn line(&self) -> usize {
        self.text[..self.at].matches('\n').count() + 1
    }

    fn fault(&self, why: &str) -> Fault {
        (self.line(), why.to_owned())
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// Skips blanks and comments.
    fn blanks(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            self.at += rest.len() - trimmed.len();
            if self.eat("//") {
                self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            } else if self.eat("/*") {
                let end = self.rest().find("*/");
                self.at += end.ok_or_else(|| self.fault("a comment has no end"))? + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn skip_prologue(&mut self) -> Result<(), Fault> {
        self.blanks()?;
        for strict in ["'use strict'", "\"use strict\""] {
            if self.eat(strict) {
                self.blanks()?;
                self.eat(";");
                self.blanks()?;
            }
        }
        if self.eat("export default") {
            return self.blanks();
        }
        if self.eat("module.exports") {
            self.blanks()?;
            if !self.eat("=") {
                return Err(self.fault(COMPUTED));
            }
            self.blanks()?;
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Tree, Fault> {
        self.blanks()?;
        let line = self.line();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault("is nested too deeply"));
        }
        let value = match self.rest().chars().next() {
            None => return Err(self.fault("ends before its value")),
            Some('{') => self.map()?,
            Some('[') => self.list()?,
            Some(quote @ ('"' | '\'' | '`')) => Value::Text(self.text(quote)?),
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number()?,
            Some(_) => self.word()?,
        };
        self.depth -= 1;
        Ok(Tree::new(line, value))
    }

    fn map(&mut self) -> Result<Value, Fault> {
        self.at += 1;
        let mut entries: Vec<(String, Tree)> = Vec::new();
        loop {
            self.blanks()?;
            if self.eat("}") {
                return Ok(Value::Map(entries));
            }
            let name = self.key()?;
            self.blanks()?;
            if !self.eat(":") {
                return Err(self.fault(COMPUTED));
            }
            let value = self.value()?;
            // As in JavaScript, the last one wins.
            entries.retain(|(other, _)| *other != name);
            entries.push((name, value));
            self.comma("}")?;
        }
    }

    fn list(&mut self) -> Result<Value, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.blanks()?;
            if self.eat("]") {
                return Ok(Value::List(items));
            }
            items.push(self.value()?);
            self.comma("]")?;
        }
    }

    /// A comma, or the end that follows.
    fn comma(&mut self, end: &str) -> Result<(), Fault> {
        self.blanks()?;
        if self.eat(",") || self.rest().starts_with(end) {
            return Ok(());
        }
        if self.rest().is_empty() {
            return Err(self.fault(&format!("`{end}` is missing")));
        }
        Err(self.fault(COMPUTED))
    }

    fn key(&mut self) -> Result<String, Fault> {
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.text(quote),
            _ => match self.name() {
                "" => Err(self.fault(COMPUTED)),
                name => Ok(name.to_owned()),
            },
        }
    }

    /// Takes a name, or nothing.
    fn name(&mut self) -> &str {
        let start = self.at;
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
        self.at += end.unwrap_or(rest.len());
        &self.text[start..self.at]
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c)));
        let number = rest[..end.unwrap_or(rest.len())].replace('_', "");
        if number.parse::<f64>().is_err() {
            return Err(self.fault(COMPUTED));
        }
        self.at += end.unwrap_or(rest.len());
        Ok(Value::Number(number))
    }

    fn word(&mut self) -> Result<Value, Fault> {
        if self.eat("process.env.") {
            let name = self.name().to_owned();
            return self.variable(&name);
        }
        let start = self.at;
        let value = match self.name() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" | "undefined" => Value::Null,
            _ => {
                self.at = start;
                return Err(self.fault(COMPUTED));
            }
        };
        Ok(value)
    }

    /// `process.env.X`, with `|| 'default'` or without: a variable of ours.
    fn variable(&mut self, name: &str) -> Result<Value, Fault> {
        self.blanks()?;
        if !self.eat("||") && !self.eat("??") {
            return Ok(Value::Text(format!("${{{name}:-}}")));
        }
        let other = self.value()?;
        let other = other
            .text()
            .map_err(|_| self.fault(COMPUTED))?
            .replace('}', "\\}");
        Ok(Value::Text(format!("${{{name}:-{other}}}")))
    }

    /// A text in quotes; `${` of ours is what it was there, a text.
    fn text(&mut self, quote: char) -> Result<String, Fault> {
        let begin = self.fault("a text has no end");
        self.at += 1;
        let mut out = String::new();
        loop {
            let c = self.rest().chars().next().ok_or_else(|| begin.clone())?;
            self.at += c.len_utf8();
            match c {
                '\\' => self.escape(&mut out)?,
                '\n' if quote != '`' => return Err(begin),
                '$' if quote == '`' && self.rest().starts_with('{') => {
                    return Err(self.fault(COMPUTED));
                }
                c if c == quote => return Ok(super::draft::literal(&out)),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), Fault> {
        let c = self.rest().chars().next();
        let c = c.ok_or_else(|| self.fault("a text has no end"))?;
        self.at += c.len_utf8();
        match c {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'v' => out.push('\u{b}'),
            '0' => out.push('\0'),
            '\n' => {}
            'x' => out.push(self.code(2)?),
            'u' => {
                let first = self.digits(4)?;
                let pair = (0xd800..0xdc00).contains(&first) && self.eat("\\u");
                let code = if pair {
                    let second = self.digits(4)?;
                    0x10000 + ((first - 0xd800) << 10) + (second & 0x3ff)
                } else {
                    first
                };
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            c => out.push(c),
        }
        Ok(())
    }

    fn code(&mut self, length: usize) -> Result<char, Fault> {
        let code = self.digits(length)?;
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn digits(&mut self, length: usize) -> Result<u32, Fault> {
        let digits = self.rest().get(..length);
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| self.fault("an escape is not understood"))?;
        self.at += length;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_of_every_kind() {
        let text = "// pm2\n'use strict';\nmodule.exports = {\n  apps: [{ name: \"a\", 'b-c': 1_0.5, /* x */ yes: true, no: undefined,\n    port: process.env.PORT || 80, t: `x\ny`, u: '\\u00e9\\x41\\ud83d\\ude00$${', }, ],\n};\n";
        let tree = parse(text).unwrap();
        let Value::List(apps) = &tree.get("apps").unwrap().value else {
            panic!("{tree:?}");
        };
        let get = |key| apps[0].get(key).unwrap();
        assert_eq!(get("name").line, 4);
        assert_eq!(get("b-c").value, Value::Number("10.5".into()));
        assert_eq!(get("yes").value, Value::Bool(true));
        assert_eq!(get("no").value, Value::Null);
        assert_eq!(get("port").value, Value::Text("${PORT:-80}".into()));
        assert_eq!(get("t").value, Value::Text("x\ny".into()));
        assert_eq!(get("u").value, Value::Text("éA😀$$$${".into()));
    }

    #[test]
    fn what_is_computed_is_refused_with_its_line() {
        for text in [
            "{\na: f()}",
            "{\na: 'x' + 'y'}",
            "{\na: `${x}`}",
            "const x = 1",
            "{\n...base}",
            "{\na}",
        ] {
            let (line, why) = parse(text).unwrap_err();
            assert!(why.contains("is computed"), "{text}: {why}");
            assert_eq!(line, text.matches('\n').count() + 1, "{text}");
        }
        assert_eq!(parse("{\n'a").unwrap_err(), (2, "a text has no end".into()));
        assert!(parse("{a: 1").is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _either = parse(&text);
        }

        #[test]
        fn no_literal_panics(text in "[{}\\[\\]:,'\"`\\\\a-cu0-9 \n/*$|.-]{0,60}") {
            let _either = parse(&text);
        }
    }
}
