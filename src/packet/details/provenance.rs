//! Where a packet comes from, as far as the kernel knows.

/// Either of two, and no packet needs both: what passes through a bridge was not sent by a process of this host, though the
/// kernel may still know the socket of another namespace that sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provenance {
    /// Nobody knows.
    #[default]
    Unknown,
    /// A process of this host has sent it: its user and group.
    Process {
        /// Number of the user that the process acts as.
        uid: u32,
        /// Number of the group.
        gid: u32,
    },
    /// It passes through a bridge: ifIndex of the ports by which it comes in and goes out, 0 where it is not known.
    Bridge {
        /// The port that it comes in by.
        input: u32,
        /// The port that it goes out by.
        output: u32,
    },
}

/// What is no user and no group (`(uid_t) -1`, as in `setreuid`): 0 is one.
pub const NOBODY: u32 = u32::MAX;

impl Provenance {
    /// User and group, each [`NOBODY`] where nobody knows.
    pub fn owner(self) -> [u32; 2] {
        match self {
            Self::Process { uid, gid } => [uid, gid],
            _ => [NOBODY; 2],
        }
    }

    /// The ports of a bridge, 0 where there is none.
    pub fn ports(self) -> [u32; 2] {
        match self {
            Self::Bridge { input, output } => [input, output],
            _ => [0; 2],
        }
    }

    /// Its kind, two bits, and a word; [`Provenance::from_words`] is the inverse.
    pub(super) fn to_words(self) -> (u64, u64) {
        let both = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        match self {
            Self::Unknown => (0, 0),
            Self::Process { uid, gid } => (1, both(uid, gid)),
            Self::Bridge { input, output } => (2, both(input, output)),
        }
    }

    pub(super) fn from_words(kind: u64, word: u64) -> Self {
        let (high, low) = ((word >> 32) as u32, word as u32);
        match kind {
            1 => Self::Process { uid: high, gid: low },
            2 => Self::Bridge { input: high, output: low },
            _ => Self::Unknown,
        }
    }
}
