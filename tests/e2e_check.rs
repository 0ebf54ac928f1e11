//! `nfweir check`: each finding made true in a network namespace, and a clean one.

mod common;

use common::netns::Netns;
use common::nfweir::{NFWEIR, Probe, Said, nfweir};
use nfweir::netlink::{Request, open};
use nix::sys::socket::SockProtocol;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What `nfweir check` says in this namespace.
fn check(host: &Netns, options: &str) -> Said {
    host.enter(|| Said::by(nfweir(&format!("check {options}")).stdin(Stdio::null())))
}

/// What it finds: lines of these kinds, each with its mend.
fn found(said: &Said, kind: &str) -> Vec<(String, String)> {
    let lines: Vec<_> = said.stdout.lines().collect();
    let of_kind = |pair: &[&str]| {
        let what = pair[0].strip_prefix(kind)?.strip_prefix(": ")?;
        Some((what.to_owned(), pair[1].trim().split_once(": ")?.1.to_owned()))
    };
    lines.windows(2).filter_map(of_kind).collect()
}

/// The one thing that is wrong, and its mend.
#[track_caller]
fn finds(host: &Netns, options: &str, what: &str, mend: &str) {
    let said = check(host, options);
    let found = found(&said, "wrong");
    assert!(found.len() == 1 && found[0].0.contains(what) && found[0].1.contains(mend), "{said:?}");
    assert_eq!(said.code, Some(1));
}

/// Nothing is wrong, and nothing else to be said than these.
#[track_caller]
fn clean(host: &Netns, options: &str) {
    let said = check(host, options);
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (Some(0), "nothing is found wrong\n", ""));
}

/// A namespace with a chain `c` at each of these hooks, and this in each.
fn at(hooks: &[&str], rules: &str) -> Netns {
    let host = Netns::new();
    for hook in hooks {
        host.nft(&format!("table inet {hook} {{ chain c {{ type filter hook {hook} priority 0; {rules}; }}; }}"));
    }
    host
}

#[test]
fn shipped_rules_are_clean() {
    let host = Netns::new();
    let peer = Netns::new();
    host.join("eth0", &peer, "eth0", 1);
    for rules in
        [include_str!("../nft/server.nft"), include_str!("../nft/router.nft"), include_str!("../nft/dropped.nft")]
    {
        host.nft(rules);
        clean(&host, "-g 5");
    }
    let host = Netns::new();
    for command in ["iptables-restore", "ip6tables-restore"] {
        host.run(&format!("{command} --noflush {}/iptables/server.rules", env!("CARGO_MANIFEST_DIR")));
    }
    clean(&host, "-g 5");
    // loaded again, they log again
    host.run(&format!("iptables-restore --noflush {}/iptables/server.rules", env!("CARGO_MANIFEST_DIR")));
    let wrong = found(&check(&host, "-g 5"), "wrong");
    let twice =
        "packets are counted twice: two calls lead to a rule that logs them (`iptables -t mangle -S NFWEIR_CAPTURE 1`)";
    assert!(wrong.len() == 1 && wrong[0].0.starts_with(twice), "{wrong:?}");
}

#[test]
fn rules_beside_the_probes_own() {
    let host = Netns::new();
    clean(&host, "-i any");
    let mut probe = Probe::started(host.start(&mut nfweir("run -i any")));
    clean(&host, "-i any");
    assert!(!probe.log().contains("warning"), "{}", probe.log());
    probe.stop();
    host.run("ip link add left type veth peer name right");
    let mut probe = Probe::started(host.start(&mut nfweir("run -i left -i right")));
    clean(&host, "-i left -i right");
    probe.stop();
    host.nft("table inet t { chain c { type filter hook input priority 0; log group 5; }; }");
    finds(
        &host,
        "-i any",
        "packets may be counted twice: a rule that is there already",
        "choose another group with -g",
    );
    clean(&host, "-i any -g 6");
}

#[test]
fn devices_that_are_not_there_by_that_name() {
    let host = Netns::new();
    host.run("ip link add left type veth peer name right");
    finds(&host, "-i left -i outer", "there is no device outer, so nothing is captured by it", "`ip link` shows");
    host.run("ip link property add dev left altname outer");
    finds(&host, "-i outer", "outer is another name of device left", "give -i left");
}

#[test]
fn no_rule_for_the_group() {
    let host = Netns::new();
    finds(&host, "-g 5", "no rule logs to NFLOG group 5, nor to any other", "add rules with `log group 5 snaplen 128`");
    host.nft("table inet t { chain c { type filter hook input priority 0; log group 6; log group 7; }; }");
    finds(&host, "-g 5", "no rule logs to NFLOG group 5, only to 6 and 7", "as with `-g 6`, or write `log group 5`");
    clean(&host, "-g 6 -g 7");
    for command in ["iptables", "iptables-legacy"] {
        let host = Netns::new();
        host.run(&format!("{command} -t mangle -A INPUT -j NFLOG --nflog-group 9"));
        finds(&host, "-g 5", "no rule logs to NFLOG group 5, only to 9", "-g 9");
        clean(&host, "-g 9");
    }
}

#[test]
fn no_way_to_the_rule() {
    let host = Netns::new();
    host.nft("table inet t { chain c { type filter hook input priority 0; }; chain d { log group 5; }; }");
    finds(&host, "-g 5", "(table inet t, chain d, handle 3), as no hook leads to its chain", "with `jump`");
    host.nft("add rule inet t c jump d");
    clean(&host, "-g 5");
    let nat = Netns::new();
    nat.nft("table ip t { chain c { type nat hook postrouting priority 0; log group 5; }; }");
    finds(&nat, "-g 5", "only the first packet of each connection", "into a chain of type filter");
}

#[test]
fn the_owner_of_the_group() {
    let host = at(&["input"], "log group 5; log group 6");
    // an nfweir that has both is the one that is meant
    let mut probe = Probe::start(&host, "-g 6");
    clean(&host, "-g 5 -g 6");
    probe.stop();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    fs::copy(NFWEIR, &other).unwrap();
    let mut process = host.start(Command::new(&other).args(["run", "-g", "5", "-g", "6"]));
    process.says("receiving NFLOG group 5, 6");
    let said = check(&host, "-g 5 -g 6");
    let owned = |group| format!("NFLOG group {group} is taken by other (process {})", process.id());
    let wrong = found(&said, "wrong");
    assert_eq!(wrong.iter().map(|it| it.0.clone()).collect::<Vec<_>>(), [owned(5), owned(6)]);
    assert!(wrong[0].1.starts_with("stop that program"), "{wrong:?}");
}

/// `nft` that prints this, first in the path, as not every kernel has flowtables.
fn with_nft(host: &Netns, script: &str, options: &str) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let nft = folder.path().join("nft");
    fs::write(&nft, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&nft, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    host.enter(|| Said::by(nfweir(&format!("check {options}")).env("PATH", path)))
}

#[test]
fn a_flowtable_past_the_rule() {
    let host = Netns::new();
    let printed = |hook| {
        format!(
            r#"cat <<'END'
{{"nftables": [{{"metainfo": {{"version": "1.0.6", "json_schema_version": 1}}}}, {{"table": {{"family": "inet", "name": "t", "handle": 1}}}},
{{"flowtable": {{"family": "inet", "name": "f", "table": "t", "handle": 2, "hook": "ingress", "prio": 0, "dev": "eth0"}}}},
{{"chain": {{"family": "inet", "table": "t", "name": "c", "handle": 1, "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}}}},
{{"chain": {{"family": "inet", "table": "t", "name": "l", "handle": 2, "type": "filter", "hook": "{hook}", "prio": 0, "policy": "accept"}}}},
{{"rule": {{"family": "inet", "table": "t", "chain": "c", "handle": 3, "expr": [{{"match": {{"op": "in", "left": {{"ct": {{"key": "state"}}}}, "right": "established"}}}}, {{"flow": {{"op": "add", "flowtable": "@f"}}}}]}}}},
{{"rule": {{"family": "inet", "table": "t", "chain": "l", "handle": 4, "expr": [{{"log": {{"group": 5, "snaplen": 128}}}}]}}}}]}}
END"#
        )
    };
    let said = with_nft(&host, &printed("postrouting"), "-g 5");
    let wrong = found(&said, "wrong");
    assert!(wrong.len() == 1 && wrong[0].0.ends_with("by `flow add` (table inet t, chain c, handle 3)"), "{said:?}");
    assert!(wrong[0].1.starts_with("log at hook ingress of family netdev"), "{said:?}");
    // what is logged there, flowtables do not take
    let said = with_nft(&host, &printed("input"), "-g 5");
    assert_eq!((said.code, found(&said, "wrong")), (Some(0), vec![]));
}

#[test]
fn rules_that_cannot_be_read() {
    let host = Netns::new();
    let said = with_nft(&host, "echo no such thing >&2; exit 1", "-g 5");
    let expected = (
        "rules cannot be read by `nft`, as it says: no such thing",
        "run `nfweir check` as root, and see with `nft` what hinders it",
    );
    assert_eq!(found(&said, "wrong"), [(expected.0.to_owned(), expected.1.to_owned())]);
    // an empty folder in the place of each that has it
    let script =
        "for folder in /usr/local/sbin /usr/sbin /sbin; do mount --bind \"$1\" $folder; done && shift && exec \"$@\"";
    let empty: TempDir = tempfile::tempdir().unwrap();
    let without = |arguments: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(empty.path());
        command.arg(NFWEIR).args(arguments.split(' '));
        command
    };
    let said = host.enter(|| Said::by(&mut without("check -g 5")));
    let expected =
        ("rules cannot be read by `nft`, as it is not installed", "install nftables, as with `apt install nftables`");
    assert_eq!((said.code, found(&said, "wrong")), (Some(1), vec![(expected.0.to_owned(), expected.1.to_owned())]));
    // which is no trouble for a probe
    let mut probe = Probe::started(host.start(&mut without("run -g 5 --control none")));
    assert!(!probe.log().contains("warning"), "{}", probe.log());
    probe.stop();
}

#[test]
fn one_packet_at_several_hooks() {
    for (hooks, expected) in [
        (
            &["prerouting", "forward"][..],
            "a forwarded packet may be counted 2 times: NFLOG group 5 has it at prerouting (table inet prerouting",
        ),
        (&["prerouting", "forward", "postrouting"], "a forwarded packet may be counted 3 times"),
        (&["prerouting", "input"], "a received packet may be counted 2 times"),
        (&["output", "postrouting"], "a sent packet may be counted 2 times"),
    ] {
        finds(&at(hooks, "log group 5"), "-g 5", expected, "keep one of these rules");
    }
    let host = at(&["forward"], "log group 5");
    host.nft("table netdev t { chain c { type filter hook ingress device lo priority 0; log group 5; }; }");
    finds(&host, "-g 5", "counted 2 times: NFLOG group 5 has it at ingress (table netdev t, chain c", "keep one");
    // the same of iptables
    let host = Netns::new();
    host.run("iptables -t mangle -A FORWARD -j NFLOG --nflog-group 5");
    host.nft("table inet t { chain c { type filter hook prerouting priority 0; log group 5; }; }");
    finds(&host, "-g 5", "and at forward (`iptables -t mangle -S FORWARD 1`)", "keep one");
}

#[test]
fn hooks_that_no_packet_has_both_of() {
    // but for what the host sends to itself
    let said = check(&at(&["input", "forward", "output"], "log group 5"), "-g 5");
    let notes = found(&said, "note");
    assert!(said.code == Some(0) && notes.len() == 1 && notes[0].0.contains("sends to itself"), "{said:?}");
    for [first, second] in [
        ["iifname \"a\" log group 5", "oifname \"a\" log group 5"],
        ["iifname \"a\" log group 5", "iifname \"b\" log group 5"],
        ["iifname { \"a\", \"b\" } return; log group 5", "iifname \"b\" log group 5"],
        ["log group 5 meta mark set 1", "meta mark != 1 log group 5"],
        ["meta l4proto udp log group 5", "tcp dport 80 log group 5"],
        ["log group 5 drop", "log group 5"],
        ["log group 5", "log group 6"],
        ["meta nfproto ipv4 log group 5", "meta nfproto ipv6 log group 5"],
    ] {
        let host = Netns::new();
        host.nft(&format!("table inet t {{ chain a {{ type filter hook prerouting priority 0; {first}; }}; }}"));
        host.nft(&format!("table inet t {{ chain b {{ type filter hook postrouting priority 0; {second}; }}; }}"));
        let said = check(&host, if second.ends_with('6') { "-g 5 -g 6" } else { "-g 5" });
        assert_eq!((said.code, found(&said, "wrong")), (Some(0), vec![]), "{first} {second}");
    }
}

/// A namespace with these rules in a chain of its own each, at the same hook.
fn together(rules: &[&str]) -> Netns {
    let host = Netns::new();
    host.nft(
        "table inet t { set a { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.1-192.0.2.9 }; };
            set b { type ipv4_addr; elements = { 192.0.2.9, 198.51.100.1 }; };
            set c { type ipv4_addr; elements = { 198.51.100.2 }; };
            set growing { type ipv4_addr; flags dynamic; elements = { 10.0.0.1 }; };
            chain d { add @growing { ip saddr }; }; }",
    );
    for (number, rule) in rules.iter().enumerate() {
        host.nft(&format!(
            "table inet t {{ chain c{number} {{ type filter hook input priority {number}; {rule}; }}; }}"
        ));
    }
    host
}

#[test]
fn different_rules_at_one_hook() {
    for rules in [
        ["log group 5", "log prefix \"a\" group 5"],
        ["tcp dport 80 log group 5", "tcp dport 1-1023 log group 5"],
        ["tcp dport 80 log group 5", "tcp dport != 443 log group 5"],
        ["ip saddr 10.1.2.3 log group 5", "ip saddr 10.0.0.0/8 log group 5"],
        ["ip saddr 10.1.0.0/16 log group 5", "ip saddr @a log group 5"],
        ["ip saddr @b log group 5", "ip saddr @a log group 5"],
        ["ip saddr @growing log group 5", "ip saddr @c log group 5"],
        // what is dropped later
        ["log group 5", "tcp dport 80 log group 5 drop"],
        // only some of the packets leave
        ["tcp dport 22 return; tcp dport 1-100 log group 5", "udp dport 22 log group 5; tcp dport 80 log group 5"],
        ["tcp flags syn log group 5", "tcp flags ack log group 5"],
        ["icmpv6 type echo-request log group 5", "meta l4proto ipv6-icmp log group 5"],
    ] {
        let what = "a packet may be counted 2 times at input: NFLOG group 5 has it by as many rules (table inet t, chain c0, handle";
        eprintln!("{rules:?}");
        finds(&together(&rules), "-g 5", what, "keep one of these rules");
    }
    let three = together(&["log group 5", "ip saddr 10.0.0.0/8 log group 5", "ip saddr @a log group 5"]);
    finds(&three, "-g 5", "a packet may be counted 3 times at input", "by device or mark");
    // one chain, and iptables
    finds(&at(&["input"], "tcp dport 80 log group 5; log group 5"), "-g 5", "counted 2 times at input", "keep one");
    let host = at(&["input"], "tcp dport 80 log group 5");
    host.run("iptables -A INPUT -s 10.0.0.0/8 -p tcp --dport 1:1023 -j NFLOG --nflog-group 5");
    finds(&host, "-g 5", "(table inet input, chain c, handle 2 and `iptables -t filter -S INPUT 1`)", "keep one");
}

#[test]
fn rules_at_one_hook_for_different_packets() {
    for rules in [
        ["log group 5", "log group 6"],
        ["tcp dport 80 log group 5", "tcp dport 1024-65535 log group 5"],
        ["tcp dport 80 log group 5", "udp dport 80 log group 5"],
        ["tcp dport >= 1024 log group 5", "tcp dport < 1024 log group 5"],
        ["ip saddr 10.0.0.0/8 log group 5", "ip saddr 192.0.2.0/24 log group 5"],
        ["ip saddr 10.0.0.0/8 log group 5", "ip saddr != 10.0.0.0/7 log group 5"],
        ["ip saddr 10.0.0.0/8 log group 5", "ip6 saddr fd00::/8 log group 5"],
        ["ip saddr @a log group 5", "ip saddr 11.0.0.0/8 log group 5"],
        ["ip saddr @a log group 5", "ip saddr @c log group 5"],
        ["ip saddr @a return; log group 5", "ip saddr 10.2.0.0/16 log group 5"],
        ["ip saddr @growing return; log group 5", "ip saddr @growing log group 5"],
        ["ip saddr 10.0.0.0/8 tcp dport 22 return; log group 5", "ip saddr 10.1.0.0/16 tcp dport 22 log group 5"],
        ["tcp dport 22 log group 5 drop", "log group 5"],
        ["tcp dport 22 log group 5 accept; log group 5 drop", "log group 6"],
        ["ct state established return; log group 5", "ct state established log group 5"],
    ] {
        eprintln!("{rules:?}");
        clean(&together(&rules), if rules.concat().contains("group 6") { "-g 5 -g 6" } else { "-g 5" });
    }
    let host = at(&["input"], "ip saddr 10.0.0.0/8 log group 5");
    host.run("iptables -A INPUT ! -s 10.0.0.0/8 -j NFLOG --nflog-group 5");
    host.run("ip6tables -A INPUT -p tcp -m multiport --dports 80,443 -j NFLOG --nflog-group 5");
    clean(&host, "-g 5");
}

/// Called chains end packets by rules of their own, as those of firewalld and of most iptables do.
#[test]
fn rules_behind_chains_that_keep_their_packets() {
    let chains = [
        (
            "zones",
            "chain internal { tcp dport { 22, 9090 } accept; log group 5; reject; };
                chain outside { tcp dport 22 accept; log group 5; drop; };
                chain zones { iifname \"lo\" goto internal; goto outside; };",
        ),
        ("public", "chain public { tcp dport 22 accept; log group 5; drop; };"),
        ("accepted", "chain accepted { log group 5; accept; };"),
        ("some", "chain some { tcp dport 22 accept; udp dport 53 return; tcp dport 80 accept; };"),
        ("given_back", "chain given_back { log group 5 return; };"),
    ];
    let calling = |rules: &str| {
        let host = Netns::new();
        let called: String = chains.iter().filter(|(name, _)| rules.contains(name)).map(|(_, chain)| *chain).collect();
        host.nft(&format!("table inet t {{ {called} chain c {{ type filter hook input priority 0; {rules}; }}; }}"));
        host
    };
    for rules in [
        "ct state invalid log group 5; ct state invalid drop; jump zones; log group 5; reject",
        "tcp flags syn jump public; jump public",
        "tcp flags syn jump public; log group 5",
        "tcp dport 1-99 jump accepted; log group 5",
        "jump some; tcp dport 22 log group 5; drop; log group 5",
        "tcp dport 22 log group 5; jump some; log group 5",
    ] {
        eprintln!("{rules}");
        clean(&calling(rules), "-g 5");
    }
    for rules in [
        // what the chain gives back
        "jump given_back; log group 5",
        "tcp dport 1-99 jump accepted; tcp dport 99-100 log group 5; log group 5",
        // of the packets to port 80, all may have been given back
        "tcp dport 80 log group 5; jump some; log group 5",
        "tcp dport 23 log group 5; jump some; log group 5",
        // only some are dropped
        "log group 5; tcp dport 80 drop; log group 5 drop",
    ] {
        eprintln!("{rules}");
        finds(&calling(rules), "-g 5", "a packet may be counted 2 times at input", "keep one");
    }
    // what is dropped comes to no later hook, also where another rule drops it
    let host = at(&["input"], "log group 5");
    host.nft("table inet t { chain c { type filter hook prerouting priority 0; tcp dport 80 log group 5; tcp dport 80 drop; }; }");
    clean(&host, "-g 5");
    let host = at(&["input"], "log group 5");
    host.run("iptables -t mangle -N DENY");
    host.run("iptables -t mangle -A DENY -j NFLOG --nflog-group 5");
    host.run("iptables -t mangle -A DENY -j DROP");
    host.run("iptables -t mangle -A PREROUTING -p tcp --tcp-flags ALL NONE -j DENY");
    clean(&host, "-g 5");
    // calls for different packets, also where that cannot be compared
    let host = Netns::new();
    host.run("iptables -N LOGGED");
    host.run("iptables -A LOGGED -j NFLOG --nflog-group 5");
    host.run("iptables -A INPUT -m conntrack --ctstate INVALID -j LOGGED");
    host.run("iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
    host.run("iptables -A INPUT -m pkttype --pkt-type multicast -j LOGGED");
    host.run("iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j NFLOG --nflog-group 5");
    clean(&host, "-g 5");
    host.run("iptables -A INPUT -m pkttype --pkt-type multicast -j LOGGED");
    finds(&host, "-g 5", "two calls lead to a rule that logs them (`iptables -t filter -S LOGGED 1`)", "delete one");
}

#[test]
fn how_the_rule_logs() {
    finds(
        &at(&["input"], "log group 5 queue-threshold 1"),
        "-g 5",
        "a rule (table inet input, chain c, handle 2) has batches of at most 1 packets",
        "take `queue-threshold`",
    );
    clean(&at(&["input"], "log group 5 queue-threshold 64 snaplen 64"), "-g 5");
    finds(&at(&["input"], "log group 5 snaplen 63"), "-g 5", "logs 63 octets of each packet", "`snaplen 128`");
    let host = Netns::new();
    host.run("ip6tables -A INPUT -j NFLOG --nflog-group 5 --nflog-size 40 --nflog-threshold 10");
    let wrong = found(&check(&host, "-g 5"), "wrong");
    assert!(
        wrong.len() == 2 && wrong[0].0.contains("logs 40 octets") && wrong[1].0.contains("at most 10"),
        "{wrong:?}"
    );
}

/// What `ip link set` does from iproute2 6.3 on.
fn set_gro_ipv4_max_size(host: &Netns, device: &str, octets: u32) {
    const IFLA_GRO_IPV4_MAX_SIZE: u16 = 64;
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&host.ifindex(device).to_ne_bytes());
    let mut request = Request::default();
    request.add(libc::RTM_NEWLINK, libc::NLM_F_ACK, &header, |attributes| {
        attributes.put(IFLA_GRO_IPV4_MAX_SIZE, &octets.to_ne_bytes());
    });
    host.enter(|| request.send(&open(SockProtocol::NetlinkRoute).unwrap().0, |_| ()).unwrap());
}

#[test]
fn what_devices_do() {
    let host = at(&["input"], "log group 5");
    let peer = Netns::new();
    host.join("eth0", &peer, "eth0", 1);
    clean(&host, "-g 5");
    host.run("ethtool -K eth0 gro on");
    let said = check(&host, "-g 5");
    let notes = found(&said, "note");
    assert!(
        notes.len() == 1 && notes[0].0.starts_with("packets that eth0 put together (GRO) count as one"),
        "{said:?}"
    );
    assert!(notes[0].1.contains("`ethtool -K eth0 gro off lro off`") && said.code == Some(0), "{said:?}");
    // what is sent, nobody puts together
    host.nft("flush ruleset; table inet t { chain c { type filter hook output priority 0; log group 5; }; }");
    clean(&host, "-g 5");
    set_gro_ipv4_max_size(&host, "eth0", 100_000);
    let mend = "`ip link set dev eth0 gro_ipv4_max_size 65536 gso_ipv4_max_size 65536`";
    finds(&host, "-g 5", "device eth0 has IPv4 packets of up to 100000 octets (BIG TCP)", mend);
}

#[test]
fn a_receive_buffer_that_is_not_granted() {
    let host = at(&["input"], "log group 5");
    let allowed: usize = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    let wanted = allowed + 1;
    let options = format!("check -g 5 --receive-buffer {wanted}");
    clean(&host, &format!("-g 5 --receive-buffer {wanted}"));
    let command = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", NFWEIR];
    let said = host.enter(|| Said::by(Command::new(command[0]).args(&command[1..]).args(options.split(' '))));
    let expected =
        format!("a receive buffer of {wanted} octets is wanted, but net.core.rmem_max allows {allowed} without");
    let buffer: Vec<_> = found(&said, "wrong").into_iter().filter(|it| it.0.starts_with(&expected)).collect();
    assert!(buffer.len() == 1 && buffer[0].1.starts_with(&format!("`sysctl net.core.rmem_max={wanted}`")), "{said:?}");
}

#[test]
fn sampling_and_what_is_said_of_it() {
    let host = at(&["input"], "numgen inc mod 100 0 log group 5");
    let rule = "the rule for NFLOG group 5 (table inet input, chain c, handle 2) selects one packet in 100, but ";
    finds(&host, "-g 5", &format!("{rule}no --sampling-rate tells"), "give `--sampling-rate 5:100`");
    finds(&host, "-g 5 --sampling-rate 10", &format!("{rule}--sampling-rate tells collectors of one in 10"), "5:100");
    clean(&host, "-g 5 --sampling-rate 100");
    let host = at(&["input"], "log group 5");
    finds(&host, "-g 5 --sampling-rate 10", "selects every packet, but --sampling-rate tells", "numgen inc mod 10 0");
    let host = at(&["input"], "numgen random mod 100 < 3 log group 5");
    finds(&host, "-g 5", "selects one packet in 33.33", "`numgen inc mod 33 0`, and give `--sampling-rate 5:33`");
    let host = at(&["input"], "numgen inc mod 10 0 log group 5; ip protocol icmp log group 5");
    finds(
        &host,
        "-g 5",
        "shares of the packets: one packet in 10 (table inet input, chain c, handle 2) and every packet",
        "a group of its own",
    );
    for rule in ["--mode random --probability 0.01", "--mode nth --every 100 --packet 0"] {
        let host = Netns::new();
        host.run(&format!("iptables -A INPUT -m statistic {rule} -j NFLOG --nflog-group 5"));
        finds(&host, "-g 5", "(`iptables -t filter -S INPUT 1`) selects one packet in 100", "--sampling-rate 5:100");
        clean(&host, "-g 5 --sampling-rate 100");
    }
    // spread over groups, not sampled
    let host = Netns::new();
    host.nft(
        "table inet t { chain a { log group 5; }; chain b { log group 6; }
         chain c { type filter hook input priority 0; numgen inc mod 2 vmap { 0 : jump a, 1 : jump b }; }; }",
    );
    clean(&host, "-g 5 -g 6");
    finds(
        &at(&["input"], "limit rate 5/second log group 5"),
        "-g 5",
        "has a limit, which is no sampling",
        "take the limit out",
    );
}

#[test]
fn wrong_usage() {
    let host = Netns::new();
    for (options, reason) in [("-g 5 -g 5", "is given twice"), ("-c /no/such/file", "cannot be read")] {
        let said = check(&host, options);
        assert!(said.code == Some(2) && said.stderr.contains(reason), "{said:?}");
    }
}

/// As warnings, before it says that it receives.
#[test]
fn a_probe_says_the_same_at_its_start() {
    let host = at(&["prerouting", "input"], "log group 6");
    let mut probe = Probe::start(&host, "-g 6");
    let log = probe.log();
    for warning in
        ["no rule logs to NFLOG group 5, only to 6: receive what", "a received packet may be counted 2 times: NFLOG"]
    {
        assert!(log.contains(&format!("nfweir: warning: {warning}")), "{log}");
    }
    probe.stop();
    let host = at(&["input"], "iifname \"lo\" return; log group 5");
    let mut probe = Probe::start(&host, "");
    assert!(!probe.log().contains("warning"), "{}", probe.log());
    probe.stop();
}
