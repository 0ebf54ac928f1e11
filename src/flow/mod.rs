//! What a flow is: its key, its record, and why it ended, in the words of RFC 7012 and IANA's registry.

/// flowDirection (element 61): on which side of this host a packet was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// Coming in or passing through.
    #[default]
    Ingress = 0,
    /// Going out.
    Egress = 1,
}
