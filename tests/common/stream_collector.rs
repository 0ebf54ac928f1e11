//! Collectors of the tests' own at the end of a connection: TCP as it is, and openssl's server for TLS and DTLS.

use super::flows::Flows;
use super::netns::Netns;
use super::pki::Identity;
use super::process::{Process, until};
use super::udp_collector::decode;
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// How many flows of one packet each these messages tell of.
pub fn flows(messages: &[Vec<u8>]) -> usize {
    let Flows(flows) = decode(messages);
    assert!(flows.values().all(|counts| counts.packets == 1), "each once");
    flows.len()
}

/// The messages in what came by a connection; what is cut off at its end is none.
pub fn messages(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let [_, _, high, low, ..] = *octets {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((message, rest)) = octets.split_at_checked(length) else { break };
        messages.push(message.to_vec());
        octets = rest;
    }
    messages
}

/// Takes connections one after the other, until it is stopped.
pub struct TcpCollector {
    port: u16,
    /// What came by each connection.
    came: Arc<Mutex<Vec<Vec<u8>>>>,
    current: Arc<Mutex<Option<TcpStream>>>,
    thread: JoinHandle<()>,
}

impl TcpCollector {
    /// On a port of the namespace's loopback device.
    pub fn start(netns: &Netns, port: u16) -> Self {
        let listener = netns.enter(|| until("a free port", || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()));
        let (came, current) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
        let (taken, open) = (came.clone(), current.clone());
        let thread = thread::spawn(move || {
            for number in 0.. {
                let (mut stream, _) = listener.accept().unwrap();
                taken.lock().unwrap().push(Vec::new());
                *open.lock().unwrap() = Some(stream.try_clone().unwrap());
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    taken.lock().unwrap()[number].extend(&buffer[..length]);
                }
                if open.lock().unwrap().take().is_none() {
                    return;
                }
            }
        });
        Self { port, came, current, thread }
    }

    /// The messages so far, by connection.
    pub fn messages(&self) -> Vec<Vec<Vec<u8>>> {
        self.came.lock().unwrap().iter().map(|octets| messages(octets)).collect()
    }

    /// Ends it, and its connection with it.
    pub fn stop(self, netns: &Netns) -> Vec<Vec<Vec<u8>>> {
        // without a connection it waits for one
        let waker = netns.enter(|| {
            let none = self.current.lock().unwrap().is_none();
            none.then(|| TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap())
        });
        let connection = until("a connection", || self.current.lock().unwrap().take());
        connection.shutdown(std::net::Shutdown::Both).unwrap();
        drop(waker);
        self.thread.join().unwrap();
        let mut came = self.came.lock().unwrap().iter().map(|octets| messages(octets)).collect::<Vec<_>>();
        came.retain(|messages| !messages.is_empty());
        came
    }
}

/// `openssl s_server`, which writes what comes to a file.
pub struct TlsCollector {
    server: Process,
}

impl TlsCollector {
    /// At port 4740 of the namespace's loopback device, with more options to openssl.
    pub fn start(netns: &Netns, identity: &Identity, options: &str) -> Self {
        let mut collector = Self::spawn(netns, identity, options);
        collector.server.listens_to_tcp(4740);
        collector
    }

    /// The same, by DTLS 1.2.
    pub fn start_dtls(netns: &Netns, identity: &Identity, options: &str) -> Self {
        let mut collector = Self::spawn(netns, identity, &format!("-dtls1_2 {options}"));
        collector.server.listens(4740);
        collector
    }

    fn spawn(netns: &Netns, identity: &Identity, options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:4740", "-naccept", "100", "-quiet", "-cert"]);
        command.arg(&identity.cert).arg("-key").arg(&identity.key).args(options.split_whitespace());
        // its standard input is what it sends, and its end would end the connection
        command.stdin(Stdio::piped()).stderr(log).stdout(File::create(folder.path().join("came")).unwrap());
        Self { server: Process::spawned(netns.spawn(&mut command), folder) }
    }

    pub fn messages(&self) -> Vec<Vec<u8>> {
        messages(&fs::read(self.server.folder.path().join("came")).unwrap())
    }

    pub fn octets(&self) -> usize {
        fs::read(self.server.folder.path().join("came")).unwrap().len()
    }

    pub fn stop(&mut self) {
        self.server.signal(Signal::SIGKILL);
        self.server.ends();
    }
}
