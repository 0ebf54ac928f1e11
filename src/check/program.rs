//! Asks other programs, and waits for their answer only so long.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::env;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

/// Where administrators' programs are, which not every user's PATH names.
const PLACES: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// There is no such program.
    #[error("it is not installed")]
    Missing,
    /// It took too long.
    #[error("it took too long")]
    Late,
    /// It failed, and said this.
    #[error("it says: {0}")]
    Failed(String),
}

/// What a program, split at spaces from its options, prints until `deadline`.
pub fn ask(command: &str, deadline: Instant) -> Result<String, NoAnswer> {
    let mut words = command.split(' ');
    let path = env::var("PATH").map_or(PLACES.to_owned(), |path| format!("{path}:{PLACES}"));
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).env("PATH", path).env("LC_ALL", "C");
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| match error.kind() {
        ErrorKind::NotFound => NoAnswer::Missing,
        _ => NoAnswer::Failed(error.to_string()),
    })?;
    let answer = hear(&mut child, deadline);
    if answer.is_err() {
        // ends it, or finds it ended; what it started may go on, and is not heard
        let _ = child.kill();
        child.stderr = None;
    }
    let failed = |error: io::Error| NoAnswer::Failed(error.to_string());
    let ended = child.wait_with_output().map_err(failed)?;
    match answer {
        Ok(answer) if ended.status.success() => Ok(String::from_utf8_lossy(&answer).into_owned()),
        Ok(_) => Err(NoAnswer::Failed(first_line(&ended.stderr))),
        Err(error) if error.kind() == ErrorKind::TimedOut => Err(NoAnswer::Late),
        Err(error) => Err(failed(error)),
    }
}

/// Until the end of what it prints.
fn hear(child: &mut Child, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut buffer = [0; 64 * 1024];
    let Some(mut stdout): Option<ChildStdout> = child.stdout.take() else { return Ok(answer) };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let mut awaited = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        if poll(&mut awaited, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))? > 0 {
            match stdout.read(&mut buffer)? {
                0 => return Ok(answer),
                length => answer.extend(&buffer[..length]),
            }
        }
    }
}

fn first_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    said.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn answers_and_why_there_is_none() {
        let ask = |command, patience| ask(command, Instant::now() + Duration::from_secs(patience));
        assert_eq!(ask("echo a b", 60).unwrap(), "a b\n");
        for (command, patience, expected) in [
            ("no-such-program", 60, "it is not installed"),
            ("ls /no-such-file", 60, "it says: ls: cannot access '/no-such-file': No such file or directory"),
            ("false", 60, "it says: nothing"),
            ("sleep 600", 0, "it took too long"),
            ("yes", 0, "it took too long"),
        ] {
            assert_eq!(ask(command, patience).unwrap_err().to_string(), expected, "{command}");
        }
    }
}
