//! nfweir.
#![deny(unsafe_code)]

pub mod capture;
pub mod flow;
pub mod packet;
mod sync;
pub mod time;
