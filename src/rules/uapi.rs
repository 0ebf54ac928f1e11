//! Numbers of `linux/netfilter/nf_tables.h` that libc does not have, under their own names.

pub const NFTA_LIST_ELEM: u16 = 1;
pub const NFTA_TABLE_NAME: u16 = 1;
pub const NFTA_TABLE_FLAGS: u16 = 2;
pub const NFTA_CHAIN_TABLE: u16 = 1;
pub const NFTA_CHAIN_NAME: u16 = 3;
pub const NFTA_CHAIN_HOOK: u16 = 4;
pub const NFTA_CHAIN_TYPE: u16 = 7;
pub const NFTA_HOOK_HOOKNUM: u16 = 1;
pub const NFTA_HOOK_PRIORITY: u16 = 2;
pub const NFTA_RULE_TABLE: u16 = 1;
pub const NFTA_RULE_CHAIN: u16 = 2;
pub const NFTA_RULE_EXPRESSIONS: u16 = 4;
pub const NFTA_EXPR_NAME: u16 = 1;
pub const NFTA_EXPR_DATA: u16 = 2;
pub const NFTA_META_DREG: u16 = 1;
pub const NFTA_META_KEY: u16 = 2;
pub const NFTA_CMP_SREG: u16 = 1;
pub const NFTA_CMP_OP: u16 = 2;
pub const NFTA_CMP_DATA: u16 = 3;
pub const NFTA_DATA_VALUE: u16 = 1;
pub const NFTA_LOG_GROUP: u16 = 1;
pub const NFTA_LOG_SNAPLEN: u16 = 3;

/// The kernel removes a table with this flag when the socket that made it is closed (Linux 5.12).
pub const NFT_TABLE_F_OWNER: u32 = 2;
pub const NFT_META_IIFNAME: u32 = 6;
pub const NFT_META_OIFNAME: u32 = 7;
pub const NFT_REG_1: u32 = 1;
pub const NFT_CMP_EQ: u32 = 0;
/// The family that covers IPv4 and IPv6.
pub const NFPROTO_INET: u8 = 1;
