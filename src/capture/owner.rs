//! Who owns an NFLOG group.

use std::fmt;
use std::fs;
use std::path::Path;

/// `NETLINK_NETFILTER`, as `/proc/net/netlink` has it.
const NETFILTER: &str = "12";

/// The owner of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The port id of its socket.
    pub port: u32,
    /// Number and name of its process, if they can be seen.
    pub process: Option<(u32, String)>,
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((id, name)) => write!(out, "{name} (process {id})"),
            None => write!(out, "the socket with netlink port id {}", self.port),
        }
    }
}

/// Who owns a group of this network namespace, by the first two columns of `/proc/net/netfilter/nfnetlink_log`: group and
/// port id. That table is root's to read.
pub fn owner(group: u16) -> Option<Owner> {
    let table = fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_log").ok()?;
    let port = table.lines().find_map(|line| {
        let mut columns = line.split_whitespace();
        if columns.next()?.parse() == Ok(group) { columns.next()?.parse().ok() } else { None }
    })?;
    // the first socket of a process has the process's number, further ones have numbers that mean nothing
    let holder = inode(port).and_then(|inode| holder(&inode)).unwrap_or(port);
    let process = name(holder).map(|name| (holder, name));
    Some(Owner { port, process })
}

/// The inode of the socket with this port id.
fn inode(port: u32) -> Option<String> {
    let table = fs::read_to_string("/proc/thread-self/net/netlink").ok()?;
    table.lines().find_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let is_it = columns.get(1) == Some(&NETFILTER) && columns.get(2)?.parse() == Ok(port);
        if is_it { columns.last().map(|inode| (*inode).to_owned()) } else { None }
    })
}

/// The process that has this socket open.
fn holder(inode: &str) -> Option<u32> {
    let socket = format!("socket:[{inode}]");
    let has_it = |process: &u32| {
        let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|it| it == Path::new(&socket)))
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(has_it)
}

fn name(process: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
