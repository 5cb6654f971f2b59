//! The text of one `sd_notify(3)` datagram.

use std::time::Duration;

/// The most characters of a `STATUS=` that are kept.
const MAX_STATUS: usize = 1024;
/// The most unknown keys of one message that are kept.
const MAX_UNKNOWN: usize = 32;

/// What `WATCHDOG=` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchdogPing {
    /// `1`: still alive.
    Alive,
    /// `trigger`: treat it as if the watchdog had expired.
    Trigger,
}

/// One message, its fields parsed; lines that are malformed are ignored, as `sd_notify` asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// `READY=1`.
    pub ready: bool,
    /// `RELOADING=1`.
    pub reloading: bool,
    /// `STOPPING=1`.
    pub stopping: bool,
    /// `STATUS=`: at most 1,024 characters, control characters as spaces.
    pub status: Option<String>,
    /// `ERRNO=`.
    pub errno: Option<i32>,
    /// `MAINPID=`; the caller checks that it names a process of the tree.
    pub main_pid: Option<u32>,
    /// `WATCHDOG=`.
    pub watchdog: Option<WatchdogPing>,
    /// `WATCHDOG_USEC=`; zero turns the watchdog off.
    pub watchdog_interval: Option<Duration>,
    /// `EXTEND_TIMEOUT_USEC=`.
    pub extend_timeout: Option<Duration>,
    /// `BARRIER=1`: the descriptor that came along is closed once what came before was handled.
    pub barrier: bool,
    /// `FDSTORE=1`: the descriptors that came along are to be kept.
    pub fd_store: bool,
    /// `FDSTOREREMOVE=1`: descriptors of this name are to be dropped.
    pub fd_store_remove: bool,
    /// `FDNAME=`, if it is a valid name.
    pub fd_name: Option<String>,
    /// Keys nobody here knows, such as `X_…`, at most 32.
    pub unknown: Vec<String>,
}

impl Message {
    /// Parses the lines of a datagram.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut message = Message::default();
        for line in bytes.split(|&byte| byte == b'\n') {
            let Some(equals) = line.iter().position(|&byte| byte == b'=') else {
                continue;
            };
            let Ok(key) = std::str::from_utf8(&line[..equals]) else {
                continue;
            };
            message.set(key, &String::from_utf8_lossy(&line[equals + 1..]));
        }
        message
    }

    fn set(&mut self, key: &str, value: &str) {
        let one = value == "1";
        let usec = || value.parse().ok().map(Duration::from_micros);
        match key {
            "READY" => self.ready |= one,
            "RELOADING" => self.reloading |= one,
            "STOPPING" => self.stopping |= one,
            "STATUS" => self.status = Some(one_line(value)),
            "ERRNO" => self.errno = value.parse().ok().filter(|&errno: &i32| errno >= 0),
            "MAINPID" => self.main_pid = value.parse().ok().filter(|&pid: &u32| pid > 0),
            "WATCHDOG" if one => self.watchdog = Some(WatchdogPing::Alive),
            "WATCHDOG" if value == "trigger" => self.watchdog = Some(WatchdogPing::Trigger),
            "WATCHDOG_USEC" => self.watchdog_interval = usec(),
            "EXTEND_TIMEOUT_USEC" => self.extend_timeout = usec(),
            "BARRIER" => self.barrier |= one,
            "FDSTORE" => self.fd_store |= one,
            "FDSTOREREMOVE" => self.fd_store_remove |= one,
            "FDNAME" => self.fd_name = fd_name(value),
            _ if self.unknown.len() < MAX_UNKNOWN => self.unknown.push(one_line(key)),
            _ => {}
        }
    }
}

fn one_line(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_STATUS).map(clean).collect()
}

/// A name is at most 255 printable ASCII characters without `:`, which separates names.
fn fd_name(value: &str) -> Option<String> {
    let fits = |byte: u8| (b' '..0x7f).contains(&byte) && byte != b':';
    let valid = !value.is_empty() && value.len() <= 255 && value.bytes().all(fits);
    valid.then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_read() {
        let message = Message::parse(
            b"READY=1\nSTATUS=two\twords\nMAINPID=42\nERRNO=2\nWATCHDOG=1\nWATCHDOG_USEC=1500000\n\
              EXTEND_TIMEOUT_USEC=2000000\nRELOADING=1\nSTOPPING=1\nBARRIER=1\nFDSTORE=1\n\
              FDNAME=web\nX_MINE=1\n",
        );
        let wanted = Message {
            ready: true,
            reloading: true,
            stopping: true,
            status: Some("two words".into()),
            errno: Some(2),
            main_pid: Some(42),
            watchdog: Some(WatchdogPing::Alive),
            watchdog_interval: Some(Duration::from_millis(1500)),
            extend_timeout: Some(Duration::from_secs(2)),
            barrier: true,
            fd_store: true,
            fd_store_remove: false,
            fd_name: Some("web".into()),
            unknown: vec!["X_MINE".into()],
        };
        assert_eq!(message, wanted);
    }

    #[test]
    fn nonsense_is_ignored() {
        let message = Message::parse(
            b"READY=2\n\n=\nMAINPID=-1\nMAINPID=x\nERRNO=-3\nWATCHDOG=maybe\nWATCHDOG_USEC=-1\n\
              FDNAME=a:b\nREADY\n\xff\xfe=1\n",
        );
        assert_eq!(
            message,
            Message {
                unknown: vec![String::new(), "WATCHDOG".into()],
                ..Message::default()
            }
        );
        assert_eq!(
            Message::parse(b"WATCHDOG=trigger").watchdog,
            Some(WatchdogPing::Trigger)
        );
        let flood = "X=1\n".repeat(1000);
        assert_eq!(Message::parse(flood.as_bytes()).unknown.len(), MAX_UNKNOWN);
    }
}
