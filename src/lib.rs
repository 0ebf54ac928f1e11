//! nfweir.
#![deny(unsafe_code)]

pub mod capture;
pub mod config;
pub mod export;
pub mod flow;
pub mod latch;
pub mod metrics;
pub mod packet;
mod sockopt;
mod sync;
pub mod time;
