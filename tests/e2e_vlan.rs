//! Devices of a VLAN (802.1Q), which take a kernel that has them: `tests/vm/run` has one.

mod common;

use common::netns::Netns;
use common::nfweir::{Probe, nfweir};
use common::process::until;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

/// The flow to this port, of three packets, one to each of its addresses: on the VLAN's device and on the device below it.
fn flow(options: &str) -> Vec<Value> {
    let (sender, host) = (Netns::new(), Netns::new());
    sender.join("out0", &host, "in0", 1);
    for (netns, device, end) in [(&sender, "out0", 1), (&host, "in0", 2)] {
        netns.run(&format!("ip link add link {device} name {device}.42 type vlan id 42"));
        netns.run(&format!("ip address add 10.42.0.{end}/24 dev {device}.42"));
        netns.run(&format!("ip link set {device}.42 up"));
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let json = folder.path().join("flows");
    let mut probe = Probe::started(host.start(&mut nfweir(&format!("run {options} -e json:{}", json.display()))));
    for address in [[10, 1, 0, 2], [10, 42, 0, 2]] {
        sender.send("0.0.0.0:5000", [(SocketAddr::from((address, 7001)), 10); 3]);
    }
    until("the packets refused", || (host.statistic("Udp", "NoPorts") == 6).then_some(()));
    probe.stop().assert_balance();
    let flows = fs::read_to_string(json).unwrap();
    let flows = flows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut flows: Vec<_> = flows.filter(|flow| flow["destinationTransportPort"] == 7001).collect();
    flows.sort_by_key(|flow| flow["destinationIPv4Address"].to_string());
    assert!(flows.iter().all(|flow| flow["packetDeltaCount"] == 3), "{flows:?}");
    flows
}

#[test]
#[ignore = "takes a kernel with 802.1Q devices: run tests/vm/run"]
fn the_device_of_a_vlan_has_its_packets_alone() {
    let flows = flow("-i in0.42");
    assert_eq!(flows.len(), 1, "{flows:?}");
    assert_eq!(flows[0]["destinationIPv4Address"], "10.42.0.2");
}

#[test]
#[ignore = "takes a kernel with 802.1Q devices: run tests/vm/run"]
fn a_mirror_port_has_the_vlan_in_its_records() {
    let both = flow("-i in0 --mirror");
    let vlans: Vec<_> = both.iter().map(|flow| flow["vlanId"].clone()).collect();
    assert_eq!(vlans, [0, 42], "{both:?}");
    let one = flow("-i in0 --mirror --vlan 42");
    assert_eq!((one.len(), &one[0]["vlanId"]), (1, &Value::from(42)), "{one:?}");
}
