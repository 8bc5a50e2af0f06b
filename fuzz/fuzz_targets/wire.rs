//! A peer may send anything: decoding says no, and never falls over.

#![no_main]

use libfuzzer_sys::fuzz_target;
use poised::publish::read;

fuzz_target!(|bytes: &[u8]| {
    let _ = read::decode(bytes);
});
