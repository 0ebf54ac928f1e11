//! A file that is begun anew after a time or a size, what was before being kept under the time of its beginning.

use crate::time::Timestamp;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
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

/// The file that is being written. A write gets there as a whole or not at all.
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
        match fs::metadata(path) {
            Ok(about) if about.is_file() && about.len() > 0 => {
                let written = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
                keep(path, Timestamp::from_nanos(u64::try_from(written.as_nanos()).unwrap_or(u64::MAX)))?;
            }
            _ => {}
        }
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
        Ok(Self { path: path.to_owned(), rotation, file, length: 0, begun: now })
    }

    /// Begins the next file if it is time to, and says whether it did.
    pub fn rotate(&mut self, now: Timestamp) -> io::Result<bool> {
        let old = self.rotation.time.is_some_and(|time| now.since(self.begun) >= time);
        let large = self.rotation.size.is_some_and(|size| self.length >= size);
        if self.length == 0 || !(old || large) {
            return Ok(false);
        }
        keep(&self.path, self.begun)?;
        *self = Self::begin(&self.path, self.rotation, now)?;
        Ok(true)
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

impl Write for RotatingFile {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.file.write_all(octets) {
            // a message or line that is cut off would make unreadable what comes behind it
            self.file.set_len(self.length)?;
            io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.length))?;
            return Err(error);
        }
        self.length += octets.len() as u64;
        Ok(octets.len())
    }

    /// Nothing is held back; what has been written is whole, so the next file may begin.
    fn flush(&mut self) -> io::Result<()> {
        self.rotate(Timestamp::now()).map(drop)
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
        assert!(!file.rotate(at(61)).unwrap(), "nothing is in it");
        file.write_all(b"four").unwrap();
        assert!(!file.rotate(at(59)).unwrap());
        assert!(file.rotate(at(60)).unwrap());
        file.write_all(b"now it is ten").unwrap();
        assert!(file.rotate(at(60)).unwrap());
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
}
