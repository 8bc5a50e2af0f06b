//! Whatever stands in a configuration: read and checked, or refused.

#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code, reason = "each target is one of them")]
mod targets;

libfuzzer_sys::fuzz_target!(|text: &str| {
    targets::config(text);
});
