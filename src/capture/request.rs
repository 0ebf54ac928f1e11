//! Requests that configure an NFLOG group (`NFULNL_MSG_CONFIG` of `linux/netfilter/nfnetlink_log.h`), built with neli.

use neli::consts::netfilter::{LogCmd, LogCopyMode, NetfilterMsg, NfLogCfg};
use neli::consts::nl::NlmF;
use neli::genl::{AttrTypeBuilder, Nlattr, NlattrBuilder};
use neli::nl::{NlPayload, NlmsghdrBuilder};
use neli::types::{Buffer, GenlBuffer};
use neli::{Size, ToBytes};
use std::io::{self, Cursor};

/// Packets after which the kernel sends a datagram, where the rule has no lower `queue-threshold`.
const QUEUE_THRESHOLD: u32 = 512;
/// Size of the kernel's datagram: with `struct skb_shared_info` behind it just under 131,072, the most that the kernel
/// accepts (it answers success to more and ignores it), because an allocation beyond that would take twice the memory.
const NLBUFSIZ: u32 = 131_072 - 512;
/// How long the kernel keeps an incomplete batch, in its unit of 10 ms.
const FLUSH_TIMEOUT: u32 = 10;
/// Number each message of the group; and say with each packet its connection.
const FLAG_SEQUENCE: u16 = libc::NFULNL_CFG_F_SEQ as u16;
const FLAG_CONNECTIONS: u16 = libc::NFULNL_CFG_F_CONNTRACK as u16;

/// `struct nfgenmsg` and the attributes behind it.
#[derive(Debug, Size, ToBytes)]
struct LogConfig {
    family: u8,
    version: u8,
    /// The group, big-endian.
    resource: u16,
    attributes: GenlBuffer<NfLogCfg, Buffer>,
}

/// Binds `group`, in the largest batches, with the first `snaplen` bytes of each packet, and its connection where that is
/// wanted. A kernel that cannot tell it binds nothing.
pub fn bind(group: u16, snaplen: u32, connections: bool) -> io::Result<Vec<u8>> {
    let flags = if connections { FLAG_SEQUENCE | FLAG_CONNECTIONS } else { FLAG_SEQUENCE };
    // struct nfulnl_msg_config_mode: copy_range, copy_mode, padding
    let [a, b, c, d] = snaplen.to_be_bytes();
    let mode = [a, b, c, d, LogCopyMode::Packet.into(), 0];
    request(
        group,
        [
            attribute(NfLogCfg::Cmd, &[LogCmd::Bind.into()])?,
            attribute(NfLogCfg::Mode, &mode)?,
            attribute(NfLogCfg::NlBufSize, &NLBUFSIZ.to_be_bytes())?,
            attribute(NfLogCfg::QThresh, &QUEUE_THRESHOLD.to_be_bytes())?,
            attribute(NfLogCfg::Timeout, &FLUSH_TIMEOUT.to_be_bytes())?,
            attribute(NfLogCfg::Flags, &flags.to_be_bytes())?,
        ],
    )
}

/// Gives `group` back.
pub fn unbind(group: u16) -> io::Result<Vec<u8>> {
    request(group, [attribute(NfLogCfg::Cmd, &[LogCmd::Unbind.into()])?])
}

fn attribute(kind: NfLogCfg, payload: &[u8]) -> io::Result<Nlattr<NfLogCfg, Buffer>> {
    let kind = AttrTypeBuilder::default().nla_type(kind).build().map_err(io::Error::other)?;
    NlattrBuilder::default().nla_type(kind).nla_payload(Buffer::from(payload)).build().map_err(io::Error::other)
}

fn request(group: u16, attributes: impl IntoIterator<Item = Nlattr<NfLogCfg, Buffer>>) -> io::Result<Vec<u8>> {
    let config = LogConfig {
        family: libc::AF_UNSPEC as u8,
        version: libc::NFNETLINK_V0 as u8,
        resource: group.to_be(),
        attributes: attributes.into_iter().collect(),
    };
    let message = NlmsghdrBuilder::default()
        .nl_type(NetfilterMsg::LogConfig)
        .nl_flags(NlmF::REQUEST | NlmF::ACK)
        .nl_payload(NlPayload::Payload(config))
        .build()
        .map_err(io::Error::other)?;
    let mut bytes = Cursor::new(Vec::new());
    message.to_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a little-endian host; what is big-endian on the wire is so here too.
    /// The last attribute of the request: NFULA_CFG_FLAGS, big-endian.
    #[test]
    #[cfg(target_endian = "little")]
    fn connections_come_only_where_they_are_wanted() {
        let flags = |connections| bind(5, 128, connections).unwrap().last_chunk::<8>().copied();
        assert_eq!(flags(false), Some([6, 0, 6, 0, 0, 1, 0, 0]));
        assert_eq!(flags(true), Some([6, 0, 6, 0, 0, 5, 0, 0]));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn unbinding_group_258_is_these_bytes() {
        #[rustfmt::skip]
        let expected = [
            28, 0, 0, 0,      // nlmsg_len
            1, 4,             // nlmsg_type: subsystem 4 (NFNL_SUBSYS_ULOG), message 1 (NFULNL_MSG_CONFIG)
            5, 0,             // nlmsg_flags: NLM_F_REQUEST | NLM_F_ACK
            0, 0, 0, 0,       // nlmsg_seq
            0, 0, 0, 0,       // nlmsg_pid
            0, 0, 1, 2,       // nfgenmsg: AF_UNSPEC, version 0, the group
            5, 0, 1, 0,       // length 5, NFULA_CFG_CMD
            2, 0, 0, 0,       // NFULNL_CFG_CMD_UNBIND and padding
        ];
        assert_eq!(unbind(258).unwrap(), expected);
    }
}
