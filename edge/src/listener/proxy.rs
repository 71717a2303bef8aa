//! PROXY protocol version 2: the viewer's address, told by a load balancer in front.
//!
//! Source: the PROXY protocol specification, section 2.2. Only the binary form is taken, and only from networks the operator lists: anyone else
//! could lie about who they are. TLVs are skipped; UNIX addresses and LOCAL keep the connection's own address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const HEADER_BYTES: usize = 16;
/// Room for addresses and some TLVs; the field itself could say 65,535.
const MAX_BODY_BYTES: usize = 2048;

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("PROXY header: {what}"))
}

/// Reads the header from `stream`; what follows it stays in `buffer`. `None` means: use the connection's own address.
///
/// # Errors
/// `InvalidData` for anything that is no PROXY v2 header, as soon as that is certain.
pub async fn read_header<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
) -> io::Result<Option<SocketAddr>> {
    fill(stream, buffer, HEADER_BYTES).await?;
    let command = buffer[12];
    let family = buffer[13];
    let body_bytes = usize::from(u16::from_be_bytes([buffer[14], buffer[15]]));
    if command >> 4 != 2 {
        return Err(invalid("not version 2"));
    }
    if body_bytes > MAX_BODY_BYTES {
        return Err(invalid("too long"));
    }
    fill(stream, buffer, HEADER_BYTES + body_bytes).await?;
    buffer.advance(HEADER_BYTES);
    let body = buffer.split_to(body_bytes);
    match (command & 0x0f, family >> 4) {
        (0, _) => Ok(None),
        (1, 1) => match body.first_chunk::<12>() {
            Some(&[a, b, c, d, _, _, _, _, hi, lo, _, _]) => {
                Ok(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), u16::from_be_bytes([hi, lo]))))
            }
            None => Err(invalid("short IPv4 addresses")),
        },
        (1, 2) => match (body.first_chunk::<16>(), body.get(32..34)) {
            (Some(ip), Some(port)) => {
                let address = IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical();
                Ok(Some(SocketAddr::new(address, u16::from_be_bytes([port[0], port[1]]))))
            }
            _ => Err(invalid("short IPv6 addresses")),
        },
        (1, _) => Ok(None),
        _ => Err(invalid("unknown command")),
    }
}

async fn fill<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut, want: usize) -> io::Result<()> {
    loop {
        let seen = buffer.len().min(SIGNATURE.len());
        if buffer[..seen] != SIGNATURE[..seen] {
            return Err(invalid("no signature"));
        }
        if buffer.len() >= want {
            return Ok(());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(invalid("cut short"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend([command, family]);
        out.extend((body.len() as u16).to_be_bytes());
        out.extend(body);
        out
    }

    async fn read(bytes: &[u8]) -> io::Result<(Option<SocketAddr>, Vec<u8>)> {
        let mut buffer = BytesMut::new();
        let address = read_header(&mut &bytes[..], &mut buffer).await?;
        let mut rest = buffer.to_vec();
        rest.extend_from_slice(&[]);
        Ok((address, rest))
    }

    #[tokio::test]
    async fn the_viewers_address_is_taken_and_the_rest_left() {
        let mut bytes = header(0x21, 0x11, &[203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x34, 0, 80, 1, 2, 3]);
        bytes.push(3);
        let (address, rest) = read(&bytes).await.unwrap();
        assert_eq!(address, Some("203.0.113.9:4660".parse().unwrap()));
        assert_eq!(rest, [3]);
        let mut v6 = Vec::from(Ipv6Addr::LOCALHOST.octets());
        v6.extend([0; 16]);
        v6.extend([0, 80, 0, 81]);
        assert_eq!(read(&header(0x21, 0x21, &v6)).await.unwrap().0, Some("[::1]:80".parse().unwrap()));
        assert_eq!(read(&header(0x20, 0, &[])).await.unwrap().0, None);
    }

    #[tokio::test]
    async fn garbage_is_refused() {
        assert!(read(b"\x03aaaaaaaaaaaaaaaaaaaa").await.is_err());
        assert!(read(&header(0x11, 0x11, &[0; 12])).await.is_err());
        assert!(read(&header(0x21, 0x11, &[0; 4])).await.is_err());
        assert!(read(&header(0x2f, 0x11, &[0; 12])).await.is_err());
        assert!(read(&SIGNATURE[..5]).await.is_err());
    }
}
