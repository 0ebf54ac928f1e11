//! x
use super::*;
/// x
pub fn parse(_: link::Version, _: &[u8], _: u64) -> Result<Headers, Refusal> {
    Err(Refusal::Malformed)
}
