//! Messages in protobuf's wire format. The values of tensors stay where they are until the message is written, and are then
//! streamed, because a network can take half a gigabyte.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use half::f16;

/// The number of values that are converted at a time.
const AT_ONCE: usize = 1 << 14;

/// The types of fields that are written.
#[derive(Clone, Copy)]
enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    Fixed32 = 5,
}

/// A message: its fields in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Message<'a> {
    pieces: Vec<Piece<'a>>,
    length: u64,
}

#[derive(Debug)]
enum Piece<'a> {
    Bytes(Vec<u8>),
    Floats(Floats<'a>),
}

/// The values of a tensor, as a file holds them.
#[derive(Clone, Debug)]
pub(crate) struct Floats<'a> {
    pub(crate) values: Cow<'a, [f32]>,
    /// Whether they are rounded to 16 bits.
    pub(crate) is_half: bool,
}

impl<'a> Message<'a> {
    /// Adds an integer or an enum value.
    pub(crate) fn integer(mut self, field: u32, value: i64) -> Self {
        let mut bytes = tag(field, WireType::Varint);
        // A negative number has the bits of its 64-bit two's complement.
        varint(value as u64, &mut bytes);
        self.push(Piece::Bytes(bytes));
        self
    }

    pub(crate) fn float(mut self, field: u32, value: f32) -> Self {
        let mut bytes = tag(field, WireType::Fixed32);
        bytes.extend(value.to_le_bytes());
        self.push(Piece::Bytes(bytes));
        self
    }

    pub(crate) fn double(mut self, field: u32, value: f64) -> Self {
        let mut bytes = tag(field, WireType::Fixed64);
        bytes.extend(value.to_le_bytes());
        self.push(Piece::Bytes(bytes));
        self
    }

    pub(crate) fn text(mut self, field: u32, text: &str) -> Self {
        let mut bytes = length_tag(field, text.len() as u64);
        bytes.extend(text.as_bytes());
        self.push(Piece::Bytes(bytes));
        self
    }

    pub(crate) fn message(mut self, field: u32, message: Message<'a>) -> Self {
        self.push(Piece::Bytes(length_tag(field, message.length)));
        message
            .pieces
            .into_iter()
            .for_each(|piece| self.push(piece));
        self
    }

    pub(crate) fn messages(
        self,
        field: u32,
        messages: impl IntoIterator<Item = Message<'a>>,
    ) -> Self {
        let messages = messages.into_iter();
        messages.fold(self, |whole, message| whole.message(field, message))
    }

    /// Adds the little-endian bytes of the values.
    pub(crate) fn floats(mut self, field: u32, floats: Floats<'a>) -> Self {
        self.push(Piece::Bytes(length_tag(field, floats.n_bytes())));
        self.push(Piece::Floats(floats));
        self
    }

    /// The size in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Bytes(bytes) => to.write_all(bytes),
            Piece::Floats(floats) => floats.write(to),
        })
    }

    /// Adds a piece. Adjacent bytes are kept together, because a network has thousands of small fields.
    fn push(&mut self, piece: Piece<'a>) {
        self.length += match &piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Floats(floats) => floats.n_bytes(),
        };
        match (self.pieces.last_mut(), piece) {
            (Some(Piece::Bytes(before)), Piece::Bytes(bytes)) => before.extend(bytes),
            (_, piece) => self.pieces.push(piece),
        }
    }
}

impl Floats<'_> {
    fn n_bytes(&self) -> u64 {
        let width = if self.is_half { 2 } else { 4 };
        (self.values.len() * width) as u64
    }

    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        for values in self.values.chunks(AT_ONCE) {
            let bytes: Vec<u8> = if self.is_half {
                let halves = values.iter().map(|value| f16::from_f32(*value));
                halves.flat_map(f16::to_le_bytes).collect()
            } else {
                let values = values.iter();
                values.flat_map(|value| value.to_le_bytes()).collect()
            };
            to.write_all(&bytes)?;
        }
        Ok(())
    }
}

fn tag(field: u32, wire_type: WireType) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(u64::from(field << 3 | wire_type as u32), &mut bytes);
    bytes
}

fn length_tag(field: u32, length: u64) -> Vec<u8> {
    let mut bytes = tag(field, WireType::Length);
    varint(length, &mut bytes);
    bytes
}

/// Seven bits a byte, the lowest first; all bytes but the last have the highest bit set.
fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.write(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, message.length());
        bytes
    }

    #[test]
    fn fields_have_the_bytes_of_the_specification() {
        // The examples of the encoding guide: field 1 is 150, field 2 is "testing", field 3 is the first message.
        let one = || Message::default().integer(1, 150);
        assert_eq!(bytes(&one()), [0x08, 0x96, 0x01]);
        let text = Message::default().text(2, "testing");
        assert_eq!(bytes(&text), *b"\x12\x07testing");
        let nested = Message::default().message(3, one());
        assert_eq!(bytes(&nested), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let negative = Message::default().integer(1, -2);
        let expected = [8, 0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert_eq!(bytes(&negative), expected);
        assert_eq!(
            bytes(&Message::default().float(2, 1.0)),
            [0x15, 0, 0, 0x80, 0x3f]
        );
        let double = Message::default().double(1, 1.0);
        assert_eq!(bytes(&double), [0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        assert_eq!(bytes(&Message::default().integer(20, 0)), [0xa0, 0x01, 0]);
    }

    #[test]
    fn values_are_written_in_the_width_that_was_counted() {
        let values: Vec<f32> = (0..AT_ONCE + 3).map(|value| value as f32).collect();
        for (is_half, width) in [(false, 4), (true, 2)] {
            let floats = Floats {
                values: Cow::Borrowed(&values),
                is_half,
            };
            let whole = Message::default().message(1, Message::default().floats(9, floats));
            let written = bytes(&whole);
            let last = &written[written.len() - width..];
            let expected = (AT_ONCE + 2) as f32;
            if is_half {
                assert_eq!(last, f16::from_f32(expected).to_le_bytes());
            } else {
                assert_eq!(last, expected.to_le_bytes());
            }
        }
    }
}
