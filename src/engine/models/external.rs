//! Weights that an ONNX file keeps in files beside it, as `PyTorch` 2 writes them by default.
//!
//! They are put into the network as it is read, so every engine gets a network that is whole, and the hash of what an
//! engine was built from covers the weights.

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

use super::describe::FileEntry;
use super::{DESCRIPTION_FILE, ModelError, fits, read_bounded, read_checked, sha256_hex};
use crate::base::limits::MODEL_FILE_BYTES_MAX;

/// The key under which every such tensor names its file.
const LOCATION: &str = "location";

/// Graphs within graphs, as loops and branches have them: deeper ones are no network of a person's.
const DEPTH_MAX: usize = 16;

/// The network with all its weights in it; as it is where it has them all, or is no ONNX, which the engine tells.
///
/// A file that `[[extra]]` names has the hash given there; another one is read with a warning.
pub fn inlined(
    folder: &Path,
    extra: &[FileEntry],
    network: Vec<u8>,
) -> Result<Vec<u8>, ModelError> {
    let named = |window: &[u8]| window == LOCATION.as_bytes();
    if !network.windows(LOCATION.len()).any(named) {
        return Ok(network);
    }
    let Ok(mut model) = ModelProto::decode(&network[..]) else {
        return Ok(network);
    };
    let mut weights = Weights {
        folder,
        extra,
        files: BTreeMap::new(),
        bytes: 0,
    };
    if let Some(graph) = &mut model.graph {
        weights.graph(graph, DEPTH_MAX)?;
    }
    if weights.files.is_empty() {
        return Ok(network);
    }
    Ok(model.encode_to_vec())
}

/// The files beside a network.
struct Weights<'a> {
    folder: &'a Path,
    extra: &'a [FileEntry],
    files: BTreeMap<String, Vec<u8>>,
    /// Of all tensors put in.
    bytes: u64,
}

impl Weights<'_> {
    fn graph(&mut self, graph: &mut GraphProto, depth: usize) -> Result<(), ModelError> {
        if depth == 0 {
            return Err(self.misfit(format!("graphs are nested more than {DEPTH_MAX} deep")));
        }
        for tensor in &mut graph.initializer {
            self.tensor(tensor)?;
        }
        for sparse in &mut graph.sparse_initializer {
            for tensor in sparse.values.iter_mut().chain(&mut sparse.indices) {
                self.tensor(tensor)?;
            }
        }
        for NodeProto { attribute, .. } in &mut graph.node {
            for AttributeProto {
                t,
                tensors,
                g,
                graphs,
                ..
            } in attribute
            {
                for tensor in t.iter_mut().chain(tensors) {
                    self.tensor(tensor)?;
                }
                for graph in g.iter_mut().chain(graphs) {
                    self.graph(graph, depth - 1)?;
                }
            }
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &mut TensorProto) -> Result<(), ModelError> {
        if tensor.data_location != Some(DataLocation::External as i32) {
            return Ok(());
        }
        let value = |key: &str| {
            let entries = &tensor.external_data;
            let found = entries.iter().find(|entry| entry.key == key);
            found.map(|entry| entry.value.clone())
        };
        let number = |key: &str| -> Result<Option<usize>, ModelError> {
            value(key)
                .map(|text| {
                    text.parse().map_err(|_| {
                        self.misfit(format!(
                            "tensor {:?}: {key} = {text:?}: must be a whole number",
                            tensor.name
                        ))
                    })
                })
                .transpose()
        };
        let file = value(LOCATION).unwrap_or_default();
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if !self.files.contains_key(&file) {
            let bytes = self.read(&tensor.name, &file)?;
            self.files.insert(file.clone(), bytes);
        }
        let bytes = &self.files[&file];
        let end = length.map_or(Some(bytes.len()), |length| offset.checked_add(length));
        let part = end.and_then(|end| bytes.get(offset..end)).ok_or_else(|| {
            self.misfit(format!(
                "tensor {:?}: offset {offset} and length {length:?} do not lie in {file}, which has {} bytes",
                tensor.name,
                bytes.len()
            ))
        })?;
        // Many tensors may name the same bytes.
        self.bytes += part.len() as u64;
        if self.bytes > MODEL_FILE_BYTES_MAX {
            return Err(ModelError::TooLarge {
                path: self.folder.join(file),
                max_bytes: MODEL_FILE_BYTES_MAX,
            });
        }
        tensor.raw_data = part.to_vec();
        tensor.data_location = None;
        tensor.external_data.clear();
        Ok(())
    }

    fn read(&self, tensor: &str, file: &str) -> Result<Vec<u8>, ModelError> {
        if !fits::is_file_name(file) {
            return Err(self.misfit(format!(
                "tensor {tensor:?} is in {file:?}: weights must lie in the network's own folder"
            )));
        }
        if let Some(entry) = self.extra.iter().find(|entry| entry.file == file) {
            return read_checked(self.folder, entry);
        }
        let path = self.folder.join(file);
        let bytes = read_bounded(&path, MODEL_FILE_BYTES_MAX)?;
        log::warn!(
            "{}: weights without a hash; add to {DESCRIPTION_FILE}: [[extra]] file = {file:?}, sha256 = {:?}",
            path.display(),
            sha256_hex(&bytes)
        );
        Ok(bytes)
    }

    fn misfit(&self, what: String) -> ModelError {
        ModelError::Misfit {
            path: self.folder.to_owned(),
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::StringStringEntryProto;

    use super::*;

    /// A network with one weight in `file`.
    fn network(file: &str, offset: &str, length: &str) -> Vec<u8> {
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let tensor = TensorProto {
            name: "w".to_owned(),
            dims: vec![2],
            data_type: 1,
            data_location: Some(DataLocation::External as i32),
            external_data: vec![
                entry("location", file),
                entry("offset", offset),
                entry("length", length),
            ],
            ..TensorProto::default()
        };
        let inner = GraphProto {
            initializer: vec![tensor.clone()],
            ..GraphProto::default()
        };
        let node = NodeProto {
            attribute: vec![AttributeProto {
                g: Some(inner),
                t: Some(tensor.clone()),
                ..AttributeProto::default()
            }],
            ..NodeProto::default()
        };
        let graph = GraphProto {
            initializer: vec![tensor],
            node: vec![node],
            ..GraphProto::default()
        };
        let model = ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        };
        model.encode_to_vec()
    }

    #[test]
    fn weights_beside_a_network_are_put_into_it_wherever_they_are_used() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("w.data"), [9, 9, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        let whole = inlined(folder.path(), &[], network("w.data", "2", "8")).unwrap();
        let graph = ModelProto::decode(&whole[..]).unwrap().graph.unwrap();
        let attribute = &graph.node[0].attribute[0];
        let inner = attribute.g.as_ref().unwrap();
        for tensor in [
            &graph.initializer[0],
            &inner.initializer[0],
            attribute.t.as_ref().unwrap(),
        ] {
            assert_eq!(tensor.raw_data, [1, 2, 3, 4, 5, 6, 7, 8]);
            assert_eq!(tensor.data_location, None);
            assert!(tensor.external_data.is_empty());
        }
        // What is whole, and what is no network, stays as it is.
        for bytes in [whole, b"location, location, location".to_vec()] {
            assert_eq!(inlined(folder.path(), &[], bytes.clone()).unwrap(), bytes);
        }
    }

    #[test]
    fn weights_that_are_elsewhere_missing_or_not_those_described_are_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("w.data"), [0; 8]).unwrap();
        let entry = FileEntry {
            file: "w.data".to_owned(),
            sha256: "00".repeat(32),
        };
        for (file, offset, length, extra, words) in [
            ("../w.data", "0", "8", &[][..], "own folder"),
            ("/etc/passwd", "0", "8", &[], "own folder"),
            ("", "0", "8", &[], "own folder"),
            ("x.data", "0", "8", &[], "x.data: cannot be read"),
            ("w.data", "4", "8", &[], "do not lie in w.data"),
            ("w.data", "-1", "8", &[], "offset = \"-1\""),
            ("w.data", "0", "18446744073709551615", &[], "do not lie in"),
            ("w.data", "0", "8", &[entry], "sha256 is"),
        ] {
            let error = inlined(folder.path(), extra, network(file, offset, length)).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
