//! What `nfweir run` tells the service manager that started it (sd_notify(3)). `tests/package` has the real one.

mod common;

use common::netns::Netns;
use common::nfweir::{Probe, nfweir};
use common::process::Process;
use nix::sys::signal::Signal;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// A service manager, which listens.
struct Manager {
    heard: Receiver<String>,
    folder: TempDir,
}

impl Manager {
    /// Listens where everybody may speak, as systemd does: the probe is an ordinary user by then.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        // at once, as systemd does: a socket that is full keeps who speaks waiting
        let (hear, heard) = channel();
        thread::spawn(move || {
            let mut text = [0; 1024];
            while let Ok(length) = socket.recv(&mut text) {
                if hear.send(String::from_utf8_lossy(&text[..length]).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { heard, folder }
    }

    /// The next that it is told.
    fn hears(&self) -> String {
        self.heard.recv_timeout(Duration::from_secs(30)).expect("a word within half a minute")
    }

    /// Hears nothing else until this.
    fn hears_until(&self, awaited: &str, meanwhile: &str) {
        loop {
            match self.hears() {
                said if said.starts_with(awaited) => return,
                said => assert_eq!(said, meanwhile),
            }
        }
    }

    fn start(&self, host: &Netns, options: &str) -> Process {
        let mut command = nfweir(&format!("run -g 5 {options}"));
        host.start(command.env("NOTIFY_SOCKET", self.folder.path().join("notify")).env("WATCHDOG_USEC", "200000"))
    }
}

#[test]
fn it_is_told_of_beginning_health_and_end() {
    let (host, manager) = (Netns::new(), Manager::new());
    let mut probe = Probe::started(manager.start(&host, ""));
    assert_eq!(manager.hears(), "READY=1\nSTATUS=receiving NFLOG group 5; no collector is given\n");
    // flows are not for the journal
    probe.says("no collector is given: flows are captured, but go nowhere");
    for _ in 0..3 {
        assert_eq!(manager.hears(), "WATCHDOG=1\n");
    }
    probe.signal(Signal::SIGTERM);
    manager.hears_until("STOPPING=1\n", "WATCHDOG=1\n");
    probe.account_at_end();
}

#[test]
fn a_probe_that_cannot_start_is_not_ready() {
    let (host, manager) = (Netns::new(), Manager::new());
    assert_eq!(manager.start(&host, "--user no-such-user").ends(), Some(1));
    assert_eq!(manager.heard.try_recv().ok(), None);
}

#[test]
fn an_end_takes_the_time_that_it_takes() {
    let (host, manager) = (Netns::new(), Manager::new());
    host.nft("table inet t { chain c { type filter hook input priority 0; udp dport 10000-65535 log group 5; }; }");
    let mut probe = Probe::started(manager.start(&host, "-e ipfix://127.0.0.1:9995?rate=1"));
    host.send("127.0.0.1:5000", (0..1000).map(|i| (SocketAddr::from(([127, 0, 0, 1], 10_000 + i)), 10)));
    probe.until_account("seen", 1000);
    probe.signal(Signal::SIGTERM);
    manager.hears_until("READY=1\n", "");
    manager.hears_until("STOPPING=1\n", "WATCHDOG=1\n");
    assert_eq!(manager.hears(), "EXTEND_TIMEOUT_USEC=30000000\n");
    thread::sleep(Duration::from_millis(600));
    probe.signal(Signal::SIGTERM);
    assert_eq!(probe.ends(), Some(1));
}
