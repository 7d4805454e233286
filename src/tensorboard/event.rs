//! Events as TensorBoard reads them: messages of TensorFlow's `event.proto`, `summary.proto` and `tensor.proto`, whose field numbers
//! these are.

use crate::protobuf::Message;

/// `DT_STRING` of `types.proto`.
const STRING: i64 = 7;
/// The size of the field `wall_time` with its tag, which every event begins with.
const TIME_BYTES: usize = 9;

/// An event without its time.
pub(super) struct Event {
    /// All fields after the time.
    rest: Vec<u8>,
}

impl Event {
    /// The event that a file begins with.
    pub(super) fn version() -> Self {
        Self::of(&Message::default().text(3, "brain.Event:2"))
    }

    pub(super) fn scalars(step: usize, values: &[(&str, f64)]) -> Self {
        let values = values.iter().map(|(tag, value)| {
            let value = *value as f32;
            Message::default().text(1, tag).float(2, value)
        });
        let summary = Message::default().messages(1, values);
        let event = Message::default().integer(2, step as i64);
        Self::of(&event.message(5, summary))
    }

    /// A text in Markdown, for the plugin of that name.
    pub(super) fn text(tag: &str, text: &str) -> Self {
        let plugin = Message::default().text(1, "text");
        let one = Message::default().integer(1, 1);
        let tensor = Message::default()
            .integer(1, STRING)
            .message(2, Message::default().message(2, one))
            .text(8, text);
        let value = Message::default()
            .text(1, tag)
            .message(8, tensor)
            .message(9, Message::default().message(1, plugin));
        let summary = Message::default().message(1, value);
        Self::of(&Message::default().message(5, summary))
    }

    fn of(message: &Message) -> Self {
        let mut rest = Vec::new();
        let written = message.write(&mut rest);
        written.expect("writing to memory does not fail");
        Self { rest }
    }

    /// The event at a time in seconds since 1970.
    pub(super) fn at(&self, time: f64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TIME_BYTES + self.rest.len());
        let time = Message::default().double(1, time);
        let written = time.write(&mut bytes);
        written.expect("writing to memory does not fail");
        bytes.extend(&self.rest);
        bytes
    }

    /// Whether an event in a file is this one, at any time.
    pub(super) fn is_in(&self, payload: &[u8]) -> bool {
        payload.get(TIME_BYTES..) == Some(&self.rest)
    }
}
