//! What ails a probe at work is said when it begins, and when it is over.

mod common;

use common::loopback::{host, send};
use common::nfweir::Probe;
use common::process::until;
use nix::sys::signal::Signal;
use std::fs;

#[test]
fn a_table_that_fills_up_and_empties_is_said_once_each() {
    let host = host();
    let mut probe = Probe::start(&host, "-e json:/dev/null --max-flows 1000 --inactive-timeout 3s");
    send(&host, 0..920);
    probe.says("nfweir: warning: the flow table is filling up, with 920 of 1000 flows: raise --max-flows");
    probe.says("nfweir: the flow table has room again, with ");
    let log = probe.stop().0;
    assert_eq!((log.matches("filling up").count(), log.matches("room again").count()), (1, 1), "{log}");
}

#[test]
fn packets_that_are_lost_are_said_with_the_mend() {
    let host = host();
    let mut probe = Probe::start(&host, "-e json:/dev/null --receive-buffer 4096 --max-flows 1");
    probe.signal(Signal::SIGSTOP);
    until("the probe stopped", || {
        fs::read_to_string(format!("/proc/{}/stat", probe.id())).unwrap().contains(" T ").then_some(())
    });
    for _ in 0..10 {
        send(&host, 0..2000);
    }
    probe.signal(Signal::SIGCONT);
    // what follows the gap tells of it, as soon as there is room
    until("packets counted", || {
        send(&host, 0..2);
        probe.log().contains("packets are being lost").then_some(())
    });
    probe.says("packets are being ignored");
    let log = probe.stop().0;
    for (said, mend) in [
        ("NFLOG group 5: packets are being lost, ", "raise --receive-buffer, or spread flows over several groups"),
        ("the flow table has no room for new flows: packets are being ignored, ", "raise --max-flows, or"),
    ] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(said)).collect();
        assert!(lines.len() == 1 && lines[0].starts_with("nfweir: warning: ") && lines[0].contains(mend), "{log}");
    }
}
