// Makes expected.json: what TensorFlow.js, for which the package is published, gives for the picture of movenet.py.
//
//   npm install @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-converter@4.22.0 @tensorflow/tfjs-backend-cpu@4.22.0
//   python -c 'import movenet; [movenet.picture(s).tofile(f"{s}.rgb") for s in (192, 256)]'
//   node tfjs.mjs package/models > expected.json
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import { loadGraphModel } from "@tensorflow/tfjs-converter";
import { readFileSync } from "node:fs";

const folder = process.argv[2];
const lines = [];
for (const [name, side] of [["lightning", 192], ["thunder", 256]]) {
  const { modelTopology, weightsManifest } = JSON.parse(readFileSync(`${folder}/movenet-${name}.json`));
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  const weightData = new Uint8Array(readFileSync(`${folder}/movenet-${name}.bin`)).buffer;
  const model = await loadGraphModel({ load: async () => ({ modelTopology, weightSpecs, weightData }) });
  const picture = tf.tensor(Int32Array.from(readFileSync(`${side}.rgb`)), [1, side, side, 3], "int32");
  const [[keypoints]] = await model.predict(picture).array();
  const rows = keypoints.map((row) => `    [${row.map((value) => value.toFixed(6)).join(", ")}]`);
  lines.push(`  "${name}": [\n${rows.join(",\n")}\n  ]`);
}
console.log(`{\n${lines.join(",\n")}\n}`);
