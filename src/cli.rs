//! The command line.

use crate::config::{ExportOptions, LogOptions, RulesOptions, RunOptions};
use crate::control::{AskOptions, FlowsOptions, StatusOptions};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A flow probe: netfilter's NFLOG in, NetFlow v5, v9 and IPFIX out, every packet accounted for.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Capture packets, by devices or NFLOG groups, and export their flows, until SIGTERM or SIGINT
    ///
    /// SIGUSR1 logs the account: packets seen, where they went, records sent. SIGHUP reads the configuration file again, unless
    /// there is a terminal: what is different is so from then on, all of it or nothing. A second SIGTERM or SIGINT ends at once.
    Run(RunOptions),
    /// Say why `run` with these options sees nothing, or too much, and the mend
    ///
    /// Reads the rules of nftables and iptables, who owns the groups, and what devices and kernel are set to, so it is best run
    /// as root. Ends with 0 if nothing is found wrong, else with 1, or with 2 if options or configuration file are wrong.
    Check(RunOptions),
    /// Say how the running probe is: what is lost and where, rates, its flow table, groups and collectors
    Status(StatusOptions),
    /// Show flows that are in the running probe's table: those with the most octets, or others
    Flows(FlowsOptions),
    /// Show the running probe on a live screen: rates, the largest flows, who sends most, what is lost, collectors
    #[cfg(feature = "top")]
    Top(AskOptions),
    /// Have the running probe export every flow in its table now
    Flush(AskOptions),
    /// Have the running probe come to its end, as by SIGTERM, and wait until it has exported every flow
    Stop(AskOptions),
    /// Read packets from capture files (pcap or pcapng) and export their flows
    Read(ReadOptions),
    /// Print the rules that `nfweir run -i` would load, to be loaded in another way
    ///
    /// They log to NFLOG group 5 or the one given by -g; without -i, all traffic but loopback. Where the collector is given by -e, its own traffic is left out; else
    /// that to the customary ports.
    Rules(RulesOptions),
    /// Show the whole way, from a rule to a collector, in network namespaces of its own
    ///
    /// Needs nothing else: not root, nor nft, nor a collector. Ends with 0 only if packets sent, captured and collected are
    /// the same number.
    Demo,
}

/// What `nfweir read` was told.
#[derive(Args, Debug)]
pub struct ReadOptions {
    /// Capture files, read one after the other; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// When flows end and where they go.
    #[command(flatten)]
    pub export: ExportOptions,
    /// Where the log goes.
    #[command(flatten)]
    pub log: LogOptions,
}
