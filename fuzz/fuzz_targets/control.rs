//! Requests at the control socket.
#![no_main]

use nfweir::control::request::{line, parse};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = parse(bytes) {
        let written = line(command.clone());
        assert_eq!(parse(written.trim_ascii_end()), Ok(command));
    }
});
