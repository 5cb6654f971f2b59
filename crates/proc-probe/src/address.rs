//! Where a probe connects to: `host:port`, a Unix socket, or a URL over either.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// An address that accepts stream connections.
///
/// Written `127.0.0.1:80`, `[::1]:80`, `localhost:80`, `:80` (this machine) or `unix:/run/app.sock`;
/// a leading `tcp:` or `tcp://` is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host, a name or a literal without brackets, and a port.
    Tcp {
        /// The host.
        host: String,
        /// The port, never 0.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// An address or URL could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no port.
    #[error("`{0}` has no port, write `host:port`")]
    NoPort(String),
    /// The port is not a number from 1 to 65535.
    #[error("`{port}` in `{text}` is not a port")]
    Port {
        /// The whole text.
        text: String,
        /// The part meant as port.
        port: String,
    },
    /// There is no host, or no path of a socket.
    #[error("`{0}` has no host")]
    NoHost(String),
    /// The URL does not start with a scheme that is supported.
    #[error("`{0}` does not start with `http://`, `unix:` or `http+unix://`")]
    Scheme(String),
    /// TLS is not spoken by probes.
    #[error("`{0}`: https is not supported, use an `exec` probe with `curl -f`")]
    Https(String),
    /// A space or control character, which would break the request.
    #[error("`{0}` has a space or a control character")]
    Character(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        no_control(text)?;
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(AddressError::NoHost(text.to_owned()));
            }
            return Ok(Address::Unix(PathBuf::from(path)));
        }
        let rest = text.strip_prefix("tcp:").unwrap_or(text);
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        host_port(text, rest, None)
    }
}

fn no_control(text: &str) -> Result<(), AddressError> {
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(AddressError::Character(text.to_owned()));
    }
    Ok(())
}

fn host_port(text: &str, rest: &str, default: Option<u16>) -> Result<Address, AddressError> {
    let (host, port) = if let Some(literal) = rest.strip_prefix('[') {
        let (host, after) = literal
            .split_once(']')
            .ok_or_else(|| AddressError::NoHost(text.to_owned()))?;
        (host, after.strip_prefix(':'))
    } else {
        match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        }
    };
    let port = match (port, default) {
        (Some(port), _) => port
            .parse()
            .ok()
            .filter(|&number| number != 0)
            .ok_or_else(|| AddressError::Port {
                text: text.to_owned(),
                port: port.to_owned(),
            })?,
        (None, Some(default)) => default,
        (None, None) => return Err(AddressError::NoPort(text.to_owned())),
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    Ok(Address::Tcp {
        host: host.to_owned(),
        port,
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An HTTP URL: `http://host[:port][/path]`, `unix:/run/app.sock[:/path]` or
/// `http+unix://%2Frun%2Fapp.sock/path`. Compared, printed and stored as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    text: String,
    address: Address,
    host: String,
    target: String,
}

impl HttpUrl {
    /// Returns where to connect to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the text of the `Host` header.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the path and query asked for; it starts with `/`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns the URL as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for HttpUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        no_control(text)?;
        let made = |address, host: &str, target: &str| HttpUrl {
            text: text.to_owned(),
            address,
            host: host.to_owned(),
            target: origin_form(target),
        };
        if let Some(rest) = text.strip_prefix("http+unix://") {
            let (socket, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            return Ok(made(
                unix(text, &percent_decoded(socket))?,
                "localhost",
                target,
            ));
        }
        if let Some(rest) = text.strip_prefix("unix:") {
            let rest = rest.strip_prefix("//").unwrap_or(rest);
            let (socket, target) = rest.split_once(':').unwrap_or((rest, "/"));
            return Ok(made(unix(text, socket)?, "localhost", target));
        }
        if text.starts_with("https://") {
            return Err(AddressError::Https(text.to_owned()));
        }
        let rest = text
            .strip_prefix("http://")
            .ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_user, host)| host);
        if host.is_empty() {
            return Err(AddressError::NoHost(text.to_owned()));
        }
        Ok(made(host_port(text, host, Some(80))?, host, target))
    }
}

fn unix(text: &str, path: &str) -> Result<Address, AddressError> {
    if path.is_empty() {
        return Err(AddressError::NoHost(text.to_owned()));
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

fn origin_form(target: &str) -> String {
    let target = target.split('#').next().unwrap_or_default();
    if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("/{target}")
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(h, l)| h * 16 + l),
            _ => None,
        };
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

macro_rules! serde_as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_as_text!(Address);
serde_as_text!(HttpUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("tcp:localhost:5432", "localhost:5432"),
            ("tcp://db:1", "db:1"),
            ("[::1]:8080", "[::1]:8080"),
            (":8080", "127.0.0.1:8080"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
            ("unix:///run/x.sock", "unix:/run/x.sock"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
        for text in [
            "localhost",
            "a:0",
            "a:65536",
            "a:x",
            "unix:",
            "a b:1",
            "[::1]",
        ] {
            assert!(text.parse::<Address>().is_err(), "`{text}` is refused");
        }
    }

    #[test]
    fn urls() {
        for (text, address, host, target) in [
            ("http://a", "a:80", "a", "/"),
            ("http://a:81/x?y=1#z", "a:81", "a:81", "/x?y=1"),
            ("http://a?q", "a:80", "a", "/?q"),
            ("http://[::1]:8080/h", "[::1]:8080", "[::1]:8080", "/h"),
            ("http://u:p@a/", "a:80", "a", "/"),
            ("unix:/run/a.sock", "unix:/run/a.sock", "localhost", "/"),
            (
                "unix:/run/a.sock:/health",
                "unix:/run/a.sock",
                "localhost",
                "/health",
            ),
            (
                "http+unix://%2Frun%2Fa.sock/h",
                "unix:/run/a.sock",
                "localhost",
                "/h",
            ),
        ] {
            let url: HttpUrl = text.parse().unwrap();
            assert_eq!(url.address().to_string(), address, "{text}");
            assert_eq!((url.host(), url.target()), (host, target), "{text}");
            assert_eq!(url.to_string(), text);
        }
        for text in [
            "https://a/",
            "a/health",
            "http:///x",
            "http://a/\r\nX: y",
            "http://a/ b",
        ] {
            assert!(text.parse::<HttpUrl>().is_err(), "`{text}` is refused");
        }
    }
}
