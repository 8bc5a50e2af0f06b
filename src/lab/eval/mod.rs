//! The accuracy table: motion capture through simulated cameras and the same
//! tracker and lifter that the daemon runs, frame by frame, each scored with what
//! was known when it came (prequential; nothing sees the future).
//!
//! ```text
//!  motions of a person ─▶ simulate (scenario) ─▶ Poser (tracks, lifter, meaning) ─▶ metrics ─▶ rows
//! ```
//!
//! With [`EvalPlan::render`] a person is drawn doing the motion, and the keypoints come from pixels (`render`).
//!
//! Recorded clips ([`clips`]) take the place of motions and simulation where there are any: keypoints
//! of real images, joints that were measured.
//!
//! A person's motions come one after the other at one site, as a device would see
//! them; what is learned in one is there in the next.
//!
//! `docs/lab/accuracy.md` says what each column is.

pub mod angles;
pub mod clips;
pub mod detector;
pub mod floor;
pub mod metrics;
pub mod motion;
pub mod recordings;
pub mod render;
pub mod repetitions;
pub mod scenario;
pub mod score;
pub mod simulate;
pub mod table;

mod method_run;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::clock::MonoNs;
use crate::base::limits::PEOPLE_MAX;
use crate::error::StartError;
use crate::estimate::EstimateConfig;
use crate::sys::rt::spawn;

use clips::Clip;
use method_run::{Followed, MethodRun};
use motion::Motion;
use render::{rendered, unseen_appearance};
use scenario::Scenario;
use score::Past;
use simulate::{Stream, stream};
use table::Sums;

/// Threads that share people and scenarios. Two: what the smallest device has.
const THREADS: usize = 2;

/// A method from keypoints to poses: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Lifter and factory head, without adaptation; hidden joints are the lifter's guess.
    Factory,
    /// The same, each frame's pose the mean of two inferences, one of them mirrored, and moved to agree with its rays
    /// and with the person's bones.
    Latent,
    /// That, and the camera's mount is known but for an installer's error, so that the floor
    /// tells how large people are.
    Floor,
    /// As `latent`, hidden joints completed with the dictionary, actions named.
    Complete,
    /// As `latent`, the final layers following plain reprojection: the warning.
    Reprojection,
    /// As `latent`, the final layers learning from windows of two seconds, in turns with a motion denoiser (after
    /// `CycleAdapt`).
    Cycle,
    /// `cycle` without the guard: all that is learned is used.
    CycleUnguarded,
    /// As `latent`, the final layers learning from synthetic views ([`crate::adapt`]).
    Replay,
    /// All of it: `replay` and `complete`. What the daemon does without further words.
    Semantic,
    /// The same, the camera's mount known as in `floor`.
    SemanticFloor,
    /// `semantic`, told what is done as a kiosk would tell it, in hints: the recorded action.
    SemanticTrue,
    /// The same, told an action of another motion.
    SemanticShuffled,
    /// `semantic` without the dictionary's entries: no label, hidden joints completed without one.
    SemanticNone,
    /// As `latent`, the final layers learning from windows of two seconds, drawn towards what their label means
    /// ([`crate::adapt`]; "Semantics-aware test-time adaptation").
    Sem,
    /// The same with alignment alone: 2D targets are the detector's.
    Align,
    /// `sem` without alignment: 2D targets follow the projection, and are filled in where motion and text agree.
    Update,
    /// `sem`, told what is done as a kiosk would tell it, in hints: the recorded action.
    SemTrue,
    /// The same, told an action of another motion.
    SemShuffled,
    /// `sem` without the dictionary's entries: no label, so neither alignment nor filling in.
    SemNone,
    /// `sem` without the guard: all that is learned is used.
    SemUnguarded,
    /// As `latent`, the final layers learning from motions drawn from the dictionary (after `PoseDA`).
    Gpa,
    /// From these and from synthetic views, one of each in turn.
    GpaReplay,
    /// `gpa` without the guard.
    GpaUnguarded,
    /// `factory` without what the image adds to the final layers, where the keypoints come from pixels.
    FactoryBlind,
    /// `semantic` in the same way.
    SemanticBlind,
}

impl Method {
    /// Variants, which are not in `all`: with a mount; with labels that are true, of another motion, and
    /// none, where `semantic` and `sem` find their own; without the guard; without image features.
    pub const VARIANTS: [Self; 12] = [
        Self::SemanticFloor,
        Self::SemanticTrue,
        Self::SemanticShuffled,
        Self::SemanticNone,
        Self::SemTrue,
        Self::SemShuffled,
        Self::SemNone,
        Self::CycleUnguarded,
        Self::SemUnguarded,
        Self::GpaUnguarded,
        Self::FactoryBlind,
        Self::SemanticBlind,
    ];

    /// All others.
    pub const ALL: [Self; 13] = [
        Self::Factory,
        Self::Reprojection,
        Self::Cycle,
        Self::Latent,
        Self::Floor,
        Self::Complete,
        Self::Replay,
        Self::Semantic,
        Self::Sem,
        Self::Align,
        Self::Update,
        Self::Gpa,
        Self::GpaReplay,
    ];

    /// Name on the command line and in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Factory => "factory",
            Self::Latent => "latent",
            Self::Floor => "floor",
            Self::Complete => "complete",
            Self::Reprojection => "2d",
            Self::Cycle => "cycle",
            Self::CycleUnguarded => "cycle:unguarded",
            Self::Replay => "replay",
            Self::Semantic => "semantic",
            Self::SemanticFloor => "semantic:floor",
            Self::SemanticTrue => "semantic:true",
            Self::SemanticShuffled => "semantic:shuffled",
            Self::SemanticNone => "semantic:none",
            Self::Sem => "sem",
            Self::Align => "align",
            Self::Update => "update",
            Self::SemTrue => "sem:true",
            Self::SemShuffled => "sem:shuffled",
            Self::SemNone => "sem:none",
            Self::SemUnguarded => "sem:unguarded",
            Self::Gpa => "gpa",
            Self::GpaReplay => "gpa+replay",
            Self::GpaUnguarded => "gpa:unguarded",
            Self::FactoryBlind => "factory:blind",
            Self::SemanticBlind => "semantic:blind",
        }
    }

    /// Whether it is told how the camera hangs.
    const fn knows_mount(self) -> bool {
        matches!(self, Self::Floor | Self::SemanticFloor)
    }

    /// Whether image features are kept from it.
    const fn is_blind(self) -> bool {
        matches!(self, Self::FactoryBlind | Self::SemanticBlind)
    }

    /// Whether it is told a label in hints.
    const fn is_told(self) -> bool {
        matches!(
            self,
            Self::SemanticTrue | Self::SemanticShuffled | Self::SemTrue | Self::SemShuffled
        )
    }

    /// Whether the dictionary's entries are kept from it.
    const fn has_no_labels(self) -> bool {
        matches!(self, Self::SemanticNone | Self::SemNone)
    }

    /// Whether all that is learned is used.
    const fn is_unguarded(self) -> bool {
        matches!(
            self,
            Self::CycleUnguarded | Self::SemUnguarded | Self::GpaUnguarded
        )
    }

    /// The method of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = Self::ALL.into_iter().chain(Self::VARIANTS);
        all.into_iter().find(|method| method.name() == name)
    }
}

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct EvalPlan {
    /// Networks and settings.
    pub config: EstimateConfig,
    /// The methods.
    pub methods: Vec<Method>,
    /// The views.
    pub scenarios: Vec<Scenario>,
    /// The motions.
    pub motions: Vec<Motion>,
    /// Fixes everything that is drawn.
    pub seed: u64,
    /// Whether people are rendered and the networks run on the images, in place of a simulated detector.
    pub render: bool,
}

impl EvalPlan {
    /// People times scenarios: how often `done` is called.
    pub fn streams(&self) -> usize {
        people_of(&self.motions).len() * self.scenarios.len()
    }
}

/// One person's motions, and where they stand in the plan.
struct EvalPerson<'a> {
    name: &'a str,
    motions: Vec<&'a Motion>,
    places: Vec<usize>,
}

/// Everybody who moves, in the order of the plan.
fn people_of(motions: &[Motion]) -> Vec<EvalPerson<'_>> {
    let mut people: Vec<EvalPerson<'_>> = Vec::new();
    for (place, motion) in motions.iter().enumerate() {
        let at = people
            .iter()
            .position(|person| person.name == motion.subject);
        let at = at.unwrap_or_else(|| {
            people.push(EvalPerson {
                name: &motion.subject,
                motions: Vec::new(),
                places: Vec::new(),
            });
            people.len() - 1
        });
        people[at].motions.push(motion);
        people[at].places.push(place);
    }
    people
}

/// Sums of each scenario for each method, both in the plan's order.
///
/// `done` is called after each person in each scenario, from any thread.
///
/// # Errors
///
/// The lifter or the dictionary does not open, or a thread does not start.
///
/// # Panics
///
/// A thread panicked.
pub fn run(plan: &EvalPlan, done: impl Fn() + Sync) -> Result<Vec<Vec<Sums>>, StartError> {
    let people = people_of(&plan.motions);
    let mut jobs: Vec<(&EvalPerson<'_>, usize)> = people
        .iter()
        .flat_map(|person| (0..plan.scenarios.len()).map(move |scenario| (person, scenario)))
        .collect();
    // The longest first, so that no thread is left with one at the end.
    let frames = |person: &EvalPerson<'_>| -> usize {
        person.motions.iter().map(|m| m.joints_world_m.len()).sum()
    };
    jobs.sort_by_key(|(person, _)| std::cmp::Reverse(frames(person)));
    let results = in_parallel(&jobs, |(person, scenario)| {
        let view = &plan.scenarios[*scenario];
        let mut stream = stream(view, person.name, &person.motions, plan.seed)?;
        if plan.render {
            stream = rendered(
                stream,
                view,
                unseen_appearance(view, person.name, plan.seed),
                &plan.config,
            )?;
        }
        let mut results = Vec::new();
        for (at, method) in plan.methods.iter().enumerate() {
            let sums = one(plan, *method, &stream, &person.motions)?;
            for (place, sums) in person.places.iter().zip(sums) {
                results.push(([at, *scenario, *place], sums));
            }
        }
        done();
        Ok(results)
    })?;
    let results = results.into_iter().flatten().collect();
    Ok(totals(&plan.methods, plan.scenarios.len(), &results))
}

/// What to evaluate on recorded clips.
#[derive(Clone, Debug)]
pub struct ClipsPlan {
    /// Networks and settings.
    pub config: EstimateConfig,
    /// The methods.
    pub methods: Vec<Method>,
    /// The clips.
    pub clips: Vec<Clip>,
    /// Fixes what learning draws.
    pub seed: u64,
}

/// Sums of each group for each method, groups in the order of [`clips::groups`]. Each clip is
/// started again: nothing that is learned in one is there in the next.
///
/// `done` is called after each clip, from any thread.
///
/// # Errors
///
/// The lifter or the dictionary does not open, or a thread does not start.
pub fn run_clips(plan: &ClipsPlan, done: impl Fn() + Sync) -> Result<Vec<Vec<Sums>>, StartError> {
    let groups = clips::groups(&plan.clips);
    let mut jobs: Vec<(usize, &Clip)> = plan.clips.iter().enumerate().collect();
    jobs.sort_by_key(|(_, clip)| std::cmp::Reverse(clip.frames.len()));
    let results = in_parallel(&jobs, |(place, clip)| {
        let group = groups.iter().position(|name| *name == clip.entry.group);
        let mut results = Vec::new();
        for (at, method) in plan.methods.iter().enumerate() {
            let sums = one_clip(plan, *method, clip)?;
            results.push(([at, group.unwrap_or(0), *place], sums));
        }
        done();
        Ok(results)
    })?;
    let results = results.into_iter().flatten().collect();
    Ok(totals(&plan.methods, groups.len(), &results))
}

/// One clip, one method. `floor` does not apply to a camera with an unknown mount.
fn one_clip(plan: &ClipsPlan, method: Method, clip: &Clip) -> Result<Sums, StartError> {
    let Clip { entry, frames } = clip;
    let mut calibration = entry.calibration.clone();
    if method.knows_mount() && calibration.mount().is_none() {
        return Ok(Sums::default());
    }
    if !method.knows_mount() {
        calibration = calibration.without_mount();
    }
    let mut run = MethodRun::open(&plan.config, method, plan.seed)?;
    let mut sums = Sums::of_one();
    let own = (entry.id.as_str(), entry.actions.as_slice());
    let hint = run.told(method, plan.seed, own, || {
        let others = plan.clips.iter();
        others.flat_map(|other| &other.entry.actions)
    });
    let mut past = [Past::default(); PEOPLE_MAX];
    for frame in frames {
        if let Some(label) = hint {
            run.tell(frame.time, label);
        }
        let mut followed = run.frame(frame.time, &calibration, &frame.detections());
        let mut found: [Option<Followed>; PEOPLE_MAX] = std::array::from_fn(|_| None);
        while let Some(person) = followed.pop() {
            if let Some(place) = frame.place_of(&person.bounds) {
                found[place] = Some(person);
            }
        }
        for ((person, found), past) in frame.people.iter().zip(found).zip(&mut past) {
            if !person.is_scored() {
                past.interrupt();
                continue;
            }
            sums.frames += 1;
            let Some((estimate, id)) = found.and_then(|f| Some((f.estimate?, f.id))) else {
                past.interrupt();
                continue;
            };
            let mut score = past.score(frame.time, &estimate, &person.truth);
            score.named = run.named(id, &entry.actions);
            sums.take(&score, minute_of(frames[0].time, frame.time));
        }
    }
    if let (Some(spent), [begin, .., end]) = (run.learning_s(), &frames[..]) {
        sums.learned(spent, end.time.seconds_after(begin.time));
    }
    Ok(sums)
}

/// Does jobs on a few threads, the first ones first; what they give, in any order.
fn in_parallel<J: Sync, R: Send>(
    jobs: &[J],
    work: impl Fn(&J) -> Result<R, StartError> + Sync,
) -> Result<Vec<R>, StartError> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut results = Vec::new();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            results.push(work(job)?);
        }
        Ok::<_, StartError>(results)
    };
    std::thread::scope(|scope| {
        let mut handles = Vec::new();
        for _ in 0..THREADS {
            let handle = spawn(scope, "eval", take).map_err(|source| StartError::Thread {
                name: "eval",
                source,
            })?;
            handles.push(handle);
        }
        let mut all = Vec::new();
        for handle in handles {
            all.extend(handle.join().expect("a panic ends the process")?);
        }
        Ok(all)
    })
}

/// Sums of each of `groups` for each method, of what has the places `[method, group, motion]`: in
/// that order, for threads finish in any order and sums of floating point do not take any.
fn totals(
    methods: &[Method],
    groups: usize,
    results: &BTreeMap<[usize; 3], Sums>,
) -> Vec<Vec<Sums>> {
    let factory = methods.iter().position(|method| *method == Method::Factory);
    let mut totals = vec![vec![Sums::default(); groups]; methods.len()];
    for ([method, group, place], sums) in results {
        let mut sums = sums.clone();
        if let Some(factory) = factory {
            sums.compare(&results[&[factory, *group, *place]]);
        }
        totals[*method][*group].add(&sums);
    }
    totals
}

/// One person in one scenario, one method; sums of each motion.
fn one(
    plan: &EvalPlan,
    method: Method,
    stream: &Stream,
    motions: &[&Motion],
) -> Result<Vec<Sums>, StartError> {
    let mut calibration = stream.calibration.clone();
    if method.knows_mount() {
        calibration = calibration.with_mount(stream.measured)?;
    }
    let mut run = MethodRun::open(&plan.config, method, plan.seed)?;
    let told = motions.iter().map(|motion| {
        let own = (motion.id.as_str(), motion.actions.as_slice());
        run.told(method, plan.seed, own, || {
            plan.motions.iter().flat_map(|other| &other.actions)
        })
    });
    let hints: Vec<Option<&str>> = told.collect();
    let mut sums = vec![Sums::of_one(); motions.len()];
    let mut past = Past::default();
    let mut motion = 0;
    for moment in &stream.moments {
        if moment.motion != motion {
            motion = moment.motion;
            past.interrupt();
        }
        let sums = &mut sums[motion];
        sums.frames += 1;
        if let Some(label) = hints[motion] {
            run.tell(moment.time, label);
        }
        let people = moment.seen.iter().cloned().collect();
        let followed = run.frame(moment.time, &calibration, &people);
        let Some((estimate, id)) = followed
            .first()
            .and_then(|person| Some((person.estimate.as_ref()?, person.id)))
        else {
            past.interrupt();
            continue;
        };
        let mut score = past.score(moment.time, estimate, &moment.truth());
        score.named = run.named(id, &motions[motion].actions);
        let begin = stream.moments[0].time;
        sums.take(&score, minute_of(begin, moment.time));
    }
    if let (Some(spent), Some(first), [begin, .., end]) =
        (run.learning_s(), sums.first_mut(), &stream.moments[..])
    {
        first.learned(spent, end.time.seconds_after(begin.time));
    }
    Ok(sums)
}

/// Which minute of its stream a frame is in.
fn minute_of(begin: MonoNs, time: MonoNs) -> usize {
    usize::try_from(time.since(begin).as_secs() / 60).unwrap_or(0)
}
