//! The packets: TCP and UDP flows over IPv4, half of the packets of one sixteenth of the flows. The same numbers give the
//! same packets.

#[path = "../common/flows.rs"]
mod flows;

use nix::net::if_::if_nametoindex;
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::mem::size_of;
use std::path::Path;

/// The sending interface, and the receiving interface's address.
pub const SENDER: &str = "send0";
pub const RECEIVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const FRAME: usize = 128;
const ETHERNET: usize = 14;

/// The numbers of the flows that the packets belong to.
fn numbers(flows: u32, packets: u64) -> impl Iterator<Item = u32> {
    flows::numbers(42, flows).take(packets as usize)
}

/// A frame of a flow, all of whose properties follow from its number.
fn frame(flow: u32) -> [u8; FRAME] {
    let mixed = flow.wrapping_add(1).wrapping_mul(0x9e37_79b9).rotate_left(13).wrapping_mul(0x85eb_ca6b);
    let [_, a, b, c] = flow.to_be_bytes();
    let tcp = mixed & 1 == 1;
    let length = (FRAME - ETHERNET) as u16;
    let mut frame = [0; FRAME];
    frame[..6].copy_from_slice(&RECEIVER_MAC);
    frame[6..12].copy_from_slice(&SENDER_MAC);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let ip = &mut frame[ETHERNET..];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&length.to_be_bytes());
    (ip[8], ip[9]) = (64, if tcp { 6 } else { 17 });
    ip[12..16].copy_from_slice(&[10, a, b, c]);
    ip[16..20].copy_from_slice(&[10, 99, 99, 2 + (mixed >> 8) as u8 % 64]);
    let sum: u32 = ip[..20].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&folded.to_be_bytes());
    let port = 1024 + (mixed >> 16) as u16 % 60_000;
    ip[20..22].copy_from_slice(&port.to_be_bytes());
    ip[22..24].copy_from_slice(&443_u16.to_be_bytes());
    match tcp {
        true => (ip[32], ip[33]) = (0x50, 0x10),
        false => ip[24..26].copy_from_slice(&(length - 20).to_be_bytes()),
    }
    frame
}

/// Sends the packets, as fast as it goes.
pub fn send(flows: u32, packets: u64) {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
    let to = link_address(if_nametoindex(SENDER).unwrap());
    for flow in numbers(flows, packets) {
        // a full queue is waited for, so an error is one
        socket.send_to(&frame(flow), &to).unwrap();
    }
}

fn link_address(index: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is an address of the family that it says it is, and fits into the storage.
    unsafe {
        let address = storage.view_as::<libc::sockaddr_ll>();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index as i32;
        address.sll_halen = 6;
        SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as u32)
    }
}

/// Writes the packets to a pcap file, 100,000 a second of its time.
pub fn write(path: &Path, flows: u32, packets: u64) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let words = |file: &mut BufWriter<File>, words: &[u32]| {
        words.iter().for_each(|word| file.write_all(&word.to_le_bytes()).unwrap());
    };
    words(&mut file, &[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
    for (number, flow) in (0..).zip(numbers(flows, packets)) {
        let microseconds = 10 * number;
        let time = [1_700_000_000 + microseconds / 1_000_000, microseconds % 1_000_000];
        words(&mut file, &[time[0], time[1], FRAME as u32, FRAME as u32]);
        file.write_all(&frame(flow)).unwrap();
    }
    // or it is written to the disk while it is read
    file.into_inner().unwrap().sync_all().unwrap();
}
