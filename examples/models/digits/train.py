"""Trains, quantizes and exports the digits example network.

A MobileNet-style classifier for scikit-learn's 8x8 handwritten digits, quantized after training to int8 throughout
(convolution weights per channel, biases int32). Running the script rewrites, next to itself:

  digits.tflite         the quantized model, batch 1, input 1x8x8x1, output 1x10
  samples/NN.in.bin     held-out images, raw int8 in the input's quantization
  samples/NN.out.bin    what the reference kernels of tflite-runtime answer, raw int8
  samples/labels.csv    file,label: the true digit of each sample

and prints the figures that README.md quotes. The split is by position, not drawn: the first 1415 images train, the
last 382 are held out and take no part in training, calibration or the choice of a checkpoint. The data set runs in
blocks of about 130 images that each open with the digits 0 to 9 three times over, which reads as one block per writer;
1415 is where such a block begins, so the held-out hands should be new to the network. Initial weights, shuffling and
augmentation come from SEED. With the versions below a second run on the same machine gives the same bytes; another
processor may round float sums differently and train a slightly different network.

Requirements (Python 3.11). TensorFlow 2.15 is not a substitute: its calibrator runs ADD in place and so gives the
convolution before it the range of the sum.
  tensorflow-cpu==2.13.1
  tflite-runtime==2.14.0
  scikit-learn==1.4.2
  numpy==1.24.3
"""

import csv
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow.keras import layers
from tflite_runtime.interpreter import Interpreter, OpResolverType

HERE = Path(__file__).resolve().parent
SEED = 1
TRAIN_COUNT = 1415
EPOCHS = 80
BATCH = 32


def load_split():
    """Returns ((images, labels), (images, labels)), training then held out; images are NHWC float32 in [0, 1]."""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[..., np.newaxis]
    labels = digits.target
    return (images[:TRAIN_COUNT], labels[:TRAIN_COUNT]), (images[TRAIN_COUNT:], labels[TRAIN_COUNT:])


def convolution(x, layer, activate=True):
    """A convolution without bias, batch normalization (folded on export into filter and bias) and perhaps ReLU6."""
    x = layers.BatchNormalization()(layer(x))
    return layers.ReLU(max_value=6.0)(x) if activate else x


def depthwise(stride=1):
    return layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)


def pointwise(channels):
    return layers.Conv2D(channels, 1, use_bias=False)


def build_network():
    """Stem, one separable block at 8x8, one inverted residual at 4x4, one separable block at 2x2, classifier."""
    image = layers.Input((8, 8, 1))
    x = convolution(image, layers.Conv2D(16, 3, padding="same", use_bias=False))
    x = convolution(x, depthwise(stride=2))
    x = shortcut = convolution(x, pointwise(32), activate=False)
    x = convolution(x, pointwise(64))
    x = convolution(x, depthwise())
    x = convolution(x, pointwise(32), activate=False)
    x = layers.Add()([shortcut, x])
    x = convolution(x, depthwise(stride=2))
    x = convolution(x, pointwise(64))
    x = layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(image, layers.Dense(10, activation="softmax")(x), name="digits")


def train(network, images, labels):
    """Trains for a fixed number of epochs on slightly shifted, turned and scaled images."""
    augmented = tf.keras.Sequential([
        layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
        layers.RandomRotation(0.03, fill_mode="constant"),
        layers.RandomZoom(0.1, fill_mode="constant"),
        network,
    ])
    steps = EPOCHS * -(-len(images) // BATCH)
    augmented.compile(
        optimizer=tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(4e-3, steps)),
        loss="sparse_categorical_crossentropy",
    )
    augmented.fit(images, labels, batch_size=BATCH, epochs=EPOCHS, verbose=0)


def quantize(network, calibration):
    """Returns the flatbuffer of the int8 model; `calibration` images fix the activation ranges."""
    # A concrete batch of one keeps every shape static: no SHAPE or PACK arithmetic in the exported graph.
    signature = tf.TensorSpec((1, 8, 8, 1), tf.float32, name="image")
    function = tf.function(lambda image: network(image, training=False)).get_concrete_function(signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


class Reference:
    """The exported model on tflite-runtime's portable reference kernels."""

    def __init__(self, model):
        self.interpreter = Interpreter(
            model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
        )
        self.interpreter.allocate_tensors()
        (self.input,) = self.interpreter.get_input_details()
        (self.output,) = self.interpreter.get_output_details()

    def quantize(self, image):
        scale, zero_point = self.input["quantization"]
        return np.clip(np.round(image / scale) + zero_point, -128, 127).astype(np.int8)

    def run(self, quantized):
        self.interpreter.set_tensor(self.input["index"], quantized[np.newaxis])
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output["index"])[0]


def write_samples(reference, images, labels):
    """Writes, as sample NN, the image of digit NN that the model gets right with the least certainty.

    A certain answer is one 127 among nine -128, and such saturated outputs would hide small errors upstream.
    """
    folder = HERE / "samples"
    folder.mkdir(exist_ok=True)
    with open(folder / "labels.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file", "label"])
        for digit in range(10):
            pairs = [(image, reference.run(image)) for image in map(reference.quantize, images[labels == digit])]
            correct = [pair for pair in pairs if np.sum(pair[1] >= pair[1][digit]) == 1]  # No tie for the first place.
            image, answer = min(correct, key=lambda pair: pair[1][digit])
            image.tofile(folder / f"{digit:02}.in.bin")
            answer.tofile(folder / f"{digit:02}.out.bin")
            table.writerow([f"{digit:02}.in.bin", digit])


def report(name, predictions, labels):
    correct = int(np.sum(predictions == labels))
    print(f"{name}: {correct} of {len(labels)} held-out images, {100 * correct / len(labels):.1f} %")


def main():
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    (train_images, train_labels), (test_images, test_labels) = load_split()

    network = build_network()
    train(network, train_images, train_labels)
    model = quantize(network, train_images)
    (HERE / "digits.tflite").write_bytes(model)

    reference = Reference(model)
    write_samples(reference, test_images, test_labels)
    report("float32", network.predict(test_images, verbose=0).argmax(axis=1), test_labels)
    answers = [reference.run(reference.quantize(image)).argmax() for image in test_images]
    report("int8", np.array(answers), test_labels)
    print(f"digits.tflite: {len(model)} bytes, {network.count_params()} float parameters")


if __name__ == "__main__":
    main()
