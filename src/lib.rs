//! nfweir.
#![deny(unsafe_code)]

pub mod capture;
pub mod flow;
pub mod metrics;
pub mod packet;
pub mod stop;
mod sync;
pub mod time;
