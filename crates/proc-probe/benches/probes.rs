//! What 1,000 http probes every 10 s cost: the processor time of the thread that runs them, all of it,
//! over three rounds, as a share of one core. Compared with the bare requests of the same rounds.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use proc_probe::{Change, HttpProbe, Probe, ProbeContext, ProbeKind, ProbeTask, Role};
use tokio::sync::mpsc;

/// How many services are probed.
const SERVICES: u32 = 1000;
/// How often each.
const INTERVAL: Duration = Duration::from_secs(10);
/// How many rounds are measured.
const ROUNDS: u32 = 3;
/// The most that it may cost, in per cent of one core.
const LIMIT: f64 = 5.0;

fn main() {
    let address = serve();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let probes = runtime.block_on(probes(address));
    let bare = bare(address);
    let share = |cost: Duration| 100.0 * cost.as_secs_f64() / (INTERVAL * ROUNDS).as_secs_f64();
    println!(
        "{SERVICES} http probes every {INTERVAL:?}: {:.2} % of one core ({:.0} µs each); the bare requests: {:.2} %",
        share(probes),
        probes.as_secs_f64() * 1e6 / f64::from(SERVICES * ROUNDS),
        share(bare),
    );
    assert!(share(probes) < LIMIT, "more than {LIMIT} % of one core");
}

/// Answers every request, on threads of its own.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 1024];
            // A client that has gone needs no answer.
            let _gone = stream.read(&mut request);
            let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    address
}

/// Returns the processor time of the rounds after the first one.
async fn probes(address: SocketAddr) -> Duration {
    let url = format!("http://{address}/").parse().expect("it is a URL");
    let kind = ProbeKind::Http(HttpProbe::new(url));
    let (events, mut queue) = mpsc::unbounded_channel();
    let probe = Probe {
        interval: INTERVAL,
        timeout: Duration::from_secs(5),
        ..Probe::new(Role::Ready, kind)
    };
    let start = |_| {
        let (probe, events) = (probe.clone(), events.clone());
        ProbeTask::start(Role::Ready, probe, ProbeContext::default(), move |event| {
            drop(events.send(event));
        })
    };
    let tasks: Vec<ProbeTask> = (0..SERVICES).map(start).collect();
    for _ in &tasks {
        let first = queue.recv().await.expect("each tells that it is ready");
        assert_eq!(first.change, Change::Ready);
    }
    let before = cpu();
    tokio::time::sleep(INTERVAL * ROUNDS).await;
    let cost = cpu() - before;
    assert!(
        queue.try_recv().is_err(),
        "every answer came, so nothing has changed"
    );
    cost
}

/// Returns the processor time of the same number of requests without anything around them.
fn bare(address: SocketAddr) -> Duration {
    let before = cpu();
    for _ in 0..SERVICES * ROUNDS {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("it reads");
        let mut answer = [0; 1024];
        assert_ne!(stream.read(&mut answer).expect("it answers"), 0);
    }
    cpu() - before
}

/// Returns the processor time of this thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("time is positive")
}
