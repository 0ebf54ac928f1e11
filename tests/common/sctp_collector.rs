//! A collector of the tests' own for SCTP.

use super::netns::Netns;
use super::process::until;
use nix::sys::socket::{MsgFlags, recvmsg};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often it looks whether it is to end.
const STEP: Duration = Duration::from_millis(20);

/// What it does.
const READS: u8 = 0;
const READS_NO_MORE: u8 = 1;
const ENDS: u8 = 2;

/// What came by each association, user message by user message.
type Came = Vec<Vec<Vec<u8>>>;

/// Takes associations one after the other, until it is stopped.
pub struct SctpCollector {
    came: Arc<Mutex<Came>>,
    does: Arc<AtomicU8>,
    thread: JoinHandle<()>,
}

impl SctpCollector {
    /// At port 4739 of the namespace's loopback device.
    pub fn start(netns: &Netns) -> Self {
        let place = SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 4739)));
        let listener = netns.enter(|| Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::SCTP)).unwrap());
        until("a free port", || listener.bind(&place).ok());
        listener.listen(8).unwrap();
        listener.set_read_timeout(Some(STEP)).unwrap();
        let (came, does) = (Arc::<Mutex<Came>>::default(), Arc::new(AtomicU8::new(READS)));
        let (takes, told) = (came.clone(), does.clone());
        let thread = thread::spawn(move || {
            while told.load(Ordering::Relaxed) == READS {
                if let Ok((association, _)) = listener.accept() {
                    association.set_read_timeout(Some(STEP)).unwrap();
                    takes.lock().unwrap().push(Vec::new());
                    read(&association, &takes, &told);
                }
            }
        });
        Self { came, does, thread }
    }

    /// The messages so far, by association.
    pub fn messages(&self) -> Came {
        self.came.lock().unwrap().clone()
    }

    /// Ends it, and its association with it: in peace if it has read everything.
    pub fn stop(self) -> Came {
        self.does.store(ENDS, Ordering::Relaxed);
        self.thread.join().unwrap();
        let mut came = self.came.lock().unwrap();
        came.retain(|messages| !messages.is_empty());
        came.clone()
    }

    /// Lets it end as soon as there is another message, without having read that.
    pub fn read_no_more(&self) {
        self.does.store(READS_NO_MORE, Ordering::Relaxed);
    }
}

/// Until the association or the collector ends.
fn read(association: &Socket, came: &Mutex<Came>, told: &AtomicU8) {
    let mut buffer = [0; 65_536];
    let mut begun = Vec::new();
    loop {
        let does = told.load(Ordering::Relaxed);
        let flags = if does == READS { MsgFlags::empty() } else { MsgFlags::MSG_PEEK };
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let (length, whole) = match recvmsg::<()>(association.as_raw_fd(), &mut parts, None, flags) {
            Ok(heard) => (heard.bytes, heard.flags.contains(MsgFlags::MSG_EOR)),
            Err(nix::errno::Errno::EAGAIN) if does == ENDS => return,
            Err(nix::errno::Errno::EAGAIN) => continue,
            Err(_) => return,
        };
        if length == 0 || does != READS {
            return;
        }
        begun.extend(&buffer[..length]);
        if whole {
            came.lock().unwrap().last_mut().unwrap().push(std::mem::take(&mut begun));
        }
    }
}
