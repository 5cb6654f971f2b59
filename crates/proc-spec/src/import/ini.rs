//! Sections of `key = value` lines, as supervisord and systemd each write them.

/// One line of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) line: usize,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// A section and its lines, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) items: Vec<Item>,
}

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Indented lines continue; ` ;` begins a comment.
    Supervisord,
    /// A backslash at the end continues; comments have a line of their own.
    Systemd,
}

/// Parses a file; the error has the line.
pub(crate) fn parse(text: &str, dialect: Dialect) -> Result<Vec<Section>, (usize, String)> {
    let mut sections: Vec<Section> = Vec::new();
    let mut lines = text.lines().zip(1..).peekable();
    while let Some((raw, line)) = lines.next() {
        let raw = raw.strip_prefix('\u{feff}').unwrap_or(raw).trim_end();
        if raw.trim_start().is_empty() || raw.trim_start().starts_with([';', '#']) {
            continue;
        }
        if dialect == Dialect::Supervisord && raw.starts_with([' ', '\t']) {
            // A continued value.
            if let Some(item) = sections
                .last_mut()
                .and_then(|section| section.items.last_mut())
            {
                item.value.push('\n');
                item.value.push_str(without_comment(raw.trim(), dialect));
            }
            continue;
        }
        if let Some(name) = raw.trim_start().strip_prefix('[') {
            let name = name.split(']').next().filter(|_| name.contains(']'));
            let name = name.ok_or_else(|| (line, "a section has no `]`".to_owned()))?;
            sections.push(Section {
                line,
                name: name.trim().to_owned(),
                items: Vec::new(),
            });
            continue;
        }
        let split = match dialect {
            Dialect::Supervisord => raw.split_once(['=', ':']),
            Dialect::Systemd => raw.split_once('='),
        };
        let (key, value) = split.ok_or_else(|| (line, "a line has no `=`".to_owned()))?;
        let mut value = without_comment(value.trim(), dialect).to_owned();
        while dialect == Dialect::Systemd && value.ends_with('\\') {
            value.pop();
            let Some((next, _)) = lines.next() else { break };
            if !next.trim_start().starts_with([';', '#']) {
                value.push(' ');
                value.push_str(next.trim());
            } else {
                value.push('\\'); // A comment within a continued line is skipped.
            }
        }
        let section = sections
            .last_mut()
            .ok_or_else(|| (line, "a key stands before any section".to_owned()))?;
        let value = if dialect == Dialect::Systemd {
            value.trim().to_owned()
        } else {
            value
        };
        section.items.push(Item {
            line,
            key: key.trim().to_owned(),
            value,
        });
    }
    Ok(sections)
}

fn without_comment(value: &str, dialect: Dialect) -> &str {
    match dialect {
        Dialect::Supervisord if value.starts_with(';') => "",
        Dialect::Supervisord => value.split(" ;").next().unwrap_or(value).trim_end(),
        Dialect::Systemd => value,
    }
}
