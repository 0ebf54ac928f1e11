//! The name of a user, in a record.

/// Octets at most: `useradd` takes no longer names. What is longer is cut off.
const LONGEST: usize = 32;

/// Whose flow it is; empty where nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserName {
    length: u8,
    octets: [u8; LONGEST],
}

impl UserName {
    /// Octets at most.
    pub const LENGTH: u16 = LONGEST as u16;

    /// Its octets, UTF-8.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..self.length.into()]
    }
}

impl From<&str> for UserName {
    fn from(name: &str) -> Self {
        let length = name.floor_char_boundary(LONGEST);
        let mut octets = [0; LONGEST];
        octets[..length].copy_from_slice(&name.as_bytes()[..length]);
        Self { length: length as u8, octets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_off_between_letters() {
        assert_eq!(UserName::default().octets(), b"");
        assert_eq!(UserName::from("www-data").octets(), b"www-data");
        let long = "0123456789012345678901234567890\u{e4}";
        assert_eq!(UserName::from(long).octets(), b"0123456789012345678901234567890");
    }
}
