//! A reader of Prometheus's text format, and of HTTP.

use super::netns::Netns;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// Samples as they stand, name and labels, with their values.
pub type Samples = BTreeMap<String, f64>;

/// What is answered to these octets, behind which nothing comes, at a port of the namespace's loopback device.
pub fn ask(netns: &Netns, port: u16, octets: &[u8]) -> String {
    let mut client = netns.enter(|| TcpStream::connect(("127.0.0.1", port)).unwrap());
    client.write_all(octets).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// The counters of a probe that listens there.
pub fn scrape(netns: &Netns, port: u16) -> Samples {
    let answer = ask(netns, port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n");
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", text.len())), "{head}");
    read(text)
}

/// Each family has its help, its type and its samples together; counters end with `_total`, and nothing comes twice.
pub fn read(text: &str) -> Samples {
    let (mut samples, mut families) = (Samples::new(), BTreeSet::new());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (family, meaning) = line.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        assert!(meaning.ends_with('.') && families.insert(family), "{line}");
        let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {family} ")).unwrap();
        assert_eq!(kind == "counter", family.ends_with("_total"), "{family}");
        assert!(["counter", "gauge"].contains(&kind) && family.bytes().all(|c| c == b'_' || c.is_ascii_lowercase()));
        while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
            let (name, value) = sample.rsplit_once(' ').unwrap();
            assert_eq!(name.split('{').next(), Some(family));
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} twice");
        }
    }
    assert!(text.ends_with('\n'));
    samples
}
