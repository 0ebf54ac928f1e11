//! A window on a stream that moves forward only and holds whole records.

use std::io::{self, ErrorKind, Read};

/// What is read ahead at most, unless a record is longer.
const READ_AHEAD: usize = 256 << 10;

pub struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    /// `buffer[start..end]` is held; `start <= end <= buffer.len()`.
    start: usize,
    end: usize,
    position: u64,
}

impl<R: Read> Window<R> {
    pub fn new(input: R) -> Self {
        Self { input, buffer: vec![0; READ_AHEAD], start: 0, end: 0, position: 0 }
    }

    /// The next `length` bytes of the input, fewer only at its end.
    #[inline(always)]
    pub fn hold(&mut self, length: usize) -> io::Result<&[u8]> {
        if self.end - self.start < length {
            self.fill(length)?;
        }
        let held = self.held();
        Ok(&held[..length.min(held.len())])
    }

    /// Reads on until `length` bytes are there; no further, for a pipe may have no more to give yet.
    #[cold]
    fn fill(&mut self, length: usize) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
        while self.end < length {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<R> Window<R> {
    /// What has been read and not skipped.
    pub fn held(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Lets go of the first `length` bytes held.
    pub fn skip(&mut self, length: usize) {
        self.start += length;
        self.position += length as u64;
    }

    /// Where the bytes come from.
    pub fn input(&self) -> &R {
        &self.input
    }

    /// How many bytes have been let go of.
    pub fn position(&self) -> u64 {
        self.position
    }
}
