//! A network with the processor standing by: a GPU can fail while the daemon runs (a driver that is reset, memory
//! that another program took, a device that overheats), and poses must not end with it.

use std::path::PathBuf;
use std::sync::Arc;

use super::network::{InferError, Input, Network, TensorSpec};
use super::status::EngineStatus;
use super::tract;
use crate::engine::models::{Folder, ModelError};

/// After so many failures in a row the processor takes over, with that very run: one may be an accident. The frames
/// before are lost.
const FAILURES_MAX: u32 = 3;

/// Most failures between two tries to load the network for the processor: half a minute at 30 frames a second. Each try
/// reads and optimises the network, and where that fails it is the disk or the memory, which may recover.
const RETRY_AFTER_MAX: u32 = 1024;

/// Loads the network for the processor. It takes some hundred milliseconds once, in place of memory all the time.
type Reserve = Arc<dyn Fn() -> Result<Box<dyn Network>, ModelError> + Send + Sync>;

/// A network that moves to another engine, for good, where its own fails again and again.
struct Standby {
    current: Box<dyn Network>,
    /// `None` once it stands in.
    reserve: Option<Reserve>,
    failures: u32,
    /// Failures in a row at which the reserve is tried next.
    try_at: u32,
    part: &'static str,
    status: Arc<EngineStatus>,
}

/// `network`, with tract standing by for the model in `folder`.
pub fn with_tract(
    network: Box<dyn Network>,
    folder: PathBuf,
    part: &'static str,
    status: Arc<EngineStatus>,
) -> Box<dyn Network> {
    let reserve: Reserve = Arc::new(move || {
        let folder = Folder::open(&folder)?;
        Ok(Box::new(tract::TractPlan::open(&folder)?.state()?))
    });
    Box::new(Standby {
        current: network,
        reserve: Some(reserve),
        failures: 0,
        try_at: FAILURES_MAX,
        part,
        status,
    })
}

impl Standby {
    /// Puts the reserve in; whether there is one and it loads. One that does not load is tried again, ever less often.
    fn stand_in(&mut self) -> bool {
        let Some(reserve) = &self.reserve else {
            return false;
        };
        let (part, failed, failures) = (self.part, self.current.engine(), self.failures);
        match reserve() {
            Ok(network) => {
                let engine = network.engine();
                log::error!(
                    "{part}: {failed} failed {failures} times in a row; it runs in {engine} until the daemon is \
                     started again"
                );
                self.current = network;
                self.reserve = None;
                self.status.runs(part, engine);
                true
            }
            Err(error) => {
                let more = failures.min(RETRY_AFTER_MAX);
                self.try_at = failures.saturating_add(more);
                log::error!(
                    "{part}: {failed} failed {failures} times in a row, and the network cannot be loaded for the \
                     processor: {error}; tried again after {more} more failures"
                );
                false
            }
        }
    }
}

impl Network for Standby {
    fn inputs(&self) -> &[TensorSpec] {
        self.current.inputs()
    }

    fn outputs(&self) -> &[TensorSpec] {
        self.current.outputs()
    }

    fn engine(&self) -> &'static str {
        self.current.engine()
    }

    fn share(&self) -> Result<Box<dyn Network>, InferError> {
        Ok(Box::new(Self {
            current: self.current.share()?,
            reserve: self.reserve.clone(),
            failures: 0,
            try_at: FAILURES_MAX,
            part: self.part,
            status: Arc::clone(&self.status),
        }))
    }

    fn run_into(
        &mut self,
        inputs: &[Input<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), InferError> {
        let result = self.current.run_into(inputs, outputs);
        match result {
            Ok(()) => {
                self.failures = 0;
                self.try_at = FAILURES_MAX;
                return result;
            }
            // Numbers that are not finite are as useless as none: overflow, bad memory, a broken plan.
            Err(InferError::Engine | InferError::NotFinite { .. }) => {}
            // What was handed over is wrong, which says nothing about the engine.
            Err(InferError::Tensor { .. } | InferError::Frame { .. }) => return result,
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < self.try_at || !self.stand_in() {
            return result;
        }
        self.current.run_into(inputs, outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine whose runs fail from one on, and again and again or now and then.
    struct Failing {
        runs: u32,
        fails: fn(u32) -> Result<(), InferError>,
    }

    const fn if_not(failed: bool) -> Result<(), InferError> {
        if failed {
            Err(InferError::Engine)
        } else {
            Ok(())
        }
    }

    fn failing(fails: fn(u32) -> Result<(), InferError>) -> Box<dyn Network> {
        Box::new(Failing { runs: 0, fails })
    }

    impl Network for Failing {
        fn inputs(&self) -> &[TensorSpec] {
            &[]
        }
        fn outputs(&self) -> &[TensorSpec] {
            &[]
        }
        fn engine(&self) -> &'static str {
            "tensorrt"
        }
        fn share(&self) -> Result<Box<dyn Network>, InferError> {
            Ok(Box::new(Self { runs: 0, ..*self }))
        }
        fn run_into(&mut self, _: &[Input<'_>], _: &mut [Vec<f32>]) -> Result<(), InferError> {
            self.runs += 1;
            (self.fails)(self.runs)
        }
    }

    fn person() -> PathBuf {
        concat!(env!("CARGO_MANIFEST_DIR"), "/models/person").into()
    }

    fn run(network: &mut dyn Network) -> Result<(), InferError> {
        let input = vec![0.5; 3 * 192 * 144];
        let mut outputs: Vec<Vec<f32>> = [17 * 48 * 36, 17, 128, 3 * 48 * 36]
            .map(|count| vec![0.0; count])
            .into();
        network.run_into(&[Input::F32(&input)], &mut outputs)
    }

    #[test]
    fn the_processor_takes_over_where_the_gpu_fails_again_and_again() {
        let status = Arc::new(EngineStatus::new("tensorrt", String::new()));
        status.runs("person", "tensorrt");
        let failing = failing(|run| if_not(run > 2));
        let mut network = with_tract(failing, person(), "person", Arc::clone(&status));
        let mut second = network.share().unwrap();
        assert_eq!(run(network.as_mut()), Ok(()));
        assert_eq!(run(network.as_mut()), Ok(()));
        for _ in 1..FAILURES_MAX {
            assert_eq!(run(network.as_mut()), Err(InferError::Engine));
            assert_eq!(status.in_use(), "tensorrt");
        }
        // The frame at which it takes over is not lost.
        assert_eq!(run(network.as_mut()), Ok(()));
        assert_eq!((network.engine(), status.in_use()), ("tract", "tract"));
        assert_eq!(run(network.as_mut()), Ok(()));
        // Another use has its own runs.
        assert_eq!(run(second.as_mut()), Ok(()));
        assert_eq!(second.engine(), "tensorrt");
    }

    #[test]
    fn a_run_that_fails_now_and_then_costs_a_frame_and_no_more() {
        let status = Arc::new(EngineStatus::new("tensorrt", String::new()));
        let failing = failing(|run| if_not(run % 3 != 0));
        let mut network = with_tract(failing, person(), "person", status);
        for round in 1..30 {
            assert_eq!(run(network.as_mut()).is_ok(), round % 3 == 0);
        }
        assert_eq!(network.engine(), "tensorrt");
    }

    #[test]
    fn numbers_that_are_not_finite_count_as_failures_and_our_own_mistakes_do_not() {
        let status = Arc::new(EngineStatus::new("tensorrt", String::new()));
        let not_finite = InferError::NotFinite { output: 0 };
        let failing = failing(|run| match run {
            1 => Err(InferError::Engine),
            2 => Err(InferError::Tensor {
                index: 0,
                got: 1,
                want: 2,
            }),
            _ => Err(InferError::NotFinite { output: 0 }),
        });
        let mut network = with_tract(failing, person(), "person", status);
        assert_eq!(run(network.as_mut()), Err(InferError::Engine));
        assert!(run(network.as_mut()).is_err());
        assert_eq!(run(network.as_mut()), Err(not_finite));
        assert_eq!(run(network.as_mut()), Ok(()), "the third that counts");
        assert_eq!(network.engine(), "tract");
    }

    #[test]
    fn a_reserve_that_does_not_load_at_once_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let models = folder.path().join("person");
        let status = Arc::new(EngineStatus::new("tensorrt", String::new()));
        let failing = failing(|_| Err(InferError::Engine));
        let mut network = with_tract(failing, models.clone(), "person", status);
        for _ in 0..FAILURES_MAX {
            assert_eq!(run(network.as_mut()), Err(InferError::Engine));
        }
        std::os::unix::fs::symlink(person(), &models).unwrap();
        for _ in 1..FAILURES_MAX {
            assert_eq!(run(network.as_mut()), Err(InferError::Engine));
        }
        assert_eq!(run(network.as_mut()), Ok(()));
        assert_eq!(network.engine(), "tract");
    }

    #[test]
    fn where_the_reserve_never_loads_the_error_stays_and_tries_grow_rare() {
        let tries = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counted = Arc::clone(&tries);
        let mut network = Standby {
            current: failing(|_| Err(InferError::Engine)),
            reserve: Some(Arc::new(move || {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Err(Folder::open("/nowhere".as_ref()).unwrap_err())
            })),
            failures: 0,
            try_at: FAILURES_MAX,
            part: "person",
            status: Arc::new(EngineStatus::new("tensorrt", String::new())),
        };
        for _ in 0..10 * RETRY_AFTER_MAX {
            assert_eq!(run(&mut network), Err(InferError::Engine));
        }
        let tries = tries.load(std::sync::atomic::Ordering::Relaxed);
        assert!((15..25).contains(&tries), "{tries}");
    }
}
