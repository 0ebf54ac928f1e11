//! Programs that the tests run.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub const NFWEIR: &str = env!("CARGO_BIN_EXE_nfweir");

/// Longer than anything takes, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Fails with a sentence where a program is missing.
pub fn require(program: &str, package: &str) {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(program))
        .any(|path: PathBuf| path.is_file());
    assert!(found, "this test needs `{program}`: install Debian's package {package}, or run tests/run, which does");
}

/// Waits until something is so.
#[track_caller]
pub fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for the end of a program.
#[track_caller]
pub fn ends(name: &str, child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_for(&format!("the end of {name}"), || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// What nfweir said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl Said {
    /// The number before these words in the account.
    #[track_caller]
    pub fn account(&self, words: &str) -> u64 {
        let end = self.stderr.rfind(words).unwrap_or_else(|| panic!("no `{words}` in {}", self.stderr));
        let number = self.stderr[..end].split_whitespace().next_back().unwrap();
        number
            .trim_start_matches('(')
            .parse()
            .unwrap_or_else(|_| panic!("no number before `{words}` in {}", self.stderr))
    }

    /// The promise: packets seen are those in flows and in the counters, and those in flows were exported.
    #[track_caller]
    pub fn assert_balanced(&self) {
        let lost = ["in flows (", "ignored for", "not IP", "malformed"].map(|words| self.account(words));
        assert_eq!(self.account("seen"), lost.iter().sum::<u64>(), "{}", self.stderr);
        assert_eq!(self.account("in flows ("), self.account("packets ("), "{}", self.stderr);
    }
}

/// Runs nfweir to its end.
pub fn nfweir<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Said {
    let output = Command::new(NFWEIR).args(arguments).stdin(Stdio::null()).output().unwrap();
    output.into()
}
