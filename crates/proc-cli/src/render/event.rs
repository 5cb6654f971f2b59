//! One transition as a line.

use std::fmt::Write;

use proc_supervisor::{Event, Who};

use super::{duration_ms, escape, state_style};

/// Returns an event as `time seq instance from -> to: cause`.
pub(crate) fn event_line(event: &Event) -> String {
    let name = event
        .instance
        .as_deref()
        .or(event.service.as_deref())
        .unwrap_or("supervisor");
    let mut line = format!("{} {:>5} {}", event.at, event.seq, escape(name));
    if let Some(to) = event.to {
        let style = state_style(to.as_str());
        let from = event.from.map_or("-", |state| state.as_str());
        push(&mut line, format_args!(" {from} -> {style}{to}{style:#}"));
    }
    line.push(':');
    // An exit that nobody asked for says itself what it is.
    if event.exit.is_none() || event.cause.kind != "exit" {
        push(&mut line, format_args!(" {}", escape(&event.cause.kind)));
    }
    if let Some(exit) = &event.exit {
        push(
            &mut line,
            format_args!(" {}", exit_text(exit.code, exit.signal, exit.oom)),
        );
        push(
            &mut line,
            format_args!(" after {}", duration_ms(exit.runtime_ms)),
        );
    }
    if let Some(delay) = event.delay_ms {
        push(
            &mut line,
            format_args!(", next start in {}", duration_ms(delay)),
        );
    }
    if let Some(detail) = &event.cause.detail {
        push(&mut line, format_args!(", {}", escape(detail)));
    }
    if let Some(who) = &event.cause.by {
        push(&mut line, format_args!(", by {}", by(who)));
    }
    line
}

/// Returns who asked: ``proc stop` of uid 0, pid 123`.
fn by(who: &Who) -> String {
    let mut text = format!("`{}`", escape(&who.verb));
    if let Some(uid) = who.uid {
        push(&mut text, format_args!(" of uid {uid}"));
    }
    if let Some(pid) = who.pid {
        push(&mut text, format_args!(", pid {pid}"));
    }
    text
}

fn exit_text(code: Option<i32>, signal: Option<i32>, oom: bool) -> String {
    let text = match (code, signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an end nobody saw".to_owned(),
    };
    if oom { text + ", out of memory" } else { text }
}

fn push(line: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = line.write_fmt(text);
}
