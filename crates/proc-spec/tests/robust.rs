//! No file makes the loader panic.

use std::collections::BTreeMap;

use proc_spec::Loader;
use proptest::prelude::*;

fn load(name: &str, bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join(name), bytes).expect("it can be written");
    let loader = Loader {
        files: vec![name.into()],
        ..Loader::new(dir.path(), BTreeMap::new())
    };
    match loader.load() {
        Ok(project) => {
            let _ = (
                project.lint(),
                format!("{project:?}"),
                serde_json::to_string(&project),
            );
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            for error in &errors.errors {
                assert!(error.at.line >= 1 && error.at.column >= 1 && !error.message.is_empty());
            }
            assert!(
                !errors.to_string().contains(['\u{1b}', '\r']),
                "nothing reaches a terminal unescaped"
            );
        }
    }
}

/// Pieces of right files, put together wrongly.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "[service.web]\n",
        "[service.db]\n",
        "[project]\n",
        "[defaults]\n",
        "[groups]\n",
        "command = ",
        "'x'\n",
        "\"${A:-${B}}\"\n",
        "needs = { db = 'ready' }\n",
        "needs = ['web']\n",
        "instances = ",
        "2\n",
        "-1\n",
        "1e400\n",
        "restart = { mode = 'always', factor = 0 }\n",
        "ready = { log = '(' }\n",
        "env = { A = '${A}', PROC_X = 1 }\n",
        "limits = { nofile = '9:1', x = {} }\n",
        "[[service.web.hooks.pre_start]]\n",
        "name = 'a'\n",
        "timeout = '2h'\n",
        "stop = { steps = ['TERM/5s', 'x'] }\n",
        "listen = ['tcp:', 'a=unix:/x']\n",
        "schedule = '* * * * 9'\n",
        "= \n",
        "\u{1b}[2J = 1\n",
        "a.b.c.d = 1\n",
        "back = ['web', 'x']\n",
        "script = '''\nfor x in ${y}; do :; done'''\n",
        "\n",
        "deploy = {}\n",
        "detectors = [{ type = 'pid' }]\n",
        "log = { dir = '', ring = 'x' }\n",
        "é = 'é'\n",
        "config_files = ['/dev/null', 'x']\n",
        "watch = ['[']\n",
        "umask = '999'\n",
        "1979-05-27\n",
        "inf\n",
        "argv = []\n",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        load("a.toml", &bytes);
        load("Procfile", &bytes);
    }

    #[test]
    fn text(text in "[\\[\\]{}a-c.='\"$\\-\n :#0-9é]{0,80}") {
        load("a.toml", text.as_bytes());
        load("Procfile", text.as_bytes());
    }

    #[test]
    fn nearly_right(text in pieces()) {
        load("a.toml", text.as_bytes());
    }
}
