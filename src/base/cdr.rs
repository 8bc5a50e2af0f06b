//! CDR, the byte layout of ROS 2 messages: what MCAP files and ROS 2 peers read.
//!
//! Only what those messages use: version 1, little endian, in a growing buffer that is kept from message to message.
//! Every number stands at a multiple of its own size, counted from behind the four bytes of the header; the bytes
//! skipped for that are zero.

/// First bytes of every message: CDR version 1, little endian, no options.
const HEADER: [u8; 4] = [0, 1, 0, 0];

/// Writes one message, field by field, in the order of its definition.
///
/// The buffer is emptied first, so that one buffer serves all messages and touches the heap only until it has grown
/// to the largest of them.
#[derive(Debug)]
pub struct CdrWriter<'b> {
    bytes: &'b mut Vec<u8>,
}

impl<'b> CdrWriter<'b> {
    /// Begins a message in `bytes`, whatever they held.
    pub fn new(bytes: &'b mut Vec<u8>) -> Self {
        bytes.clear();
        bytes.extend_from_slice(&HEADER);
        Self { bytes }
    }

    /// Zeros until the next multiple of `size`, which is a power of two.
    fn align(&mut self, size: usize) {
        let behind = self.bytes.len() - HEADER.len();
        self.bytes
            .resize(HEADER.len() + behind.next_multiple_of(size), 0);
    }

    fn put<const N: usize>(&mut self, value: [u8; N]) {
        self.align(N);
        self.bytes.extend_from_slice(&value);
    }

    /// `uint8`, `byte`, `char`.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// `bool`.
    pub fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    /// `uint16`.
    pub fn u16(&mut self, value: u16) {
        self.put(value.to_le_bytes());
    }

    /// `uint32`.
    pub fn u32(&mut self, value: u32) {
        self.put(value.to_le_bytes());
    }

    /// `int32`.
    pub fn i32(&mut self, value: i32) {
        self.put(value.to_le_bytes());
    }

    /// `float32`.
    pub fn f32(&mut self, value: f32) {
        self.put(value.to_le_bytes());
    }

    /// `float64`.
    pub fn f64(&mut self, value: f64) {
        self.put(value.to_le_bytes());
    }

    /// `string`: its length with the closing zero, the text, the zero.
    ///
    /// Readers in C end the text at its first zero; names and labels of poses hold none.
    pub fn string(&mut self, text: &str) {
        self.count(text.len() + 1);
        self.bytes.extend_from_slice(text.as_bytes());
        self.u8(0);
    }

    /// The number of entries of a sequence; the entries follow, each as its own type is written.
    ///
    /// # Panics
    ///
    /// A count over 32 bits, which no message of poses comes near.
    pub fn count(&mut self, entries: usize) {
        self.u32(u32::try_from(entries).expect("a message holds less than 4 GiB"));
    }

    /// `uint8[]`: a sequence of bytes.
    pub fn byte_sequence(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// `builtin_interfaces/Time` of nanoseconds since 1970. From 2038 on, when its seconds end, it stays at the last.
    pub fn time(&mut self, unix_ns: u64) {
        self.i32(i32::try_from(unix_ns / 1_000_000_000).unwrap_or(i32::MAX));
        self.u32((unix_ns % 1_000_000_000) as u32);
    }

    /// `std_msgs/Header`: when, and in which frame of reference.
    pub fn header(&mut self, unix_ns: u64, frame_id: &str) {
        self.time(unix_ns);
        self.string(frame_id);
    }

    /// `geometry_msgs/Point`, `Vector3`: three `float64`.
    pub fn point(&mut self, [x, y, z]: [f64; 3]) {
        for value in [x, y, z] {
            self.f64(value);
        }
    }

    /// `geometry_msgs/Pose` without a rotation.
    pub fn pose_at(&mut self, position: [f64; 3]) {
        self.point(position);
        for value in [0.0, 0.0, 0.0, 1.0] {
            self.f64(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    #[test]
    fn messages_are_those_that_ros_2_reads() {
        // Both were read by rclpy of ROS 2 Jazzy with the values below.
        let mut bytes = b"left over".to_vec();
        CdrWriter::new(&mut bytes).string("hi");
        assert_eq!(bytes, hex("00010000 03000000 686900"));

        // geometry_msgs/PoseArray of one pose. Its doubles stand at multiples of eight behind the header.
        let mut cdr = CdrWriter::new(&mut bytes);
        cdr.header(1_790_005_000_123_456_789, "cam");
        cdr.count(1);
        cdr.pose_at([0.25, -0.5, 3.0]);
        let want = hex(
            "00010000 084fb16a 15cd5b07 04000000 63616d00 01000000 00000000 000000000000d03f 000000000000e0bf \
             0000000000000840 000000000000000000000000000000000000000000000000 000000000000f03f",
        );
        assert_eq!(bytes, want);
        assert_eq!(bytes.len(), 84);
    }

    #[test]
    fn every_number_stands_at_a_multiple_of_its_size() {
        let mut bytes = Vec::new();
        let mut cdr = CdrWriter::new(&mut bytes);
        cdr.u8(1);
        cdr.u16(2);
        cdr.bool(true);
        cdr.f32(1.0);
        cdr.u8(3);
        cdr.f64(1.0);
        cdr.byte_sequence(&[7, 8]);
        cdr.i32(-1);
        let want = hex(
            "00010000 01 00 0200 01 000000 0000803f 03 000000 000000000000f03f 02000000 0708 0000 ffffffff",
        );
        assert_eq!(bytes, want);
    }

    #[test]
    fn times_beyond_2038_stay_at_the_last_second() {
        let mut bytes = Vec::new();
        CdrWriter::new(&mut bytes).time(u64::MAX);
        assert_eq!(bytes[4..8], i32::MAX.to_le_bytes());
        CdrWriter::new(&mut bytes).time(1_000_000_007);
        assert_eq!(bytes[4..], hex("01000000 07000000"));
    }
}
