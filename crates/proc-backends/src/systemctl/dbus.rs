//! As much of the D-Bus wire format as is needed to hear that a unit changed: calls without an
//! answer out, the header of every signal in. What changed is then asked by `systemctl show`.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// The largest message that is read; PropertiesChanged of a unit has a few KiB.
const LARGEST: usize = 16 << 20;

const SIGNAL: u8 = 4;

/// The header of a message, as far as it matters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) signal: bool,
    pub(crate) path: String,
    pub(crate) member: String,
}

/// Whom one talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// systemd itself: it tells everything to whoever is connected.
    Manager,
    /// A bus: one has to say hello and subscribe.
    Bus,
}

/// Authenticates as the owner of the connection, and subscribes.
pub(crate) async fn greet(
    writer: &mut (impl AsyncWrite + Unpin),
    reader: &mut BufReader<impl AsyncRead + Unpin>,
    peer: Peer,
    uid: Option<u32>,
) -> io::Result<()> {
    let hello = match uid {
        Some(uid) => {
            let hex: String = uid
                .to_string()
                .bytes()
                .map(|b| format!("{b:02x}"))
                .collect();
            format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n")
        }
        // Over ssh(1) the other side knows who we are.
        None => "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".to_owned(),
    };
    writer.write_all(hello.as_bytes()).await?;
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut *reader).take(4096);
        limited.read_until(b'\n', &mut line).await?;
        if line.starts_with(b"OK ") {
            break;
        }
        if !line.starts_with(b"DATA") {
            let said = String::from_utf8_lossy(&line).trim().to_owned();
            return Err(io::Error::other(format!("the bus answered `{said}`")));
        }
    }
    if peer == Peer::Bus {
        let bus = [
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "org.freedesktop.DBus",
        ];
        let matches = "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.DBus.Properties'";
        let systemd = [
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1",
            "org.freedesktop.systemd1.Manager",
        ];
        let mut calls = call(1, bus, "Hello", None);
        calls.extend(call(2, bus, "AddMatch", Some(matches)));
        calls.extend(call(3, systemd, "Subscribe", None));
        writer.write_all(&calls).await?;
    }
    writer.flush().await
}

/// Reads one message.
pub(crate) async fn next(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Header> {
    let mut fixed = [0u8; 16];
    reader.read_exact(&mut fixed).await?;
    let little = match fixed[0] {
        b'l' => true,
        b'B' => false,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let body = number(&fixed[4..8], little);
    let fields = number(&fixed[12..16], little);
    let padded = fields.div_ceil(8) * 8;
    if body > LARGEST || padded > LARGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut rest = vec![0; padded + body];
    reader.read_exact(&mut rest).await?;
    let mut header = header(&rest[..fields], little).unwrap_or_default();
    header.signal = fixed[1] == SIGNAL;
    Ok(header)
}

fn number(bytes: &[u8], little: bool) -> usize {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[..4]);
    let value = if little {
        u32::from_le_bytes(four)
    } else {
        u32::from_be_bytes(four)
    };
    value as usize
}

/// Reads the header fields: an array of (code, variant), each aligned to 8.
fn header(fields: &[u8], little: bool) -> Option<Header> {
    let mut header = Header::default();
    let mut at = 0usize;
    while at < fields.len() {
        at = at.next_multiple_of(8);
        let Some(&code) = fields.get(at) else { break };
        let length = usize::from(*fields.get(at + 1)?);
        let signature = fields.get(at + 2..at + 2 + length)?;
        at += 2 + length + 1;
        match signature {
            b"s" | b"o" => {
                at = at.next_multiple_of(4);
                let length = number(fields.get(at..at + 4)?, little);
                at += 4;
                let text = fields.get(at..at.checked_add(length)?)?;
                let text = String::from_utf8_lossy(text).into_owned();
                match code {
                    1 => header.path = text,
                    3 => header.member = text,
                    _ => {}
                }
                at += length + 1;
            }
            b"g" => at += usize::from(*fields.get(at)?) + 2,
            b"u" => at = at.next_multiple_of(4) + 4,
            _ => return Some(header),
        }
    }
    Some(header)
}

/// Builds a method call that wants no answer, with at most one string.
fn call(
    serial: u32,
    [path, destination, interface]: [&str; 3],
    member: &str,
    argument: Option<&str>,
) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut add = |code: u8, signature: u8, text: &str| {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([code, 1, signature, 0]);
        string(&mut fields, text);
    };
    add(1, b'o', path);
    add(6, b's', destination);
    add(2, b's', interface);
    add(3, b's', member);
    let mut body = Vec::new();
    if let Some(argument) = argument {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([8, 1, b'g', 0, 1, b's', 0]);
        string(&mut body, argument);
    }
    // Hello must be answered, or some buses hang up; the answer is skipped.
    let mut message = vec![b'l', 1, 0, 1];
    message.extend(length(&body));
    message.extend(serial.to_le_bytes());
    message.extend(length(&fields));
    message.extend(&fields);
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body);
    message
}

fn string(into: &mut Vec<u8>, text: &str) {
    into.extend(length(text.as_bytes()));
    into.extend(text.as_bytes());
    into.push(0);
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_reads_back() {
        let mut bytes = call(7, ["/a/b", "c.d", "e.f"], "Go", Some("x='y'"));
        bytes.extend(call(8, ["/z", "c.d", "e.f"], "Again", None));
        let mut reader = bytes.as_slice();
        let first = next(&mut reader).await.unwrap();
        assert_eq!(
            (&*first.path, &*first.member, first.signal),
            ("/a/b", "Go", false)
        );
        let second = next(&mut reader).await.unwrap();
        assert_eq!((&*second.path, &*second.member), ("/z", "Again"));
        assert!(next(&mut reader).await.is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(fields: Vec<u8>, little: bool) {
            let _any = header(&fields, little);
        }
    }
}
