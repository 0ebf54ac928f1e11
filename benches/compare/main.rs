//! nfweir beside softflowd, uacctd and a receiver that only counts, on the same packets, in one run.
//!
//! ```text
//! cargo bench --bench compare [-- [--rounds N] [live|offline]]
//! ```
//!
//! Needs root, and of Debian's packages nftables, iproute2, nfdump, softflowd and pmacct. Each probe runs alone in a network
//! namespace whose one interface gets frames of 128 octets as fast as another namespace can send them; one rule logs each
//! packet to NFLOG group 5 and drops it; nfcapd takes what the probe exports. Machines are noisy: only ratios within one
//! run mean anything.

#[path = "../../tests/common/mod.rs"]
mod common;
mod live;
mod null;
mod offline;
mod peers;
mod traffic;
mod usage;

use std::env;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["null"] => null::receive(),
        ["send", flows, packets] => traffic::send(flows.parse().unwrap(), packets.parse().unwrap()),
        _ => compare(&words),
    }
}

fn compare(words: &[&str]) {
    let rounds = words.iter().position(|word| *word == "--rounds").map_or(1, |at| words[at + 1].parse().unwrap());
    if !words.contains(&"offline") {
        live::compare(10_000, 4_000_000, 1, rounds);
        live::compare(500_000, 3_000_000, 1, rounds);
        live::compare(10_000, 1_000_000, 8, rounds);
    }
    if !words.contains(&"live") {
        offline::compare(10_000, 5_000_000, rounds);
        offline::compare(500_000, 5_000_000, rounds);
    }
}
