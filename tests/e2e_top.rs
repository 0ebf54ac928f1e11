//! The live screen, in a terminal.

mod common;

use common::loopback::{host, send};
use common::netns::Netns;
use common::nfweir::{NFWEIR, Probe, Said, nfweir, open_folder, said};
use common::process::{require, until};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What puts a terminal's own screen and its cursor back (xterm's private modes 1049 and 25).
const RESTORED: &str = "\x1b[?1049l\x1b[?25h";

/// Of a probe whose flows stay where they are.
fn options(path: &Path) -> String {
    format!("-e json:- --inactive-timeout 1h --active-timeout 1h --control {}", path.display())
}

/// A probe with some flows.
fn probe(host: &Netns) -> (Probe, PathBuf, TempDir) {
    let folder = open_folder();
    let path = folder.path().join("run/control.sock");
    let probe = Probe::start(host, &options(&path));
    send(host, 0..8);
    probe.until_account("seen,", 8);
    (probe, path, folder)
}

/// Looks at it in a terminal of so many lines and columns.
fn top(path: &Path, size: (u16, u16), steps: Value) -> Value {
    require("python3", "python3");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/terminal.py");
    let (rows, columns) = (size.0.to_string(), size.1.to_string());
    let mut command = Command::new("python3");
    command.args([script, &rows, &columns, &steps.to_string(), NFWEIR, "top", "--control"]).arg(path);
    let said = Said::by(command.env("TERM", "xterm"));
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

#[track_caller]
fn assert_restored(top: &Value) {
    let screen = top["screen"].as_str().unwrap();
    assert_eq!((&top["code"], &top["restored"], &top["left"]), (&0.into(), &true.into(), &json!([])), "{screen}");
    assert!(top["came"].as_str().unwrap().ends_with(RESTORED), "{top}");
}

#[test]
fn it_shows_the_probe_and_puts_the_terminal_back() {
    let host = host();
    let (mut probe, path, _folder) = probe(&host);
    for end in ["q", "SIGTERM", "\x03"] {
        let steps = json!([
            ["127.0.0.1:10003", "?"],
            ["Talkers are summed up", "?"],
            ["flows: 8 of 8, by octets", "s"],
            ["flows: 8 of 8, by packets", "/10003\r"],
            ["flows: 1 of 1, by packets, filter: 10003", end]
        ]);
        assert_restored(&top(&path, (24, 80), steps));
    }
    probe.stop().assert_balance();
}

#[test]
fn a_small_terminal_has_plain_lines() {
    let host = host();
    let (mut probe, path, _folder) = probe(&host);
    let shown = top(&path, (10, 50), json!([["127.0.0.1:10003", "q"]]));
    assert_restored(&shown);
    assert!(!shown["came"].as_str().unwrap().contains('┌'), "{shown}");
    probe.stop();
}

#[test]
fn it_outlives_the_probe_and_finds_the_next() {
    let host = host();
    let (mut first, path, folder) = probe(&host);
    std::thread::scope(|scope| {
        let [seen, missed] = ["seen", "missed"].map(|name| folder.path().join(name));
        let made = |path: &Path| format!("+{}", path.display());
        let steps =
            json!([["127.0.0.1:10003", made(&seen)], ["! no nfweir runs", made(&missed)], ["127.0.0.1:10444", "q"],]);
        let shown = scope.spawn(|| top(&path, (30, 120), steps));
        until("a look at the probe", || seen.exists().then_some(()));
        first.stop();
        until("a look at nothing", || missed.exists().then_some(()));
        let mut second = Probe::start(&host, &options(&path));
        send(&host, 444..445);
        assert_restored(&shown.join().unwrap());
        second.stop();
    });
}

#[test]
fn what_it_takes_is_said() {
    let host = host();
    let (mut probe, path, folder) = probe(&host);
    let said_by = Said::by(&mut nfweir(&format!("top --control {}", path.display())));
    assert!(said_by.code == Some(1) && said_by.stderr.contains("top needs a terminal"), "{said_by:?}");
    let nobody = top(&folder.path().join("none"), (24, 80), json!([["no nfweir runs with the control socket", ""]]));
    assert_eq!((&nobody["code"], &nobody["restored"]), (&1.into(), &true.into()), "{nobody}");
    assert_eq!(said("top --control").code, Some(2));
    probe.stop();
}
