//! The demonstration's traffic: real TCP, UDP and ICMP conversations with the peer, over IPv4 and IPv6.

use super::network::{PEER, Peer};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

/// Nothing takes nearly as long between two namespaces.
const PATIENCE: Duration = Duration::from_secs(5);
const TCP_PORTS: [u16; 3] = [80, 443, 8443];
const REQUEST: usize = 2_000;
const RESPONSE: usize = 60_000;
const UDP_PORTS: [u16; 3] = [53, 123, 514];
const DATAGRAMS: u16 = 30;
const ECHOES: u16 = 20;

/// Lets the peer answer, then talks to it.
pub fn exchange(peer: &Peer) -> io::Result<()> {
    for address in [IpAddr::V4(PEER.v4), IpAddr::V6(PEER.v6)] {
        for port in TCP_PORTS {
            let place = SocketAddr::new(address, port);
            peer.run(move || serve_tcp(place))??;
            talk_tcp(place)?;
        }
        for port in UDP_PORTS {
            let place = SocketAddr::new(address, port);
            peer.run(move || serve_udp(place))??;
            talk_udp(place, usize::from(port))?;
        }
        ping(address)?;
    }
    Ok(())
}

/// Answers one connection.
fn serve_tcp(place: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(place)?;
    thread::Builder::new().name("tcp".to_owned()).spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_exact(&mut [0; REQUEST])?;
        stream.write_all(&[1; RESPONSE])
    })?;
    Ok(())
}

fn talk_tcp(place: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&place, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[1; REQUEST])?;
    let mut response = Vec::new();
    match stream.read_to_end(&mut response)? {
        RESPONSE => Ok(()),
        length => Err(io::Error::other(format!("TCP to {place} brought {length} octets instead of {RESPONSE}"))),
    }
}

/// Answers each datagram with itself.
fn serve_udp(place: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(place)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    thread::Builder::new().name("udp".to_owned()).spawn(move || {
        let mut buffer = [0; 2048];
        for _ in 0..DATAGRAMS {
            let (length, from) = socket.recv_from(&mut buffer)?;
            socket.send_to(&buffer[..length], from)?;
        }
        io::Result::Ok(())
    })?;
    Ok(())
}

fn talk_udp(place: SocketAddr, length: usize) -> io::Result<()> {
    let any: IpAddr = if place.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(place)?;
    for _ in 0..DATAGRAMS {
        socket.send(&vec![1; length])?;
        socket.recv(&mut [0; 2048])?;
    }
    Ok(())
}

/// Echo requests (RFC 792, RFC 4443), each answered before the next.
fn ping(address: IpAddr) -> io::Result<()> {
    const IPV4_HEADER: usize = 20;
    let (domain, protocol, request, reply, header) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0, IPV4_HEADER),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129, 0), // a raw socket gives no IPv6 header
    };
    let mut socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&SocketAddr::new(address, 0).into())?;
    for sequence in 0..ECHOES {
        socket.send(&echo(request, sequence))?;
        let mut buffer = [0; 256];
        while socket.read(&mut buffer).map_err(no_answer)? <= header || buffer[header] != reply {}
    }
    Ok(())
}

fn no_answer(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => io::Error::other("an echo request was not answered"),
        _ => error,
    }
}

/// Type, code, checksum (which the kernel fills in for ICMPv6), identifier, sequence number, data.
fn echo(kind: u8, sequence: u16) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0x4e, 0x57];
    message.extend(sequence.to_be_bytes());
    message.extend([0; 56]);
    let sum: u32 = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    message[2..4].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    message
}
