//! Whatever stands in a configuration: read and checked, or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use poised::settings::Settings;

fuzz_target!(|text: &str| {
    if let Ok(settings) = toml::from_str::<Settings>(text) {
        let _ = settings.validate();
    }
});
