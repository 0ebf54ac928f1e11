//! `nfweir demo` as root and as anybody else: the books balance.

use nix::unistd::geteuid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

const NFWEIR: &str = env!("CARGO_BIN_EXE_nfweir");
const NOBODY: u32 = 65534;

fn assert_balanced(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let last = text.lines().last().unwrap_or_default();
    let numbers: Vec<u64> = last.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(matches!(numbers[..], [a, b, c] if a == b && b == c && a > 400), "{last}");
    for protocol in ["TCP", "UDP", "ICMP", "IPv6-ICMP"] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(protocol)), "no {protocol} in {text}");
    }
}

#[test]
fn as_root() {
    assert!(geteuid().is_root(), "this test has to be run as root");
    assert_balanced(&Command::new(NFWEIR).arg("demo").output().unwrap());
}

#[test]
fn as_anybody() {
    assert!(geteuid().is_root(), "this test has to be run as root, to become somebody else");
    // where nobody can read it
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("nfweir");
    fs::copy(NFWEIR, &program).unwrap();
    assert_balanced(&Command::new(program).arg("demo").uid(NOBODY).gid(NOBODY).output().unwrap());
}
