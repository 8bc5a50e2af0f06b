//! Everyday actions and the finer ones that are a kind of each, by the phrases of the dictionary that ships.
//!
//! Two seconds of keypoints often tell that a person walks, seldom in what mood. The fine phrases of one everyday
//! action share its probability, so that none of them is sure while their sum is. Phrases that are not named here,
//! and actions taught on the device, stand for themselves.

use super::dictionary::Dictionary;

/// An everyday phrase, and the phrases that are a kind of it.
const KINDS: &[(&str, &[&str])] = &[
    (
        "walk",
        &[
            "walk slowly",
            "walk fast",
            "walk backwards",
            "walk sideways",
            "walk and turn left",
            "walk and turn right",
            "walk on uneven ground",
            "walk around obstacles",
            "walk like a zombie or mummy",
            "walk in a happy or jaunty way",
            "walk sadly",
            "walk angrily",
            "walk scared",
            "walk drunk or stumbling",
            "wander",
            "sneak",
            "limp",
            "march",
            "start walking",
            "stop walking",
            "turn around while walking",
            "change direction",
            "step over something",
        ],
    ),
    (
        "run",
        &[
            "run and stop suddenly",
            "run and turn left",
            "run and turn right",
            "run in a circle",
            "run backwards",
            "start running",
            "stop running",
            "turn around while running",
        ],
    ),
    (
        "jump",
        &[
            "jump forward",
            "jump up high",
            "jump down",
            "jump over something",
            "jump and turn",
            "jump in place",
            "hop",
            "leap",
            "skip",
        ],
    ),
    ("stand still", &["wait", "look around", "sway"]),
    ("sit", &["sit down and stand up"]),
    ("squat", &["crouch"]),
    (
        "bend over",
        &[
            "pick up an object",
            "pick up a box",
            "put down an object",
            "lift",
            "bow",
        ],
    ),
    (
        "throw",
        &["throw a football", "throw a ball with both hands"],
    ),
    (
        "wave",
        &["wave with both hands", "wave with the right hand"],
    ),
    ("raise both arms", &["reach up", "stretch"]),
    (
        "dance",
        &[
            "salsa dance",
            "ballet dance",
            "indian dance",
            "russian dance",
        ],
    ),
    (
        "punch",
        &["jab", "cross punch", "hook punch", "uppercut", "backfist"],
    ),
    (
        "kick",
        &[
            "front kick",
            "kick a soccer ball",
            "side kick",
            "roundhouse kick",
            "spinning kick",
            "back kick",
            "axe kick",
            "crescent kick",
            "push kick",
            "double kick",
        ],
    ),
];

/// Everyday phrases that stand for themselves: as likely to be seen as those of [`KINDS`].
const COMMON: &[&str] = &[
    "sit down",
    "stand up",
    "lie down",
    "get up from the floor",
    "climb stairs",
    "carry a box",
    "carry a suitcase",
    "push something heavy",
    "pull or drag something",
    "jumping jacks",
    "clap hands",
    "drink",
    "eat",
    "use a phone",
];

/// Everyday phrases of [`KINDS`] that are seldom seen outside a studio or a gym: they have to be surer.
const SELDOM: &[&str] = &["dance", "punch", "kick"];

/// What an entry of a dictionary is a kind of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kin {
    /// The entry of the everyday action; its own where it stands for itself.
    pub everyday: usize,
    /// Whether the everyday action is one that is seen every day. Taught actions are: a user asked for them.
    pub common: bool,
}

/// The kin of every entry of a dictionary.
pub fn kin_of(dictionary: &Dictionary) -> Vec<Kin> {
    let entries = dictionary.entries();
    entries
        .iter()
        .enumerate()
        .map(|(at, entry)| {
            let phrase = entry.phrase.as_str();
            let head = KINDS
                .iter()
                .find(|(head, kinds)| *head == phrase || kinds.contains(&phrase))
                .map(|(head, _)| *head);
            let everyday = head.and_then(|head| dictionary.position(head));
            let common = match head {
                Some(head) => !SELDOM.contains(&head),
                None => COMMON.contains(&phrase) || !dictionary.is_worded(at),
            };
            Kin {
                everyday: everyday.unwrap_or(at),
                common,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_phrase_is_an_entry_of_the_dictionary_that_ships_and_in_one_kind() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/dictionary");
        let (_, dictionary) = crate::motion::open(&folder, None).unwrap();
        let kinds = KINDS
            .iter()
            .flat_map(|(head, kinds)| kinds.iter().chain([head]));
        let mut seen = HashSet::new();
        for phrase in kinds.chain(COMMON) {
            assert!(dictionary.position(phrase).is_some(), "{phrase:?}");
            assert!(seen.insert(*phrase), "{phrase:?} is there twice");
        }
        for seldom in SELDOM {
            let is_head = KINDS.iter().any(|(head, _)| head == seldom);
            assert!(is_head, "{seldom:?}");
        }
    }
}
