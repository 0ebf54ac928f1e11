//! `nfweir check` where connections go by a flowtable.

mod common;

use common::netns::Netns;
use common::nfweir::{Said, nfweir};

#[test]
#[ignore = "takes a kernel with flowtables: run tests/vm/run"]
fn a_flowtable_past_the_rule() {
    let (host, peer) = (Netns::new(), Netns::new());
    host.join("eth0", &peer, "eth0", 1);
    host.nft(
        "table inet t { flowtable f { hook ingress priority 0; devices = { eth0 }; }
         chain c { type filter hook forward priority 0; ct state established flow add @f; log group 5; }; }
         table netdev t { chain c { type filter hook ingress device eth0 priority -10; log group 7; }; }",
    );
    let check = |group: u16| host.enter(|| Said::by(&mut nfweir(&format!("check -g {group}"))));
    let said = check(5);
    let place = "after their first packets, by `flow add` (table inet t, chain c, handle ";
    assert!(said.code == Some(1) && said.stdout.contains(place), "{said:?}");
    // which is before the flowtable
    let said = check(7);
    assert!(said.code == Some(0) && !said.stdout.contains("flow add"), "{said:?}");
}
