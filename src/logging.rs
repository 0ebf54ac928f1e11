//! The log: standard error, with systemd's priorities where its journal reads it, or syslog.

use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use std::env;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use syslog::{Facility, Formatter3164, LogFormat, Severity};

/// Where the local syslog listens.
const DEV_LOG: &str = "/dev/log";

/// Starts logging. Where there is no syslog, standard error serves, with a warning.
pub fn start(to_syslog: bool) {
    let syslog = to_syslog.then(|| Syslog::new(Path::new(DEV_LOG)));
    let absent = syslog.as_ref().and_then(|syslog| syslog.connect().err());
    // set only once: a second logger would be a mistake of this program, and the first goes on
    let _ = log::set_boxed_logger(Box::new(Logger { syslog, journal: is_journal(), dropped: AtomicU64::new(0) }));
    log::set_max_level(LevelFilter::Info);
    if let Some(error) = absent {
        log::warn!("syslog cannot be reached at {DEV_LOG} ({error}): logging to standard error until it can");
    }
}

struct Logger {
    syslog: Option<Syslog>,
    /// Standard error goes to systemd's journal.
    journal: bool,
    /// Lines that standard error had no room for, since the last that it took.
    dropped: AtomicU64,
}

impl Logger {
    /// Writes to standard error if that takes it at once: a terminal that is stopped, or a pipe that nobody reads, must not
    /// stop the probe.
    fn write(&self, level: Level, text: &str) {
        if !has_room(io::stderr()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let mut lines = stderr_line(level, text, self.journal);
        if dropped > 0 {
            let notice = format!("{dropped} lines of this log were dropped, as standard error did not take them");
            lines.insert_str(0, &stderr_line(Level::Warn, &notice, self.journal));
        }
        // nor must one that fails
        let _ = io::stderr().write_all(lines.as_bytes());
    }
}

/// Whether a file takes a line without blocking: a pipe says so when it has room for 4096 octets, and
/// lines are shorter.
fn has_room(file: impl AsFd) -> bool {
    let mut awaited = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
    poll(&mut awaited, PollTimeout::ZERO).is_ok() && awaited[0].revents().is_some_and(|events| !events.is_empty())
}

/// Whether standard error is the stream of systemd's journal, which JOURNAL_STREAM names by device and inode
/// (systemd.exec(5)).
fn is_journal() -> bool {
    let stream = env::var("JOURNAL_STREAM").unwrap_or_default();
    fstat(io::stderr()).is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = printable(&record.args().to_string());
        if self.syslog.as_ref().is_none_or(|syslog| syslog.send(severity(record.level()), &text).is_err()) {
            self.write(record.level(), &text);
        }
    }

    fn flush(&self) {}
}

/// Control characters escaped, so that no text from elsewhere forges a line or moves a terminal's cursor.
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// For the journal with the priority prefix of sd-daemon(3), for people with a word.
fn stderr_line(level: Level, text: &str, journal: bool) -> String {
    match (journal, level) {
        (true, Level::Error) => format!("<3>{text}\n"),
        (true, Level::Warn) => format!("<4>{text}\n"),
        (true, Level::Info) => format!("<6>{text}\n"),
        (true, Level::Debug | Level::Trace) => format!("<7>{text}\n"),
        (false, Level::Error) => format!("nfweir: error: {text}\n"),
        (false, Level::Warn) => format!("nfweir: warning: {text}\n"),
        (false, _) => format!("nfweir: {text}\n"),
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Error => Severity::LOG_ERR,
        Level::Warn => Severity::LOG_WARNING,
        Level::Info => Severity::LOG_INFO,
        Level::Debug | Level::Trace => Severity::LOG_DEBUG,
    }
}

/// The syslog socket, connected anew after a restart of the daemon. It never blocks.
struct Syslog {
    path: Box<Path>,
    formatter: Formatter3164,
    socket: Mutex<Option<UnixDatagram>>,
}

impl Syslog {
    fn new(path: &Path) -> Self {
        let formatter = Formatter3164 {
            facility: Facility::LOG_DAEMON,
            hostname: None,
            process: "nfweir".to_owned(),
            pid: process::id(),
        };
        Self { path: path.into(), formatter, socket: Mutex::new(None) }
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        Ok(socket)
    }

    fn send(&self, severity: Severity, text: &str) -> io::Result<()> {
        let mut message = Vec::new();
        self.formatter.format(&mut message, severity, text).map_err(io::Error::other)?;
        let mut connected = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = &*connected
            && socket.send(&message).is_ok()
        {
            return Ok(());
        }
        let socket = self.connect()?;
        socket.send(&message)?;
        *connected = Some(socket);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_people_and_for_the_journal() {
        assert_eq!(stderr_line(Level::Warn, "a", false), "nfweir: warning: a\n");
        assert_eq!(stderr_line(Level::Warn, "a", true), "<4>a\n");
        assert_eq!(printable("a\nb\u{1b}[2Jé"), "a\\nb\\u{1b}[2Jé");
    }

    #[test]
    fn syslog_is_found_again_after_its_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let syslog = Syslog::new(&path);
        assert!(syslog.send(Severity::LOG_INFO, "nobody listens").is_err());
        for text in ["first", "second"] {
            let daemon = UnixDatagram::bind(&path).unwrap();
            syslog.send(Severity::LOG_WARNING, text).unwrap();
            let mut buffer = [0; 256];
            let length = daemon.recv(&mut buffer).unwrap();
            let line = String::from_utf8_lossy(&buffer[..length]);
            // facility daemon (3) * 8 + severity warning (4)
            assert!(
                line.starts_with("<28>") && line.ends_with(&format!("nfweir[{}]: {text}", process::id())),
                "{line}"
            );
            drop(daemon);
            std::fs::remove_file(&path).unwrap();
        }
    }
}
