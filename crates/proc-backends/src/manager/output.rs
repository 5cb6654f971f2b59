//! What somebody else writes: a job of ours straight into our log files, an existing one into its own, which are copied.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use proc_output::{LogOptions, LogWriter, Stream};

use crate::status::LogOffsets;

/// The most that is copied in one go; what is left comes with the next.
const PIECE: u64 = 4 << 20;

/// The log of one instance.
#[derive(Debug)]
pub(crate) struct Output {
    dir: PathBuf,
    instance: String,
    merge: bool,
    /// The files of an existing job, and where they are copied to.
    copies: Vec<Copied>,
    /// Of an existing job without files: what the unified log has of it.
    unified: Option<LogWriter>,
}

#[derive(Debug)]
struct Copied {
    from: PathBuf,
    at: u64,
    to: LogWriter,
    /// Up to where was copied, for the next supervisor.
    mark: PathBuf,
}

impl Output {
    /// The log of a job of ours: its manager writes the files itself.
    pub(crate) fn ours(dir: &Path, instance: &str, merge: bool) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            instance: instance.to_owned(),
            merge,
            copies: Vec::new(),
            unified: None,
        })
    }

    /// The log of a job that exists: its files are copied from now on.
    pub(crate) fn existing(
        (dir, instance): (&Path, &str),
        options: &LogOptions,
        [stdout, stderr]: [Option<&str>; 2],
        records: &Path,
        resume: bool,
    ) -> io::Result<Self> {
        let mut output = Self::ours(dir, instance, options.merge)?;
        let writer =
            |stream| LogWriter::new(dir, instance, stream, options).map_err(io::Error::other);
        let stderr = stderr.filter(|_| stderr != stdout);
        for (path, stream) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
            let Some(path) = path else { continue };
            let mark = records.join(format!("{}.copied", stream.name()));
            let length = std::fs::metadata(path).map_or(0, |meta| meta.len());
            let marked = std::fs::read_to_string(&mark)
                .ok()
                .and_then(|text| text.trim().parse().ok());
            output.copies.push(Copied {
                from: path.into(),
                at: marked.filter(|_| resume).unwrap_or(length),
                to: writer(stream)?,
                mark,
            });
        }
        if output.copies.is_empty() {
            output.unified = Some(writer(Stream::Stdout)?);
        }
        Ok(output)
    }

    /// Returns the file that a stream of ours is written to.
    pub(crate) fn file(&self, stream: Stream) -> PathBuf {
        let name = match self.merge {
            true => format!("{}.log", self.instance),
            false => format!("{}.{}.log", self.instance, stream.name()),
        };
        self.dir.join(name)
    }

    /// Whether the unified log is where its lines are.
    pub(crate) fn is_unified(&self) -> bool {
        self.unified.is_some()
    }

    /// Takes lines of the unified log in.
    pub(crate) fn unified(&mut self, lines: &[u8]) {
        if let Some(writer) = &mut self.unified {
            let _counted_by_the_writer = writer.write(lines);
        }
    }

    /// Copies what an existing job wrote since the last time.
    pub(crate) fn copy(&mut self) {
        for copied in &mut self.copies {
            // The file may not be there yet, or be replaced by a shorter one.
            let _tried_again_next_time = copied.copy();
        }
    }

    /// Returns how much the logs hold.
    pub(crate) fn offsets(&self) -> LogOffsets {
        let mut offsets = LogOffsets::default();
        let length = |stream| std::fs::metadata(self.file(stream)).map_or(0, |meta| meta.len());
        match (&self.unified, self.copies.is_empty()) {
            (Some(writer), _) => offsets.stdout = writer.offset(),
            (None, false) => {
                for (at, copied) in self.copies.iter().enumerate() {
                    let stream = if at == 0 {
                        &mut offsets.stdout
                    } else {
                        &mut offsets.stderr
                    };
                    *stream = copied.to.offset();
                }
            }
            (None, true) => {
                offsets.stdout = length(Stream::Stdout);
                offsets.stderr = if self.merge {
                    0
                } else {
                    length(Stream::Stderr)
                };
            }
        }
        offsets
    }
}

impl Copied {
    fn copy(&mut self) -> io::Result<()> {
        let mut file = File::open(&self.from)?;
        let length = file.metadata()?.len();
        if length < self.at {
            self.at = 0;
        }
        if length == self.at {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        file.take(PIECE).read_to_end(&mut bytes)?;
        self.to.write(&bytes);
        self.at += bytes.len() as u64;
        std::fs::write(&self.mark, self.at.to_string())
    }
}
