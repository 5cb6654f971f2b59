//! What the real writers write, and what people have in their files.

use proc_core::{Identity, ProcessEnd, Signal};
use proc_shim::{
    Exited, Frame, Notice, Reply, Request, Role, Running, Snapshot, StartSpec, Terms,
    encode_notice, encode_reply, encode_request,
};

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Records of supervisors.
pub(crate) fn state() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"format":1,"min_reader":1,"service":"web","index":1,"shown":"web","part":"current","state":"backoff","desired":"up","ready":false,"reason":"exit code 90","run":6,"counted":6,"counters":{"attempt":6,"startup_failures":6,"counted":6,"restarts":[],"crashes":[]},"restarts":6,"attempt":6,"retry_at":"2026-11-21T12:40:30.752Z","last_exit":{"code":90,"signal":null,"signal_name":null,"core_dumped":false,"oom":false,"at":"2026-11-21T12:40:30.124Z","runtime_ms":48},"identity":{"pid":8241,"start_ticks":1997618,"boot_id":"44402223-ac1c-4f7f-a84a-30e7c9fadd15","pid_ns":4026531836,"pidfs_ino":2818292,"handle":"000000fef4002b0000000000"},"pgid":8241,"started_at":"2026-11-21T12:39:15.849Z","event":{"seq":677,"at":"2026-11-21T12:40:30.752Z","service":"web","instance":"web","from":"starting","to":"backoff","ready":false,"pid":null,"cause":{"kind":"exit","by":null,"detail":"exit code 90"},"exit":{"code":90,"signal":null,"signal_name":null,"core_dumped":false,"oom":false,"runtime_ms":48,"at":"2026-11-21T12:40:30.124Z","run":6},"delay_ms":99}}"#,
        r#"{"format":1,"min_reader":1,"name":"shop","files":["/srv/shop/proc.toml"],"order":["web"],"services":{"web":{"wanted":"up","scaled":[3,1],"backend":"native","stop":[{"signal":"TERM","wait":{"secs":10,"nanos":0}}],"image":{"name":"web"}}},"down":false}"#,
        r#"{"format":2,"min_reader":2,"name":"shop"}"#,
        r#"{"name":"web"}"#,
        "",
    ])
}

/// Journals, whole and torn.
pub(crate) fn journal() -> Vec<Vec<u8>> {
    let line = |seq| {
        format!(
            "{{\"seq\":{seq},\"at\":\"2026-11-21T12:39:15.789Z\",\"service\":\"web\",\"ready\":false}}\n"
        )
    };
    let head = "{\"format\":1,\"next\":1,\"created_ms\":1795264755742}\n";
    let whole = format!("{head}{}{}{}", line(1), line(2), line(3));
    let torn = whole[..whole.len() - 9].to_owned();
    let last = format!("{head}{}", line(u64::MAX));
    texts(&[&whole, &torn, &last, &line(5), head, ""])
}

/// PID files: ours, and those of others.
pub(crate) fn pid_file() -> Vec<Vec<u8>> {
    texts(&[
        "8241\n{\"name\":\"web\"}\n{\"start_unix\":1795264755,\"identity\":{\"pid\":8241,\"start_ticks\":1997618,\"boot_id\":\"44402223-ac1c-4f7f-a84a-30e7c9fadd15\",\"pid_ns\":4026531836}}\n",
        "1\n",
        " 4194304",
        "4194305\n",
        "-1\n",
        "",
    ])
}

/// The records of a shim.
pub(crate) fn shim_records() -> Vec<Vec<u8>> {
    let identity = "boot_id=44402223-ac1c-4f7f-a84a-30e7c9fadd15\npid_ns=4026531836\npid=18771\nstart_ticks=2008965\npidfs_ino=2861096\nhandle=000000fe28a82b0000000000\n";
    texts(&[
        &format!(
            "format=1\nrun=17\n{identity}pgid=18771\nstarted_at_ms=1795264869319\ndetached=0\nfailed=0\ncgroup=hex:2f7379\n"
        ),
        &format!("format=1\n{identity}socket=/run/shim/w\\n0.sock\nreplacement=1\n"),
        "format=1\nrun=17\ncode=7\nat_ms=1795264869380\nruntime_ms=35\noom=0\nstdout_offset=259706\nstderr_offset=0\ntree_empty=1\n",
        "format=1\nrun=17\nsignal=9\ncore_dumped=1\nunknown=why\nat_ms=1\nruntime_ms=1\nstdout_offset=1\nstderr_offset=0\n",
        "format=2\n",
    ])
}

/// Frames of both directions.
pub(crate) fn shim_protocol() -> Vec<Vec<u8>> {
    let identity = Identity::current().expect("we have an identity");
    let running = Running {
        run: 3,
        identity: identity.clone(),
        pgid: 7,
        started_at: 1,
        downgrades: vec!["nice".to_owned()],
    };
    let exited = Exited {
        run: 2,
        end: Some(ProcessEnd::Exited(3)),
        unknown: None,
        at: 1,
        runtime_ms: 2,
        oom: Some(false),
        stdout_offset: 3,
        stderr_offset: 4,
    };
    let snapshot = Snapshot {
        shim: Some(identity),
        instance: "web".to_owned(),
        last_run: 3,
        running: Some(running.clone()),
        exited: Some(exited.clone()),
        terms: Some(Terms {
            log: proc_output::LogOptions::default(),
            detached: false,
            die_with_supervisor: true,
            stop: proc_core::StopSequence::default(),
        }),
        ..Snapshot::default()
    };
    let spec = StartSpec {
        argv: vec!["sleep".into(), "1".into()],
        env: vec![("A".into(), "b".into())],
        respawn: Some(proc_shim::Respawn::default()),
        ..StartSpec::default()
    };
    let frames: Vec<Frame> = vec![
        encode_request(
            1,
            &Request::Hello {
                role: Role::Controller,
            },
        ),
        encode_request(2, &Request::Start(Box::new(spec))),
        encode_request(3, &Request::StdinWrite(b"hello".to_vec())),
        encode_request(
            4,
            &Request::Signal {
                signal: Signal::TERM,
                target: proc_shim::Target::Tree,
            },
        ),
        encode_reply(1, &Reply::Snapshot(Box::new(snapshot))),
        encode_notice(&Notice::Exited(exited)),
        encode_notice(&Notice::Respawned(running)),
    ];
    let mut all: Vec<Vec<u8>> = frames
        .iter()
        .map(|frame| frame.encode().expect("it is small"))
        .collect();
    all.push(all.concat());
    all
}

/// Configurations, Procfiles and environment files.
pub(crate) fn config() -> Vec<Vec<u8>> {
    texts(&[
        proc_spec::starter(),
        include_str!("../../examples/stack/proc.toml"),
        "web: ./server --port $PORT # note\nworker: sh -c 'sleep 1'\n",
        "export A=\"1\nB=${A:-x}${C:?why}\\n\"\nD='$A' # note\n",
        "[service.web]\ncommand = \"x ${A} $(date)\"\nready = { http = \"http://127.0.0.1:80/\", interval = \"1s\" }\n\
         restart = { mode = \"always\", max = 3 }\nschedule = \"*/5 * * * 1-5\"\ninstances = 3\nneeds = { db = \"ready\" }\n\
         [service.db]\nargv = [\"y\"]\nlimits = { nofile = 10 }\nstop = { steps = \"TERM/5s KILL\" }\n[groups]\na = [\"web\"]\n",
    ])
}

/// Files of other supervisors.
pub(crate) fn imports() -> Vec<Vec<u8>> {
    texts(&[
        "web: ./server\n",
        "[supervisord]\n[program:web]\ncommand=/bin/x %(ENV_A)s\nnumprocs=2\nprocess_name=%(program_name)s_%(process_num)02d\n[include]\nfiles=*.conf\n",
        "[Unit]\nDescription=x\nAfter=a.service\n[Service]\nExecStart=/bin/x \"a b\" \\\n  c\nRestart=on-failure\nEnvironment=A=b 'C=d e'\n",
        "module.exports = { apps: [{ name: 'web', script: './x.js', instances: 2, env: { A: 'b' } }] }; // note\n",
        "{\"apps\":[{\"name\":\"web\",\"script\":\"x\",\"args\":[\"a\"]}]}",
        "version: \"0.5\"\nprocesses:\n  web: &a\n    command: x\n    depends_on: { db: { condition: process_healthy } }\n  db:\n    <<: *a\n    environment: [A=b]\n",
    ])
}
