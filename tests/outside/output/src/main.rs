//! Writes a log that rotates, and reads all of it back.

use proc_output::read::{LogReader, Query};
use proc_output::{LogOptions, LogWriter, Stream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("outside-output-{}", std::process::id()));
    let options = LogOptions {
        max_size: Some(4096),
        ..LogOptions::default()
    };
    let mut log = LogWriter::new(&dir, "web-1", Stream::Stdout, &options)?;
    for number in 0..2000 {
        log.write(format!("line {number}\n").as_bytes());
    }
    log.finish();
    let mut reader = LogReader::new();
    reader.add(&dir, "web-1")?;
    let entries: Vec<_> = reader
        .entries(&Query::default())?
        .collect::<Result<_, _>>()?;
    let last = entries.last().ok_or("a log of lines has a last one")?;
    assert_eq!(last.text(), b"line 1999");
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
