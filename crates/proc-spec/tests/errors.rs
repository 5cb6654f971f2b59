//! Everything that can be wrong with a configuration: the place, the key, the words and the hint.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use proc_spec::{ConfigErrors, Loader, Project};

fn load(text: &str) -> Result<Project, ConfigErrors> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("proc.toml"), text).expect("it can be written");
    Loader::new(
        dir.path(),
        BTreeMap::from([("SET".to_owned(), "x".to_owned())]),
    )
    .load()
}

fn lines(text: &str) -> Vec<String> {
    match load(text) {
        Ok(_) => panic!("this loads:\n{text}"),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

/// Each: the file, then the exact lines of the report.
#[test]
fn each_error_names_line_column_and_key() {
    let table: &[(&str, &[&str])] = &[
        (
            "[service.web]\ncomand = 'x'\n",
            &[
                "proc.toml:2:1: service.web.comand: unknown key `comand`",
                "  hint: did you mean `command`?",
            ],
        ),
        (
            "[service.web]\n",
            &["proc.toml:1:10: service.web: has none of `command`, `argv` and `script`"],
        ),
        (
            "[services.web]\ncommand = 'x'\n",
            &[
                "proc.toml:1:2: services: unknown key `services`",
                "  hint: did you mean `service`?",
            ],
        ),
        (
            "[service.web]\ncommand = 'x'\ninstances = 'two'\n",
            &["proc.toml:3:13: service.web.instances: expected an integer, found a string"],
        ),
        (
            "[service.web]\ncommand = 7\n",
            &["proc.toml:2:11: service.web.command: expected a string, found an integer"],
        ),
        (
            "[service.web]\ncommand = 'x'\nready = { tcp = 'a:1', intervall = '1s' }\n",
            &[
                "proc.toml:3:24: service.web.ready.intervall: unknown key `intervall`",
                "  hint: did you mean `interval`?",
            ],
        ),
        (
            "[service.a]\ncommand='x'\nneeds={b='ready'}\n[service.b]\ncommand='x'\nneeds={c='ready'}\n[service.c]\ncommand='x'\nafter=['a']\n",
            &["proc.toml:9:8: service.c.after: the services wait for each other: a -> b -> c -> a"],
        ),
        (
            "[service.a]\ncommand='x'\nneeds={a='ready'}\n",
            &["proc.toml:3:8: service.a.needs.a: `a` depends on itself: a -> a"],
        ),
        (
            "[service.web]\ncommand='x'\nneeds={databse='ready'}\n[service.database]\ncommand='x'\n",
            &[
                "proc.toml:3:8: service.web.needs.databse: there is no service `databse`",
                "  hint: did you mean `database`?",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nneeds={db='redy'}\n[service.db]\ncommand='x'\n",
            &[
                "proc.toml:3:11: service.web.needs.db: `redy` is not one of `started`, `ready`, `completed`, `ended`",
                "  hint: did you mean `ready`?",
            ],
        ),
        (
            "[service.web]\ncommand = \"x ${DB_URL:?the database} y\"\n",
            &[
                "proc.toml:2:14: service.web.command: `DB_URL` is not set: the database",
                "  hint: set `DB_URL` in the environment or in an env_file",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nenv = { B = 'b', A = 'a${' }\n",
            &[
                "proc.toml:3:24: service.web.env.A: `${` has no closing brace",
                "  hint: write `$$` for a dollar sign",
            ],
        ),
        (
            "",
            &[
                "proc.toml:1:1: defines no service",
                "  hint: add `[service.NAME]` with a `command`; `proc new` writes an example",
            ],
        ),
        (
            "[service]\n",
            &[
                "proc.toml:1:1: defines no service",
                "  hint: add `[service.NAME]` with a `command`; `proc new` writes an example",
            ],
        ),
        (
            "[service.web]\ncommand='x'\n[service.web]\ncommand='y'\n",
            &[
                "proc.toml:3:10: not valid TOML: duplicate key `web`",
                "proc.toml:4:1: not valid TOML: duplicate key `command`",
            ],
        ),
        (
            "[service.web]\ncommand='x'\ncommand='y'\n",
            &["proc.toml:3:1: not valid TOML: duplicate key `command`"],
        ),
        (
            "[service.'a/b']\ncommand='x'\n",
            &["proc.toml:1:10: service.\"a/b\": a name must not contain `/`"],
        ),
        (
            "[service.'..']\ncommand='x'\n",
            &["proc.toml:1:10: service.\"..\": a name must not start with `.`"],
        ),
        (
            "[service.\"a\\u001b[31m\"]\ncommand='x'\n",
            &["proc.toml:1:10: service.\"a\\u{1b}[31m\": a name must not contain `\\u{1b}`"],
        ),
        (
            "[service.foo]\ncommand='x'\ninstances=2\n[service.foo-1]\ncommand='x'\n",
            &[
                "proc.toml:4:10: service.foo-1: `foo-1` would also be an instance of `foo`",
                "  hint: rename one of them",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nenv={PROC_NAME='x'}\n",
            &[
                "proc.toml:3:6: service.web.env.PROC_NAME: `PROC_NAME` cannot be set by a configuration",
                "  hint: names starting with `PROC_` are set by proc",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nstart_timeout='-1s'\n",
            &["proc.toml:3:15: service.web.start_timeout: `-1s` is negative"],
        ),
        (
            "[service.web]\ncommand='x'\nstart_timeout=nan\n",
            &[
                "proc.toml:3:15: service.web.start_timeout: `nan` is not a duration, expected `500ms`, `10s`, `1h30m` or a number of seconds",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nlog={max_size='10 apples'}\n",
            &[
                "proc.toml:3:15: service.web.log.max_size: `10 apples` has the unknown unit `apples`, expected `64KiB`, `10MB` or a number of bytes",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nstop={signal='FOO'}\n",
            &["proc.toml:3:14: service.web.stop.signal: `FOO` is not a signal"],
        ),
        (
            "[service.web]\ncommand='x'\nbackend='slurm'\nslurm={partion='gpu', output='/x', cpus=0}\n",
            &[
                "proc.toml:4:8: service.web.slurm.partion: `partion` is not an option of sbatch",
                "  hint: did you mean `partition`?",
                "proc.toml:4:23: service.web.slurm.output: `output` of sbatch cannot be set",
                "  hint: `log` says where its output goes",
                "proc.toml:4:36: service.web.slurm.cpus: `0` is not a number of CPUs",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nlimits={nofiles=1}\n",
            &[
                "proc.toml:3:9: service.web.limits.nofiles: unknown limit `nofiles`",
                "  hint: did you mean `nofile`?",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nlimits={nofile='10:5'}\n",
            &[
                "proc.toml:3:16: service.web.limits.nofile: the soft limit in `10:5` is above the hard one",
            ],
        ),
        (
            "[service.web]\ncommand='x'\numask=27\n",
            &[
                "proc.toml:3:7: service.web.umask: a umask is octal, and this number is not",
                "  hint: write it as a string: umask = \"027\"",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nargv=['x']\n",
            &[
                "proc.toml:3:6: service.web: has both `command` and `argv`, a service has one of them",
            ],
        ),
        (
            "[service.web]\ncommand = \"it's\"\n",
            &[
                "proc.toml:2:11: service.web.command: a quote in the command has no end",
                "  hint: write the words as a list to need no quotes: argv = [\"…\"]",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nready={interval=1}\n",
            &[
                "proc.toml:3:7: service.web.ready: has none of `http`, `tcp`, `exec`, `log`, `file`, `notify`, `notify_fd`, `delay`",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nready={http='http://a', tcp='a:1'}\n",
            &[
                "proc.toml:3:29: service.web.ready: has both `http` and `tcp`, a probe is one of them",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nready={log='('}\n",
            &[
                "proc.toml:3:12: service.web.ready.log: `(` is not a regular expression: unclosed group",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nlisten=['tcp:a']\n",
            &[
                "proc.toml:3:9: service.web.listen: `tcp:a` is not an address to listen on: there is no port",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nschedule='0 25 * * *'\n",
            &[
                "proc.toml:3:10: service.web.schedule: `0 25 * * *` is not a schedule: hour: `25` is not 0 to 23",
            ],
        ),
        (
            "[service.web]\ncommand='x'\n[[service.web.hooks.pre_start]]\nname='a'\ncommand='x'\ntimeout='2h'\n",
            &[
                "proc.toml:6:9: service.web.hooks.pre_start[0].timeout: 7200s is more than the allowed hour",
            ],
        ),
        (
            "[service.web]\ncommand='x'\n[[service.web.hooks.pre_start]]\nname='a'\ncommand='x'\n[[service.web.hooks.post_stop]]\nname='a'\ncommand='x'\n",
            &[
                "proc.toml:7:6: service.web.hooks.post_stop[0].name: name `a` is already used by a hook of pre_start",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nrestart={mode='sometimes'}\n",
            &[
                "proc.toml:3:15: service.web.restart.mode: `sometimes` is not one of `never`, `on-failure`, `always`, `on-success`, `on-abnormal`, `on-abort`, `on-watchdog`",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nrestart={factor=0.5}\n",
            &[
                "proc.toml:3:9: service.web.restart: `factor` is 0.5, expected a number of at least 1",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nrestart={success_codes=[256]}\n",
            &[
                "proc.toml:3:25: service.web.restart.success_codes: `256` is not an exit code, expected 0 to 255",
            ],
        ),
        (
            "[groups]\nback=['web','bd']\n[service.web]\ncommand='x'\n[service.db]\ncommand='x'\n",
            &[
                "proc.toml:2:13: groups.back[1]: there is no service `bd`",
                "  hint: did you mean `db`?",
            ],
        ),
        (
            "[project]\nname='a/b'\n[service.web]\ncommand='x'\n",
            &["proc.toml:2:6: project.name: a name must not contain `/`"],
        ),
        (
            "[defaults]\nrestrat={}\n[service.web]\ncommand='x'\n",
            &[
                "proc.toml:2:1: defaults.restrat: unknown key `restrat`",
                "  hint: did you mean `restart`?",
            ],
        ),
        (
            "[service.web]\ncommand='x'\nenv_file=['absent.env']\n",
            &[
                "proc.toml:3:11: service.web.env_file: environment file `absent.env` cannot be read: no such file or directory",
            ],
        ),
        (
            "service = 1\n",
            &["proc.toml:1:11: service: expected a table, found an integer"],
        ),
        (
            "[service]\nweb = 'x'\n",
            &["proc.toml:2:7: service.web: expected a table, found a string"],
        ),
        (
            "[service.web\ncommand='x'\n",
            &["proc.toml:1:13: not valid TOML: unclosed table, expected `]`"],
        ),
    ];
    let mut wrong = String::new();
    for (text, expected) in table {
        let found = lines(text);
        if found != *expected {
            wrong += &format!(
                "{text}
expected {expected:#?}
found {found:#?}
"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn several_errors_are_told_at_once() {
    let errors = load(
        "[service.a]\ncommand=1\nnice=99\nfoo=1\n[service.b]\ncommand='x'\nneeds={z='ready'}\n",
    )
    .unwrap_err();
    let keys: Vec<&str> = errors
        .errors
        .iter()
        .map(|error| error.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "service.a.foo",
            "service.a.command",
            "service.a.nice",
            "service.b.needs.z"
        ]
    );
}

#[test]
fn a_wrong_default_is_told_once() {
    let errors =
        load("[defaults]\ninstances='x'\n[service.a]\ncommand='x'\n[service.b]\ncommand='x'\n")
            .unwrap_err();
    assert_eq!(
        errors.to_string(),
        "proc.toml:2:11: defaults.instances: expected an integer, found a string"
    );
}

#[test]
fn files_that_cannot_be_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    write(
        "binary.toml",
        &[0x7f, b'E', b'L', b'F', 2, 1, 0, 0, 0xff, 0xfe],
    );
    write("nul.toml", b"[service.web]\ncommand = 'x\0'\n");
    write("huge.toml", &vec![b'#'; 10 * 1024 * 1024]);
    write("latin1.toml", b"# caf\xe9\n");
    std::fs::create_dir(dir.path().join("dir.toml")).unwrap();
    let status = std::process::Command::new("mkfifo")
        .arg(dir.path().join("fifo.toml"))
        .status()
        .unwrap();
    assert!(status.success());
    for (file, expected) in [
        ("binary.toml", "binary.toml:1:9: is not text: invalid UTF-8"),
        ("nul.toml", "nul.toml:2:13: is not text: it has a NUL byte"),
        ("huge.toml", "huge.toml:1:1: is larger than 4MiB"),
        ("latin1.toml", "latin1.toml:1:6: is not text: invalid UTF-8"),
        ("dir.toml", "dir.toml:1:1: is a directory, not a file"),
        (
            "fifo.toml",
            "fifo.toml:1:1: is not a regular file\n  hint: a FIFO, socket or device is never read as configuration",
        ),
        (
            "/dev/zero",
            "/dev/zero:1:1: is not a regular file\n  hint: a FIFO, socket or device is never read as configuration",
        ),
        (
            "absent.toml",
            "absent.toml:1:1: cannot be read: no such file or directory",
        ),
    ] {
        let loader = Loader {
            files: vec![file.into()],
            ..Loader::new(dir.path(), BTreeMap::new())
        };
        let errors = loader.load().unwrap_err();
        assert_eq!(errors.to_string(), expected);
        assert!(
            !errors.not_found,
            "a named file that is absent is an error, not a missing project"
        );
    }
}

#[test]
fn an_unreadable_file_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proc.toml");
    std::fs::write(&path, "[service.web]\ncommand='x'\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    match std::fs::read(&path) {
        Ok(_) => assert!(
            Loader::new(dir.path(), BTreeMap::new()).load().is_ok(),
            "root reads everything"
        ),
        Err(_) => {
            let errors = Loader::new(dir.path(), BTreeMap::new()).load().unwrap_err();
            assert_eq!(
                errors.to_string(),
                "proc.toml:1:1: cannot be read: permission denied"
            );
        }
    }
}

#[test]
fn no_configuration_is_told_apart_from_a_wrong_one() {
    let dir = tempfile::tempdir().unwrap();
    let errors = Loader::new(dir.path(), BTreeMap::new()).load().unwrap_err();
    assert!(errors.not_found);
    assert!(errors.to_string().contains("no Procfile"), "{errors}");
}

#[test]
fn environment_files_name_their_own_line() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "proc.toml",
        "[service.web]\ncommand='x'\nenv_file=['a.env']\n",
    );
    let load = || {
        Loader::new(dir.path(), BTreeMap::new())
            .load()
            .unwrap_err()
            .to_string()
    };
    for (text, expected) in [
        (
            "A=1\n\nB='x\ny",
            "a.env:3:3: service.web.env_file: unterminated quoted value",
        ),
        (
            "A=1\nPROC_X=1\n",
            "a.env:2:1: service.web.env_file: `PROC_X` cannot be set by a configuration\n  hint: names starting with `PROC_` are set by proc",
        ),
        (
            "A=${B:?give B}\n",
            "a.env:1:3: service.web.env_file: `B` is not set: give B",
        ),
        (
            "\u{feff}A B=1\n",
            "a.env:1:2: service.web.env_file: a key cannot contain a space",
        ),
    ] {
        write("a.env", text);
        assert_eq!(load(), expected);
    }
}

/// Generous: a debug build on a busy machine, where anything quadratic takes minutes.
const BOUND: Duration = Duration::from_secs(60);

#[test]
fn hostile_files_are_read_in_bounded_time() {
    let many_errors: String = (0..20_000)
        .map(|n| format!("[service.s{n}]\nfoo = 1\n"))
        .collect();
    let chain: String = (0..5_000)
        .map(|n| format!("[service.s{n}]\ncommand='x'\nneeds=['s{}']\n", n + 1))
        .chain(["[service.s5000]\ncommand='x'\n".to_owned()])
        .collect();
    let deep = format!("a = {}", "[".repeat(100_000));
    let one_line = format!("service = {{ {} }}", "a = 1, ".repeat(200_000));
    for (what, text, good) in [
        ("errors", many_errors, false),
        ("chain", chain, true),
        ("deep", deep, false),
        ("line", one_line, false),
    ] {
        let started = Instant::now();
        match load(&text) {
            Ok(_) => assert!(good, "{what}"),
            Err(errors) => assert!(!good && errors.errors.len() <= ConfigErrors::MOST, "{what}"),
        }
        assert!(
            started.elapsed() < BOUND,
            "{what} took {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn a_place_can_be_asked_for_later() {
    let project = load("[service.web]\ncommand='x'\nlimits={memory='1GiB'}\n").unwrap();
    let error = project.error_at("service.web.limits.memory", "cannot be held here");
    assert_eq!(
        error.to_string(),
        "proc.toml:3:9: service.web.limits.memory: cannot be held here"
    );
    let error = project.error_at("service.web.user", "not here");
    assert_eq!(
        error.to_string(),
        "proc.toml:1:10: service.web.user: not here"
    );
    assert_eq!(error.file, Path::new("proc.toml"));
}
