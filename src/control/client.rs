//! The other end: asks a running probe.

use super::answer::Answer;
use super::request::{self, Command};
use super::{USUAL_PATH, VERSION};
use nix::unistd::{Gid, Group, Uid, User};
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long to wait for an answer that takes no work.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of the longest answer that is read.
const LONGEST: u64 = 256 << 20;

/// Why there is no answer; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no probe.
    #[error("no nfweir runs with the control socket {0}: start it, or name its --control PATH")]
    Nobody(String),
    /// It may not be asked.
    #[error("the control socket {0} may not be used by this user: {1}")]
    Forbidden(String, String),
    /// The connection does not serve.
    #[error("nfweir at {0} does not answer: {1}")]
    Broken(String, io::Error),
    /// What comes is no answer.
    #[error("what answers at {0} is no nfweir {program}: {1}", program = super::status::program())]
    Unknown(String, String),
    /// The probe says why not.
    #[error("{0}")]
    Refused(String),
}

/// A connection to a probe.
pub struct Client {
    path: String,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the probe with this control socket.
    pub fn connect(path: Option<&Path>) -> Result<Self, ClientError> {
        let path = path.unwrap_or(Path::new(USUAL_PATH));
        let shown = path.display().to_string();
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Self { path: shown, stream: BufReader::new(stream) }),
            Err(error) => Err(match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::Nobody(shown),
                ErrorKind::PermissionDenied => ClientError::Forbidden(shown, allowed(path)),
                _ => ClientError::Broken(shown, error),
            }),
        }
    }

    /// Asks, and waits for the answer: for long only where it takes as long as the export of every flow.
    pub fn ask(&mut self, command: Command) -> Result<Answer, ClientError> {
        let patience = match command {
            Command::Status | Command::Flows(_) => Some(PATIENCE),
            Command::Flush | Command::Stop => None,
        };
        let line = self.exchange(&request::line(command), patience);
        let line = line.map_err(|error| ClientError::Broken(self.path.clone(), explained(error)))?;
        let unknown = |reason: String| ClientError::Unknown(self.path.clone(), reason);
        let answer: Answer = serde_json::from_slice(&line).map_err(|error| unknown(error.to_string()))?;
        match answer {
            Answer { version, .. } if version != VERSION => Err(unknown(format!("its answers have version {version}"))),
            Answer { error: Some(error), .. } => Err(ClientError::Refused(error)),
            answer => Ok(answer),
        }
    }

    fn exchange(&mut self, request: &[u8], patience: Option<Duration>) -> io::Result<Vec<u8>> {
        let stream = self.stream.get_mut();
        stream.set_read_timeout(patience)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // whoever is sent away has an answer to read
        let written = stream.write_all(request);
        let mut line = Vec::new();
        self.stream.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            written?;
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }

    /// That an answer has nothing of what was asked for.
    pub fn nothing(&self) -> ClientError {
        ClientError::Unknown(self.path.clone(), "it answers something else".to_owned())
    }
}

fn explained(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => {
            io::Error::other("it may be sending at the paced rate, which takes its time; ask again")
        }
        ErrorKind::UnexpectedEof => io::Error::other("it has ended, or too many ask at the same time"),
        _ => error,
    }
}

/// Who may use it.
fn allowed(path: &Path) -> String {
    let Ok(about) = fs::metadata(path) else { return "use sudo".to_owned() };
    let group = Group::from_gid(Gid::from_raw(about.gid())).ok().flatten();
    let user = User::from_uid(Uid::from_raw(about.uid())).ok().flatten();
    let group = group.map_or(about.gid().to_string(), |group| group.name);
    let user = user.map_or(about.uid().to_string(), |user| user.name);
    format!("it is for user {user} and group {group}: be in that group, or use sudo")
}
