//! Sockets that are opened for a service: `tcp:HOST:PORT`, `web=unix:PATH`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A socket to open and pass as one of LISTEN_FDS.
///
/// Written `tcp:HOST:PORT`, `udp:HOST:PORT`, `unix:PATH` or `unix-dgram:PATH`, with an optional
/// `name=` before it; an IPv6 host stands in brackets, port 0 lets the kernel choose.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listen {
    /// The name in LISTEN_FDNAMES and in `PROC_LISTEN_<NAME>`; `None` where none was given.
    pub name: Option<String>,
    /// What to open.
    pub address: ListenAddress,
}

/// What kind of socket, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP listener.
    Tcp {
        /// A host name or address, without brackets; empty for every address.
        host: String,
        /// The port; 0 for one that the kernel chooses.
        port: u16,
    },
    /// A UDP socket.
    Udp {
        /// A host name or address, without brackets; empty for every address.
        host: String,
        /// The port; 0 for one that the kernel chooses.
        port: u16,
    },
    /// A Unix stream listener; a path that starts with `@` is abstract.
    Unix(PathBuf),
    /// A Unix datagram socket; a path that starts with `@` is abstract.
    UnixDgram(PathBuf),
}

/// Why a text is no socket to open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address to listen on: {problem}")]
pub struct ListenError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let fail = |problem: &str| ListenError {
            text: text.escape_debug().to_string(),
            problem: problem.to_owned(),
        };
        if text.chars().any(char::is_control) {
            return Err(fail("it has a control character"));
        }
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) if !name.contains(':') => {
                let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
                if name.is_empty() || name.len() > 255 || !name.chars().all(good) {
                    return Err(fail(
                        "the name before `=` may have letters, digits, `_`, `.` and `-`",
                    ));
                }
                (Some(name.to_owned()), rest)
            }
            _ => (None, text),
        };
        let (scheme, rest) = rest.split_once(':').ok_or_else(|| {
            fail("expected tcp:HOST:PORT, udp:HOST:PORT, unix:PATH or unix-dgram:PATH")
        })?;
        let path = || match rest {
            "" => Err(fail("there is no path")),
            // sockaddr_un has room for 108 bytes, one of them the end.
            path if path.starts_with('@') && path.len() > 107 => {
                Err(fail("the name is longer than 107 bytes"))
            }
            path => Ok(PathBuf::from(path)),
        };
        let address = match scheme {
            "tcp" => host_port(rest)
                .map(|(host, port)| ListenAddress::Tcp { host, port })
                .map_err(fail)?,
            "udp" => host_port(rest)
                .map(|(host, port)| ListenAddress::Udp { host, port })
                .map_err(fail)?,
            "unix" => ListenAddress::Unix(path()?),
            "unix-dgram" => ListenAddress::UnixDgram(path()?),
            _ => {
                return Err(fail(
                    "expected tcp:HOST:PORT, udp:HOST:PORT, unix:PATH or unix-dgram:PATH",
                ));
            }
        };
        Ok(Self { name, address })
    }
}

fn host_port(text: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("a `[` has no `]`")?;
            host.split('%')
                .next()
                .unwrap_or(host)
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| "what stands in brackets is not an IPv6 address")?;
            (host, rest.strip_prefix(':').ok_or("there is no port")?)
        }
        None => text.rsplit_once(':').ok_or("there is no port")?,
    };
    if !text.starts_with('[') && host.contains(':') {
        return Err("write an IPv6 address in brackets: tcp:[::1]:80");
    }
    if host.starts_with(|c: char| c.is_ascii_digit())
        && host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && host.parse::<std::net::Ipv4Addr>().is_err()
    {
        return Err("the host is not an IPv4 address");
    }
    let host = if host == "*" { "" } else { host };
    let good = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if !host.chars().all(good) {
        return Err("the host has a character that no host has");
    }
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = digits
        .then(|| port.parse().ok())
        .flatten()
        .ok_or("the port is not a number from 0 to 65535")?;
    Ok((host.to_owned(), port))
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        write!(f, "{}", self.address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Tcp { host, port } => ("tcp", host, port),
            Self::Udp { host, port } => ("udp", host, port),
            Self::Unix(path) => return write!(f, "unix:{}", path.display()),
            Self::UnixDgram(path) => return write!(f, "unix-dgram:{}", path.display()),
        };
        if host.contains(':') {
            write!(f, "{scheme}:[{host}]:{port}")
        } else {
            write!(f, "{scheme}:{host}:{port}")
        }
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_ones_read_back() {
        for text in [
            "tcp:127.0.0.1:8080",
            "tcp:[::1]:80",
            "tcp:[fe80::1%eth0]:80",
            "tcp:localhost:0",
            "tcp::80",
            "udp:0.0.0.0:53",
            "unix:/run/a.sock",
            "unix:a=b",
            "unix:@abstract",
            "unix-dgram:/dev/log",
            "web=tcp:127.0.0.1:80",
            "a.b-c_1=unix:x",
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        assert_eq!("tcp:*:80".parse::<Listen>().unwrap().to_string(), "tcp::80");
    }

    #[test]
    fn wrong_ones_say_why() {
        for (text, part) in [
            ("", "expected tcp"),
            ("8080", "expected tcp"),
            ("127.0.0.1:80", "expected tcp"),
            ("http:a:80", "expected tcp"),
            ("tcp:a", "no port"),
            ("tcp:a:", "port"),
            ("tcp:a:65536", "port"),
            ("tcp:a:-1", "port"),
            ("tcp:a:+1", "port"),
            ("tcp:::1:80", "brackets"),
            ("tcp:[::1]", "no port"),
            ("tcp:[x]:1", "IPv6"),
            ("tcp:[::1:1", "`]`"),
            ("tcp:999.0.0.1:1", "IPv4"),
            ("tcp:a b:1", "character"),
            ("unix:", "no path"),
            ("a b=tcp:x:1", "name"),
            ("=tcp:x:1", "name"),
            ("tcp:a\n:1", "control"),
        ] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(error.problem.contains(part), "{text:?}: {error}");
        }
    }
}
