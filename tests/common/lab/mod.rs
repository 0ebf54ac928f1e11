//! A laboratory of network namespaces: hosts, wires, a probe and collectors inside them.

pub mod collectors;
pub mod netns;
pub mod probe;
pub mod process;
