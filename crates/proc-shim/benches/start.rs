//! What a start through a shim costs, as ratios to a raw `posix_spawn` of the same dynamic program in the same run: each
//! from the first call to the first byte that the program writes. A new shim is greeted and told to start in one go, as
//! the native backend does.
//!
//! `cargo xtask bench core`, which builds the static shim and names it in `PROC_BENCH_SHIM`; else it is the dynamic one.

#![expect(clippy::unwrap_used, reason = "a step that fails ends the benchmark")]
#![expect(clippy::print_stdout, reason = "the table is the point")]

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use proc_core::Child;
use proc_shim::{
    Client, LaunchOptions, Output, Reply, Request, Role, ShimProcess, ShimProgram, StartSpec,
};
use rustix::pipe::{PipeFlags, pipe_with};

const ROUNDS: usize = 200;

fn main() {
    let program = std::env::var_os("PROC_BENCH_SHIM")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_proc-shim").into());
    let program = ShimProgram::at(program);
    // In memory first: how long a file system takes to create a file is its own affair. Not in the directory for temporary
    // files, from which so much was removed (see below).
    for place in ["/dev/shm", env!("CARGO_TARGET_TMPDIR")].map(Path::new) {
        match tempfile::tempdir_in(place) {
            Ok(home) => starts(&program, place, home.path()),
            Err(error) => println!("SKIP {}: {error}", place.display()),
        }
    }
}

fn starts(program: &ShimProgram, place: &Path, home: &Path) {
    // Nothing is removed meanwhile: ext4 passes over inodes that were freed in the last minutes, one by one, whenever it
    // needs one. A directory of logs each keeps them as small as that of a project with a few services.
    for round in 0..ROUNDS {
        std::fs::create_dir_all(home.join("log").join(format!("new-{round}"))).unwrap();
    }
    let (shim, mut client) = launch(program, home, "living");
    let mut times: [Vec<Duration>; 4] = Default::default();
    for round in 0..ROUNDS {
        times[0].push(raw());
        times[3].push(file(&home.join(format!("file-{round}"))));
        let instance = format!("new-{round}");
        let begun = Instant::now();
        let (new, mut new_client) = launch(program, home, &instance);
        start(&mut new_client);
        times[1].push(begun.elapsed());
        ended(&mut new_client);
        leave(new, new_client);
        let begun = Instant::now();
        start(&mut client);
        times[2].push(begun.elapsed());
        ended(&mut client);
    }
    leave(shim, client);
    let [raw, new, again, files] = times;
    println!(
        "records and logs in {}, where a new file takes {} us:",
        place.display(),
        sorted(files).0.as_micros()
    );
    row("  start through a new shim / posix_spawn", &raw, new, 1.6);
    row("  start in a living shim / posix_spawn", &raw, again, 1.2);
}

/// Prints the medians and their ratio; and the ratio of the quickest, which other people's load disturbs least.
fn row(what: &str, raw: &[Duration], ours: Vec<Duration>, target: f64) {
    let ((raw, raw_best), (ours, ours_best)) = (sorted(raw.to_vec()), sorted(ours));
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!(
        "{what:<46} {:>8}us {:>8}us {:>7.2} {target:>7.2} {:>7.2}",
        raw.as_micros(),
        ours.as_micros(),
        ratio(ours, raw),
        ratio(ours_best, raw_best)
    );
}

/// Returns the median and the least.
fn sorted(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[0])
}

/// Creates a file, and returns how long that took.
fn file(path: &Path) -> Duration {
    let begun = Instant::now();
    let created = File::create_new(path).unwrap();
    let elapsed = begun.elapsed();
    drop(created);
    elapsed
}

fn pipe() -> (File, OwnedFd) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (read.into(), write)
}

fn first_byte(pipe: &mut File) {
    pipe.read_exact(&mut [0]).unwrap();
}

fn raw() -> Duration {
    let (mut read, write) = pipe();
    let argv = [
        c"/bin/echo".as_ptr().cast_mut(),
        c"x".as_ptr().cast_mut(),
        ptr::null_mut(),
    ];
    let envp = [c"PATH=/usr/bin:/bin".as_ptr().cast_mut(), ptr::null_mut()];
    let (mut pid, mut status) = (0, 0);
    let mut actions = std::mem::MaybeUninit::uninit();
    let begun = Instant::now();
    // SAFETY: the actions are initialised before use; strings and arrays end with NUL and null, and outlive the call.
    unsafe {
        assert_eq!(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()), 0);
        libc::posix_spawn_file_actions_adddup2(actions.as_mut_ptr(), write.as_raw_fd(), 1);
        let spawned = libc::posix_spawn(
            &raw mut pid,
            argv[0],
            actions.as_ptr(),
            ptr::null(),
            argv.as_ptr(),
            envp.as_ptr(),
        );
        assert_eq!(spawned, 0);
    }
    drop(write);
    first_byte(&mut read);
    let elapsed = begun.elapsed();
    // SAFETY: our own child; `status` is writable. The actions are not used any more.
    unsafe {
        libc::waitpid(pid, &raw mut status, 0);
        libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr());
    }
    elapsed
}

fn launch(program: &ShimProgram, home: &Path, instance: &str) -> (Child, Client) {
    let options = LaunchOptions {
        dir: home.join(instance),
        socket: home.join(format!("{instance}.sock")),
        log_dir: home.join("log").join(instance),
        instance: instance.to_owned(),
        keep_session: false,
        scratch: None,
    };
    let process = ShimProcess::launch(program, &options).unwrap();
    let mut client = Client::new(process.socket);
    let hello = Request::Hello {
        role: Role::Controller,
    };
    client.send(&hello, Vec::new()).unwrap();
    (process.child, client)
}

fn start(client: &mut Client) {
    let (mut read, write) = pipe();
    let spec = StartSpec {
        argv: vec!["/bin/echo".into(), "x".into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/".into(),
        stdout: Output::Passed,
        ..StartSpec::default()
    };
    let request = Request::Start(Box::new(spec));
    client.send(&request, vec![write]).unwrap();
    // As the raw one waits: for the byte and nothing else. A start that fails closes the pipe.
    first_byte(&mut read);
}

/// Waits until nothing of the service is left. A notice may be of an earlier run: it only says when to look.
fn ended(client: &mut Client) {
    loop {
        let (reply, _) = client.call(&Request::Status, Vec::new(), None).unwrap();
        if matches!(reply, Reply::Snapshot(snapshot) if snapshot.tree_empty && snapshot.running.is_none())
        {
            return;
        }
        client.notice(None).unwrap();
    }
}

fn leave(shim: Child, mut client: Client) {
    let (reply, _) = client.call(&Request::Exit, Vec::new(), None).unwrap();
    assert!(!matches!(reply, Reply::Failed(_)), "{reply:?}");
    drop(client);
    shim.wait().unwrap();
}
