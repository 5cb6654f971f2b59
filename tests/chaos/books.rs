//! The books of the workers against what `proc` recorded: exits, lines, counts, copies, event numbers.

use std::path::{Path, PathBuf};

use proc_tests::{Events, Project};
use serde_json::Value;

/// How a worker's run ended, by its own books.
struct Run {
    code: i64,
    next_line: u64,
}

/// A project of chaos workers and the directory of their books.
pub(crate) struct Workers {
    pub(crate) project: Project,
    pub(crate) names: Vec<String>,
    runs: u64,
    books: PathBuf,
}

impl Workers {
    /// Makes a project of `count` workers of `runs` runs each.
    pub(crate) fn new(count: usize, runs: u64, seed: u64) -> Self {
        let project = Project::new();
        let books = project.dir().join("books");
        std::fs::create_dir(&books).expect("the scratch directory is writable");
        let names: Vec<String> = (0..count).map(|n| format!("w{n}")).collect();
        let worker = env!("CARGO_BIN_EXE_chaos-worker");
        let mut config = String::from(
            "[defaults]\n\
             restart = { mode = \"always\", max = \"none\", startup_max = \"none\", initial_delay = \"20ms\", \
             max_delay = \"100ms\", crash_loop = \"none\" }\n\
             start_seconds = 0\n\
             log = { max_size = \"256KiB\", keep = \"none\" }\n",
        );
        for name in &names {
            let argv = format!(
                "[\"{worker}\", \"{}\", \"{name}\", \"{runs}\", \"{seed}\"]",
                books.display()
            );
            config.push_str(&format!(
                "[service.{name}]\nargv = {argv}\nready = {{ log = \"quiet\" }}\n"
            ));
        }
        project.write("proc.toml", config);
        Self {
            project,
            names,
            runs,
            books,
        }
    }

    /// Waits until the supervisor that is starting has written something, and returns that event's number.
    pub(crate) fn first_event(&self) -> u64 {
        // Without a supervisor the stream ends at once with what the records hold, which is nothing yet.
        let mut tries = std::iter::repeat_with(|| Events::after(&self.project, 0).next());
        let first = tries.find_map(|event| event.and_then(|event| event["seq"].as_u64()));
        first.expect("the tries never end")
    }

    /// Asserts that no exit, no line, no restart and no event number was lost or doubled.
    pub(crate) fn assert_balanced(&self) {
        let duplicates = std::fs::read_to_string(self.books.join("duplicates")).unwrap_or_default();
        assert_eq!(duplicates, "", "a second copy was alive");
        let events = self.project.events();
        for (number, event) in events.iter().enumerate() {
            assert_eq!(
                event["seq"],
                number as u64 + 1,
                "event numbers have a gap at {event}"
            );
        }
        let status = self.project.status();
        for name in &self.names {
            self.assert_one(name, &events, &status);
        }
    }

    fn assert_one(&self, name: &str, events: &[Value], status: &Value) {
        let truth = read_truth(&self.books.join(format!("{name}.truth")));
        assert_eq!(truth.len() as u64, self.runs, "{name} ran to its end");
        let recorded: Vec<i64> = events
            .iter()
            .filter(|event| event["service"] == *name)
            .filter_map(|event| event["exit"]["code"].as_i64())
            .collect();
        let codes: Vec<i64> = truth.iter().map(|run| run.code).collect();
        assert_eq!(
            recorded, codes,
            "every exit of {name} is recorded once, in order"
        );
        let services = status["services"].as_array().expect("services is a list");
        let service = services
            .iter()
            .find(|s| s["name"] == *name)
            .expect("every worker is listed");
        assert_eq!(
            service["instances"][0]["restarts"], self.runs,
            "restarts of {name}"
        );
        self.assert_lines(name, truth.last().map_or(0, |run| run.next_line));
    }

    fn assert_lines(&self, name: &str, count: u64) {
        let log = self.project.ok(&["logs", name, "--raw"]);
        let mut lines = log.lines().filter(|line| !line.contains("quiet"));
        for number in 0..count {
            let wanted = format!("{name} line {number}");
            assert_eq!(
                lines.next(),
                Some(wanted.as_str()),
                "the log of {name} breaks here"
            );
        }
        assert_eq!(
            lines.next(),
            None,
            "the log of {name} has more than was written"
        );
    }
}

fn read_truth(path: &Path) -> Vec<Run> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let numbers = |line: &str| {
        line.split(' ')
            .map(|n| n.parse().expect("the truth holds numbers"))
            .collect::<Vec<u64>>()
    };
    let runs = text.lines().map(numbers);
    runs.map(|run| Run {
        code: run[1].cast_signed(),
        next_line: run[3],
    })
    .collect()
}
