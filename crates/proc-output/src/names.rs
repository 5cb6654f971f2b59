//! The names of log files, and the way back: from a file's name to whose it is.
//!
//! | file | is |
//! |---|---|
//! | `web-1.stdout.log` | the live file of one stream |
//! | `web-1.log` | the live file of both streams merged |
//! | `web-1.stdout.log.7`, `web-1.stdout.log.7.gz` | the seventh closed file, plain or compressed |
//! | `web-1.stdout.log.times`, `web-1.stdout.log.7.times` | the sidecar of each |
//! | `web-1.stdout.log.7.gz.tmp` | a compression under way |
//!
//! An instance's name may contain dots, so `foo.stdout.log` could be the standard output of `foo` or
//! the merged output of `foo.stdout`. The second is therefore written `foo.stdout.merged.log`, as is
//! every merged file of a name that ends like a stream. With that, a name has exactly one owner, and
//! cleaning up after `foo` cannot touch a file of `foo.bar`.

use crate::options::Stream;

const LOG: &str = ".log";

/// The names of one stream's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    live: String,
}

/// What a file of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Live,
    LiveTimes,
    Closed(u64),
    ClosedGz(u64),
    ClosedTimes(u64),
    Temporary(u64),
}

impl Names {
    pub(crate) fn new(instance: &str, stream: Stream) -> Self {
        Self {
            live: format!("{}{LOG}", stem(instance, stream)),
        }
    }

    /// Returns the names that go with a live file's.
    pub(crate) fn of(live: &str) -> Self {
        Self {
            live: live.to_owned(),
        }
    }

    pub(crate) fn live(&self) -> &str {
        &self.live
    }

    pub(crate) fn times(&self) -> String {
        format!("{}.times", self.live)
    }

    pub(crate) fn closed(&self, seq: u64) -> String {
        format!("{}.{seq}", self.live)
    }

    pub(crate) fn closed_gz(&self, seq: u64) -> String {
        format!("{}.{seq}.gz", self.live)
    }

    pub(crate) fn closed_times(&self, seq: u64) -> String {
        format!("{}.{seq}.times", self.live)
    }

    #[cfg(test)]
    pub(crate) fn temporary(&self, seq: u64) -> String {
        format!("{}.{seq}.gz.tmp", self.live)
    }

    /// Says what `file` is to this stream; `None` if it is somebody else's.
    pub(crate) fn part(&self, file: &str) -> Option<Part> {
        part_of(file.strip_prefix(self.live.as_str())?)
    }
}

/// Returns whose file this is: instance, stream and part.
pub(crate) fn parse(file: &str) -> Option<(&str, Stream, Part)> {
    // No part contains `.log`, so the last one ends the stem.
    let at = file.rfind(LOG)?;
    let part = part_of(&file[at + LOG.len()..])?;
    let stem = &file[..at];
    let (instance, stream) = Stream::all()
        .into_iter()
        .find_map(|stream| Some((stem.strip_suffix(stream.name())?.strip_suffix('.')?, stream)))
        .unwrap_or((stem, Stream::Merged));
    (!instance.is_empty()).then_some((instance, stream, part))
}

/// Says whether an instance of this name can have files: one path component, nothing hidden.
pub(crate) fn valid(instance: &str) -> bool {
    !instance.is_empty()
        && instance.len() <= 128
        && !instance.starts_with('.')
        && instance.bytes().all(|b| b != b'/' && b > b' ' && b != 0x7f)
}

fn stem(instance: &str, stream: Stream) -> String {
    let ends_like_a_stream = Stream::all().into_iter().any(|s| {
        instance
            .strip_suffix(s.name())
            .is_some_and(|rest| rest.ends_with('.'))
    });
    match stream {
        Stream::Merged if !ends_like_a_stream => instance.to_owned(),
        _ => format!("{instance}.{}", stream.name()),
    }
}

fn part_of(rest: &str) -> Option<Part> {
    match rest {
        "" => return Some(Part::Live),
        ".times" => return Some(Part::LiveTimes),
        _ => {}
    }
    let rest = rest.strip_prefix('.')?;
    let (digits, tail) = rest.split_once('.').unwrap_or((rest, ""));
    // No sign, no leading zero: one number has one name.
    if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seq = digits.parse().ok()?;
    match tail {
        "" if !rest.ends_with('.') => Some(Part::Closed(seq)),
        "gz" => Some(Part::ClosedGz(seq)),
        "times" => Some(Part::ClosedTimes(seq)),
        "gz.tmp" => Some(Part::Temporary(seq)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_name_has_one_owner() {
        for (file, instance, stream, part) in [
            ("foo.stdout.log", "foo", Stream::Stdout, Part::Live),
            ("foo.stderr.log.12", "foo", Stream::Stderr, Part::Closed(12)),
            ("foo.log", "foo", Stream::Merged, Part::Live),
            ("foo.bar.log", "foo.bar", Stream::Merged, Part::Live),
            (
                "foo.stdout.merged.log",
                "foo.stdout",
                Stream::Merged,
                Part::Live,
            ),
            (
                "foo.stdout.stdout.log",
                "foo.stdout",
                Stream::Stdout,
                Part::Live,
            ),
            (
                "foo.log.log.3.gz",
                "foo.log",
                Stream::Merged,
                Part::ClosedGz(3),
            ),
            (
                "foo.log.1.log.times",
                "foo.log.1",
                Stream::Merged,
                Part::LiveTimes,
            ),
        ] {
            assert_eq!(parse(file), Some((instance, stream, part)), "{file}");
            assert_eq!(
                Names::new(instance, stream).part(file),
                Some(part),
                "{file}"
            );
        }
        for file in [
            "foo",
            "foo.txt",
            "foo.log.x",
            "foo.log.",
            "foo.log.1.",
            "foo.log.01",
            "foo.log.+1",
            ".log",
            "foo.log.1.gz.bak",
        ] {
            assert_eq!(parse(file), None, "{file}");
        }
    }

    fn instances() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("foo"),
            Just("stdout"),
            Just("stderr"),
            Just("merged"),
            Just("log"),
            Just("1"),
            Just("gz"),
            Just("times"),
        ];
        prop::collection::vec(word, 1..5).prop_map(|words| words.join("."))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn parse_reverses_every_name(instance in instances(), stream in prop::sample::select(Stream::all().to_vec()), seq in 1u64..1000) {
            let names = Names::new(&instance, stream);
            for (file, part) in [
                (names.live().to_owned(), Part::Live), (names.times(), Part::LiveTimes),
                (names.closed(seq), Part::Closed(seq)), (names.closed_gz(seq), Part::ClosedGz(seq)),
                (names.closed_times(seq), Part::ClosedTimes(seq)), (names.temporary(seq), Part::Temporary(seq)),
            ] {
                prop_assert_eq!(parse(&file), Some((instance.as_str(), stream, part)));
            }
        }

        #[test]
        fn no_instance_owns_anothers_file(a in instances(), b in instances(), s in prop::sample::select(Stream::all().to_vec()), t in prop::sample::select(Stream::all().to_vec())) {
            prop_assume!((&a, s) != (&b, t));
            let theirs = Names::new(&b, t);
            let ours = Names::new(&a, s);
            for file in [theirs.live().to_owned(), theirs.closed(3), theirs.closed_gz(3), theirs.times(), theirs.closed_times(3)] {
                prop_assert_eq!(ours.part(&file), None, "{} claims {}", ours.live(), file);
            }
        }
    }
}
