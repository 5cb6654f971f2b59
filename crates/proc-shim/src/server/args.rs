//! The shim's command line.

use std::ffi::OsString;
use std::path::PathBuf;

/// What a shim is told when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) instance: String,
    pub(crate) dir: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) log_dir: PathBuf,
    pub(crate) keep_session: bool,
    pub(crate) scratch: Option<PathBuf>,
}

impl Args {
    /// Reads `serve --instance NAME --dir DIR --socket PATH --log DIR [--keep-session]
    /// [--scratch DIR]`.
    #[inline(never)]
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut args = args.into_iter();
        if args.next().is_none_or(|verb| verb != "serve") {
            return Err("a shim is started by its supervisor: `serve --instance …`".to_owned());
        }
        let (mut instance, mut dir, mut socket, mut log_dir) = (None, None, None, None);
        let mut keep_session = false;
        let mut scratch = None;
        while let Some(flag) = args.next() {
            if flag == "--keep-session" {
                keep_session = true;
                continue;
            }
            let value = args
                .next()
                .ok_or_else(|| format!("`{}` needs a value", flag.to_string_lossy()))?;
            match flag.to_str() {
                Some("--instance") => instance = value.into_string().ok(),
                Some("--dir") => dir = Some(PathBuf::from(value)),
                Some("--socket") => socket = Some(PathBuf::from(value)),
                Some("--scratch") => scratch = Some(PathBuf::from(value)),
                Some("--log") => log_dir = Some(PathBuf::from(value)),
                _ => return Err(format!("unknown option `{}`", flag.to_string_lossy())),
            }
        }
        let need = |what: &str| format!("`{what}` is missing");
        Ok(Self {
            instance: instance.ok_or_else(|| need("--instance"))?,
            dir: absolute(dir.ok_or_else(|| need("--dir"))?)?,
            socket: absolute(socket.ok_or_else(|| need("--socket"))?)?,
            log_dir: absolute(log_dir.ok_or_else(|| need("--log"))?)?,
            keep_session,
            scratch: scratch.map(absolute).transpose()?,
        })
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, String> {
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("path `{}` is not absolute", path.display()))
    }
}
