"""A network for the 1,797 labelled digits that scikit-learn ships, pictures of 8 x 8 pixels.

    digits.py FOLDER

trains a perceptron of 64, 64, 32 and 10 neurons on the first 1,000 digits, from a fixed seed, and writes FOLDER/digits.mcir, float;
FOLDER/learned.npy, those digits; FOLDER/checked.npz, the other 797 with their labels. Pixels are divided by 16.
"""

import sys
from pathlib import Path

import numpy as np
import sklearn.datasets
from sklearn.neural_network import MLPClassifier

SEED = 1
LEARNED = 1000


def constant(name, values):
    shape = "x".join(str(size) for size in values.shape)
    numbers = ", ".join(repr(float(value)) for value in values.astype(np.float32).ravel())
    return (
        f"    %{name} = nn.const {{value = dense<[{numbers}]> : tensor<{values.size}xf32>}} : "
        f"tensor<{shape}xf32>\n"
    )


def module(network):
    """The network as mcunetc's text: rectifiers are clamps, and the last layer's outputs are left as they are."""
    body, value = "", "x"
    last = len(network.coefs_) - 1
    for number, (weights, bias) in enumerate(zip(network.coefs_, network.intercepts_)):
        body += constant(f"w{number}", weights.T) + constant(f"b{number}", bias)
        clamp = " {clamp = [0.0 : f32, 0x7F800000 : f32]}" if number < last else ""
        result = f"v{number}"
        body += (
            f"    %{result} = nn.fully_connected %{value}, %w{number}, %b{number}{clamp} : "
            f"tensor<1x{len(bias)}xf32>\n"
        )
        value = result
    return (
        'module "digits" stage "imported" {\n'
        '  func "main" inputs ["x" : tensor<1x64xf32>] outputs ["y" : tensor<1x10xf32>] {\n'
        f"  ^(%x: tensor<1x64xf32>):\n{body}    func.return %{value}\n  }}\n}}\n"
    )


def main():
    folder = Path(sys.argv[1])
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    pixels = (pixels / 16).astype(np.float32)
    network = MLPClassifier((64, 32), max_iter=1000, random_state=SEED)
    network.fit(pixels[:LEARNED], labels[:LEARNED])
    (folder / "digits.mcir").write_text(module(network))
    np.save(folder / "learned.npy", pixels[:LEARNED])
    np.savez(folder / "checked.npz", x=pixels[LEARNED:], labels=labels[LEARNED:])


if __name__ == "__main__":
    main()
