//! The counters for Prometheus: scraped over HTTP from an address that is off unless the operator wants it.

mod request;
mod server;
mod text;

pub use request::{Answer, answer};
pub use server::{ListenError, Server};
pub use text::text;
