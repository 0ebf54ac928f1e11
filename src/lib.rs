//! nfweir is a flow probe: netfilter rules select packets, nfweir counts them by flow and exports the flows.
//!
//! **The promise:** the books balance. Each packet that a rule logged is in exactly one exported record or in one named
//! counter ([`metrics`]).
//!
//! # A packet's way
//!
//! ```text
//! rule ──log group N──▶ capture ──▶ packet ──▶ flow ───────────▶ export ──▶ collectors
//!                       NFLOG        headers    lock-free table   one thread: expire, encode, pace, send
//!                       (or a file)             (many writers)
//! ```
//!
//! The kernel gathers logged packets into datagrams of up to 512 and sends them to the group's socket
//! ([`capture::nflog`]), one group to one capture thread ([`capture::thread`]), which takes them in datagram by datagram
//! ([`capture::intake`]), and where they come fast, several before it sleeps again ([`capture::nap`]). The messages of a
//! datagram are slices of its buffer ([`capture::netlink`]); what a message says beside its packet is mostly what the one
//! before it said, and so recognised rather than read ([`capture::envelope`]).
//! Gaps in their sequence numbers are the packets that the kernel had no room for. For each packet, the payload is followed
//! to the outermost IP header ([`packet::link`]) and from there to the transport header ([`packet::ip`]); key and values go
//! into the flow table ([`flow::table`]), or the packet into the counter that says why not ([`capture::tally`]). Where records
//! are to say more of the packet than flows need ([`packet::details`]), that goes beside the table. All this
//! takes no lock, no allocation, no system call, and no look at the clock per packet.
//!
//! Once a second the export thread looks at the flows that can have ended and takes out those that have ([`flow::expiry`]).
//! It never stops a capture thread: a removed flow's slot is only reused when no thread can be counting on it any more.
//! Each flow record goes, with its devices by the numbers that the operator wants ([`export::interface_numbers`]), what the
//! operator says of its selector ([`export::selector_settings`]), its user's name ([`export::user_names`]) and where wanted what
//! NAT makes of its packets ([`export::nat`], which asks [`conntrack`] where packets did not say it), to every collector ([`export`]): encoded by the
//! collector's protocol, whose templates and data
//! follow from one list of fields ([`export::layout`]), as do the options records that tell of sampling, interfaces and what
//! the probe did ([`export::options`]), in messages that fit the path, at a rate that the collector's
//! socket buffer survives ([`export::pacer`]), in bursts ([`export::remote`]) by a socket that outlives the collector's absence
//! ([`export::udp`]); or by a thread of its own over a connection ([`export::stream`]); or it goes
//! into a file ([`export::ipfix_file`], [`export::lines`]).
//!
//! [`read`] sends the packets of capture files ([`capture::pcap`]) the same way and by the capture's own time: one thread
//! reads and decodes, one counts and ends flows, one exports ([`export::beside`]), while the main thread waits for signals as
//! it does for a daemon.
//!
//! # Around it
//!
//! [`cli`] and [`config`] turn command line and file into one valid configuration, [`collectors`] its destinations into
//! collectors. [`daemon`] reads as the list of what
//! happens: open ([`probe`]), load rules of its own ([`rules`]), drop privileges ([`privileges`]), start threads, tell the
//! service manager ([`service`]), wait for [`signals`] and look whether the threads get on ([`watch`]), drain. Meanwhile [`health`]
//! tells what ails the probe, [`prometheus`] may read the counters, [`control`] is how the probe is asked and told things
//! ([`overseer`]), for instance by the live screen of `top`, and [`reload`] changes what can change: [`lineup`] says which
//! collectors stay, [`export::change`] lets them. [`demo`] shows the whole way on one machine. [`check`] says why a probe sees
//! nothing, or too much.
//!
//! # Rules of the house
//!
//! Arrows go one way: `flow` knows neither `capture` nor `export`, `packet` neither of them. Whatever depends on the time
//! takes it as a parameter. `unsafe` is in two private modules, `sockopt` and `memory`, and nowhere else. The atomics and
//! arrays that the table is made of come from `sync`, so that loom can run its races.
#![deny(unsafe_code)]

pub mod capture;
pub mod check;
pub mod cli;
pub mod collectors;
pub mod config;
pub mod conntrack;
pub mod control;
pub mod daemon;
pub mod demo;
pub mod export;
pub mod flow;
pub mod health;
pub mod interfaces;
pub mod latch;
pub mod lineup;
pub mod logging;
#[cfg_attr(loom, expect(dead_code, reason = "loom has arrays of its own"))]
mod memory;
pub mod metrics;
pub mod netlink;
pub mod overseer;
pub mod packet;
pub mod privileges;
pub mod probe;
pub mod prometheus;
pub mod read;
pub mod reload;
pub mod rules;
pub mod service;
pub mod signals;
mod sockopt;
mod sync;
pub mod time;
#[cfg(feature = "top")]
pub mod top;
pub mod watch;
