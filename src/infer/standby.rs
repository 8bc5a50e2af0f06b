//! A network with the processor standing by: a GPU can fail while the daemon runs (a driver that is reset, memory
//! that another program took, a device that overheats), and poses must not end with it.

use std::path::PathBuf;
use std::sync::Arc;

use super::network::{InferError, Input, Network, TensorSpec};
use super::status::EngineStatus;
use super::tract;
use crate::models::{Folder, ModelError};

/// After so many failures in a row the processor takes over, with that very run: one may be an accident. The frames
/// before are lost.
const FAILURES_MAX: u32 = 3;

/// Loads the network for the processor. It takes some hundred milliseconds once, in place of memory all the time.
type Reserve = Arc<dyn Fn() -> Result<Box<dyn Network>, ModelError> + Send + Sync>;

/// A network that moves to another engine, for good, where its own fails again and again.
struct Standby {
    current: Box<dyn Network>,
    /// `None` once it stands in.
    reserve: Option<Reserve>,
    failures: u32,
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
        Ok(Box::new(tract::Plan::open(&folder)?.state()?))
    });
    Box::new(Standby {
        current: network,
        reserve: Some(reserve),
        failures: 0,
        part,
        status,
    })
}

impl Standby {
    /// Puts the reserve in; whether there is one.
    fn stand_in(&mut self) -> bool {
        let Some(reserve) = self.reserve.take() else {
            return false;
        };
        let (part, failed) = (self.part, self.current.engine());
        match reserve() {
            Ok(network) => {
                let engine = network.engine();
                log::error!(
                    "{part}: {failed} failed {FAILURES_MAX} times in a row; it runs in {engine} until the daemon is \
                     started again"
                );
                self.current = network;
                self.status.runs(part, engine);
                true
            }
            Err(error) => {
                log::error!("{part}: {failed} failed {FAILURES_MAX} times in a row, and: {error}");
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
        if result != Err(InferError::Engine) {
            self.failures = 0;
            return result;
        }
        self.failures += 1;
        if self.failures < FAILURES_MAX || !self.stand_in() {
            return result;
        }
        self.failures = 0;
        self.current.run_into(inputs, outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine whose runs fail from one on, and again and again or now and then.
    struct Failing {
        runs: u32,
        fails: fn(u32) -> bool,
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
            if (self.fails)(self.runs) {
                Err(InferError::Engine)
            } else {
                Ok(())
            }
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
        let failing = Box::new(Failing {
            runs: 0,
            fails: |run| run > 2,
        });
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
        let failing = Box::new(Failing {
            runs: 0,
            fails: |run| run % 3 != 0,
        });
        let mut network = with_tract(failing, person(), "person", status);
        for round in 1..30 {
            assert_eq!(run(network.as_mut()).is_ok(), round % 3 == 0);
        }
        assert_eq!(network.engine(), "tensorrt");
    }

    #[test]
    fn where_the_reserve_is_gone_too_the_error_stays() {
        let status = Arc::new(EngineStatus::new("tensorrt", String::new()));
        let failing = Box::new(Failing {
            runs: 0,
            fails: |_| true,
        });
        let mut network = with_tract(failing, "/nowhere".into(), "person", status);
        for _ in 0..2 * FAILURES_MAX {
            assert_eq!(run(network.as_mut()), Err(InferError::Engine));
        }
    }
}
