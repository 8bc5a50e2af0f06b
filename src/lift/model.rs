//! A lifter's model folder: the backbone for an engine, the head for us.

use std::path::{Path, PathBuf};

use super::Backbone;
use super::head::{Head, HeadError};
use super::input::LIFT_INPUT;
use crate::base::limits::LIFT_FEATURES;
use crate::engine::models::{Folder, Kind, ModelError, Role, sha256_hex};
use crate::engine::{Engine, InferError, Input, Network};

/// Name of the head's file in the folder, listed under `[[extra]]`.
pub const HEAD_FILE: &str = "head.safetensors";

/// What can be wrong with a lifter's folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiftModelError {
    /// The folder, its description or its network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A network for something else.
    #[error("{path}: kind = \"{}\", but a lifter is required (kind = \"lifter\")", kind.name())]
    Kind {
        /// The folder.
        path: PathBuf,
        /// What it is for.
        kind: Kind,
    },
    /// The head.
    #[error("{path}")]
    Head {
        /// The head's file.
        path: PathBuf,
        /// What is wrong in it.
        source: HeadError,
    },
}

/// A backbone run by an engine.
pub struct NetworkBackbone {
    network: Box<dyn Network>,
    outputs: Vec<Vec<f32>>,
    /// Which output holds the features.
    features: usize,
    /// Hash of the network and of the head that goes with it.
    id: String,
}

impl NetworkBackbone {
    /// A loaded network whose output `features` holds the features; `id` says which network and head it is.
    pub fn new(network: Box<dyn Network>, features: usize, id: String) -> Self {
        let outputs = network.outputs().iter();
        let outputs = outputs.map(|output| vec![0.0; output.count()]).collect();
        Self {
            network,
            outputs,
            features,
            id,
        }
    }

    /// Another use of the same network, for another thread.
    ///
    /// # Errors
    ///
    /// The engine has no room for another.
    pub fn share(&self) -> Result<Self, InferError> {
        Ok(Self {
            network: self.network.share()?,
            outputs: self.outputs.clone(),
            features: self.features,
            id: self.id.clone(),
        })
    }

    /// SHA-256 of network and factory head: what is learned belongs to these and no others.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl std::fmt::Debug for NetworkBackbone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkBackbone")
            .field("engine", &self.network.engine())
            .finish_non_exhaustive()
    }
}

impl Backbone for NetworkBackbone {
    type Error = InferError;

    fn run_into(
        &mut self,
        input: &[f32; LIFT_INPUT],
        features: &mut [f32; LIFT_FEATURES],
    ) -> Result<(), InferError> {
        self.network
            .run_into(&[Input::F32(input)], &mut self.outputs)?;
        features.copy_from_slice(&self.outputs[self.features]);
        Ok(())
    }
}

/// Opens a lifter's folder, checks all of it and loads the backbone with an engine.
///
/// # Errors
///
/// What does not fit, with file, tensor and numbers.
pub fn open(engine: &Engine, path: &Path) -> Result<(NetworkBackbone, Head), LiftModelError> {
    let folder = Folder::open(path)?;
    if folder.description.kind != Kind::Lifter {
        return Err(LiftModelError::Kind {
            path: path.to_owned(),
            kind: folder.description.kind,
        });
    }
    let head_bytes = folder.extra(HEAD_FILE)?;
    let head = Head::from_safetensors(&head_bytes).map_err(|source| LiftModelError::Head {
        path: path.join(HEAD_FILE),
        source,
    })?;
    let id = sha256_hex(&[&folder.network[..], &head_bytes].concat());
    let outputs = &folder.description.outputs;
    let features = outputs
        .iter()
        .position(|output| output.role == Role::LiftFeatures)
        .ok_or_else(|| ModelError::Misfit {
            path: path.to_owned(),
            what: "outputs: none has role = \"lift-features\"".to_owned(),
        })?;
    let network = engine.load(&folder)?;
    Ok((NetworkBackbone::new(network, features, id), head))
}
