//! Bash scripts, in files and inline.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may panic as the test may"
)]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proc_run::{Environment, Finished, Input, Script, ScriptError};

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

async fn finish(script: &Script) -> Finished {
    tokio::time::timeout(Duration::from_secs(60), script.run())
        .await
        .expect("in time")
        .unwrap()
}

const QUOTING: &str = r#"
a='single $x `y` \z'; b="double $((1 + 2)) \"q\" \\ \$"
cat <<'HERE' | tr a-z A-Z
here "doc" $a \n
HERE
printf '%s\n' "$a" "$b" $'tab\tend' "${a//\\/|}"
for i in 1 2; do echo "$i" | { read -r line; echo "got $line"; }; done
"#;

#[tokio::test]
async fn inline_quoting() {
    let dir = tempfile::tempdir().unwrap();
    let backed = finish(&Script::text(QUOTING).dir(dir.path())).await;
    let inline = finish(&Script::text(QUOTING).dir(dir.path()).inline(true)).await;
    assert!(
        backed.success() && backed.output.to_text().contains("got 2"),
        "{backed:?}"
    );
    assert_eq!(backed.output, inline.output);
}

#[tokio::test]
async fn the_file_is_removed_in_every_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = Script::text("exit 3")
        .dir(dir.path())
        .pattern("job-*.sh")
        .prepare()
        .unwrap();
    let name = prepared
        .file()
        .unwrap()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    assert!(name.starts_with("job-") && name.ends_with(".sh"), "{name}");
    assert_eq!(prepared.to_run().run().await.unwrap().exit_code(), 3);
    assert_eq!(
        prepared.to_run().run().await.unwrap().exit_code(),
        3,
        "as often as wanted"
    );
    drop(prepared);
    assert_eq!(files(dir.path()), 0, "after a failure");

    drop(Script::text("true").dir(dir.path()).prepare().unwrap());
    assert_eq!(files(dir.path()), 0, "never started");
    let script = Script::text("true").dir(dir.path()).cwd("/no/such/dir");
    assert!(script.run().await.is_err());
    assert_eq!(files(dir.path()), 0, "failed to start");
    let slow = Script::text("sleep 60").dir(dir.path());
    tokio::select! {
        biased;
        finished = slow.run() => panic!("ended: {finished:?}"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(files(dir.path()), 0, "dropped while it ran");
    let inline = Script::text("ls -A")
        .cwd(dir.path())
        .dir(dir.path())
        .inline(true);
    assert_eq!(
        finish(&inline).await.output.to_text(),
        "",
        "inline there never is one"
    );
}

#[tokio::test]
async fn an_inline_script_leaves_its_input_free() {
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"from input\nrest\n").unwrap();
    std::io::Seek::rewind(&mut input).unwrap();
    let script = Script::text("read -r x; echo \"got $x\"; cat")
        .inline(true)
        .input(Input::File(Arc::new(input)));
    assert_eq!(
        finish(&script).await.output.to_text(),
        "got from input\nrest\n"
    );
}

#[tokio::test]
async fn an_inline_script_has_no_length_limit() {
    let mut text = String::from("n=0\n");
    for _ in 0..400_000 {
        text.push_str("n=$((n+1))\n");
    }
    text.push_str("echo $n\n");
    assert!(text.len() > 4_000_000);
    assert_eq!(
        finish(&Script::text(text).inline(true))
            .await
            .output
            .to_text(),
        "400000\n"
    );
}

#[tokio::test]
async fn strict_stops_at_the_first_failure() {
    for inline in [false, true] {
        let script = |text: &str| Script::text(text).inline(inline);
        let loose = finish(&script("false; false | true; echo $UNSET; echo end")).await;
        assert_eq!(loose.output.to_text(), "\nend\n");
        for text in [
            "false; echo end",
            "false | true; echo end",
            "echo $UNSET; echo end",
        ] {
            let strict = finish(&script(text).strict(true)).await;
            assert!(
                !strict.success() && !strict.output.to_text().contains("end\n"),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn a_syntax_error_is_code_2() {
    assert_eq!(finish(&Script::text("if true; then")).await.exit_code(), 2);
    assert_eq!(
        finish(&Script::text("if true; then").inline(true))
            .await
            .exit_code(),
        2
    );
}

#[tokio::test]
async fn several_commands_are_quoted_rightly() {
    let words = [
        "printf", "[%s]\\n", "a b", "$HOME", "it's", "", "*", "; rm", "\n",
    ];
    let commands = [words.to_vec(), vec!["cd", "/usr"], vec!["pwd"]];
    let finished = finish(&Script::commands(commands)).await;
    assert_eq!(
        finished.output.to_text(),
        "[a b]\n[$HOME]\n[it's]\n[]\n[*]\n[; rm]\n[\n]\n/usr\n"
    );
}

#[tokio::test]
async fn mistakes_are_found_before_anything_runs() {
    let error = |script: Script| script.prepare().unwrap_err().to_string();
    assert_eq!(
        error(Script::text("")),
        "no command(s) or bash script contents provided"
    );
    assert_eq!(
        error(Script::commands([vec!["true"], vec![]])),
        "no command(s) or bash script contents provided"
    );
    let unknown = Script::commands([vec!["echo", "x"], vec!["no-such-command", "y"]]);
    assert_eq!(error(unknown), "command not found: `no-such-command`");
    assert!(
        Script::commands([vec!["export", "A=1"]]).prepare().is_ok(),
        "a builtin is found"
    );
    assert!(matches!(
        Script::text("a\0b").prepare(),
        Err(ScriptError::Nul)
    ));
    for pattern in ["plain", "a/*", "*-*"] {
        let script = Script::text("true").pattern(pattern);
        assert!(
            matches!(script.prepare(), Err(ScriptError::Pattern(_))),
            "{pattern}"
        );
    }
    let lost = Script::text("true")
        .dir("/no/such/dir")
        .prepare()
        .unwrap_err();
    assert!(lost.to_string().contains("/no/such/dir"), "{lost}");
    let nowhere = Environment::empty().with(["PATH=/no/such/dir"]).unwrap();
    assert!(matches!(
        Script::text("true").environment(nowhere).prepare(),
        Err(ScriptError::NoBash(_))
    ));
}

#[tokio::test]
async fn a_thousand_lines_and_arguments() {
    let script = Script::text("for i in $(seq 1000); do echo \"$1 $i\"; done").args(["line"]);
    let text = finish(&script).await.output.to_text();
    assert_eq!(text.lines().count(), 1000);
    assert!(text.ends_with("line 1000\n"));
}
