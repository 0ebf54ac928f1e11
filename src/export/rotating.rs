//! A file that is begun anew after a time or a size, what was before being kept under the time of its beginning.

use crate::time::Timestamp;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// When a file is begun anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// After this much time.
    pub time: Option<Duration>,
    /// Once it has so many octets.
    pub size: Option<u64>,
}

/// The file that is being written, by this process alone. A write gets there as a whole or not at all.
pub struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    /// Octets in it.
    length: u64,
    begun: Timestamp,
}

impl RotatingFile {
    /// Begins a file at `now`. One that is already there is kept under another name.
    pub fn begin(path: &Path, rotation: Rotation, now: Timestamp) -> io::Result<Self> {
        let mut file = open(path)?;
        let about = file.metadata()?;
        if about.is_file() && about.len() > 0 {
            let written = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            keep(path, Timestamp::from_nanos(u64::try_from(written.as_nanos()).unwrap_or(u64::MAX)))?;
            file = open(path)?;
        }
        Ok(Self { path: path.to_owned(), rotation, file, length: 0, begun: now })
    }

    /// Whether it is time for the next file.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let old = self.rotation.time.is_some_and(|time| now.since(self.begun) >= time);
        let large = self.rotation.size.is_some_and(|size| self.length >= size);
        self.length > 0 && (old || large)
    }

    /// Whether somebody has moved or removed it: what is written to it now, nobody finds.
    pub fn is_gone(&self) -> bool {
        let identity = |about: &Metadata| (about.dev(), about.ino());
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(own)) => identity(&there) != identity(&own),
            _ => true,
        }
    }

    /// Begins the next file; this one is kept, if it is still there.
    pub fn next(&mut self, now: Timestamp) -> io::Result<()> {
        // a device stays what it is
        if !self.is_gone() && self.length > 0 && self.file.metadata()?.is_file() {
            keep(&self.path, self.begun)?;
        }
        *self = Self::begin(&self.path, self.rotation, now)?;
        Ok(())
    }

    /// Writes all of these octets, or none.
    pub fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(octets) {
            // a message or line that is cut off would make unreadable what comes behind it
            let cut = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            return Err(if self.length > 0 { cut.err().unwrap_or(error) } else { error });
        }
        self.length += octets.len() as u64;
        Ok(())
    }
}

/// Opens a file to be written, unless another destination or process does that.
fn open(path: &Path) -> io::Result<File> {
    // without waiting for somebody at the other end of a pipe
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() {
        return Err(io::Error::other("it is a pipe"));
    }
    // of a device everybody may be one of many writers, as of /dev/null
    if !kind.is_file() {
        return Ok(file);
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::other("something else writes it: give each a file of its own")),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Gives a file the name under which it stays: with the time of its beginning, and a number if there is such a file.
fn keep(path: &Path, begun: Timestamp) -> io::Result<()> {
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(begun.seconds())).to_string();
    let stem = format!("{}.{}", path.display(), time.replace([':', '-'], ""));
    let name = |number: u32| if number == 0 { stem.clone() } else { format!("{stem}-{number}") };
    let free = (0..).map(name).find(|name| !Path::new(name).exists());
    fs::rename(path, free.unwrap_or(stem))
}

/// Lines stand for themselves, so the next file can begin behind any of them.
impl Write for RotatingFile {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.is_gone() {
            self.next(Timestamp::now())?;
        }
        self.append(octets)?;
        Ok(octets.len())
    }

    /// Nothing is held back; what has been written is whole.
    fn flush(&mut self) -> io::Result<()> {
        let now = Timestamp::now();
        if self.is_due(now) { self.next(now) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_nanos((1_700_000_000 + second) * 1_000_000_000)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_begun_anew_by_time_and_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flows");
        let rotation = Rotation { time: Some(Duration::from_secs(60)), size: Some(10) };
        let mut file = RotatingFile::begin(&path, rotation, at(0)).unwrap();
        assert!(!file.is_due(at(61)), "nothing is in it");
        file.append(b"four").unwrap();
        assert!(!file.is_due(at(59)) && file.is_due(at(60)));
        file.next(at(60)).unwrap();
        file.append(b"now it is ten").unwrap();
        assert!(file.is_due(at(61)));
        file.next(at(61)).unwrap();
        assert_eq!(names(folder.path()), ["flows", "flows.20231114T221320Z", "flows.20231114T221420Z"]);
        assert_eq!(fs::read(folder.path().join("flows.20231114T221320Z")).unwrap(), b"four");
    }

    #[test]
    fn what_is_there_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flows");
        for _ in 0..3 {
            fs::write(&path, "before").unwrap();
            RotatingFile::begin(&path, Rotation::default(), at(0)).unwrap();
        }
        let kept = names(folder.path());
        assert_eq!(kept.len(), 4, "{kept:?}");
        assert!(kept[1..].iter().all(|name| fs::read(folder.path().join(name)).unwrap() == b"before"));
    }

    #[test]
    fn a_file_that_is_gone_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flows");
        let mut file = RotatingFile::begin(&path, Rotation::default(), at(0)).unwrap();
        file.write_all(b"one").unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        file.write_all(b"two").unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), fs::read(folder.path().join("moved")).unwrap()),
            (b"two".into(), b"one".into())
        );
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(file.write_all(b"three").is_err());
    }

    #[test]
    fn one_file_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flows");
        let begin = || RotatingFile::begin(&path, Rotation::default(), at(0));
        let first = begin().unwrap();
        assert!(begin().is_err_and(|error| error.to_string().contains("something else writes it")));
        drop(first);
        assert!(begin().is_ok());
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(RotatingFile::begin(&path, Rotation::default(), at(0)).is_err());
    }
}
