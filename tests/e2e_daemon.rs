//! `nfweir run` as a daemon: signals, privileges, loss, configuration, log.

mod common;

use common::account::Account;
use common::collectors::{Nfcapd, all_taken, total};
use common::netns::Netns;
use common::nfweir::{NFWEIR, Probe, nfweir, open_folder};
use common::process::{Process, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A namespace that logs UDP packets to ports above 9999, which go by its loopback device.
fn host() -> Netns {
    let host = Netns::new();
    host.nft(
        "table inet t { chain c { type filter hook input priority 0; udp dport 10000-65535 counter log group 5; }; }",
    );
    host
}

/// Sends packets with 10 octets each, to as many ports as there are flows.
fn send(host: &Netns, packets: u16, flows: u16) {
    host.send("127.0.0.1:5000", (0..packets).map(|i| (SocketAddr::from(([127, 0, 0, 1], 10_000 + i % flows)), 10)));
}

#[test]
fn a_stop_without_traffic_is_prompt() {
    let host = host();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut probe = Probe::start(&host, "-e ipfix://127.0.0.1:9995");
        let told = Instant::now();
        probe.signal(signal);
        let account = probe.account_at_end();
        assert!(told.elapsed() < Duration::from_secs(5));
        assert_eq!(account.number("seen"), 0);
    }
}

#[test]
fn packets_right_before_the_end_are_exported() {
    let host = host();
    for protocol in ["netflow5", "netflow9", "ipfix"] {
        let before = host.counted();
        let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
        let mut probe = Probe::start(&host, &format!("-e {protocol}://127.0.0.1:9995"));
        let taken = host.statistic("Udp", "InDatagrams");
        send(&host, 777, 300);
        let account = probe.stop();
        assert_eq!((account.number("seen"), account.number("in flows")), (777, 777), "{}", account.0);
        all_taken(&host, taken + account.messages());
        let after = host.counted();
        assert_eq!(total(&nfcapd.flows()), (after.0 - before.0, after.1 - before.1));
    }
}

#[test]
fn sigusr1_logs_the_account_and_goes_on() {
    let host = host();
    let mut probe = Probe::start(&host, "-e ipfix://127.0.0.1:9995");
    for sent in [100, 200] {
        send(&host, 100, 5);
        until("the account of all packets", || {
            probe.signal(Signal::SIGUSR1);
            probe.log().contains(&format!("packets: {sent} seen")).then_some(())
        });
    }
    assert_eq!(probe.stop().number("seen"), 200);
}

#[test]
fn a_second_signal_ends_a_paced_export_at_once() {
    let host = host();
    let mut probe = Probe::start(&host, "-e netflow5://127.0.0.1:9995 --export-rate 1");
    send(&host, 3000, 3000);
    probe.signal(Signal::SIGTERM);
    probe.says("exporting every flow");
    // most messages still wait for their second
    // an echo of the first signal, such as `timeout` sends, is none
    probe.signal(Signal::SIGTERM);
    thread::sleep(Duration::from_secs(1));
    assert!(!probe.log().contains("second signal"), "{}", probe.log());
    let told = Instant::now();
    probe.signal(Signal::SIGTERM);
    assert_eq!(probe.ends(), Some(1));
    assert!(told.elapsed() < Duration::from_secs(5));
    let account = Account(probe.log());
    assert!(account.0.contains("error: ended by a second signal"), "{}", account.0);
    let exported = account.number("packets (") + account.number("packets are in flows not exported");
    assert_eq!(exported, 3000, "{}", account.0);
    let sent = account.number("records sent") + account.number("lost in") + account.number("not sent yet");
    assert_eq!(sent, account.number("exported with"), "{}", account.0);
}

/// What `nohup` does.
#[test]
fn a_hangup_that_is_ignored_stays_so() {
    let host = host();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh", NFWEIR, "run", "-g", "5"]);
    let mut probe = Probe::started(host.start(&mut command));
    probe.signal(Signal::SIGHUP);
    send(&host, 10, 1);
    assert_eq!(probe.stop().number("seen"), 10);
    assert!(!probe.log().contains("SIGHUP"), "{}", probe.log());
}

#[test]
fn every_thread_keeps_net_admin_alone() {
    let host = host();
    let folder = open_folder();
    let control = folder.path().join("run/control");
    let probe = Probe::start(&host, &format!("-g 6 -e ipfix://127.0.0.1:9995 --control {}", control.display()));
    let user = ["nfweir", "nobody"].into_iter().find_map(|name| nix::unistd::User::from_name(name).unwrap()).unwrap();
    let threads: Vec<_> = fs::read_dir(format!("/proc/{}/task", probe.id())).unwrap().collect();
    assert_eq!(threads.len(), 5, "main, control, export, two groups");
    for thread in threads {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let four = |id: u32| vec![id.to_string(); 4];
        let (none, net_admin) = ("0000000000000000".to_owned(), "0000000000001000".to_owned());
        for (name, values) in [
            ("Uid", four(user.uid.as_raw())),
            ("Gid", four(user.gid.as_raw())),
            ("Groups", vec![user.gid.to_string()]),
            ("CapInh", vec![none.clone()]),
            ("CapPrm", vec![net_admin.clone()]),
            ("CapEff", vec![net_admin]),
            ("CapBnd", vec![none.clone()]),
            ("CapAmb", vec![none]),
            ("NoNewPrivs", vec!["1".to_owned()]),
        ] {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
            assert_eq!(line.split_whitespace().collect::<Vec<_>>(), values, "{name}");
        }
    }
}

/// `setpriv` as nobody, with nfweir where nobody can run it.
fn as_nobody(options: &str, arguments: &str) -> (TempDir, Command) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("nfweir");
    fs::copy(NFWEIR, &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(options.split_whitespace());
    command.arg(program).args(arguments.split_whitespace());
    (folder, command)
}

#[test]
fn with_the_capability_alone_it_works() {
    let host = host();
    let (_folder, mut command) = as_nobody("--inh-caps=+net_admin --ambient-caps=+net_admin", "run -g 5");
    let mut probe = Probe::started(host.start(&mut command));
    send(&host, 10, 1);
    assert_eq!(probe.stop().number("seen"), 10);
}

/// What a container with NET_ADMIN as its one capability gives, and a user namespace of one user.
#[test]
fn root_that_can_be_nobody_else_stays_itself() {
    let host = host();
    let bounded = ["setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all", NFWEIR, "run", "-g", "5"];
    let mut probe = Probe::started(host.start(Command::new(bounded[0]).args(&bounded[1..])));
    let status = fs::read_to_string(format!("/proc/{}/status", probe.id())).unwrap();
    assert!(status.contains("CapPrm:\t0000000000001000"), "{status}");
    send(&host, 10, 1);
    let account = probe.stop();
    assert_eq!(account.number("seen"), 10);
    assert!(account.0.contains("warning: staying root, with CAP_NET_ADMIN alone: becoming user"), "{}", account.0);
    // but not where somebody else was asked for
    let mut command = Command::new(bounded[0]);
    refused(
        host.start(command.args(&bounded[1..]).args(["--user", "nobody"])),
        "becoming user `nobody` takes CAP_SETUID",
    );
    let alone = ["unshare", "--user", "--map-root-user", "--net", NFWEIR, "run", "-g", "5"];
    let mut probe = Probe::started(host.start(Command::new(alone[0]).args(&alone[1..])));
    assert_eq!(probe.stop().number("seen"), 0);
}

#[test]
fn a_user_has_a_number_too() {
    let host = host();
    let probe = Probe::start(&host, "--user 65534");
    let status = fs::read_to_string(format!("/proc/{}/status", probe.id())).unwrap();
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
}

/// Nobody reads what it says.
#[test]
fn a_log_that_is_stopped_up_stops_nothing() {
    let host = host();
    let (_unread, full) = std::io::pipe().unwrap();
    let mut command = nfweir("run -g 5");
    let mut probe = host.enter(|| command.stdout(Stdio::null()).stderr(full).spawn().unwrap());
    let id = Pid::from_raw(probe.id() as i32);
    until("the group bound", || (!group_is_free(&probe)).then_some(()));
    // each account has three lines; a pipe has room for 64 KiB
    for _ in 0..1000 {
        kill(id, Signal::SIGUSR1).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    kill(id, Signal::SIGTERM).unwrap();
    let status = until("the end", || probe.try_wait().unwrap());
    assert!(status.success());
}

fn group_is_free(probe: &Child) -> bool {
    let table = fs::read_to_string(format!("/proc/{}/net/netfilter/nfnetlink_log", probe.id())).unwrap();
    table.is_empty()
}

/// Fails to start, for this reason.
fn refused(mut process: Process, reason: &str) {
    assert_eq!(process.ends(), Some(1));
    let log = process.log();
    assert!(log.contains(&format!("nfweir: error: {reason}")), "{log}");
}

#[test]
fn what_hinders_the_start_is_said() {
    let host = host();
    let (_folder, mut command) = as_nobody("", "run -g 5");
    refused(host.start(&mut command), "NFLOG group 5 cannot be bound without CAP_NET_ADMIN: ");
    refused(host.start(&mut nfweir("run -g 5 --user no-such-user")), "there is no user `no-such-user`: ");
    let first = Probe::start(&host, "");
    let owner = format!("NFLOG group 5 is taken by nfweir (process {}): ", first.id());
    refused(host.start(&mut nfweir("run -g 5")), &owner);
    // who may not see the owner's name
    let (_folder, mut command) = as_nobody("--inh-caps=+net_admin --ambient-caps=+net_admin", "run -g 5");
    refused(host.start(&mut command), "NFLOG group 5 is taken by ");
}

/// The row of group 5 in the kernel's table: port id, packets waiting, copy mode, copy range, flush timeout.
fn instance(probe: &Probe) -> [u32; 5] {
    let table = fs::read_to_string(format!("/proc/{}/net/netfilter/nfnetlink_log", probe.id())).unwrap();
    let row = table.lines().find(|line| line.trim_start().starts_with("5 ")).unwrap();
    let numbers: Vec<_> = row.split_whitespace().skip(1).map(|number| number.parse().unwrap()).collect();
    numbers[..5].try_into().unwrap()
}

/// Datagrams that the kernel has dropped.
fn dropped(probe: &Probe) -> u64 {
    netlink_column(probe, 8)
}

/// What is in the probe's socket.
fn unread(probe: &Probe) -> u64 {
    netlink_column(probe, 4)
}

fn netlink_column(probe: &Probe, column: usize) -> u64 {
    let table = fs::read_to_string(format!("/proc/{}/net/netlink", probe.id())).unwrap();
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1] == "12").map(|row| row[column].parse::<u64>().unwrap()).sum()
}

/// Sends to a probe that stands still and has no room. All of it is delivered or lost when this returns.
fn overflow(host: &Netns, probe: &Probe) {
    probe.signal(Signal::SIGSTOP);
    send(host, 20_000, 10);
    until("the kernel's last batch", || (instance(probe)[1] == 0).then_some(()));
}

#[test]
fn loss_is_exact_and_batches_are_large() {
    let host = host();
    let mut probe = Probe::start(&host, "--receive-buffer 4096 --snaplen 96");
    let [_, _, packets, snaplen, flush] = instance(&probe);
    assert_eq!((packets, snaplen, flush), (2, 96, 10));
    overflow(&host, &probe);
    let datagrams = dropped(&probe);
    probe.signal(Signal::SIGCONT);
    send(&host, 5, 1);
    let account = probe.stop();
    account.assert_balance();
    let lost = account.number("lost in the kernel");
    assert!(lost > 10_000, "{}", account.0);
    assert_eq!(account.number("seen") + lost, host.counted().0);
    // each batch had 512 packets, but for the first, the last and those that the timer sent
    assert!(lost / datagrams > 100, "{lost} lost in {datagrams} datagrams");
}

#[test]
fn loss_that_nothing_follows_is_said() {
    let host = host();
    let mut probe = Probe::start(&host, "--receive-buffer 4096");
    overflow(&host, &probe);
    let datagrams = dropped(&probe);
    probe.signal(Signal::SIGCONT);
    let account = probe.stop();
    assert_eq!(account.number("datagrams more"), datagrams);
    assert!(account.number("seen") < host.counted().0);
    assert!(account.0.contains(" lost in the kernel and what was in at most "), "{}", account.0);
}

/// The first packet after one overflow tells of that one alone, though it is read after the next.
#[test]
fn loss_is_said_though_an_earlier_one_was_told() {
    let host = host();
    let mut probe = Probe::start(&host, "--receive-buffer 4096");
    overflow(&host, &probe);
    let first = dropped(&probe);
    probe.signal(Signal::SIGCONT);
    until("the socket read empty", || (unread(&probe) == 0).then_some(()));
    overflow(&host, &probe);
    let both = dropped(&probe);
    probe.signal(Signal::SIGCONT);
    let account = probe.stop();
    assert!(account.number("lost in the kernel") > 0, "{}", account.0);
    // of those told by the first packet after, some may count as untold, if it came before the socket was seen to be empty
    assert!((both - first..=both).contains(&account.number("datagrams more")), "{}", account.0);
}

#[test]
fn a_full_table_ignores_packets_and_says_so() {
    let host = host();
    let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
    let mut probe = Probe::start(&host, "-e ipfix://127.0.0.1:9995 --max-flows 100");
    send(&host, 5000, 1000);
    let account = probe.stop();
    account.assert_balance();
    assert_eq!(account.number("seen"), 5000);
    assert!(account.number("ignored for") > 0, "{}", account.0);
    all_taken(&host, account.messages());
    let flows = nfcapd.flows();
    assert_eq!(total(&flows), account.in_flows());
    assert_eq!(flows.len() as u64, account.number("exported with"));
}

#[test]
fn a_file_configures_and_the_command_line_wins() {
    let host = host();
    let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nfweir.toml");
    fs::write(&file, "group = [6]\nexport = [\"netflow9://127.0.0.1:9995\"]\nsnaplen = 100\nexport-rate = 0\n")
        .unwrap();
    let mut probe = Probe::start(&host, &format!("--config {} --snaplen 80", file.display()));
    assert!(probe.log().contains("receiving NFLOG group 5\n"), "{}", probe.log());
    assert_eq!(instance(&probe)[3], 80);
    send(&host, 50, 5);
    let account = probe.stop();
    all_taken(&host, account.messages());
    assert_eq!(total(&nfcapd.flows()), host.counted());
}

#[test]
fn a_wrong_file_is_refused_with_its_line() {
    let host = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nfweir.toml");
    fs::write(&file, "group = [5]\nsnaplan = 100\n").unwrap();
    let mut process = host.start(&mut nfweir(&format!("run -c {}", file.display())));
    assert_eq!(process.ends(), Some(2));
    let expected = format!("{} line 2: `snaplan` is no option: there are interface, mirror,", file.display());
    assert!(process.log().contains(&expected), "{}", process.log());
}

/// A probe that logs to syslog, with `folder` for /dev.
fn with_dev(host: &Netns, folder: &TempDir) -> Probe {
    let script = "mount --bind \"$1\" /dev && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(folder.path());
    command.arg(NFWEIR).args(["run", "-g", "5", "--syslog"]);
    Probe(host.start(&mut command))
}

#[test]
fn without_syslog_standard_error_serves() {
    let host = host();
    let folder = tempfile::tempdir().unwrap();
    let mut probe = with_dev(&host, &folder);
    probe.says("receiving NFLOG group 5");
    assert!(probe.log().contains("warning: syslog cannot be reached at /dev/log"), "{}", probe.log());
    send(&host, 10, 1);
    assert_eq!(probe.stop().number("seen"), 10);
}

#[test]
fn syslog_has_all_that_is_said() {
    let host = host();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = folder.path().join("log");
    let syslog = UnixDatagram::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    syslog.set_nonblocking(true).unwrap();
    let mut probe = with_dev(&host, &folder);
    let mut received = String::new();
    let mut receive = |text: &str| {
        until(text, || {
            let mut buffer = [0; 1024];
            while let Ok(length) = syslog.recv(&mut buffer) {
                received += &format!("{}\n", String::from_utf8_lossy(&buffer[..length]));
            }
            received.contains(text).then(|| Account(received.clone()))
        })
    };
    receive("receiving NFLOG group 5");
    probe.signal(Signal::SIGTERM);
    assert_eq!(receive("flows: ").number("seen"), 0);
    assert_eq!((probe.ends(), probe.log()), (Some(0), String::new()));
}
