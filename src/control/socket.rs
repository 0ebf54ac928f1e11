//! The socket's file: made, left alone where another probe has it, and removed.

use super::USUAL_PATH;
use nix::sys::stat::{Mode, umask};
use nix::unistd::User;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Who may ask: the user that the probe is, and its group.
const MODE: libc::mode_t = 0o660;

/// Where a probe is asked and told things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Where it is expected, if it can be had.
    #[default]
    Usual,
    /// There.
    At(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// Why there is no socket; the text is the operator's.
#[derive(Debug, thiserror::Error)]
#[error("the control socket {} cannot be made: {reason}", path.display())]
pub struct SocketError {
    path: PathBuf,
    reason: String,
}

/// A socket that peers can connect to. Its file goes with it.
#[derive(Debug)]
pub struct ControlSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file.
    identity: (u64, u64),
}

impl Place {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Usual => Some(Path::new(USUAL_PATH)),
            Self::At(path) => Some(path),
            Self::Nowhere => None,
        }
    }
}

/// Makes the socket's folder, if it is not there, for who will make the socket. What fails here is said there.
pub fn prepare(place: &Place, owner: Option<&User>) {
    let Some(folder) = place.path().and_then(Path::parent) else { return };
    if DirBuilder::new().mode(0o755).create(folder).is_ok() {
        // whatever the umask was
        let _ = fs::set_permissions(folder, Permissions::from_mode(0o755));
        if let Some(user) = owner {
            let _ = chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()));
        }
    }
}

/// Makes the socket. Where nobody asked for it, a failure is a warning. Must come before there is any thread, as it sets the
/// process's umask for a moment.
pub fn open(place: &Place) -> Result<Option<ControlSocket>, SocketError> {
    let Some(path) = place.path() else { return Ok(None) };
    match listen(path) {
        Ok(socket) => Ok(Some(socket)),
        Err(reason) => {
            let error = SocketError { path: path.to_owned(), reason };
            if *place != Place::Usual {
                return Err(error);
            }
            log::warn!("{error}; until then `nfweir status` and the like do not find this probe");
            Ok(None)
        }
    }
}

fn listen(path: &Path) -> Result<ControlSocket, String> {
    clear(path)?;
    let mend = |error: io::Error| {
        format!(
            "{error}: it takes a folder where the user that the probe is or becomes (--user) may write; name one with \
             --control PATH, or none with --control none"
        )
    };
    // so that nobody else can connect at any moment
    let before = umask(Mode::from_bits_truncate(0o777 & !MODE));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener.map_err(mend)?;
    listener.set_nonblocking(true).map_err(mend)?;
    let identity = identity(path).map_err(mend)?;
    Ok(ControlSocket { listener, path: path.to_owned(), identity })
}

/// Removes a socket that a process has left behind; says who else is in the way.
fn clear(path: &Path) -> Result<(), String> {
    let Ok(about) = fs::symlink_metadata(path) else { return Ok(()) };
    let other = "name another with --control PATH, or none with --control none";
    if !about.file_type().is_socket() {
        return Err(format!("there is a file that is no socket: remove it, or {other}"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| format!("what an earlier process left there cannot be removed ({error}): {other}")),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(format!("it is another user's (the user with the number {}): {other}", about.uid()))
        }
        _ => Err(format!("another probe has it: {other}")),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let about = fs::symlink_metadata(path)?;
    Ok((about.dev(), about.ino()))
}

impl ControlSocket {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // unless somebody has put another in its place
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &Path) -> Result<ControlSocket, SocketError> {
        open(&Place::At(path.to_owned())).map(Option::unwrap)
    }

    #[test]
    fn a_living_socket_is_left_alone_and_a_dead_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let first = opened(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        assert!(opened(&path).unwrap_err().to_string().contains("another probe has it"));
        drop(first);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "as a killed process leaves it");
        let second = opened(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "no socket").unwrap();
        drop(second);
        assert!(opened(&path).unwrap_err().to_string().contains("a file that is no socket"));
        assert_eq!(fs::read(&path).unwrap(), b"no socket");
    }

    #[test]
    fn nowhere_is_nowhere_and_a_missing_folder_is_made() {
        assert!(open(&Place::Nowhere).unwrap().is_none());
        let folder = tempfile::tempdir().unwrap();
        let place = Place::At(folder.path().join("a/socket"));
        assert!(open(&place).unwrap_err().to_string().contains("--control none"));
        prepare(&place, None);
        assert!(open(&place).unwrap().is_some());
    }
}
