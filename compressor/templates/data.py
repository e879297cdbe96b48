"""Your data, when it is in no format that compress reads (compress list formats shows those).

To use this file, write in recipe.toml:

    [data]
    source = "py:data.py:load"

and replace the body of `load`. It takes no arguments and returns a dictionary of NumPy arrays:

    x_train   images [N, C, H, W] or [N, H, W, C]: uint8 0-255, or float 0-1; vectors [N, F]: any float
    y_train   class numbers [N], from 0
    x_val, y_val, x_test, y_test   the same, if your data has its own splits; else they are taken from x_train
    classes   class names, if you have them
"""

import numpy as np
from sklearn.datasets import load_digits


def load() -> dict[str, np.ndarray]:
    """The 1 797 handwritten digits that come with scikit-learn, 8x8 grey pixels of 0-16, as uint8 0-255."""
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return {
        "x_train": images[:, np.newaxis],  # [N, 8, 8] -> [N, 1, 8, 8]
        "y_train": digits.target.astype(np.int64),
        "classes": np.array([str(name) for name in digits.target_names]),
    }
