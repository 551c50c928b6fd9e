// Classify a JPEG with onnxruntime-web: `node predict.mjs model.standalone.onnx photo.jpg`.
// It is the same in a browser, where a canvas decodes the photo.
import { readFile } from "node:fs/promises";
import jpeg from "jpeg-js";
import * as ort from "onnxruntime-web";
import protobuf from "protobufjs";

const [model, photo] = await Promise.all(process.argv.slice(2, 4).map((path) => readFile(path)));
// onnxruntime-web does not show a model's metadata. It is field 14 of the ONNX file.
const { root } = protobuf.parse(`syntax = "proto3"; message Model { map<string, string> metadata = 14; }`);
const about = JSON.parse(root.lookupType("Model").decode(model).metadata.petclassify);
const { data, width, height } = jpeg.decode(photo, { useTArray: true, formatAsRGBA: false });
const session = await ort.InferenceSession.create(model);
const image = new ort.Tensor("uint8", data, [height, width, 3]);
const { probabilities, familiarity } = await session.run({ image });
const probability = Math.max(...probabilities.data);
const label = about.class_names[probabilities.data.indexOf(probability)];
const known = familiarity.data[0] >= about.known_threshold ? "known" : "unknown";
console.log(`${label} ${probability.toFixed(4)} ${known}`);
