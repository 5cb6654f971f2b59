//! A load generator: threads that ask a web server again and again, a connection for each request.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Requests under way, until it is finished.
pub struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Asks for `/` at this loopback port from so many threads.
    pub fn on(port: u16, threads: usize) -> Self {
        let (stop, asked) = (Arc::default(), Arc::default());
        let thread = |_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            std::thread::spawn(move || ask(port, &stop, &asked))
        };
        let threads = (0..threads).map(thread).collect();
        Self {
            stop,
            asked,
            threads,
        }
    }

    /// Returns how many requests were made so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Ends it and returns how many requests were made, and what went wrong.
    pub fn finish(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.threads.into_iter().flat_map(|thread| {
            let failed = thread.join();
            failed.expect("a client does not panic")
        });
        let failed = failed.collect();
        (self.asked.load(Ordering::Relaxed), failed)
    }
}

fn ask(port: u16, stop: &AtomicBool, asked: &AtomicUsize) -> Vec<String> {
    let mut failed = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        asked.fetch_add(1, Ordering::Relaxed);
        match get(port) {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => {}
            Ok(answer) => failed.push(format!("answered `{answer}`")),
            Err(error) => failed.push(error.to_string()),
        }
    }
    failed
}

/// Asks a web server on loopback for `/` and returns its whole answer.
///
/// # Errors
/// When it cannot be reached, resets the connection, or takes longer than half a minute.
pub fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
