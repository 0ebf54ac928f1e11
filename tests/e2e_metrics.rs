//! The counters over HTTP, as Prometheus reads them, and clients that are none.

mod common;

use common::loopback::{host, send};
use common::netns::Netns;
use common::nfweir::{Probe, nfweir};
use common::process::until;
use common::prometheus::{ask, scrape};
use common::stream_collector::TcpCollector;
use nix::sys::signal::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn the_numbers_are_those_of_the_account() {
    let host = host();
    let _collector = host.udp("127.0.0.1:9995");
    let (near, far) = ("ipfix://127.0.0.1:9995", "ipfix+tcp://127.0.0.1:9996?queue=70");
    let mut probe = Probe::start(&host, &format!("-e {near} -e {far} --metrics 9464 --inactive-timeout 1s"));
    send(&host, 0..50);
    send(&host, 0..50);
    let far = "ipfix+tcp://127.0.0.1:9996";
    let of = |name: &str, collector: &str| format!("nfweir_collector_{name}{{collector=\"{collector}\"}}");
    let samples = until("all flows exported", || {
        let samples = scrape(&host, 9464);
        (samples["nfweir_table_flows"] == 0.0
            && samples[&of("records_total", near)] == 50.0
            && samples[&of("queued_records", far)] == 50.0)
            .then_some(samples)
    });
    probe.until_account("seen,", 100);
    let account = common::account::Account(probe.log());
    for (name, value) in [
        ("nfweir_capture_packets_total{group=\"5\"}", account.number("seen,")),
        ("nfweir_capture_flow_bytes_total{group=\"5\"}", account.in_flows().1),
        ("nfweir_capture_lost_packets_total{group=\"5\"}", account.number("lost in the kernel")),
        ("nfweir_export_flows_total", account.number("exported with")),
        ("nfweir_export_idle_timeouts_total", account.number("idle,")),
        (&of("messages_total", near), account.of(near).messages()),
        (&of("given_records_total", far), account.of(far).number("not sent yet")),
        (&of("up", near), 1),
        (&of("up", far), 0),
        (&of("queue_limit", near), 0),
        (&of("queue_limit", far), 70),
        ("nfweir_table_flows", 0),
        ("nfweir_table_limit", 524_288),
        ("nfweir_build_info{version=\"0.1.0\"}", 1),
    ] {
        assert_eq!(samples[name], value as f64, "{name}");
    }
    assert!(samples["nfweir_start_time_seconds"] > 1.7e9);
    // and once it listens, its queue runs empty
    let collector = TcpCollector::start(&host, 9996);
    until("the queue empty", || (scrape(&host, 9464)[&of("records_total", far)] == 50.0).then_some(()));
    until("a word of that", || {
        let samples = scrape(&host, 9464);
        (samples[&of("queued_records", far)] == 0.0 && samples[&of("up", far)] == 1.0).then_some(())
    });
    probe.stop().assert_balance();
    collector.stop(&host);
}

#[test]
fn clients_that_are_none_hinder_nobody() {
    let host = host();
    let mut probe = Probe::start(&host, "-e json:/dev/null --metrics 127.0.0.1:9464");
    for (octets, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\n", "400 Bad Request"),
        (&[b'A'; 100_000], "400 Bad Request"),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"GET / HTTP/1.0\r\n\r\n", "200 OK"),
    ] {
        // who sends more than is read may be cut short
        let mut client = host.enter(|| TcpStream::connect("127.0.0.1:9464").unwrap());
        let (_, mut answer) =
            (client.write_all(octets).and_then(|()| client.shutdown(std::net::Shutdown::Write)), Vec::new());
        let _ = client.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) || octets.len() > 8192, "{answer}");
    }
    // many more than are served at once, and say nothing
    let silent: Vec<_> = (0..100).map(|_| host.enter(|| TcpStream::connect("127.0.0.1:9464").unwrap())).collect();
    send(&host, 0..10);
    until("the packets counted", || {
        (scrape(&host, 9464)["nfweir_capture_packets_total{group=\"5\"}"] == 10.0).then_some(())
    });
    drop(silent);
    assert!(ask(&host, 9464, b"HEAD /metrics HTTP/1.1\r\n\r\n").ends_with("\r\nConnection: close\r\n\r\n"));
    assert_eq!(probe.stop().number("seen"), 10);
}

/// The addresses that anything listens at by TCP, as the kernel writes them.
fn listening(probe: &Probe) -> Vec<String> {
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{}/net/{table}", probe.id())).unwrap());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1));
    rows.map(|row| row.split_whitespace().nth(1).unwrap().to_owned()).collect()
}

#[test]
fn it_is_off_by_default_and_on_loopback_where_it_is_on() {
    let host = Netns::new();
    let mut probe = Probe::start(&host, "");
    assert_eq!(listening(&probe), [""; 0]);
    probe.signal(Signal::SIGTERM);
    probe.account_at_end();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nfweir.toml");
    fs::write(&file, "metrics = 9464\n").unwrap();
    let probe = Probe::start(&host, &format!("-c {}", file.display()));
    assert_eq!(listening(&probe), ["0100007F:24F8"]);
    assert!(probe.log().contains("http://127.0.0.1:9464/metrics"), "{}", probe.log());
    for (address, reason) in [
        ("9464", "error: --metrics 127.0.0.1:9464 cannot be listened at (Address already in use (os error 98)): stop"),
        ("80", "error: --metrics 127.0.0.1:80 cannot be listened at (Permission denied (os error 13)): choose a port"),
        ("192.0.2.1:9464", "error: --metrics 192.0.2.1:9464 cannot be listened at (Cannot assign requested address"),
    ] {
        let mut refused = host.start(&mut nfweir(&format!("run -g 6 --metrics {address}")));
        assert_eq!(refused.ends(), Some(1));
        assert!(refused.log().contains(reason), "{}", refused.log());
    }
}
