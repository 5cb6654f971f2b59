//! Starts a program with an input, reads its output and says how it ended.
use std::fs::File;
use std::io::{Read, Write};

use proc_core::{Spawn, Stdio};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut child = Spawn::new("tr")
        .args(["a-z", "A-Z"])
        .stdin(Stdio::Pipe)
        .stdout(Stdio::Pipe)
        .spawn()?;
    let mut stdin = child.take_stdin().ok_or("stdin is a pipe")?;
    stdin.write_all(b"hello\n")?;
    stdin.close();
    let mut text = String::new();
    File::from(child.take_stdout().ok_or("stdout is a pipe")?).read_to_string(&mut text)?;
    let end = child.wait()?;
    assert_eq!(text, "HELLO\n");
    writeln!(
        std::io::stdout(),
        "pid {} said {text:?} and {end}",
        child.pid()
    )?;
    Ok(())
}
