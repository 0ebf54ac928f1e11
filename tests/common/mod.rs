//! What the integration tests share.
#![allow(dead_code, reason = "each test uses its part of this")]

pub mod account;
pub mod capture;
pub mod cases;
pub mod collectors;
pub mod flows;
pub mod frames;
pub mod icmp;
pub mod loopback;
pub mod netns;
pub mod nfweir;
pub mod pki;
pub mod process;
pub mod prometheus;
pub mod python_netflow;
pub mod sctp_collector;
pub mod stream_collector;
pub mod tshark;
pub mod udp_collector;
