//! Hints: an external program knows what a person is doing, such as a kiosk that has
//! just asked for an exercise.
//!
//! A hint comes over Zenoh on `/hint` (off by default), a CBOR map:
//!
//! | key | type | meaning |
//! | --- | --- | --- |
//! | `label` | text | a phrase of the dictionary |
//! | `for_s` | number | how long it holds, seconds, above 0 to [`FOR_MAX_S`] |
//! | `person` | whole number, may be left out | whom it is about; everybody without it |
//! | `unix_ns` | whole number, may be left out | when it was sent; refused where that is further than [`AGE_MAX`] from this device's clock |
//!
//! While it is fresh it takes the place of the dictionary's own label; a newer one about the same person, or about
//! everybody, takes its place. What is malformed, stale or about an unknown phrase is counted, and logged now and
//! then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use minicbor::Decoder;
use minicbor::data::Type;

use crate::base::clock::{Clock, MonoNs, Seldom, unix_ns};
use crate::base::limits::TRACKS_MAX;

/// Longest time a hint holds, seconds: a client that knows longer repeats it.
pub const FOR_MAX_S: f64 = 60.0;

/// A hint that was sent longer ago says nothing about now.
pub const AGE_MAX: Duration = Duration::from_secs(5);

/// Hints that hold at the same time: of each person, and of everybody.
const HELD_MAX: usize = TRACKS_MAX + 1;

/// Hints that hold, of each person and of everybody at most one.
pub type HeldHints = heapless::Vec<Hint, HELD_MAX>;

/// Refused hints are logged once in so long, with their number.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// A hint that was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hint {
    /// Entry of the dictionary.
    pub entry: usize,
    /// Whom it is about; `None` for everybody.
    pub person: Option<u32>,
    /// Until when it holds.
    pub until: MonoNs,
}

/// Why a hint is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HintError {
    /// Not the map it must be.
    #[error("malformed: {0}")]
    Malformed(String),
    /// No such entry.
    #[error("label {0:?} is not in the dictionary")]
    Unknown(String),
    /// Too long, too short, or not a number.
    #[error("for_s = {0}: must be above 0, at most {FOR_MAX_S}")]
    Time(f64),
    /// Sent too long ago.
    #[error(
        "unix_ns says sent {age_s:.1} s ago by this device's clock ({now_s} s since 1970), at most {} s are accepted: set both clocks, \
         or leave unix_ns out",
        AGE_MAX.as_secs()
    )]
    Stale {
        /// How long ago.
        age_s: f64,
        /// This device's time, seconds since 1970.
        now_s: u64,
    },
    /// Sent in a time that is still to come, so one of the clocks is wrong and its age is not known.
    #[error(
        "unix_ns says sent {ahead_s:.1} s ahead of this device's clock ({now_s} s since 1970), at most {} s are accepted: set both \
         clocks, or leave unix_ns out",
        AGE_MAX.as_secs()
    )]
    Ahead {
        /// How far ahead.
        ahead_s: f64,
        /// This device's time, seconds since 1970.
        now_s: u64,
    },
}

/// Puts a hint in, in the place of one about the same person; where there is no room, of the one that ends first.
fn hold(held: &mut HeldHints, hint: Hint) {
    if let Some(same) = held.iter_mut().find(|other| other.person == hint.person) {
        *same = hint;
    } else if let Err(hint) = held.push(hint)
        && let Some(first) = held.iter_mut().min_by_key(|other| other.until)
    {
        *first = hint;
    }
}

/// Where hints arrive, and how many were taken and refused.
#[derive(Debug)]
pub struct Hints {
    phrases: Vec<String>,
    clock: Arc<Clock>,
    waiting: Mutex<HeldHints>,
    taken: AtomicU64,
    refused: AtomicU64,
    log: Seldom,
}

impl Hints {
    /// For the entries of a dictionary.
    pub fn new(phrases: Vec<String>, clock: Arc<Clock>) -> Self {
        Self {
            phrases,
            clock,
            waiting: Mutex::default(),
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            log: Seldom::new(LOG_EVERY),
        }
    }

    /// Takes what a peer sent. On a thread of Zenoh's, never on a hot one.
    pub fn receive(&self, bytes: &[u8]) {
        let now = self.clock.now();
        match self.read(bytes, now, unix_ns()) {
            Ok(hint) => {
                // The lock covers moves, which cannot leave half a hint behind.
                let waiting = self.waiting.lock();
                hold(&mut waiting.unwrap_or_else(PoisonError::into_inner), hint);
                self.taken.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
                if self.log.lets_through(now) {
                    log::warn!("a hint was refused ({refused} so far): {error}");
                }
            }
        }
    }

    /// Adds the hints since the last call to those that hold. Never waits.
    pub fn take(&self, held: &mut HeldHints) {
        let mut waiting = match self.waiting.try_lock() {
            Ok(waiting) => waiting,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // A client is storing one at this moment: the next frame takes it.
            Err(TryLockError::WouldBlock) => return,
        };
        for hint in waiting.iter() {
            hold(held, *hint);
        }
        waiting.clear();
    }

    /// How many were taken and how many refused.
    pub fn counts(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.taken), read(&self.refused))
    }

    fn read(&self, bytes: &[u8], now: MonoNs, unix_now_ns: u64) -> Result<Hint, HintError> {
        let raw = Raw::decode(bytes).map_err(|error| HintError::Malformed(error.to_string()))?;
        let missing = |key: &str| HintError::Malformed(format!("no key {key:?}"));
        let label = raw.label.ok_or_else(|| missing("label"))?;
        let for_s = raw.for_s.ok_or_else(|| missing("for_s"))?;
        if !(for_s > 0.0 && for_s <= FOR_MAX_S) {
            return Err(HintError::Time(for_s));
        }
        if let Some(sent) = raw.unix_ns {
            let apart = Duration::from_nanos(unix_now_ns.abs_diff(sent));
            if apart > AGE_MAX {
                let (apart_s, now_s) = (apart.as_secs_f64(), unix_now_ns / 1_000_000_000);
                return Err(if sent < unix_now_ns {
                    HintError::Stale {
                        age_s: apart_s,
                        now_s,
                    }
                } else {
                    HintError::Ahead {
                        ahead_s: apart_s,
                        now_s,
                    }
                });
            }
        }
        let entry = self
            .phrases
            .iter()
            .position(|phrase| phrase == label)
            .ok_or_else(|| HintError::Unknown(label.chars().take(48).collect()))?;
        Ok(Hint {
            entry,
            person: raw.person,
            until: now.plus(Duration::from_secs_f64(for_s)),
        })
    }
}

#[derive(Default)]
struct Raw<'b> {
    label: Option<&'b str>,
    for_s: Option<f64>,
    person: Option<u32>,
    unix_ns: Option<u64>,
}

impl<'b> Raw<'b> {
    fn decode(bytes: &'b [u8]) -> Result<Self, minicbor::decode::Error> {
        let mut cbor = Decoder::new(bytes);
        let mut raw = Self::default();
        let keys = cbor
            .map()?
            .ok_or_else(|| minicbor::decode::Error::message("a map of unknown length"))?;
        for _ in 0..keys {
            match cbor.str()? {
                "label" => raw.label = Some(cbor.str()?),
                "for_s" => {
                    raw.for_s = Some(match cbor.datatype()? {
                        Type::F16 | Type::F32 | Type::F64 => cbor.f64()?,
                        _ => f64::from(cbor.u32()?),
                    });
                }
                "person" if cbor.datatype()? == Type::Null => cbor.null()?,
                "person" => raw.person = Some(cbor.u32()?),
                "unix_ns" => raw.unix_ns = Some(cbor.u64()?),
                _ => cbor.skip()?,
            }
        }
        if cbor.position() < bytes.len() {
            return Err(minicbor::decode::Error::message("bytes follow the map"));
        }
        Ok(raw)
    }
}

#[cfg(test)]
mod tests {
    use minicbor::Encoder;

    use super::*;

    fn hints() -> Hints {
        let clock = Arc::new(Clock::live());
        Hints::new(vec!["walk".into(), "squat".into()], clock)
    }

    fn message(label: &str, for_s: f64, more: &[(&str, u64)]) -> Vec<u8> {
        let mut cbor = Encoder::new(Vec::new());
        cbor.map(2 + more.len() as u64).unwrap();
        cbor.str("label").unwrap().str(label).unwrap();
        cbor.str("for_s").unwrap().f64(for_s).unwrap();
        for (key, value) in more {
            cbor.str(key).unwrap().u64(*value).unwrap();
        }
        cbor.into_writer()
    }

    #[test]
    fn a_hint_names_an_entry_and_a_time() {
        let hints = hints();
        let hint = |bytes: &[u8]| hints.read(bytes, MonoNs(5), 10_000_000_000).unwrap();
        let all = hint(&message("squat", 2.0, &[]));
        assert_eq!(
            (all.entry, all.person, all.until),
            (1, None, MonoNs(2_000_000_005))
        );
        let one = hint(&message(
            "walk",
            1.0,
            &[("person", 7), ("unix_ns", 6_000_000_000)],
        ));
        assert_eq!((one.entry, one.person), (0, Some(7)));
    }

    #[test]
    fn what_is_no_hint_is_refused_by_name_and_counted() {
        let hints = hints();
        let refused = |bytes: &[u8]| {
            let error = hints.read(bytes, MonoNs(5), 10_000_000_000).unwrap_err();
            error.to_string()
        };
        assert!(refused(b"").starts_with("malformed"));
        assert!(refused(&[0xa0]).contains("no key \"label\""));
        assert!(refused(&message("fly", 2.0, &[])).contains("\"fly\" is not in the dictionary"));
        for for_s in [0.0, -1.0, 61.0, f64::NAN] {
            assert!(refused(&message("walk", for_s, &[])).contains("at most 60"));
        }
        let stale = message("walk", 1.0, &[("unix_ns", 1_000_000_000)]);
        let said = refused(&stale);
        assert!(
            said.starts_with(
                "unix_ns says sent 9.0 s ago by this device's clock (10 s since 1970)"
            ),
            "{said}"
        );
        // A device without a battery begins in 1970, where no age can be told.
        let dated = message("walk", 1.0, &[("unix_ns", 1_800_000_000_000_000_000)]);
        let said = refused(&dated);
        assert!(
            said.contains("ahead of this device's clock (10 s since 1970")
                && said.contains("leave unix_ns out"),
            "{said}"
        );
        let a_little = message("walk", 1.0, &[("unix_ns", 14_000_000_000)]);
        assert!(hints.read(&a_little, MonoNs(5), 10_000_000_000).is_ok());
        let mut long = message("walk", 1.0, &[]);
        long.push(0);
        assert!(refused(&long).contains("bytes follow"));
        hints.receive(b"\xff");
        hints.receive(&message("walk", 1.0, &[]));
        assert_eq!(hints.counts(), (1, 1));
        let held = taken(&hints);
        assert_eq!((held.len(), held[0].entry), (1, 0));
        assert!(taken(&hints).is_empty());
    }

    fn taken(hints: &Hints) -> HeldHints {
        let mut held = HeldHints::new();
        hints.take(&mut held);
        held
    }

    #[test]
    fn a_hint_about_one_person_leaves_those_about_others() {
        let hints = hints();
        hints.receive(&message("walk", 1.0, &[("person", 7)]));
        hints.receive(&message("squat", 1.0, &[("person", 8)]));
        hints.receive(&message("squat", 1.0, &[]));
        hints.receive(&message("squat", 1.0, &[("person", 7)]));
        let mut held = taken(&hints);
        let about = |held: &HeldHints| -> Vec<_> {
            held.iter().map(|hint| (hint.person, hint.entry)).collect()
        };
        assert_eq!(about(&held), [(Some(7), 1), (Some(8), 1), (None, 1)]);
        hints.receive(&message("walk", 1.0, &[("person", 8)]));
        hints.take(&mut held);
        assert_eq!(about(&held)[1], (Some(8), 0));
        for person in 0..2 * TRACKS_MAX as u64 {
            hints.receive(&message("walk", 1.0, &[("person", 100 + person)]));
        }
        hints.take(&mut held);
        assert_eq!(held.len(), HELD_MAX);
    }

    #[test]
    fn a_number_of_any_kind_says_how_long() {
        let hints = hints();
        let mut cbor = Encoder::new(Vec::new());
        cbor.map(2)
            .unwrap()
            .str("label")
            .unwrap()
            .str("walk")
            .unwrap();
        cbor.str("for_s").unwrap();
        let begun = cbor.into_writer();
        // 2.0 as half, single and double float, and as a whole number.
        let numbers: [&[u8]; 4] = [
            &[0xf9, 0x40, 0x00],
            &[0xfa, 0x40, 0, 0, 0],
            &[0xfb, 0x40, 0, 0, 0, 0, 0, 0, 0],
            &[0x02],
        ];
        for number in numbers {
            let bytes = [&begun, number].concat();
            let hint = hints.read(&bytes, MonoNs(5), 10_000_000_000).unwrap();
            assert_eq!(hint.until, MonoNs(2_000_000_005), "{number:x?}");
        }
    }
}
