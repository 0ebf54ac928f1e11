//! The captures of `common::cases` are what they claim to be: each opens, and has as many frames as it says.

mod common;

use nfweir::capture::pcap::CaptureReader;

#[test]
fn every_case_has_the_frames_it_says() {
    for case in common::cases::all() {
        let mut reader = CaptureReader::open(&case.capture[..]).unwrap();
        let mut frames = 0;
        while reader.next_packet().unwrap().is_some() {
            frames += 1;
        }
        assert_eq!(frames, case.frames(), "{}", case.name);
    }
}
