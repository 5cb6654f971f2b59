//! The books of the workers against what `proc` recorded: exits, lines, counts, copies, event numbers.

use std::path::{Path, PathBuf};

use proc_tests::Project;
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
    /// Makes a project of an idle service and `count` workers of `runs` runs each.
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
             log = { max_size = \"32KiB\", keep = \"none\" }\n\
             [service.anchor]\nargv = [\"sleep\", \"infinity\"]\n",
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

    /// Starts every worker; the supervisor runs already.
    pub(crate) fn start(&self) {
        // Without waiting: a start that is asked again of the next supervisor would be one by hand, which cuts delays short
        // and is no restart by policy.
        let mut start = vec!["start", "--no-wait"];
        start.extend(self.names.iter().map(String::as_str));
        self.project.ok(&start);
    }

    /// Waits until every worker has run to its end.
    pub(crate) fn run_out(&self) {
        let mut wait = vec!["wait", "--timeout", "600s"];
        wait.extend(self.names.iter().map(String::as_str));
        self.project.ok(&wait);
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
