//! Real servers that more than one suite uses.

use std::path::PathBuf;

use crate::{Project, python};

/// An application that answers with the process numbers of its server and of the worker.
pub const APP: &str = r#"
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"from %d by %d\n" % (os.getppid(), os.getpid())]
"#;

/// Starts a project with gunicorn as its service `web`, which takes its socket by LISTEN_FDS and says
/// itself when it is ready; `keys` are further lines of it. Returns its port.
///
/// # Panics
/// When it does not become ready.
pub fn gunicorn(keys: &str) -> (Project, u16) {
    let project = Project::new();
    project.write("app.py", APP);
    project.write(
        "proc.toml",
        format!(
            "[service.web]\nargv = [\"{}\", \"--preload\", \"--workers\", \"2\", \"app:app\"]\n\
             env = {{ PYTHONDONTWRITEBYTECODE = \"1\" }}\nlisten = [\"tcp:127.0.0.1:0\"]\n\
             ready = {{ notify = \"socket\" }}\n{keys}\n",
            python("gunicorn").display()
        ),
    );
    project.ok(&["up", "-d"]);
    let listen = project.instance("web")["listen"][0].clone();
    let address = listen.as_str().expect("its address is shown");
    let (_, port) = address.rsplit_once(':').expect("an address has a port");
    let port = port.parse().expect("a port is a number");
    (project, port)
}

/// Returns the directory of the newest installed PostgreSQL server's programs.
///
/// # Panics
/// When none is installed.
pub fn postgres_bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let bins = versions.flatten().map(|e| e.path().join("bin"));
    bins.max().expect("PostgreSQL is installed")
}
