//! The running probe is asked and told things by a Unix socket: how it is, what is in its table, to export all of it, to end.
//!
//! **The protocol.** Each request is a line of JSON, and so is its answer ([`request`], [`answer`]):
//!
//! ```text
//! {"version":1,"command":"status"}
//! {"version":1,"command":{"flows":{"address":"10.0.0.0/8","sort":"octets","limit":10}}}
//! {"version":1,"error":"..."}
//! ```
//!
//! **Who serves it.** A thread of its own ([`server`]), for at most so many peers, whose lines have a limit and who have to read
//! what they asked for (`connection`). It reads counters and the state of collectors where they are. What only the export
//! thread can say or do, that thread is asked for between two looks at the flows ([`crate::overseer::Overseer`]); the capture threads
//! notice nothing of it.
//!
//! **Who may.** Whoever may write to the socket ([`socket`]): the user that the probe is, and its group. That is to be allowed
//! everything here, the end of the probe included.

pub mod answer;
pub mod client;
mod commands;
mod connection;
pub mod flows;
pub mod query;
pub mod rates;
pub mod request;
pub mod server;
pub mod socket;
pub mod status;
pub(crate) mod status_text;

pub use commands::{AskOptions, FlowsOptions, StatusOptions};
pub use server::{Control, serve};
pub use socket::{ControlSocket, Place, SocketError};

/// Where the socket is if nothing else is said.
pub const USUAL_PATH: &str = "/run/nfweir/control.sock";
/// The protocol's version.
pub const VERSION: u32 = 1;
