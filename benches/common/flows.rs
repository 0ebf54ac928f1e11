//! Which flow the next packet belongs to, for all benches.

/// Numbers of flows without end, half of them of one sixteenth of the flows. The same seed gives the same numbers.
pub fn numbers(seed: u64, flows: u32) -> impl Iterator<Item = u32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let flow = (state >> 32) as u32 % flows;
        if state & 1 == 0 { flow } else { flow % (flows / 16).max(1) }
    })
}
