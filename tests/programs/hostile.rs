//! Programs that misbehave on purpose, one per word: `hostile-program WORD [NUMBER]`.
//!
//! Every process holds descriptor 9, the witness, and writes one byte to it when it is what its word says. The machine
//! survives all of them: the number of living processes is bounded by construction, and an alarm ends each of them
//! after two minutes whatever happens to the test.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// The descriptor that everybody holds.
const WITNESS: i32 = 9;
/// After so many seconds a process ends by itself.
const LIFETIME: u32 = 120;
/// `nobody`, for a child that gives its user up.
const NOBODY: u32 = 65534;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let word = args.get(1).map_or("", String::as_str);
    let number = args.get(2).and_then(|text| text.parse().ok()).unwrap_or(1);
    live_for_a_while();
    match word {
        "obedient" => obedient(number),
        "thousand" => thousand(),
        "deaf" => deaf(),
        "daemon" => daemon(),
        "orphans" => return orphans(),
        "stopped" => stopped(),
        "holder" => return holder(),
        "zombies" => zombies(number),
        "litter" => litter(number),
        "renamed" => renamed(),
        "user" => user(),
        "other-user" => other_user(args.get(2).map_or("", String::as_str)),
        "as-owner" => as_owner(),
        "storm" => storm(2, false),
        "storm-setsid" => storm(2, true),
        "movers" => movers(number),
        "vfork" => vfork(number),
        "vfork-chain" => vfork_chain(),
        "brief" => {}
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

// --- the words ------------------------------------------------------------------------------------------------------

/// So many processes that end when they are told to.
fn obedient(count: usize) {
    for _ in 1..count {
        if fork() {
            break;
        }
    }
    stay();
}

/// A thousand obedient ones: the leader, and in nine groups of their own and the leader's, 999 more.
fn thousand() {
    for group in 0..10 {
        if fork() {
            if group > 0 {
                own_group();
            }
            for _ in 1..(if group == 0 { 99 } else { 100 }) {
                if fork() {
                    break;
                }
            }
            stay();
        }
    }
    stay();
}

/// Two that ignore TERM, INT and HUP.
fn deaf() {
    ignore();
    fork();
    stay();
}

/// Beside an obedient leader one that left: double fork, a session of its own, deaf.
fn daemon() {
    if fork() {
        ignore();
        own_session();
        if fork() {
            stay();
        }
        end();
    }
    reap_one();
    stay();
}

/// The leader ends at once; two deaf children stay in its group.
fn orphans() -> ExitCode {
    ignore();
    if fork() {
        fork();
        stay();
    }
    ExitCode::from(3)
}

/// A child that stopped itself; both end on TERM, which the stopped one only sees once it goes on.
fn stopped() {
    if fork() {
        // The byte comes first: after the signal there is nobody to write it.
        tell();
        raise(libc::SIGSTOP);
        wait_for_ever();
    }
    stay();
}

/// The leader ends; a deaf grandchild in a session of its own keeps its standard output open.
fn holder() -> ExitCode {
    if fork() {
        if fork() {
            ignore();
            own_session();
            stay();
        }
        end();
    }
    reap_one();
    ExitCode::SUCCESS
}

/// A parent that never reaps its dead children.
fn zombies(count: usize) {
    for _ in 0..count {
        if fork() {
            end();
        }
    }
    stay();
}

/// A parent whose grandchildren end as orphans, for somebody else to reap.
fn litter(count: usize) {
    for _ in 0..count {
        if fork() {
            if fork() {
                end();
            }
            end();
        }
        reap_one();
    }
    stay();
}

/// Children whose name breaks careless parsers and who left the group, one the session too; all deaf.
fn renamed() {
    ignore();
    if fork() {
        rename(c") S 1 (x");
        own_group();
        if fork() {
            rename(c"\n9 (y) Z 1");
            own_session();
        }
    }
    stay();
}

/// A deaf child that became `nobody`, in a session of its own; needs root.
fn user() {
    ignore();
    if fork() {
        own_session();
        become_user(NOBODY);
    }
    stay();
}

/// A deaf child that runs a set-user-id copy of this program, and so is its owner's.
fn other_user(copy: &str) {
    if fork() {
        // Only returns when it failed, and then nobody writes the byte that the test waits for.
        let _failed = Command::new(copy).arg("as-owner").exec();
        end();
    }
    stay();
}

fn as_owner() {
    ignore();
    // SAFETY: takes no pointers.
    let owner = unsafe { libc::geteuid() };
    become_user(owner);
    stay();
}

/// Forks as fast as it can: 1 + 3 + 9 deaf parents, in sessions of their own if so said, each with a brief child.
fn storm(depth: u32, sessions: bool) {
    ignore();
    for _ in 0..3 {
        if depth > 0 && fork() {
            if sessions {
                own_session();
            }
            return storm(depth - 1, sessions);
        }
    }
    tell();
    loop {
        if fork() {
            if sessions {
                own_session();
            }
            end();
        }
        reap_one();
    }
}

/// So many deaf ones that never stand still: each forks, its child takes a session of its own, and the parent ends.
fn movers(count: usize) {
    ignore();
    for _ in 0..count {
        if fork() {
            tell();
            loop {
                if !fork() {
                    end();
                }
                own_session();
            }
        }
    }
    stay();
}

/// So many deaf ones that start another program without a break, by `vfork` and `exec`, and one whose pid never
/// stays the same while doing so.
fn vfork(count: usize) {
    ignore();
    if fork() {
        vfork_chain();
    }
    for _ in 1..count {
        if fork() {
            break;
        }
    }
    tell();
    let this = this_program();
    loop {
        // `Command` without callbacks is `posix_spawn`, which is `CLONE_VFORK`. The answer does not matter.
        if let Ok(mut child) = Command::new(&this).arg("brief").spawn() {
            let _answer = child.wait();
        }
    }
}

fn vfork_chain() {
    tell();
    ignore();
    if Command::new(this_program())
        .arg("vfork-chain")
        .spawn()
        .is_err()
    {
        wait_for_ever();
    }
}

// --- their means ----------------------------------------------------------------------------------------------------

fn this_program() -> std::path::PathBuf {
    std::env::current_exe().expect("a running program has a path")
}

fn live_for_a_while() {
    // SAFETY: takes no pointers.
    unsafe { libc::alarm(LIFETIME) };
}

/// Returns true in the child. Where no further process may be made, the caller goes on alone.
fn fork() -> bool {
    // SAFETY: this program has one thread, so the child may do anything.
    let child = unsafe { libc::fork() } == 0;
    if child {
        live_for_a_while();
    }
    child
}

/// Writes the byte that says: I am here. A full pipe, which does not block, says enough already.
fn tell() {
    // SAFETY: one byte of a static string.
    unsafe { libc::write(WITNESS, c"x".as_ptr().cast(), 1) };
}

fn stay() -> ! {
    tell();
    wait_for_ever()
}

fn wait_for_ever() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

/// Ends without what `main` would still do.
fn end() -> ! {
    // SAFETY: takes no pointers and does not return.
    unsafe { libc::_exit(0) }
}

fn ignore() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: SIG_IGN is no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

fn raise(signal: i32) {
    // SAFETY: takes no pointers.
    unsafe { libc::raise(signal) };
}

fn reap_one() {
    // SAFETY: a null status is allowed.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
}

fn own_group() {
    // SAFETY: takes no pointers.
    unsafe { libc::setpgid(0, 0) };
}

fn own_session() {
    // SAFETY: takes no pointers.
    unsafe { libc::setsid() };
}

fn rename(name: &std::ffi::CStr) {
    // SAFETY: a NUL-terminated string, of which the kernel takes 15 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Takes real, effective and saved user; a failure ends it, and the test misses its byte.
fn become_user(uid: u32) {
    // SAFETY: takes no pointers.
    if unsafe { libc::setresuid(uid, uid, uid) } != 0 {
        end();
    }
}
