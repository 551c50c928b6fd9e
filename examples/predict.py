"""Classify a photo with ONNX Runtime alone: `python predict.py model.standalone.onnx photo.jpg`."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model, photo = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
about = json.loads(session.get_modelmeta().custom_metadata_map["petclassify"])
image = np.asarray(ImageOps.exif_transpose(Image.open(photo)).convert("RGB"))
probabilities, familiarity = session.run(["probabilities", "familiarity"], {"image": image})
label = about["class_names"][probabilities.argmax()]
known = "known" if familiarity >= about["known_threshold"] else "unknown"
print(f"{label} {probabilities.max():.4f} {known}")
