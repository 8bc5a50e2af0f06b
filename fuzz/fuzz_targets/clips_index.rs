//! Whatever is called an index of recorded clips.

#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code, reason = "each target is one of them")]
mod targets;

libfuzzer_sys::fuzz_target!(|text: &str| {
    targets::clips_index(text);
});
