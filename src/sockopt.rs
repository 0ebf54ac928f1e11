//! What nix and socket2 do not ask of sockets. The one room of this program with `unsafe` in it.
#![expect(unsafe_code, reason = "the system calls take addresses")]

use nix::errno::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Reads an option that is a C int.
pub fn get_int(socket: impl AsFd, level: libc::c_int, option: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` octets to `value`, which has as many; the descriptor is open while it
    // is borrowed.
    let result = unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length)
    };
    Errno::result(result)?;
    Ok(value)
}

/// The numbers of `SO_MEMINFO` that are used here (`include/uapi/linux/sock_diag.h`, since Linux 4.12).
const SK_MEMINFO_RMEM_ALLOC: usize = 0;
const SK_MEMINFO_WMEM_QUEUED: usize = 5;
const SK_MEMINFO_DROPS: usize = 8;

/// What waits to be received by a socket.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// Octets of memory that it takes; 0 if there is nothing.
    pub octets: u32,
    /// How many datagrams the kernel has thrown away because the socket was full, since it was opened. Wraps at 2^32.
    pub dropped: u32,
}

/// What waits to be received by this socket.
pub fn backlog(socket: impl AsFd) -> io::Result<Backlog> {
    let memory = memory(socket)?;
    Ok(Backlog { octets: memory[SK_MEMINFO_RMEM_ALLOC], dropped: memory[SK_MEMINFO_DROPS] })
}

/// Octets of memory that the kernel keeps for what it may still have to send by this socket.
pub fn queued_to_send(socket: impl AsFd) -> io::Result<u32> {
    Ok(memory(socket)?[SK_MEMINFO_WMEM_QUEUED])
}

fn memory(socket: impl AsFd) -> io::Result<[u32; SK_MEMINFO_DROPS + 1]> {
    let mut values = [0; SK_MEMINFO_DROPS + 1];
    let mut length = size_of_val(&values) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` octets to `values`, which has as many; the descriptor is open while it
    // is borrowed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            (&raw mut values).cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    Ok(values)
}

/// Octets that a TCP socket was given, but whose arrival the other host has not acknowledged (`SIOCOUTQ`, tcp(7)).
pub fn unacknowledged(socket: impl AsFd) -> io::Result<u32> {
    let mut octets: libc::c_int = 0;
    // SAFETY: the kernel writes a C int to `octets`; the descriptor is open while it is borrowed.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut octets) };
    Errno::result(result)?;
    Ok(octets as u32)
}

/// Sets an option that is a C int.
pub fn set_int(socket: impl AsFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    set_ints(socket, level, option, &[value])
}

/// Sets an option that is a structure of C ints.
pub fn set_ints(socket: impl AsFd, level: libc::c_int, option: libc::c_int, values: &[libc::c_int]) -> io::Result<()> {
    // SAFETY: the kernel reads the octets of `values`, as many as it is told; the descriptor is open while it is borrowed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            values.as_ptr().cast(),
            size_of_val(values) as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}
