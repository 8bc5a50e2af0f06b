//! How well an embedding of someone's motion fits each entry.

use super::Dictionary;
use crate::sys::simd::rows_times;

/// What a taught entry's score is above the typical one where an embedding is as near to it as to the nearest
/// other. This and the gain were chosen on training people of the actions that one pair of encoders
/// never learned, taught from three clips at a time.
const TAUGHT_LEAD: f32 = 0.25;

/// How much each difference of cosines counts.
const TAUGHT_GAIN: f32 = 4.0;

/// What an entry's cosine is held back by that one person's motion was learned from: encoders learn
/// the person with the action. Chosen on held-out people, of whose windows such an entry was the
/// best for 6 in 100 and never right.
const ONE_PERSON: f32 = 0.1;

impl Dictionary {
    /// Cosines of `embedding` with every entry's text, into `cosines`.
    ///
    /// # Panics
    ///
    /// The lengths do not fit.
    pub fn text_cosines(&self, embedding: &[f32], cosines: &mut [f32]) {
        cosines_of(&self.text, embedding, cosines);
    }

    /// How well an embedding of keypoints (length 1) fits each entry, into `scores`: the
    /// cosine with its text. An entry without text, which was taught, is compared by motion: how much
    /// nearer the embedding is to the mean of its clips than to that of any other entry, on
    /// the scale where windows of an action usually have `typical`. A cosine with its clips alone would say
    /// little: encoders that never learned an action place it near others. Entries without motion
    /// score negative infinity: they have no recorded motion, so they are never named. Those
    /// that were learned from one person only are held back, where others were learned from more.
    ///
    /// # Panics
    ///
    /// The lengths do not fit.
    pub fn scores(&self, embedding: &[f32], typical: f32, scores: &mut [f32]) {
        cosines_of(&self.text, embedding, scores);
        if self.entries.iter().any(|entry| entry.people > 1) {
            for (score, entry) in scores.iter_mut().zip(&self.entries) {
                if entry.people == 1 {
                    *score -= ONE_PERSON;
                }
            }
        }
        let moves = |at: &usize| self.entries[*at].windows > 0;
        let by_motion = |at: usize| {
            let mut cosine = [0.0];
            rows_times(self.rays(at), embedding, &[0.0], &mut cosine);
            cosine[0]
        };
        let taught = |at: usize| moves(&at) && !self.worded[at];
        // The nearest and the next, so that everybody has a nearest other.
        let mut nearest = [(f32::NEG_INFINITY, usize::MAX); 2];
        if (0..self.entries.len()).any(taught) {
            for at in (0..self.entries.len()).filter(moves) {
                let cosine = by_motion(at);
                if cosine > nearest[0].0 {
                    nearest = [(cosine, at), nearest[0]];
                } else if cosine > nearest[1].0 {
                    nearest[1] = (cosine, at);
                }
            }
        }
        for (at, score) in scores.iter_mut().enumerate() {
            if !moves(&at) {
                *score = f32::NEG_INFINITY;
            } else if taught(at) {
                let [best, next] = nearest;
                let other = if best.1 == at { next.0 } else { best.0 };
                // The only entry with motion has nothing to be compared with but itself.
                let other = if other.is_finite() {
                    other
                } else {
                    self.entries[at].level
                };
                *score = typical + TAUGHT_LEAD + TAUGHT_GAIN * (by_motion(at) - other);
            }
        }
    }
}

/// Products of one direction with many.
fn cosines_of(rows: &[f32], embedding: &[f32], cosines: &mut [f32]) {
    // The sums start from nothing.
    const ZEROS: [f32; 256] = [0.0; 256];
    let width = embedding.len();
    for (cosines, rows) in cosines
        .chunks_mut(ZEROS.len())
        .zip(rows.chunks(ZEROS.len() * width))
    {
        rows_times(rows, embedding, &ZEROS[..cosines.len()], cosines);
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{ENCODER, RANK, WIDTH, direction, named, two};
    use super::*;

    #[test]
    fn what_one_person_did_is_held_back_where_others_did_more() {
        let mut dictionary = two();
        let seen = dictionary.text(0).to_vec();
        let mut scores = vec![0.0; 2];
        dictionary.scores(&seen, 0.5, &mut scores);
        assert!((scores[0] - 1.0).abs() < 1e-5, "nothing to compare with");
        let mut of_many = named("run", 40);
        of_many.entry.people = 3;
        dictionary.add(of_many).unwrap();
        let mut scores = vec![0.0; 3];
        dictionary.scores(&seen, 0.5, &mut scores);
        assert!((scores[0] - (1.0 - ONE_PERSON)).abs() < 1e-5);
        let text = dictionary.text(2).to_vec();
        dictionary.scores(&text, 0.5, &mut scores);
        assert!((scores[2] - 1.0).abs() < 1e-5);
    }

    #[test]
    fn entries_without_motion_are_never_named_and_taught_ones_are_compared_by_motion() {
        let mut dictionary = two();
        let mut taught = named("raise", 30);
        taught.entry.level = 0.9;
        taught.text.clear();
        let seen = taught.rays.clone();
        dictionary.add(taught).unwrap();
        let mut scores = vec![0.0; 3];
        dictionary.scores(&seen, 0.5, &mut scores);
        let other = dictionary.rays(0).iter().zip(&seen).map(|(a, b)| a * b);
        let wanted = 0.5 + TAUGHT_LEAD + TAUGHT_GAIN * (1.0 - other.sum::<f32>());
        assert!((scores[2] - wanted).abs() < 1e-4, "{} {wanted}", scores[2]);
        // What is nearer to another entry's clips than to the taught ones' is scored lower.
        dictionary.scores(dictionary.rays(0), 0.5, &mut scores);
        assert!(scores[2] < 0.5 + TAUGHT_LEAD, "{}", scores[2]);
        dictionary.scores(&direction(7), 0.5, &mut scores);
        assert!(
            scores[1].is_infinite() && scores[1] < 0.0,
            "its very words, but no motion"
        );
        let constants = crate::motion::label::LabelConstants {
            scale: 14.0,
            none: 0.3,
            typical: 0.5,
        };
        let mut probabilities = vec![0.0; 3];
        constants.probabilities(&dictionary, &direction(7), &mut probabilities);
        assert!(probabilities[1].abs() < f32::EPSILON);
        assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
    }

    #[test]
    fn cosines_are_products_for_any_number_of_entries() {
        let mut dictionary = Dictionary::empty(ENCODER, WIDTH, RANK);
        for k in 0..300 {
            dictionary.add(named(&format!("action {k}"), k)).unwrap();
        }
        let mut cosines = vec![0.0; 300];
        let wanted = direction(257);
        dictionary.text_cosines(&wanted, &mut cosines);
        let best = (0..300).max_by(|a, b| cosines[*a].total_cmp(&cosines[*b]));
        assert_eq!(best, Some(257));
        assert!((cosines[257] - 1.0).abs() < 1e-5);
    }
}
