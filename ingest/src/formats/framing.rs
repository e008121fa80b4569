//! The header of a schema registry's serialisers: a zero byte, and the schema's id in four bytes, the highest first.

/// How many bytes stand before the body.
pub(crate) const HEADER: usize = 5;

/// What a dead letter says of a payload without the header. Neither byte nor id is quoted: they may be a value's.
pub(crate) const MISSING: &str = "framing.missing: no zero byte and schema id at the beginning";

/// The schema's id and the body.
pub(crate) fn split(payload: &[u8]) -> Option<(u32, &[u8])> {
    match payload {
        [0, a, b, c, d, body @ ..] => Some((u32::from_be_bytes([*a, *b, *c, *d]), body)),
        _ => None,
    }
}

/// The header and the body as one payload.
pub(crate) fn join(id: u32, body: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(HEADER + body.len());
    payload.push(0);
    payload.extend_from_slice(&id.to_be_bytes());
    payload.extend_from_slice(body);
    payload
}

/// The JSON of a payload, which may stand behind the header: a document of its own never begins with a zero byte.
#[inline]
pub(crate) fn json_body(payload: &[u8]) -> &[u8] {
    match payload {
        [0, _, _, _, _, body @ ..] => body,
        whole => whole,
    }
}

/// The numbers that say which message of a Protobuf schema a body is, from the outermost in; and the body behind them.
///
/// Their count and each of them are zigzag varints; a count of 0 stands for the first message.
pub(crate) fn message_indexes(body: &[u8]) -> Option<(Vec<usize>, &[u8])> {
    /// Nobody nests messages deeper.
    const MOST: usize = 16;
    let (count, mut rest) = varint(body)?;
    if count == 0 {
        return Some((vec![0], rest));
    }
    let count = usize::try_from(count).ok().filter(|count| *count <= MOST)?;
    let mut indexes = Vec::with_capacity(count);
    for _ in 0..count {
        let (index, behind) = varint(rest)?;
        indexes.push(usize::try_from(index).ok()?);
        rest = behind;
    }
    Some((indexes, rest))
}

fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut rest = bytes;
    let value = prost::encoding::decode_varint(&mut rest).ok()?;
    Some(((value >> 1) as i64 ^ -((value & 1) as i64), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_split_from_its_body_and_put_before_it() {
        assert_eq!(split(&[0, 0, 0, 1, 2, 9, 8]), Some((258, [9, 8].as_slice())));
        assert_eq!(split(&join(258, &[9, 8])), Some((258, [9, 8].as_slice())));
        for payload in [&[][..], &[0, 0, 0, 1], &[1, 0, 0, 0, 1, 9], b"{\"a\":1}"] {
            assert_eq!(split(payload), None);
            assert_eq!(json_body(payload), payload);
        }
        assert_eq!(json_body(b"\0\0\0\0\x01{}"), b"{}");
    }

    #[test]
    fn indexes_are_zigzag_and_none_stands_for_the_first_message() {
        assert_eq!(message_indexes(&[0, 7]), Some((vec![0], [7].as_slice())));
        assert_eq!(message_indexes(&[2, 2, 7]), Some((vec![1], [7].as_slice())));
        assert_eq!(message_indexes(&[4, 2, 0, 7]), Some((vec![1, 0], [7].as_slice())));
        // Cut off, negative, and more than anybody nests.
        for bytes in [&[][..], &[4, 2], &[1, 0], &[2, 1], &[0x80], &[100, 0]] {
            assert_eq!(message_indexes(bytes), None, "{bytes:?}");
        }
    }
}
