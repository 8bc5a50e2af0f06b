//! Small dictionaries for this module's tests.

use super::{Dictionary, Entry, NewEntry};

pub const ENCODER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const WIDTH: usize = 4;
pub const RANK: usize = 2;

pub fn direction(seed: u64) -> Vec<f32> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let raw: Vec<f32> = (0..WIDTH).map(|_| rng.f32() - 0.5).collect();
    let length = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
    raw.iter().map(|v| v / length).collect()
}

pub fn named(phrase: &str, seed: u64) -> NewEntry {
    NewEntry {
        entry: Entry {
            phrase: phrase.into(),
            wordings: vec![format!("to {phrase}")],
            clips: 2,
            windows: 9,
            people: 1,
            ..Entry::default()
        },
        text: direction(seed),
        motion: direction(seed + 1),
        rays: direction(seed + 2),
        mean: vec![0.5, -0.5],
        factor: vec![1.0, 0.2, 0.7],
    }
}

pub fn two() -> Dictionary {
    let mut dictionary = Dictionary::empty(ENCODER, WIDTH, RANK);
    dictionary.add(named("walk", 1)).unwrap();
    let mut words_only = NewEntry::default();
    words_only.entry.phrase = "fly".into();
    words_only.text = direction(7);
    dictionary.add(words_only).unwrap();
    dictionary
}
