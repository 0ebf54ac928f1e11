//! What `nfweir check` finds.

use std::fmt;

/// Something that explains what the operator sees, or does not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What there is, as a sentence without its end.
    pub what: String,
    /// What to do, as a sentence without its end.
    pub mend: String,
    /// Whether it is well to know, but nothing wrong.
    pub is_note: bool,
}

impl Finding {
    /// Something that is wrong.
    pub fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into(), is_note: false }
    }

    /// Something that is not.
    pub fn note(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { is_note: true, ..Self::new(what, mend) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.what, self.mend)
    }
}
