"""One folder a TFX component, and the few modules that several of them share."""

import os

# Keras is always tf_keras. TensorFlow looks at this once, when it is imported; TFX sets it later,
# and TensorFlow Probability then looks for a Keras that is not there.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
