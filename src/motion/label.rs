//! From cosines to a label that can be trusted: probabilities, a margin, hysteresis,
//! and an honest *none*.

use serde::Deserialize;

use super::dictionary::Dictionary;
use super::everyday::Kin;
use crate::pose::ActionSource;

/// Share of the newest probabilities in the running mean: with an update every
/// [`super::LABEL_EVERY`] it forgets within about a second.
const NEWEST: f32 = 0.4;

/// Probability from which an everyday action, with all that is a kind of it, becomes the label.
const ENTER: f32 = 0.4;

/// The same of an action that is seldom seen: martial arts, dances, acting. What the encoder takes a person in an
/// unusual view for is most often one of these.
const ENTER_SELDOM: f32 = 0.7;

/// How often actions that are seldom seen are done, as a share of how often everyday ones are: the encoder has seen each
/// about as often as any other. Chosen on people held out of training, with the measured detector and drawn: fewer labels
/// are wrong and about as many right, but rare actions are named less often.
const SELDOM_PRIOR: f32 = 0.25;

/// Probability from which a finer phrase is the label, rather than the everyday action it is a kind of.
const FINE: f32 = 0.6;

/// Probability below which the finer phrase gives way to the everyday action again.
const FINE_LEAVE: f32 = 0.4;

/// Probability below which the label is given up.
const LEAVE: f32 = 0.2;

/// How far a new label must be before the next phrase, as a factor: the phrases
/// overlap (a jab is a punch), so that a sure action shares its probability with its kin.
const MARGIN: f32 = 1.3;

/// Constants that turn cosines into probabilities; chosen on people kept out of
/// training, stored with the encoders.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LabelConstants {
    /// Cosines are multiplied by this before the softmax, 1 to 200.
    pub scale: f32,
    /// The cosine that *none of them* counts as, -1 to 1.
    pub none: f32,
    /// Cosine that windows of an action usually have with its phrase, -1 to 1: taught
    /// actions, which have no phrase vector but only their own windows, are set to this level.
    pub typical: f32,
}

impl LabelConstants {
    /// Checks the ranges.
    ///
    /// # Errors
    ///
    /// The constant out of its range, in words.
    pub fn check(&self) -> Result<(), String> {
        for (name, value, min, max) in [
            ("scale", self.scale, 1.0, 200.0),
            ("none", self.none, -1.0, 1.0),
            ("typical", self.typical, -1.0, 1.0),
        ] {
            if !(min..=max).contains(&value) {
                return Err(format!(
                    "labels.{name} = {value}: must be from {min} to {max}"
                ));
            }
        }
        Ok(())
    }

    /// Probabilities of all entries given an embedding of keypoints (length 1), into
    /// `probabilities`; what they lack to one is *none of them*.
    ///
    /// # Panics
    ///
    /// `probabilities` or the embedding have another length than the dictionary.
    pub fn probabilities(
        &self,
        dictionary: &Dictionary,
        embedding: &[f32],
        probabilities: &mut [f32],
    ) {
        dictionary.scores(embedding, self.typical, probabilities);
        let best = probabilities.iter().copied().fold(self.none, f32::max);
        let mut sum = (self.scale * (self.none - best)).exp();
        for value in &mut *probabilities {
            *value = (self.scale * (*value - best)).exp();
            sum += *value;
        }
        for value in probabilities {
            *value /= sum;
        }
    }
}

/// What one person is taken to be doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labeller {
    /// Running mean of the probabilities, one for each entry; empty before the first update.
    means: Vec<f32>,
    /// At each everyday entry, the sum of the means of what is a kind of it.
    sums: Vec<f32>,
    updates: u32,
    label: Option<usize>,
}

/// A label and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// Entry of the dictionary.
    pub entry: usize,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// Who named it.
    pub source: ActionSource,
}

impl Labeller {
    /// One with room for `entries`, that has seen nothing.
    pub fn new(entries: usize) -> Self {
        Self {
            means: vec![0.0; entries],
            sums: vec![0.0; entries],
            updates: 0,
            label: None,
        }
    }

    /// Forgets what it has seen. The room stays.
    pub fn clear(&mut self) {
        self.means.fill(0.0);
        self.updates = 0;
        self.label = None;
    }

    /// Takes the probabilities of a new window; `kin` says what each entry is a kind of.
    ///
    /// # Panics
    ///
    /// Another number of them than there is room for.
    pub fn take(&mut self, probabilities: &[f32], kin: &[Kin]) {
        assert_eq!(probabilities.len(), self.means.len(), "one for each entry");
        assert_eq!(kin.len(), self.means.len(), "one for each entry");
        self.updates = self.updates.saturating_add(1);
        let prior = |kin: &Kin| if kin.common { 1.0 } else { SELDOM_PRIOR };
        let none = (1.0 - probabilities.iter().sum::<f32>()).max(0.0);
        let weighed = probabilities.iter().zip(kin).map(|(p, kin)| p * prior(kin));
        let whole = (weighed.sum::<f32>() + none).max(f32::MIN_POSITIVE);
        // The first updates weigh alike.
        #[expect(clippy::cast_precision_loss, reason = "only small counts matter")]
        let newest = NEWEST.max(1.0 / self.updates as f32);
        for ((mean, new), kin) in self.means.iter_mut().zip(probabilities).zip(kin) {
            *mean += newest * (new * prior(kin) / whole - *mean);
        }
        self.sums.fill(0.0);
        for (mean, kin) in self.means.iter().zip(kin) {
            self.sums[kin.everyday] += mean;
        }
        let Some((best, second)) = best_two(&self.sums) else {
            return;
        };
        if let Some(label) = self.label {
            let everyday = kin[label].everyday;
            self.label = if self.sums[everyday] < LEAVE {
                None
            } else if self.means[label] < FINE_LEAVE {
                Some(everyday)
            } else {
                Some(label)
            };
        }
        let enter = if kin[best].common {
            ENTER
        } else {
            ENTER_SELDOM
        };
        let sure = self.sums[best] >= enter
            && second.is_none_or(|second| self.sums[best] >= MARGIN * self.sums[second]);
        if sure && self.label.is_none_or(|label| kin[label].everyday != best) {
            self.label = Some(best);
        }
        if self.label == Some(best) {
            let kinds = (0..kin.len()).filter(|&at| kin[at].everyday == best);
            let likeliest = kinds.max_by(|&a, &b| self.means[a].total_cmp(&self.means[b]));
            self.label = likeliest
                .filter(|&at| self.means[at] >= FINE)
                .or(Some(best));
        }
    }

    /// The label now, `None` if nothing is sure enough. An everyday action has the probability of all its kinds.
    pub fn label(&self) -> Option<Label> {
        self.label.map(|entry| Label {
            entry,
            probability: self.means[entry].max(self.sums[entry]).min(1.0),
            source: ActionSource::Dictionary,
        })
    }

    /// The running means, one for each entry.
    pub fn means(&self) -> &[f32] {
        &self.means
    }
}

fn best_two(values: &[f32]) -> Option<(usize, Option<usize>)> {
    let mut best = None;
    let mut second = None;
    for (at, value) in values.iter().enumerate() {
        if best.is_none_or(|best: usize| *value > values[best]) {
            second = best;
            best = Some(at);
        } else if second.is_none_or(|second: usize| *value > values[second]) {
            second = Some(at);
        }
    }
    best.map(|best| (best, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries that stand for themselves.
    fn alone(entries: usize) -> Vec<Kin> {
        (0..entries)
            .map(|everyday| Kin {
                everyday,
                common: true,
            })
            .collect()
    }

    #[test]
    fn a_label_is_entered_held_and_given_up() {
        let mut labeller = Labeller::new(3);
        assert_eq!(labeller.label(), None);
        labeller.take(&[0.3, 0.3, 0.2], &alone(3));
        assert_eq!(labeller.label(), None, "not sure enough");
        labeller.take(&[0.9, 0.05, 0.0], &alone(3));
        let label = labeller.label().unwrap();
        assert_eq!(label.entry, 0);
        // Below the way in, above the way out: it stays.
        labeller.take(&[0.2, 0.1, 0.0], &alone(3));
        labeller.take(&[0.2, 0.1, 0.0], &alone(3));
        assert_eq!(labeller.label().unwrap().entry, 0);
        assert!(labeller.label().unwrap().probability < ENTER);
        for _ in 0..4 {
            labeller.take(&[0.0, 0.1, 0.1], &alone(3));
        }
        assert_eq!(labeller.label(), None, "none of them");
    }

    #[test]
    fn a_new_label_needs_a_margin() {
        let mut labeller = Labeller::new(2);
        labeller.take(&[0.5, 0.45], &alone(2));
        assert_eq!(labeller.label(), None);
        labeller.clear();
        labeller.take(&[0.55, 0.4], &alone(2));
        assert_eq!(labeller.label().unwrap().entry, 0);
    }

    #[test]
    fn kinds_of_one_everyday_action_are_sure_together_and_a_fine_name_needs_more() {
        // Walk, walk slowly, limp; run.
        let mut kin = alone(4);
        kin[1].everyday = 0;
        kin[2].everyday = 0;
        let mut labeller = Labeller::new(4);
        labeller.take(&[0.2, 0.25, 0.2, 0.3], &kin);
        let label = labeller.label().unwrap();
        assert_eq!(label.entry, 0, "none of them is sure, their sum is");
        assert!((label.probability - 0.65).abs() < 1e-6);
        for _ in 0..6 {
            labeller.take(&[0.05, 0.05, 0.8, 0.1], &kin);
        }
        let label = labeller.label().unwrap();
        assert_eq!(label.entry, 2);
        assert!(label.probability < 0.8, "its own");
        for _ in 0..3 {
            labeller.take(&[0.3, 0.3, 0.1, 0.1], &kin);
        }
        assert_eq!(labeller.label().unwrap().entry, 0, "and back");
    }

    #[test]
    fn an_action_that_is_seldom_seen_has_to_be_surer() {
        let mut kin = alone(2);
        kin[1].common = false;
        let mut labeller = Labeller::new(2);
        labeller.take(&[0.1, 0.6], &kin);
        assert_eq!(labeller.label(), None);
        for _ in 0..4 {
            labeller.take(&[0.01, 0.97], &kin);
        }
        assert_eq!(labeller.label().unwrap().entry, 1);
    }

    #[test]
    fn an_everyday_action_is_likelier_from_the_start() {
        let mut kin = alone(2);
        kin[0].common = false;
        let mut labeller = Labeller::new(2);
        labeller.take(&[0.5, 0.3], &kin);
        // 0.5 counts as 0.125, of a whole of 0.625 with the 0.2 that are none of them.
        assert!((labeller.means()[0] - 0.2).abs() < 1e-6);
        assert!((labeller.means()[1] - 0.48).abs() < 1e-6);
        assert_eq!(labeller.label().unwrap().entry, 1);
    }

    #[test]
    fn an_empty_dictionary_names_nothing() {
        let mut labeller = Labeller::new(0);
        labeller.take(&[], &alone(0));
        assert_eq!(labeller.label(), None);
    }

    #[test]
    fn constants_out_of_range_are_named() {
        let constants = LabelConstants {
            scale: 500.0,
            none: 0.2,
            typical: 0.6,
        };
        assert_eq!(
            constants.check().unwrap_err(),
            "labels.scale = 500: must be from 1 to 200"
        );
    }
}
