//! `keep_many SHIM COUNT`: keeps so many sleeping services, prints the pids of their shims, ends at end-of-file.
#![expect(clippy::print_stdout, reason = "an example")]

use std::error::Error;

use proc_core::StopSequence;
use proc_shim::{Client, LaunchOptions, Reply, Request, Role, ShimProcess, ShimProgram, StartSpec};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let shim = ShimProgram::at(args.next().ok_or("SHIM is missing")?);
    let count: usize = args.next().ok_or("COUNT is missing")?.parse()?;
    let home = std::env::temp_dir().join(format!("proc-keep-many-{}", std::process::id()));
    std::fs::create_dir_all(&home)?;
    let mut shims = Vec::new();
    let started = (0..count).try_for_each(|at| start(&shim, &home, at).map(|one| shims.push(one)));
    println!(
        "{}",
        shims
            .iter()
            .map(|(shim, _)| shim.pid().to_string())
            .collect::<Vec<_>>()
            .join(" ")
    );
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    for (shim, mut client) in shims {
        let kill = Request::Stop {
            sequence: StopSequence::kill(),
            tier: None,
        };
        client.call(&kill, Vec::new(), None)?;
        client.call(&Request::Exit, Vec::new(), None)?;
        shim.wait()?;
    }
    std::fs::remove_dir_all(home)?;
    started
}

type Kept = (proc_core::Child, Client);

fn start(shim: &ShimProgram, home: &std::path::Path, at: usize) -> Result<Kept, Box<dyn Error>> {
    let instance = format!("sleeper-{at}");
    let options = LaunchOptions {
        dir: home.join(&instance),
        socket: home.join(format!("{instance}.sock")),
        log_dir: home.join("log"),
        instance,
        keep_session: false,
    };
    let process = ShimProcess::launch(shim, &options)?;
    let mut client = Client::new(process.socket);
    client.call(
        &Request::Hello {
            role: Role::Controller,
        },
        Vec::new(),
        None,
    )?;
    let spec = StartSpec {
        argv: vec!["sleep".into(), "1000".into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/".into(),
        ..StartSpec::default()
    };
    match client
        .call(&Request::Start(Box::new(spec)), Vec::new(), None)?
        .0
    {
        Reply::Started { .. } => Ok((process.child, client)),
        other => Err(format!("{other:?}").into()),
    }
}
