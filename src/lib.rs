//! nfweir.
#![deny(unsafe_code)]

pub mod capture;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod export;
pub mod flow;
pub mod latch;
pub mod logging;
pub mod metrics;
pub mod packet;
pub mod privileges;
pub mod probe;
pub mod read;
mod sockopt;
mod sync;
pub mod time;
