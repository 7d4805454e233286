//! The frame around each event in a file: TensorFlow's `TFRecord`, which is the length (8 bytes), its checksum, the payload, and
//! its checksum (4 bytes each, little-endian).

/// An event in a file.
pub(super) struct Record {
    pub(super) payload: Vec<u8>,
    /// Its size in the file.
    pub(super) n_bytes: u64,
}

pub(super) fn framed(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    [
        &length[..],
        &masked_crc(&length).to_le_bytes(),
        payload,
        &masked_crc(payload).to_le_bytes(),
    ]
    .concat()
}

/// The records of a file up to the first one that is damaged or incomplete.
pub(super) fn read(mut bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some((record, rest)) = first(bytes) {
        records.push(record);
        bytes = rest;
    }
    records
}

fn first(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*crc) != masked_crc(length) {
        return None;
    }
    let n_bytes = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (payload, rest) = rest.split_at_checked(n_bytes)?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let record = Record {
        payload: payload.to_vec(),
        n_bytes: (8 + 4 + n_bytes + 4) as u64,
    };
    (u32::from_le_bytes(*crc) == masked_crc(payload)).then_some((record, rest))
}

/// The checksum as `TFRecord` stores it. Source: `MaskedCrc` of TensorFlow's `crc32c.h`.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C, with the polynomial of Castagnoli in reversed order.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    let add = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        // RFC 3720, section B.4, and the check value of the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn records_are_read_back_up_to_the_first_bad_one() {
        let file = [framed(b"one"), framed(b""), framed(b"three")].concat();
        let read = |bytes: &[u8]| -> Vec<Vec<u8>> {
            let records = read(bytes).into_iter();
            records.map(|record| record.payload).collect()
        };
        assert_eq!(read(&file), [&b"one"[..], b"", b"three"]);
        assert_eq!(read(&file[..file.len() - 1]).len(), 2);
        let mut damaged = file.clone();
        damaged[13] ^= 1;
        assert!(read(&damaged).is_empty());
        // A length that no file has is not allocated.
        let huge = [u64::MAX.to_le_bytes().to_vec(), vec![0; 20]].concat();
        assert!(read(&huge).is_empty());
    }
}
