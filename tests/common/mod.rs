//! What the integration tests share.
#![allow(dead_code, reason = "each test uses its part of this")]

pub mod capture;
pub mod cases;
pub mod collector;
pub mod flows;
pub mod frames;
pub mod lab;
pub mod nfcapd;
pub mod process;
pub mod tshark;
